package async

import (
	"time"

	"hearth/faas"
)

// Filter says which events are wanted. Zero fields want all.
type Filter struct {
	// Function is whose events; with an empty Name those of all functions of the
	// scope, with an empty Namespace those of all its namespaces.
	Function  faas.FunctionID
	Qualifier string
	Statuses  []faas.EventStatus
	// Reason wants those that ended so.
	Reason faas.DropReason
	// From and Until bound the time of acceptance: not before From, before Until.
	From, Until time.Time
	// Marker is Page.Next of the page before.
	Marker string
	// Max bounds the events of the page; 0 is 50, at most 1,000.
	Max int
}

// Page is a part of a list.
type Page struct {
	Events []faas.EventRecord
	Next   string // "" at the end
}

// MaxTerminationGrace is the longest time that a terminated runtime may have.
const MaxTerminationGrace = 15 * time.Minute

// Redrive says which dead letters are sent again: events that failed, expired or
// were aborted and whose payload the history still has.
type Redrive struct {
	// Scope is whose events.
	Scope faas.Scope
	// RequestIDs are the events, at most 1,000. Where there are none, Filter says
	// which; its page and statuses do not count: those that ended without success and
	// were not redriven before, at most Policy.Redriven of them, the oldest first.
	RequestIDs []string
	Filter     Filter
	// To is the function and qualifier that they are sent to; the zero value is
	// the one that each had.
	To faas.FunctionRef
	// Payload takes the place of the event's own; only with one request id.
	Payload []byte
}

// Redriven is one dead letter that was sent again.
type Redriven struct {
	From      string // its request id
	RequestID string // of the new event
	Err       error  // a *faas.Error where it was not sent; RequestID is empty then
}

// Replay says how a recorded event is sent once more.
type Replay struct {
	Scope     faas.Scope
	RequestID string           // of the event, whatever became of it
	To        faas.FunctionRef // the zero value is the one that it had
	Payload   []byte           // nil leaves its own
}

// Queue is the backlog of one function at one moment.
type Queue struct {
	Function faas.FunctionID
	// Waiting events have no attempt under way; Delayed of them wait for the time
	// of their next attempt, the others for room.
	Waiting, Delayed int
	Running          int
	Bytes            int64     // of the waiting events
	Oldest           time.Time // acceptance of the oldest waiting one; zero where none waits
	// Deliveries are outcomes that a destination has not taken yet.
	Deliveries int
	// Held is what refused the head of the queue, and Next when it is tried again;
	// nil and zero where nothing did.
	Held *faas.Refusal
	Next time.Time
}

// Age is how long the oldest waiting event has waited; 0 where none waits.
func (q Queue) Age(now time.Time) time.Duration {
	if q.Oldest.IsZero() {
		return 0
	}
	return max(0, now.Sub(q.Oldest))
}
