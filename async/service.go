package async

import (
	"context"
	"log/slog"

	"hearth/faas"
	"hearth/invoke"
	"hearth/metric"
)

// Functions is what the dispatcher needs of the control plane. Both methods
// return at once and touch no disk.
type Functions interface {
	// Resolve returns the version that the next event of the qualifier goes to, or
	// a *faas.Error with faas.CodeNotFound whose cause is faas.ErrNoFunction or
	// faas.ErrNoQualifier.
	Resolve(id faas.FunctionID, qualifier string) (*faas.Version, error)
	// AsyncConfig returns what is configured for the qualifier ("" is
	// faas.Latest), with the dead-letter target of the version that it names (of an
	// alias, the primary one); the zero value where nothing is, or where there is no
	// such function or qualifier.
	AsyncConfig(id faas.FunctionID, qualifier string) faas.AsyncConfig
}

// Options configure a Service.
type Options struct {
	Functions Functions        // required
	Metrics   *metric.Registry // nil counts nothing
	Logger    *slog.Logger     // nil discards
}

// Service accepts, runs and remembers asynchronous invocations. Safe for
// concurrent use. All errors are *faas.Error.
type Service struct{}

// New returns a service that accepts events and runs none until Start.
func New(o Options) (*Service, error) { return &Service{}, nil }

func unready() error {
	return faas.Errorf(faas.CodeUnsupported, "asynchronous invocations", "Asynchronous invocations are not served yet.")
}

// Accept makes a request durable and returns: 202. It implements invoke.Acceptor.
//
// The payload is JSON of at most faas.MaxAsyncPayload bytes; the function exists
// and can be called by the qualifier now. Where the caller's IdempotencyKey named
// another event of the function within the window, that one's request id comes
// back with Duplicate, and nothing is stored.
//
// Errors: CodeInvalid, CodeInvalidBody, CodeTooLarge for the request, CodeNotFound,
// CodeNotReady, CodeThrottled with a *faas.Refusal where the backlog of the function
// or the account is full, CodeDiskFull where the data directory nearly is,
// CodeShuttingDown.
func (s *Service) Accept(ctx context.Context, req *invoke.Request) (invoke.Accepted, error) {
	return invoke.Accepted{}, unready()
}

// Get returns what has become of an event of the scope (an empty Namespace is
// any); CodeNotFound where the history has none of the request id.
func (s *Service) Get(ctx context.Context, scope faas.Scope, requestID string) (faas.EventRecord, error) {
	return faas.EventRecord{}, unready()
}

// Payload returns the payload of a recorded event; CodeNotFound where the history
// does not have it (any more).
func (s *Service) Payload(ctx context.Context, scope faas.Scope, requestID string) ([]byte, error) {
	return nil, unready()
}

// List returns a page of the recorded events that the filter wants; CodeInvalid
// for a marker that no list returned.
func (s *Service) List(ctx context.Context, f Filter) (Page, error) { return Page{}, unready() }

// Terminate ends an event: one that waits leaves its queue, one that runs has its
// instance stopped as how says. It returns when the outcome (EventAborted) is
// recorded. CodeNotFound, or CodeConflict where the event has its outcome already.
func (s *Service) Terminate(ctx context.Context, scope faas.Scope, requestID string, how Stop) error {
	return unready()
}

// Redrive sends dead letters again as new events and returns one entry for each,
// in order. The error is for the request as a whole: CodeInvalid.
func (s *Service) Redrive(ctx context.Context, r Redrive) ([]Redriven, error) {
	return nil, unready()
}

// Replay sends a recorded event once more and returns the request id of the new
// one. Errors are those of Accept and Payload.
func (s *Service) Replay(ctx context.Context, r Replay) (string, error) { return "", unready() }

// Queues returns the backlogs of the scope's functions (an empty Namespace is any)
// that are not empty, sorted by namespace and name.
func (s *Service) Queues(scope faas.Scope) []Queue { return nil }

// Close stops fetching, waits for the attempts in flight until ctx ends, and gives
// back what still runs then: it is tried again with the same attempt number.
func (s *Service) Close(ctx context.Context) error { return nil }
