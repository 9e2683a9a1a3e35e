package async

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"hearth/engine"
	"hearth/faas"
	"hearth/invoke"
)

// Bounds of what is kept about an event beside its payload.
const (
	maxAttempts     = 8   // of one event that are remembered, the first and the last ones
	maxErrorMessage = 512 // bytes
	maxTrace        = 512 // bytes; a longer one is dropped
	// maxHops is how many destinations in a chain may follow one another.
	maxHops = 16
)

// header is what is stored with an event beside its payload. A retry replaces it.
type header struct {
	Qualifier string          `json:"q,omitempty"`
	Trace     string          `json:"t,omitempty"`
	Client    json.RawMessage `json:"c,omitempty"`
	// Failed is how many attempts ended in a function error: the number of the next
	// is one more. Faults is how often the platform failed since the last of them.
	Failed   int            `json:"n,omitempty"`
	Faults   int            `json:"f,omitempty"`
	Attempts []faas.Attempt `json:"a,omitempty"`
	// DeadLetter is the function's dead-letter target, or else its destination for
	// failures, as it was at acceptance, for when the function is deleted.
	DeadLetter faas.Destination `json:"d,omitempty"`
	Origin     *faas.Origin     `json:"o,omitempty"`
	Hops       int              `json:"h,omitempty"` // destinations that lead here
}

func (h header) encode() []byte {
	b, err := json.Marshal(h)
	if err != nil { // its one raw part was JSON when it was accepted
		panic("async: a header cannot be encoded: " + err.Error())
	}
	return b
}

func decodeHeader(b []byte) (header, error) {
	var h header
	if err := json.Unmarshal(b, &h); err != nil {
		return header{}, fmt.Errorf("async: a stored header cannot be read: %w", err)
	}
	return h, nil
}

// with returns the header with one more attempt, or with the end of the one that was
// open.
func (h header) with(a faas.Attempt) header {
	list := append([]faas.Attempt(nil), h.Attempts...)
	if last := len(list) - 1; last >= 0 && list[last].Ended.IsZero() {
		list = list[:last]
	}
	if len(list) >= maxAttempts { // the first ones tell most, and the last
		list = append(list[:maxAttempts/2], list[maxAttempts/2+1:]...)
	}
	h.Attempts = append(list, a)
	return h
}

// cutOff closes an attempt that this server's end, or the one's before it, left open.
func (h header) cutOff(now time.Time) header {
	last := len(h.Attempts) - 1
	if last < 0 || !h.Attempts[last].Ended.IsZero() {
		return h
	}
	a := h.Attempts[last]
	a.Ended, a.Status, a.ErrorType = now, faas.StatusAborted, "Hearth.Restarted"
	a.ErrorMessage = "The server ended while the attempt ran. It is tried again with the same number."
	a.Log.Until = now
	return h.with(a)
}

// request is the invocation that the event asks for.
func (h header) request(e *engine.Event, id faas.FunctionID) *invoke.Request {
	return &invoke.Request{
		RequestID: e.ID, Function: id, Qualifier: h.Qualifier, Type: invoke.Event,
		Payload: e.Body, ClientContext: h.Client, TraceID: h.Trace,
		InvokedARN: faas.FunctionARN(id, h.Qualifier), Attempt: h.Failed + 1,
	}
}

// The first tokens of keys, behind the account: a region is never the second.
const deliveries = "~deliveries"

// keyOf names the queue of a function.
func keyOf(id faas.FunctionID) string {
	return id.Account + "/" + id.Region + "/" + id.Namespace + "/" + id.Name
}

// deliveryKey names the queue of what the destinations of a function's events have
// not taken yet.
func deliveryKey(id faas.FunctionID) string {
	return id.Account + "/" + deliveries + "/" + id.Region + "/" + id.Namespace + "/" + id.Name
}

// functionOf is the inverse of both; delivery says of which.
func functionOf(key string) (id faas.FunctionID, delivery, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) == 5 && parts[1] == deliveries {
		delivery = true
		parts = append(parts[:1], parts[2:]...)
	}
	if len(parts) != 4 {
		return id, false, false
	}
	id.Account, id.Region, id.Namespace, id.Name = parts[0], parts[1], parts[2], parts[3]
	return id, delivery, true
}

// inScope reports whether a function is one of the scope's; an empty namespace is
// any.
func inScope(id faas.FunctionID, scope faas.Scope) bool {
	return id.Account == scope.Account && id.Region == scope.Region &&
		(scope.Namespace == "" || id.Namespace == scope.Namespace)
}

func clip(s string, bytes int) string {
	if len(s) > bytes {
		return strings.ToValidUTF8(s[:bytes], "")
	}
	return s
}
