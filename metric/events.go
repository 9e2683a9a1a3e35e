package metric

// EventCount names a counter of what became of asynchronous invocations.
type EventCount uint8

// The counters of events. They are counted once each; what a crash repeats is
// counted again.
const (
	EventsAccepted     EventCount = iota // made durable
	EventsDuplicate                      // not stored, because their idempotency key was known
	EventsStarted                        // attempts that began
	EventsRetried                        // attempts that failed and are made again
	EventsDropped                        // given up, and nobody was told
	EventsExpired                        // given up because of their age
	EventsDeadLettered                   // given up, and a destination is told
	EventsUndelivered                    // outcomes that a destination did not take, given up
	eventCounts
)

var eventNames = [eventCounts]string{"accepted", "duplicate", "started", "retried", "dropped", "expired", "dead-lettered", "undelivered"}

func (c EventCount) String() string { return eventNames[c] }

// EventCounts are every counter's name's number.
type EventCounts [eventCounts]uint64

// Event counts one on the function of which, or of a version of which, the series is.
func (s *Series) Event(c EventCount) {
	for ; s != nil && s.calls == nil; s = s.parent {
	}
	if s != nil {
		s.calls.events[c].Add(1)
	}
}

func (c *calls) eventCounts() (all EventCounts) {
	for i := range c.events {
		all[i] = c.events[i].Load()
	}
	return all
}
