package faas

import "time"

// State is the life of a version as its users see it.
type State string

const (
	StatePending  State = "Pending"
	StateActive   State = "Active"
	StateInactive State = "Inactive"
	StateFailed   State = "Failed"
)

// UpdateStatus is the outcome of the last update of a version.
type UpdateStatus string

const (
	UpdateNone       UpdateStatus = ""
	UpdateInProgress UpdateStatus = "InProgress"
	UpdateSuccessful UpdateStatus = "Successful"
	UpdateFailed     UpdateStatus = "Failed"
)

// Egress says what the network of an instance reaches.
type Egress string

const (
	// EgressInternet reaches public addresses, never the host's own services,
	// private networks, neighbours or metadata addresses. The default.
	EgressInternet Egress = "internet"
	// EgressNone has a loopback interface and nothing else.
	EgressNone Egress = "none"
)

// Isolation names the sandbox driver that holds a function's instances. Empty
// means the server's default.
type Isolation string

const (
	IsolationProcess Isolation = "process"
	IsolationNone    Isolation = "none"
)

// Config is what a user sets on a version. The zero value of a field is
// replaced by its default in Config.WithDefaults; Config.Validate names every
// field that is out of bounds.
type Config struct {
	Runtime     string `json:"runtime"`               // e.g. nodejs22.x
	Handler     string `json:"handler,omitempty"`     // e.g. index.handler
	Role        string `json:"role,omitempty"`        // an ARN; a label until roles carry rights
	Description string `json:"description,omitempty"` // at most 256 characters
	// MemoryMB is the hard memory limit, and decides the CPU share: one vCPU
	// per 1,769 MB.
	MemoryMB int `json:"memoryMB"`
	// TimeoutSeconds bounds one invocation, counted from hand-over to the handler.
	TimeoutSeconds int `json:"timeoutSeconds"`
	// InitTimeoutSeconds bounds init before the first invocation; default 10.
	InitTimeoutSeconds int `json:"initTimeoutSeconds,omitempty"`
	// EphemeralMB is the hard size of /tmp.
	EphemeralMB int `json:"ephemeralMB"`
	// Environment is nil when never set and empty when set to nothing: the
	// difference is visible to clients.
	Environment map[string]string `json:"environment"`
	// Architectures has exactly one element: x86_64 or arm64.
	Architectures []string `json:"architectures"`
	// InstanceConcurrency is the number of invocations that one instance may
	// hold at once.
	InstanceConcurrency int       `json:"instanceConcurrency"`
	Egress              Egress    `json:"egress"`
	Isolation           Isolation `json:"isolation,omitempty"`
	Logging             Logging   `json:"logging"`
	TracingMode         string    `json:"tracingMode"` // PassThrough or Active
	// SnapStart is kept for those who ask for it; starts are what they are.
	SnapStart bool `json:"snapStart,omitempty"`
	// DeadLetter gets the payloads of asynchronous invocations of this version that
	// failed; see AsyncConfig.DeadLetter.
	DeadLetter Destination `json:"deadLetter,omitempty"`
	// Layers are mounted below /opt, later ones over earlier ones; at most MaxLayers.
	Layers []Layer `json:"layers,omitempty"`
}

// Logging is how an instance writes its log.
type Logging struct {
	Format      string `json:"format"`             // Text or JSON
	AppLevel    string `json:"appLevel,omitempty"` // only with JSON: TRACE..FATAL
	SystemLevel string `json:"systemLevel,omitempty"`
	Group       string `json:"group"` // default /aws/lambda/<name>
}

// Timeout is TimeoutSeconds as a duration.
func (c Config) Timeout() time.Duration { return time.Duration(c.TimeoutSeconds) * time.Second }

// InitTimeout is InitTimeoutSeconds as a duration.
func (c Config) InitTimeout() time.Duration { return time.Duration(c.InitTimeoutSeconds) * time.Second }

// Code identifies a deployment package by content.
type Code struct {
	SHA256 string `json:"sha256"` // lower-case hex of the zip's bytes: the blob's name
	Size   int64  `json:"size"`   // bytes, zipped
}

// Version is one version of a function: its head ($LATEST) or an immutable
// numbered snapshot.
type Version struct {
	ID     VersionID `json:"id"`
	Config Config    `json:"config"`
	Code   Code      `json:"code"`
	// Revision is unique to this content of this version; it changes with every
	// code or configuration update. A pool of instances belongs to one Revision,
	// so nothing that an instance was started with changes under it.
	Revision string `json:"revision"`
	// RevisionID is the opaque precondition token that clients see. It changes
	// with every update and again when an update completes.
	RevisionID   string       `json:"revisionId"`
	LastModified time.Time    `json:"lastModified"`
	State        State        `json:"state"`
	StateReason  string       `json:"stateReason,omitempty"`
	StateCode    string       `json:"stateCode,omitempty"`
	Update       UpdateStatus `json:"update,omitempty"`
	UpdateReason string       `json:"updateReason,omitempty"`
	UpdateCode   string       `json:"updateCode,omitempty"`
}

// Alias points at a version, with an optional weighted second one.
type Alias struct {
	Function    FunctionID `json:"function"`
	Name        string     `json:"name"`
	Description string     `json:"description,omitempty"`
	Version     string     `json:"version"` // Latest or a number
	// Weights holds at most one entry: another version and the share of calls,
	// 0..1, that goes to it. The rest goes to Version.
	Weights    map[string]float64 `json:"weights,omitempty"`
	RevisionID string             `json:"revisionId"`
}

// Route returns the version that a call with the random number r in [0,1) goes to.
func (a Alias) Route(r float64) string {
	for version, weight := range a.Weights {
		if r < weight {
			return version
		}
	}
	return a.Version
}
