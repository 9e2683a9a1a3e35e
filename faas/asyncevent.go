package faas

import "time"

// EventStatus is what has become of an asynchronous invocation.
type EventStatus string

const (
	EventQueued   EventStatus = "queued"   // accepted; no attempt began yet
	EventRunning  EventStatus = "running"  // an attempt holds, or is about to get, an instance
	EventRetrying EventStatus = "retrying" // an attempt failed; the next is due at EventRecord.Next
	EventDone     EventStatus = "done"     // the function succeeded
	EventFailed   EventStatus = "failed"   // given up; EventRecord.Reason says why
	EventAborted  EventStatus = "aborted"  // terminated by its user
	EventExpired  EventStatus = "expired"  // too old before an attempt could succeed
)

// EventStatuses returns every status, in the order of an event's life.
func EventStatuses() []EventStatus {
	return []EventStatus{EventQueued, EventRunning, EventRetrying, EventDone, EventFailed, EventAborted, EventExpired}
}

// Final reports whether the status is an outcome: it never changes again.
func (s EventStatus) Final() bool {
	return s == EventDone || s == EventFailed || s == EventAborted || s == EventExpired
}

// DropReason is why an event ended without success.
type DropReason string

const (
	DropRetries DropReason = "retries-exhausted" // a function error in the last attempt that was allowed
	DropAge     DropReason = "event-age-exceeded"
	// DropFunction: the function does not exist any more.
	DropFunction DropReason = "function-deleted"
	// DropQualifier: the version or alias does not exist any more.
	DropQualifier DropReason = "qualifier-deleted"
	// DropRequest: no version of the function could serve it; it is not tried again.
	DropRequest    DropReason = "bad-request"
	DropTerminated DropReason = "terminated" // by its user
	// DropLoop: it is the result of a chain of destinations that is too long.
	DropLoop DropReason = "recursive-loop"
	// DropDamaged: the stored event cannot be read.
	DropDamaged DropReason = "damaged"
)

// Attempt is one try of an asynchronous invocation on an instance. What was
// refused by a limit before it got one is no attempt.
type Attempt struct {
	Number  int       `json:"number"`  // from 1
	Version string    `json:"version"` // Latest or a number
	Began   time.Time `json:"began"`
	// Ended is zero while it runs.
	Ended time.Time `json:"ended,omitzero"`
	// Instance ran it; "" where none did: init failed before.
	Instance string `json:"instance,omitempty"`
	// Status is one of the Status constants; "" while it runs, StatusAborted where
	// the end of this server cut it off.
	Status string `json:"status,omitempty"`
	// ErrorType and ErrorMessage are the function's, or say what the platform did.
	ErrorType    string     `json:"errorType,omitempty"`
	ErrorMessage string     `json:"errorMessage,omitempty"` // at most 1 KiB
	Log          LogPointer `json:"log"`
}

// LogPointer is where the log of an attempt is: the lines of the request id in the
// function's log, not before From and before Until (zero: no end yet).
type LogPointer struct {
	Version string    `json:"version"`
	From    time.Time `json:"from"`
	Until   time.Time `json:"until,omitzero"`
}

// DeliveryKind says what a destination is told.
type DeliveryKind string

const (
	DeliverSuccess    DeliveryKind = "on-success"
	DeliverFailure    DeliveryKind = "on-failure"
	DeliverDeadLetter DeliveryKind = "dead-letter"
)

// Delivery is what has become of telling one destination of an outcome.
type Delivery struct {
	Kind        DeliveryKind `json:"kind"`
	Destination Destination  `json:"destination"`
	Delivered   time.Time    `json:"delivered,omitzero"` // zero where it is not
	// Next is when it is tried again; zero where it is delivered or given up.
	Next     time.Time `json:"next,omitzero"`
	Attempts int       `json:"attempts,omitempty"` // that failed
	Error    string    `json:"error,omitempty"`    // of the last that failed
	// RequestID is the event that a function as destination got.
	RequestID string `json:"requestId,omitempty"`
}

// OriginKind is what an event that no caller sent came from.
type OriginKind string

const (
	OriginRedrive     OriginKind = "redrive"     // it failed, and was sent again
	OriginReplay      OriginKind = "replay"      // it was recorded, and was sent again
	OriginDestination OriginKind = "destination" // it is the outcome of another
)

// Origin names the event that another one came from.
type Origin struct {
	Kind      OriginKind `json:"kind"`
	RequestID string     `json:"requestId"`
}

// EventRecord is one asynchronous invocation as its user can see it. Its payload
// is not part of it.
type EventRecord struct {
	RequestID string      `json:"requestId"`
	Function  FunctionID  `json:"function"`
	Qualifier string      `json:"qualifier,omitempty"` // as the caller named it
	Status    EventStatus `json:"status"`
	Accepted  time.Time   `json:"accepted"`
	// Next is when the next attempt is due, while the status is EventRetrying.
	Next time.Time `json:"next,omitzero"`
	// Ended is when the outcome was recorded; zero before.
	Ended    time.Time `json:"ended,omitzero"`
	Attempts []Attempt `json:"attempts,omitempty"` // in order
	// Reason is why it ended without success; "" else. Dropped says that nobody was
	// told of it, because neither a dead-letter target nor a destination was set.
	Reason  DropReason `json:"reason,omitempty"`
	Dropped bool       `json:"dropped,omitempty"`
	// Deliveries are what the outcome's destinations were told.
	Deliveries []Delivery `json:"deliveries,omitempty"`
	// PayloadBytes is the size of the payload.
	PayloadBytes int    `json:"payloadBytes"`
	TraceID      string `json:"traceId,omitempty"`
	// Origin is nil for an event that a caller sent.
	Origin *Origin `json:"origin,omitempty"`
	// Redriven is the event that was made of this one by a redrive, the last one.
	Redriven string `json:"redriven,omitempty"`
}
