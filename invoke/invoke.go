package invoke

import (
	"time"

	"hearth/faas"
)

// Type is how an invocation is run.
type Type string

const (
	RequestResponse Type = "RequestResponse"
	DryRun          Type = "DryRun"
	// Event is asynchronous.
	Event Type = "Event"
)

// Request is one invocation as a dialect hands it over.
type Request struct {
	RequestID     string // made by the dialect: a UUID
	Function      faas.FunctionID
	Qualifier     string // "" is faas.Latest; a version number, an alias
	Type          Type
	Payload       []byte // JSON; "" becomes {}
	ClientContext []byte // JSON, decoded from its header
	TraceID       string
	LogTail       bool // return the last 4 KiB of the invocation's log
	InvokedARN    string
	// IdempotencyKey is the caller's name for an Event, at most MaxIdempotencyKey
	// bytes: a second one of the function with the same key, within the window of
	// the queue, is dropped. "" is none.
	IdempotencyKey string
	// Attempt is the number of this try of an Event, from 1; 0 for other types, and
	// when it is accepted.
	Attempt int
	// Limit bounds the invocation in place of the version's timeout; 0 leaves that.
	Limit time.Duration
	// Stream takes the response while the function produces it; nil has it in the
	// Result. Only with type RequestResponse.
	Stream Stream

	relay *relay // of Stream, while it runs
}

func (r *Request) limit(version *faas.Version) time.Duration {
	if r.Limit > 0 {
		return r.Limit
	}
	return version.Config.Timeout()
}

// MaxIdempotencyKey bounds Request.IdempotencyKey, in bytes.
const MaxIdempotencyKey = 128

// Accepted is an Event that is durable.
type Accepted struct {
	// RequestID is the request's own, or with Duplicate that of the event that had
	// the idempotency key before.
	RequestID string
	Duplicate bool
}

// Result is an invocation that reached its version. A function error is in
// Outcome; errors of the platform are *faas.Error.
type Result struct {
	// Outcome has no payload where that went to Request.Stream: with it, only that of
	// a function error is here, also of one that came in the middle of the response.
	Outcome         faas.Outcome
	ExecutedVersion string // Latest or a number
	LogTail         []byte // only with Request.LogTail
	Report          faas.Report
	Accepted        *Accepted // of an Event: then nothing else is set
}
