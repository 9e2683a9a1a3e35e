package pool

import (
	"context"
	"time"

	"hearth/faas"
)

// Starter makes started runtimes. Implemented by package runtimes over the real
// sandbox and by a fake in tests.
type Starter interface {
	// Start makes a sandbox for the version, mounts its code and starts its
	// runtime; init has begun when it returns. The instance id is unique.
	// faas.CodeNoCapacity where the machine has no room, faas.CodeRuntime where
	// the runtime is not installed. Provisioned tells of ctx what the start is for.
	Start(ctx context.Context, version *faas.Version, instance string) (Runtime, error)
}

type provisionedKey struct{}

// Provisioned reports whether ctx is that of a start for provisioned concurrency.
func Provisioned(ctx context.Context) bool { return ctx.Value(provisionedKey{}) != nil }

// Runtime is one started runtime in its sandbox, as an instance holds it. All
// methods are safe for concurrent use, and harmless after Kill.
type Runtime interface {
	// Init waits until the runtime can take its first invocation, at most until
	// ctx ends. The error is a *Failure where the runtime reported one or ended.
	Init(ctx context.Context) error
	// Ready lifts init's privileges: the CPU quota is set. Called once, after
	// Init succeeded and before the first Invoke.
	Ready() error
	// Slots is how many invocations the runtime can hold at once now: at least 1
	// when Init has returned, at most the version's InstanceConcurrency. It never
	// falls; more is closed when it has risen.
	Slots() (n int, more <-chan struct{})
	// Invoke delivers one event and waits for its outcome. When ctx ends first
	// its cause is returned and the runtime must be killed. A *Failure means that
	// the runtime ended while it held the event.
	Invoke(ctx context.Context, event *faas.Event) (faas.Outcome, error)
	// Settle returns after the log lines of the invocation were handed to the log
	// store; the tail is its last 4 KiB of log, the START, END and REPORT lines
	// included. It writes END and REPORT; Invoke wrote START.
	Settle(report *faas.Report, wantTail bool) (tail []byte)
	// Freeze and Thaw stop and resume everything in the sandbox; what it does while
	// it is told to stop is not waited for. ErrCannotFreeze where there is no such
	// thing. The caller orders them, and Kill after them.
	Freeze() error
	Thaw() error
	// MaxMemory is the highest memory use so far, in bytes.
	MaxMemory() int64
	// Parts are the parts of the start so far: Sandbox, Runtime, Code, Init.
	Parts() faas.Timeline
	// Done is closed when the runtime has ended by itself.
	Done() <-chan struct{}
	// Kill ends everything in the sandbox and returns when nothing of it runs,
	// at most about a second later. With grace > 0 the runtime is thawed, told to
	// shut down and has that long to end by itself. Idempotent.
	Kill(cause string, grace time.Duration) error
}

// Lingerer is implemented by runtimes beside which something else may still work on
// an invocation that is answered. The instance takes no other and is not frozen before.
type Lingerer interface {
	// Lingering is closed when that is done, at the latest some moments after the
	// invocation's deadline or by Kill; nil where nothing works.
	Lingering() <-chan struct{}
}

// Failure says how a runtime failed, with the document that the caller of the
// invocation (or the sponsor of the init) gets as function error.
type Failure struct {
	Kind    FailureKind
	Outcome faas.Outcome // ready to be sent
	// ForRequest makes Outcome again with the request id in its text, where the
	// failure was met during init and the document is the platform's own: a
	// runtime that starts does not know whose request it was started for. Nil
	// where the document is the runtime's or names its request already.
	ForRequest func(requestID string) faas.Outcome
}

// FailureKind tells the ends of a runtime apart.
type FailureKind string

const (
	FailedInit    FailureKind = "init"    // the runtime reported an init error
	FailedExit    FailureKind = "exit"    // the process ended
	FailedOOM     FailureKind = "oom"     // the group ran out of memory
	FailedTimeout FailureKind = "timeout" // killed at its deadline
	FailedBroken  FailureKind = "broken"  // it broke the protocol
	// FailedTerminated: the user ended the invocation.
	FailedTerminated FailureKind = "terminated"
)

func (f *Failure) Error() string {
	return "runtime failed (" + string(f.Kind) + "): " + f.Outcome.ErrorType
}
