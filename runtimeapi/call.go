package runtimeapi

import (
	"context"
	"encoding/json"
	"fmt"

	"hearth/faas"
)

// MaxResponse is the largest result of a function, in bytes (6 MiB and 100, the
// figure in Lambda's own message).
const MaxResponse = 6<<20 + 100

// Unhandled is the FunctionError of everything that a runtime reports as error.
const Unhandled = "Unhandled"

// Error types of Lambda's vocabulary that are decided on this side.
const (
	TypeResponseTooLarge = "Function.ResponseSizeTooLarge"
	TypeExit             = "Runtime.ExitError"
	TypeOutOfMemory      = "Runtime.OutOfMemory"
	TypeEntrypoint       = "Runtime.InvalidEntrypoint"
	TypeUnknown          = "Function.Unknown"
)

// maxInFlight bounds the calls of one session, and those that were given up
// and may still be answered. It is well above any InstanceConcurrency.
const maxInFlight = 2048

// call is one invocation that a runtime holds.
type call struct {
	id       string
	answered chan answer // buffered by one; sent to at most once
	inbound  *inbound    // of a streamed response; guarded by the session's lock
}

// answer is how a runtime ended an invocation.
type answer struct {
	outcome faas.Outcome
	crashed bool     // and the runtime ends
	inbound *inbound // the response has begun; nothing else is set
	// truncated: the response broke off; nothing else is set.
	truncated *AnswerError
}

func (a answer) result() (faas.Outcome, error) {
	if a.truncated != nil {
		return faas.Outcome{}, a.truncated
	}
	if a.crashed {
		return faas.Outcome{}, &CrashError{Outcome: a.outcome}
	}
	return a.outcome, nil
}

// await waits for the answer, until ctx ends, when it calls giveUp, or until gone
// is closed. An outcome that is there by then counts.
func (c *call) await(ctx context.Context, gone <-chan struct{}, giveUp func()) (answer, error) {
	select {
	case a := <-c.answered:
		return a, nil
	case <-ctx.Done():
		giveUp()
		return answer{}, context.Cause(ctx)
	case <-gone:
		select {
		case a := <-c.answered:
			return a, nil
		default:
			return answer{}, ErrGone
		}
	}
}

// callTable holds the calls of a session by request id. Not safe for concurrent
// use. A nil entry is a call that was given up: its late answer is dropped.
type callTable struct {
	calls map[string]*call
}

func newCallTable() callTable { return callTable{calls: make(map[string]*call, 1)} }

// add registers a call. Request ids are unique; one that is there already, and
// a table that is full, are mistakes of the caller.
func (t *callTable) add(c *call) error {
	if _, taken := t.calls[c.id]; taken {
		return fmt.Errorf("runtimeapi: request id %q is in use", c.id)
	}
	if len(t.calls) >= maxInFlight {
		return fmt.Errorf("runtimeapi: %d invocations are in flight", len(t.calls))
	}
	t.calls[c.id] = c
	return nil
}

// take removes the call with the id. known is false where the session never had
// it or answered it before; the call is nil where it was given up.
func (t *callTable) take(id string) (c *call, known bool) {
	c, known = t.calls[id]
	delete(t.calls, id)
	return c, known
}

// abandon gives a call up. Its answer may still come and is expected once.
func (t *callTable) abandon(c *call) {
	if t.calls[c.id] == c {
		t.calls[c.id] = nil
	}
}

// errorDocument is the body of a function error that has no stack.
func errorDocument(errorType, message string) []byte {
	doc, err := json.Marshal(struct {
		Message string `json:"errorMessage"`
		Type    string `json:"errorType"`
	}{message, errorType})
	if err != nil { // strings always marshal
		return []byte("{}")
	}
	return doc
}

// tooLarge is the outcome of a response over the limit, in Lambda's words.
func tooLarge(size int64, limit int) faas.Outcome {
	return faas.Outcome{
		Payload: errorDocument(TypeResponseTooLarge, fmt.Sprintf(
			"Response payload size (%d bytes) exceeded maximum allowed payload size (%d bytes).", size, limit)),
		FunctionError: Unhandled,
		ErrorType:     TypeResponseTooLarge,
	}
}
