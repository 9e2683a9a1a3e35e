package native

import (
	"encoding/json"
	"time"

	"hearth/faas"
	"hearth/registry"
)

// DeployRequest creates a function, or updates the one of that name. Fields that
// are nil keep what the function has, or get their default.
type DeployRequest struct {
	Runtime             *string            `json:"runtime,omitempty"`
	Handler             *string            `json:"handler,omitempty"`
	Role                *string            `json:"role,omitempty"`
	Description         *string            `json:"description,omitempty"`
	MemoryMB            *int               `json:"memoryMB,omitempty"`
	TimeoutSeconds      *int               `json:"timeoutSeconds,omitempty"`
	InitTimeoutSeconds  *int               `json:"initTimeoutSeconds,omitempty"`
	EphemeralMB         *int               `json:"ephemeralMB,omitempty"`
	Environment         *map[string]string `json:"environment,omitempty"`
	InstanceConcurrency *int               `json:"instanceConcurrency,omitempty"`
	Egress              *faas.Egress       `json:"egress,omitempty"`
	Isolation           *faas.Isolation    `json:"isolation,omitempty"`
	Logging             *faas.Logging      `json:"logging,omitempty"`
	// DeadLetter gets the payloads of asynchronous invocations that failed: see AsyncRequest.
	DeadLetter *faas.Destination `json:"deadLetter,omitempty"`
	// Layers are ARNs of versions, name:version, or a name for its newest version; an
	// empty list removes them.
	Layers  *[]string         `json:"layers,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"` // only at creation
	Zip     []byte            `json:"zip,omitempty"`  // base64; nil keeps the code
	Publish bool              `json:"publish,omitempty"`
}

// Function is a function as it is listed.
type Function struct {
	Name    string       `json:"name"`
	ARN     string       `json:"arn"`
	Version faas.Version `json:"version"`
}

// FunctionPage is one page of functions, sorted by name.
type FunctionPage struct {
	Functions []Function `json:"functions"`
	Next      string     `json:"next,omitempty"`
}

// Description is all that is known of one function.
type Description struct {
	Function
	Tags      map[string]string `json:"tags,omitempty"`
	Versions  []string          `json:"versions"`
	Aliases   []faas.Alias      `json:"aliases"`
	Instances InstanceCount     `json:"instances"`
	Quota     *FunctionQuotas   `json:"quota,omitempty"`
	// Async is what was set for asynchronous invocations, by qualifier.
	Async  []*registry.EventConfig `json:"async,omitempty"`
	Recent []faas.Report           `json:"recent"` // newest first
}

// Deployed is the answer to a deployment that has ended.
type Deployed struct {
	Function
	Created   bool   `json:"created"`
	Published string `json:"published,omitempty"` // the version's number
}

// Invoked is the answer to an invocation that reached its function.
type Invoked struct {
	RequestID     string          `json:"requestId"`
	Version       string          `json:"version"`
	Payload       json.RawMessage `json:"payload"`
	FunctionError string          `json:"functionError,omitempty"`
	LogTail       string          `json:"logTail,omitempty"`
	Report        faas.Report     `json:"report"`
}

// Status is what GET /hearth/v1/status answers.
type Status struct {
	Version   string    `json:"version"`
	Account   string    `json:"account"`
	Region    string    `json:"region"`
	Isolation string    `json:"isolation"`
	Started   time.Time `json:"started"`
}
