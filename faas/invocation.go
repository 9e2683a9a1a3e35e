package faas

import "time"

// Event is one invocation as the runtime inside an instance receives it.
type Event struct {
	RequestID string
	Payload   []byte // JSON; an empty body has become {} before this point
	// Deadline is when the invocation is killed, on the wall clock that the
	// Runtime API promises. Whoever waits for it counts from the monotonic
	// clock at hand-over instead.
	Deadline      time.Time
	InvokedARN    string // as the caller named it, qualifier included
	TraceID       string // X-Amzn-Trace-Id, made up where the caller sent none
	ClientContext []byte // JSON, nil when absent
	Cognito       []byte // JSON, nil when absent
	// Attempt is the number of this try of an asynchronous invocation, from 1; 0
	// where a caller waits for the answer.
	Attempt int
	// Stream takes the response; nil has it in the Outcome.
	Stream ResponseStream
}

// Outcome is what an invocation that reached its handler came to. A function
// error is data: the error return of Invoke functions is for platform errors only.
type Outcome struct {
	Payload []byte // the handler's result, or the error document
	// FunctionError is empty on success, else Unhandled or Handled, the value of
	// Lambda's X-Amz-Function-Error.
	FunctionError string
	ErrorType     string // e.g. Runtime.ExitError; empty on success
}

// Start says whether an invocation waited for a new instance, and why.
type Start string

const (
	StartWarm Start = "warm"
	StartCold Start = "cold"
)

// ColdReason is why an invocation was cold.
type ColdReason string

const (
	ColdFirst    ColdReason = "first"     // the first invocation of its version
	ColdScaleOut ColdReason = "scale-out" // every instance was busy
	ColdIdle     ColdReason = "idle"      // the idle instances had been reclaimed
	ColdRoom     ColdReason = "room"      // an idle instance had been reclaimed for another function's sake
	ColdDeploy   ColdReason = "deploy"    // the version changed
	ColdRecycle  ColdReason = "recycle"   // the instance before ended by timeout, exit, OOM or init error
	ColdRestart  ColdReason = "restart"   // Hearth was restarted
)

// StartWay is how the instance of a cold invocation was started.
type StartWay string

const (
	WayCell   StartWay = "cell"   // a stem cell became the instance
	WayEmpty  StartWay = "empty"  // a cell could have, but none stood by
	WayDirect StartWay = "direct" // no cell can; Timeline.WayReason says why
)

// Timeline is where the time of one invocation went. Parts that did not happen
// are zero. Queue+Thaw+Sandbox+Runtime+Code+Init is the wait before the handler got
// the event.
type Timeline struct {
	Queue   time.Duration `json:"queue"`   // waiting for an instance, less what follows
	Thaw    time.Duration `json:"thaw"`    // resuming an instance that was frozen; zero where it was not
	Sandbox time.Duration `json:"sandbox"` // preparing the isolation, to the runtime's exec; of a cell, making it the function's
	Runtime time.Duration `json:"runtime"` // exec to the runtime's first byte; none of a cell
	Code    time.Duration `json:"code"`    // making the package available to it
	Init    time.Duration `json:"init"`    // the code outside the handler
	Handler time.Duration `json:"handler"` // hand-over to answer
	Settle  time.Duration `json:"settle"`  // kill, log barrier, accounting before the answer is sent

	// Way is how the instance was started, where the invocation waited for that;
	// with the reason where no cell can be used: "variable TZ".
	Way       StartWay `json:"way,omitempty"`
	WayReason string   `json:"wayReason,omitempty"`
}

// What an invocation came to.
const (
	StatusSuccess  = "success"
	StatusError    = "error"    // a function error, or Hearth's own fault
	StatusTimeout  = "timeout"  // its time was up
	StatusOOM      = "oom"      // its instance ran out of memory
	StatusExit     = "exit"     // its runtime ended
	StatusRefused  = "refused"  // a limit, a full machine or a server that stops refused it
	StatusCanceled = "canceled" // its caller left before an instance was there
	StatusAborted  = "aborted"  // its user terminated it, or this server ended while it ran
)

// Report is the record of one settled invocation: the REPORT line, the metrics
// and the ledger are written from it. One that no instance ran has no REPORT line.
type Report struct {
	RequestID string        `json:"requestId"`
	Version   VersionID     `json:"version"`
	Qualifier string        `json:"qualifier,omitempty"` // as the caller named it
	Instance  string        `json:"instance"`
	Start     Start         `json:"start,omitempty"` // empty where no instance ran it
	Cold      ColdReason    `json:"cold,omitempty"`
	Duration  time.Duration `json:"duration"`
	Billed    time.Duration `json:"billed"` // rounded up to whole milliseconds
	MemoryMB  int           `json:"memoryMB"`
	MaxMemory int64         `json:"maxMemory"`      // bytes, the instance's peak so far
	Init      time.Duration `json:"init,omitempty"` // only on a cold start
	Status    string        `json:"status"`         // one of the Status constants
	ErrorType string        `json:"errorType,omitempty"`
	Refusal   *Refusal      `json:"refusal,omitempty"` // which limit, where one refused it
	Began     time.Time     `json:"began"`
	Timeline  Timeline      `json:"timeline"`
	// ResponseBytes is how long the response was, or the error document.
	ResponseBytes int64 `json:"responseBytes,omitempty"`
}
