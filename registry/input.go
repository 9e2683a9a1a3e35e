package registry

import "hearth/faas"

// CreateInput is a new function. Zip is the deployment package's bytes.
type CreateInput struct {
	Function faas.FunctionID
	Config   faas.Config
	Zip      []byte
	Tags     map[string]string
	Layers   []string // ARNs of layer versions, in place of Config.Layers
	Publish  bool     // publish version 1 as well; the answer is then that version
}

// UpdateCodeInput replaces the code of a function's head.
type UpdateCodeInput struct {
	Function      faas.FunctionID
	Zip           []byte
	Architectures []string // nil keeps them
	Publish       bool
	DryRun        bool   // validate and answer as if, change nothing
	RevisionID    string // "" is no precondition
}

// ConfigPatch changes the fields that are not nil.
type ConfigPatch struct {
	Runtime             *string
	Handler             *string
	Role                *string
	Description         *string
	MemoryMB            *int
	TimeoutSeconds      *int
	InitTimeoutSeconds  *int
	EphemeralMB         *int
	Environment         *map[string]string
	InstanceConcurrency *int
	Egress              *faas.Egress
	Isolation           *faas.Isolation
	Logging             *faas.Logging
	TracingMode         *string
	SnapStart           *bool
	DeadLetter          *faas.Destination
	Layers              *[]string // ARNs of layer versions
}

// PublishInput makes an immutable version of a function's head.
type PublishInput struct {
	Function    faas.FunctionID
	CodeSHA256  string  // hex; "" is no precondition
	Description *string // nil keeps the head's
	RevisionID  string
}

// AliasPatch changes the fields that are not nil. An empty Weights map removes them.
type AliasPatch struct {
	Version     *string
	Description *string
	Weights     *map[string]float64
	RevisionID  string
}

// Function is a function with what belongs to it as a whole.
type Function struct {
	ID      faas.FunctionID
	Tags    map[string]string
	Version *faas.Version // the one that was asked for
}

// Usage is what a scope stores.
type Usage struct {
	Functions int
	CodeBytes int64 // zipped, every version counted
	// LayerBytes is what layers store in the account and region, zipped, every
	// version counted. All namespaces share them.
	LayerBytes int64
}

// Page is one page of a list. Next is "" at the end.
type Page[T any] struct {
	Items []T
	Next  string
}
