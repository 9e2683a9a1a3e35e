package runtimeapi

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hearth/faas"
)

// Error types of extensions, as Lambda's.
const (
	TypeExtensionCrash  = "Extension.Crash"
	TypeExtensionInit   = "Extension.InitError"
	TypeExtensionExit   = "Extension.ExitError"
	TypeExtensionLaunch = "Extension.LaunchError"
	typeExtensionStuck  = "Extension.Timeout" // ours: it was not done when the invocation's time was up
)

const (
	// MaxExtensions bounds the extensions of an instance, internal ones included.
	MaxExtensions = 10
	// stuckMargin is how long after an invocation's deadline an extension is given up:
	// later than the invocation itself is.
	stuckMargin = 100 * time.Millisecond
)

// Events that an extension may register for.
const (
	eventInvoke   = "INVOKE"
	eventShutdown = "SHUTDOWN"
)

// ExtensionError is why an extension ends its instance.
type ExtensionError struct {
	Name, Type, Reason string
}

func (e *ExtensionError) Error() string { return e.Type + ": " + e.Name + ": " + e.Reason }

// ExtensionOptions configures an Extensions.
type ExtensionOptions struct {
	Function, Version, Handler, Account string   // what registering answers
	External                            []string // names of the extensions that were started as processes
	// Concurrent: the instance may hold several invocations, of which extensions are
	// not told.
	Concurrent bool
	Telemetry  *Telemetry // nil where it is not served
}

// Extensions is Hearth's end of the Extensions API (2020-01-01) of one instance: who
// has registered, what each is doing, and which events wait. Safe for concurrent use.
type Extensions struct {
	o     ExtensionOptions
	count atomic.Int32 // of those registered: most instances have none

	registered chan struct{} // closed when every external one has registered
	ready      chan struct{} // closed when each has asked for its first event
	failed     chan struct{} // closed by the first failure, which is set before
	gone       chan struct{} // closed by Close

	mu       sync.Mutex
	all      []*extension // in order of their registration; external ones from the start
	sealed   bool         // the runtime has asked for its first event: nobody registers any more
	failure  *ExtensionError
	ending   bool // after Shutdown or Close: an end is no failure
	working  chan struct{}
	deadline *time.Timer // of the invocation that they work on
}

type extension struct {
	name, id    string // id is "" before it has registered
	external    bool
	events      []string
	features    bool // asked for the account
	polled      bool // asked for its first event
	working     bool // has the event of an invocation
	shown       bool
	waiting     chan []byte // of the poll that waits; buffered by one, closed when another replaces it
	undelivered []byte
}

// NewExtensions returns the extensions of an instance that is about to start.
func NewExtensions(o ExtensionOptions) *Extensions {
	e := &Extensions{o: o, registered: make(chan struct{}), ready: make(chan struct{}), failed: make(chan struct{}), gone: make(chan struct{})}
	for _, name := range o.External {
		e.all = append(e.all, &extension{name: name, external: true})
	}
	e.stepLocked()
	return e
}

// stepLocked closes what is reached.
func (e *Extensions) stepLocked() {
	every := func(done func(*extension) bool) bool {
		return !slices.ContainsFunc(e.all, func(x *extension) bool { return !done(x) })
	}
	if every(func(x *extension) bool { return x.id != "" || !x.external }) {
		closeOnce(e.registered)
	}
	if e.sealed && every(func(x *extension) bool { return x.polled }) {
		closeOnce(e.ready)
	}
	if e.working != nil && every(func(x *extension) bool { return !x.working }) {
		close(e.working)
		e.working = nil
		e.deadline.Stop()
	}
}

func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// AwaitRegistered waits until every external extension has registered. An
// *ExtensionError where one failed before.
func (e *Extensions) AwaitRegistered(ctx context.Context) error { return e.await(ctx, e.registered) }

// AwaitReady waits until every extension has asked for its first event; it is to be
// called when the runtime has. Nobody can register any more.
func (e *Extensions) AwaitReady(ctx context.Context) error {
	e.mu.Lock()
	e.sealed = true
	e.stepLocked()
	e.mu.Unlock()
	return e.await(ctx, e.ready)
}

func (e *Extensions) await(ctx context.Context, reached <-chan struct{}) error {
	select {
	case <-reached:
		if f := e.Failure(); f != nil {
			return f
		}
		return nil
	case <-e.failed:
		return e.Failure()
	case <-e.gone:
		return ErrGone
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Failed is closed when an extension has ended the instance; Failure says how.
func (e *Extensions) Failed() <-chan struct{} { return e.failed }

// Failure is why an extension ended the instance; nil where none has.
func (e *Extensions) Failure() *ExtensionError {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failure
}

// Fail notes that an extension ended the instance, if none has and it is not ending
// anyway.
func (e *Extensions) Fail(name, errorType, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failLocked(name, errorType, reason)
}

func (e *Extensions) failLocked(name, errorType, reason string) {
	if e.noteLocked(name, errorType, reason) {
		close(e.failed)
	}
}

// noteLocked notes a failure, and reports whether it is the one that counts; then
// failed is to be closed.
func (e *Extensions) noteLocked(name, errorType, reason string) bool {
	if e.failure != nil || e.ending {
		return false
	}
	e.failure = &ExtensionError{Name: name, Type: errorType, Reason: reason}
	return true
}

// Begin gives an invocation to the extensions that registered for it.
func (e *Extensions) Begin(event *faas.Event) {
	if e.count.Load() == 0 {
		return
	}
	document := eventDocument(invokeEvent{EventType: eventInvoke, DeadlineMs: event.Deadline.UnixMilli(), RequestID: event.RequestID,
		ARN: event.InvokedARN, Tracing: tracing{"X-Amzn-Trace-Id", event.TraceID}})
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range e.all {
		if !slices.Contains(x.events, eventInvoke) {
			continue
		}
		x.working = true
		x.deliverLocked(document)
		if e.working == nil {
			e.working = make(chan struct{})
			working := e.working
			e.deadline = time.AfterFunc(time.Until(event.Deadline)+stuckMargin, func() { e.giveUp(working) })
		}
	}
}

// giveUp fails the extensions that still work on what they were given then.
func (e *Extensions) giveUp(working chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.working != working {
		return
	}
	at := slices.IndexFunc(e.all, func(x *extension) bool { return x.working })
	e.failLocked(e.all[at].name, typeExtensionStuck, "the extension was not done when the invocation's time was up")
}

// Working is closed when the extensions are done with the invocation that they were
// given; nil where they are.
func (e *Extensions) Working() <-chan struct{} {
	if e.count.Load() == 0 {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.working
}

// Ending says that the instance ends: from now on no extension fails.
func (e *Extensions) Ending() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ending = true
}

// Shutdown tells the extensions that registered for it that the instance ends, and
// reports whether there are any. From now on none fails.
func (e *Extensions) Shutdown(reason string, deadline time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ending = true
	told := false
	for _, x := range e.all {
		if slices.Contains(x.events, eventShutdown) {
			x.deliverLocked(eventDocument(shutdownEvent{eventShutdown, reason, deadline.UnixMilli()}))
			told = true
		}
	}
	return told
}

// Close ends all waits.
func (e *Extensions) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ending = true
	closeOnce(e.gone)
	for _, x := range e.all {
		x.working = false
	}
	e.stepLocked()
}

// deliverLocked gives an event to the poll that waits, or keeps it for the next one.
func (x *extension) deliverLocked(document []byte) {
	if x.waiting == nil {
		x.undelivered = document
		return
	}
	x.waiting <- document
	x.waiting = nil
}

// States returns how the extensions are, in Lambda's words, for the log.
func (e *Extensions) States() []ExtensionState {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []ExtensionState
	for _, x := range e.all {
		s := ExtensionState{Name: x.name, State: "Started", Events: x.events}
		switch {
		case e.failure != nil && e.failure.Name == x.name:
			s.State, s.ErrorType = "Failed", e.failure.Type
		case x.polled:
			s.State = "Ready"
		case x.id != "":
			s.State = "Registered"
		}
		all = append(all, s)
	}
	return all
}

// ExtensionState is how an extension is.
type ExtensionState struct {
	Name, State, ErrorType string
	Events                 []string
}

type invokeEvent struct {
	EventType  string  `json:"eventType"`
	DeadlineMs int64   `json:"deadlineMs"`
	RequestID  string  `json:"requestId"`
	ARN        string  `json:"invokedFunctionArn"`
	Tracing    tracing `json:"tracing"`
}

type tracing struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

type shutdownEvent struct {
	EventType string `json:"eventType"`
	Reason    string `json:"shutdownReason"`
	Deadline  int64  `json:"deadlineMs"`
}

func eventDocument(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // strings and numbers always marshal
		return []byte("{}")
	}
	return b
}
