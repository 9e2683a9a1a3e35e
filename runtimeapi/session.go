// Package runtimeapi is the conversation between Hearth and a runtime inside an
// instance: length-prefixed frames over an inherited socket for the managed
// runtimes, the Lambda Runtime API (2018-06-01) over HTTP for custom ones, and
// requests to runtimes that are HTTP servers themselves.
//
// It owns these protocols and their limits, and treats everything that comes
// from inside an instance as hostile. It must not know how a sandbox is made,
// nor which instance a call goes to.
package runtimeapi

import (
	"context"
	"errors"

	"hearth/faas"
)

// Errors of a Session.
var (
	// ErrGone: the runtime's end of the conversation is closed, or it broke the
	// protocol. The owner looks at the sandbox for what happened.
	ErrGone = errors.New("runtimeapi: the runtime is gone")
)

// InitError is the runtime's own report that init failed.
type InitError struct {
	Type    string // e.g. Runtime.ImportModuleError
	Payload []byte // the error document: errorMessage, errorType, stackTrace
}

func (e *InitError) Error() string { return "init failed: " + e.Type }

// CrashError is the outcome of an invocation whose code ended its runtime, such
// as an exception that nobody caught. The runtime takes no more events.
type CrashError struct {
	Outcome faas.Outcome // a function error
}

func (e *CrashError) Error() string { return "the runtime crashed: " + e.Outcome.ErrorType }

// Session is Hearth's end of the conversation with one runtime. Safe for
// concurrent use.
type Session interface {
	// Init waits until the runtime is ready for its first invocation. An
	// *InitError is the runtime's own; ErrGone where it ended before.
	Init(ctx context.Context) error
	// Slots is how many invocations the runtime can hold at once now; more is
	// closed when it has risen, and nil where it never will.
	Slots() (n int, more <-chan struct{})
	// Invoke delivers one event and waits for its outcome, or until ctx ends (the
	// answer, if one still comes, is then dropped) or the runtime is gone. The
	// outcome may be a function error; the error return is one only as *CrashError. A
	// response over the payload limit becomes Function.ResponseSizeTooLarge.
	Invoke(ctx context.Context, event *faas.Event) (faas.Outcome, error)
	// Close ends the conversation; a pending Init or Invoke returns ErrGone. Idempotent.
	Close() error
}
