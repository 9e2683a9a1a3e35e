package faas

import "fmt"

// Limit names what refuses an invocation.
type Limit string

// The limits, in the order in which the first that fails is named.
const (
	LimitOff        Limit = "switched-off"       // reserved concurrency 0
	LimitReserved   Limit = "reserved"           // the function's reserved concurrency
	LimitFunction   Limit = "function-maximum"   // instances of a function without a reservation
	LimitExecutions Limit = "account-executions" // invocations in flight of the account
	LimitMemory     Limit = "account-memory"     // memory of the account's running instances
	LimitExpansion  Limit = "expansion"          // starts in any 60 s
	LimitMachine    Limit = "machine"            // what this machine can hold
	// LimitSynchronous is the share of the account that stays with synchronous
	// calls; only asynchronous ones meet it.
	LimitSynchronous Limit = "synchronous-share"
)

// LimitBacklog is the events that a function or an account may have waiting, or
// their bytes. It refuses the acceptance of an event, never an invocation, and so
// is none of RefusingLimits.
const LimitBacklog Limit = "backlog"

// RefusingLimits returns every limit, in order.
func RefusingLimits() []Limit {
	return []Limit{LimitOff, LimitReserved, LimitFunction, LimitExecutions, LimitMemory, LimitExpansion, LimitMachine, LimitSynchronous}
}

// Refusal says which limit refused an invocation. It is the cause of an *Error
// with CodeThrottled, or CodeNoCapacity for LimitMachine.
type Refusal struct {
	Limit Limit `json:"limit"`
	Unit  Unit  `json:"unit"`
	Value int   `json:"value"` // of the limit
	Use   int   `json:"use"`   // of it, when it refused
	// Subject is whose limit it is: a function, or an account and region.
	Subject string `json:"subject"`
	// Raise says how to raise the limit, in words for a person.
	Raise string `json:"raise"`
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s of %s: %d of %d %s in use", r.Limit, r.Subject, r.Use, r.Value, r.Unit)
}
