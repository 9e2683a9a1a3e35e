package native

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"hearth/async"
	"hearth/faas"
	"hearth/invoke"
)

// Headers of an event that is accepted.
const (
	// HeaderIdempotencyKey is the caller's name for an event: a second one of the
	// function with the same, within two minutes, is dropped.
	HeaderIdempotencyKey = "Hearth-Idempotency-Key"
	// HeaderDuplicate says that it was.
	HeaderDuplicate = "Hearth-Duplicate"
)

// maxRequestIDs bounds a redrive that names its events.
const maxRequestIDs = 1000

// Accepted is the answer to an event that is durable.
type Accepted struct {
	RequestID string `json:"requestId"` // with duplicate that of the event that had the key first
	Duplicate bool   `json:"duplicate"`
}

// EventPage is one page of events, the newest first.
type EventPage struct {
	Events []faas.EventRecord `json:"events"`
	Next   string             `json:"next,omitempty"`
}

// TerminateRequest says how a running event is ended.
type TerminateRequest struct {
	// GraceSeconds is for how long the runtime may end by itself, after SIGTERM, before
	// it is killed: 0, which is at once, to 900.
	GraceSeconds int `json:"graceSeconds,omitempty"`
}

// RedriveRequest says which dead letters are sent again, and to what: those with
// the request ids, or those of a function that ended without success and were not
// redriven before.
type RedriveRequest struct {
	RequestIDs []string `json:"requestIds,omitempty"`
	// Function, and what of its dead letters is wanted.
	Function  string          `json:"function,omitempty"`
	Qualifier string          `json:"qualifier,omitempty"` // that they named
	Reason    faas.DropReason `json:"reason,omitempty"`
	Since     string          `json:"since,omitempty"` // a time or an age
	Until     string          `json:"until,omitempty"`

	Target
}

// Target is what events are sent to in place of what they named, and with what.
type Target struct {
	ToFunction  string          `json:"toFunction,omitempty"`  // "" is the one that they had
	ToQualifier string          `json:"toQualifier,omitempty"` // "" is the one that they named, or $LATEST of ToFunction
	Payload     json.RawMessage `json:"payload,omitempty"`     // nil leaves their own
}

// RedrivePage says what became of each dead letter.
type RedrivePage struct {
	Redriven []Redriven `json:"redriven"`
	Failed   int        `json:"failed"` // of them
}

// Redriven is one dead letter that was sent again, or why it was not.
type Redriven struct {
	From      string       `json:"from"`
	RequestID string       `json:"requestId,omitempty"`
	Error     *ErrorDetail `json:"error,omitempty"`
}

// Queue is the backlog of one function.
type Queue struct {
	Namespace  string        `json:"namespace"`
	Name       string        `json:"name"`
	Waiting    int           `json:"waiting"` // without an attempt under way
	Delayed    int           `json:"delayed"` // of them, until the time of their next attempt
	Running    int           `json:"running"`
	Bytes      int64         `json:"bytes"` // of the waiting ones
	Oldest     time.Time     `json:"oldest,omitzero"`
	Age        time.Duration `json:"age"` // of the oldest waiting one; nanoseconds
	Deliveries int           `json:"deliveries,omitempty"`
	// Held is what refused the head of the queue, and Next when it is tried again.
	Held *faas.Refusal `json:"held,omitempty"`
	Next time.Time     `json:"next,omitzero"`
}

func (a *API) routeEvents() {
	a.route("POST /hearth/v1/functions/{name}/events", a.accept)
	a.route("GET /hearth/v1/functions/{name}/events", a.events)
	a.route("GET /hearth/v1/events", a.events)
	a.route("GET /hearth/v1/events/{requestId}", a.event)
	a.route("GET /hearth/v1/events/{requestId}/payload", a.eventPayload)
	a.route("POST /hearth/v1/events/{requestId}/terminate", a.terminate)
	a.route("POST /hearth/v1/events/{requestId}/replay", a.replay)
	a.route("POST /hearth/v1/redrive", a.redrive)
	a.route("GET /hearth/v1/queues", a.queues)
}

// accept makes an event durable and answers 202.
func (a *API) accept(w http.ResponseWriter, r *http.Request) error {
	payload, err := readBody(w, r, faas.MaxAsyncPayload)
	if err != nil {
		return err
	}
	id, qualifier, requestID := a.function(r), r.URL.Query().Get("qualifier"), uuid.NewString()
	result, err := a.Invoker.Invoke(r.Context(), &invoke.Request{
		RequestID: requestID, Function: id, Qualifier: qualifier, Type: invoke.Event, Payload: payload,
		TraceID: r.Header.Get("X-Amzn-Trace-Id"), InvokedARN: faas.FunctionARN(id, qualifier),
		IdempotencyKey: r.Header.Get(HeaderIdempotencyKey),
	})
	if err != nil {
		return err
	}
	out := Accepted(*result.Accepted)
	w.Header().Set(HeaderRequestID, out.RequestID)
	if out.Duplicate {
		w.Header().Set(HeaderDuplicate, "true")
	}
	writeJSON(w, http.StatusAccepted, out)
	return nil
}

// events lists those of a function, or of all in the namespace.
func (a *API) events(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	filter := async.Filter{Function: a.function(r), Qualifier: q.Get("qualifier"), Reason: faas.DropReason(q.Get("reason")), Marker: q.Get("marker")}
	var err error
	if filter.Max, err = number(r, "max", 50, 1000); err != nil {
		return err
	}
	if filter.From, err = instant(q.Get("since"), "since", a.Now()); err != nil {
		return err
	}
	if filter.Until, err = instant(q.Get("until"), "until", a.Now()); err != nil {
		return err
	}
	if filter.Statuses, err = statuses(q.Get("status")); err != nil {
		return err
	}
	page, err := a.Events.List(r.Context(), filter)
	if err != nil {
		return err
	}
	if len(page.Events) == 0 && page.Next == "" && filter.Marker == "" && filter.Function.Name != "" {
		// Events outlive their function; a misspelt name must not look like one without any.
		if _, err := a.Registry.Get(r.Context(), filter.Function, ""); err != nil {
			return err
		}
	}
	out := EventPage{Events: page.Events, Next: page.Next}
	if out.Events == nil {
		out.Events = []faas.EventRecord{}
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// statuses reads a list of them, such as failed,expired; "" is all.
func statuses(text string) ([]faas.EventStatus, error) {
	if text == "" {
		return nil, nil
	}
	var all []faas.EventStatus
	for _, name := range strings.Split(text, ",") {
		status := faas.EventStatus(strings.TrimSpace(name))
		if !slices.Contains(faas.EventStatuses(), status) {
			return nil, faas.Errorf(faas.CodeInvalid, "status", "status must be some of %s, not %.40q", statusNames(), name)
		}
		all = append(all, status)
	}
	return all, nil
}

func statusNames() string {
	var names []string
	for _, s := range faas.EventStatuses() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// eventScope is where an event of the request may be: an id needs no namespace.
func (a *API) eventScope(r *http.Request) faas.Scope {
	scope := a.scope(r)
	scope.Namespace = ""
	return scope
}

func (a *API) event(w http.ResponseWriter, r *http.Request) error {
	record, err := a.Events.Get(r.Context(), a.eventScope(r), r.PathValue("requestId"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, record)
	return nil
}

func (a *API) eventPayload(w http.ResponseWriter, r *http.Request) error {
	payload, err := a.Events.Payload(r.Context(), a.eventScope(r), r.PathValue("requestId"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(payload) // a client that went away is told nothing
	return nil
}

// terminate answers with the event as it is then.
func (a *API) terminate(w http.ResponseWriter, r *http.Request) error {
	var in TerminateRequest
	if err := readOptional(w, r, maxSettings, "a termination", &in); err != nil {
		return err
	}
	grace, most := time.Duration(in.GraceSeconds)*time.Second, int(async.MaxTerminationGrace/time.Second)
	if in.GraceSeconds < 0 || in.GraceSeconds > most {
		return faas.Errorf(faas.CodeInvalid, "graceSeconds", "graceSeconds is 0 to %d, not %d", most, in.GraceSeconds)
	}
	if err := a.Events.Terminate(r.Context(), a.eventScope(r), r.PathValue("requestId"), grace); err != nil {
		return err
	}
	return a.event(w, r)
}

// readOptional is readSettings of a body that may be left out.
func readOptional(w http.ResponseWriter, r *http.Request, limit int64, what string, into any) error {
	body, err := readBody(w, r, limit)
	if err != nil || len(body) == 0 {
		return err
	}
	return decodeObject(body, what, into)
}

// maxTarget bounds the body of a request with a payload, in bytes.
const maxTarget = faas.MaxAsyncPayload + maxSettings

func (a *API) replay(w http.ResponseWriter, r *http.Request) error {
	var in Target
	if err := readOptional(w, r, maxTarget, "a replay", &in); err != nil {
		return err
	}
	scope, from := a.eventScope(r), r.PathValue("requestId")
	to, err := a.target(r, from, in)
	if err != nil {
		return err
	}
	requestID, err := a.Events.Replay(r.Context(), async.Replay{Scope: scope, RequestID: from, To: to, Payload: in.Payload})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusAccepted, Accepted{RequestID: requestID})
	return nil
}

// target is what an event is sent to; the zero value is what it was sent to before.
func (a *API) target(r *http.Request, requestID string, in Target) (faas.FunctionRef, error) {
	switch {
	case in.ToFunction != "":
		return faas.FunctionRef{ID: faas.FunctionID{Scope: a.scope(r), Name: in.ToFunction}, Qualifier: in.ToQualifier}, nil
	case in.ToQualifier == "":
		return faas.FunctionRef{}, nil
	}
	record, err := a.Events.Get(r.Context(), a.eventScope(r), requestID)
	return faas.FunctionRef{ID: record.Function, Qualifier: in.ToQualifier}, err
}

func (a *API) redrive(w http.ResponseWriter, r *http.Request) error {
	var in RedriveRequest
	body, err := readBody(w, r, maxTarget)
	if err != nil {
		return err
	}
	if err := decodeObject(body, "a redrive", &in); err != nil {
		return err
	}
	redriven, err := a.redriveAll(r, &in)
	if err != nil {
		return err
	}
	out := RedrivePage{Redriven: []Redriven{}}
	for _, one := range redriven {
		line := Redriven{From: one.From, RequestID: one.RequestID}
		if one.Err != nil {
			out.Failed++
			line.Error = detail(one.Err)
		}
		out.Redriven = append(out.Redriven, line)
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (a *API) redriveAll(r *http.Request, in *RedriveRequest) ([]async.Redriven, error) {
	if len(in.RequestIDs) > 0 {
		return a.redriveIDs(r, in)
	}
	if in.Function == "" {
		return nil, faas.Errorf(faas.CodeInvalid, "requestIds", "say which dead letters to send again: requestIds, or the function that they are of")
	}
	if in.Payload != nil {
		return nil, faas.Errorf(faas.CodeInvalid, "payload", "payload goes with one request id: it would take the place of every event's own")
	}
	id := faas.FunctionID{Scope: a.scope(r), Name: in.Function}
	filter := async.Filter{Function: id, Qualifier: in.Qualifier, Reason: in.Reason}
	var err error
	if filter.From, err = instant(in.Since, "since", a.Now()); err != nil {
		return nil, err
	}
	if filter.Until, err = instant(in.Until, "until", a.Now()); err != nil {
		return nil, err
	}
	var to faas.FunctionRef
	if in.ToFunction != "" || in.ToQualifier != "" {
		to = faas.FunctionRef{ID: id, Qualifier: in.ToQualifier}
		if in.ToFunction != "" {
			to.ID.Name = in.ToFunction
		}
	}
	return a.Events.Redrive(r.Context(), async.Redrive{Scope: id.Scope, Filter: filter, To: to})
}

// redriveIDs sends events again that are named. A qualifier without a function
// means that of each event's own function, so those go one by one.
func (a *API) redriveIDs(r *http.Request, in *RedriveRequest) ([]async.Redriven, error) {
	if in.Function != "" || in.Qualifier != "" || in.Reason != "" || in.Since != "" || in.Until != "" {
		return nil, faas.Errorf(faas.CodeInvalid, "requestIds", "requestIds name the events: leave function, qualifier, reason, since and until out")
	}
	if n := len(in.RequestIDs); n > maxRequestIDs {
		return nil, faas.Errorf(faas.CodeInvalid, "requestIds", "requestIds must be at most %d, not %d", maxRequestIDs, n)
	}
	request := async.Redrive{Scope: a.eventScope(r), Payload: in.Payload}
	groups := [][]string{in.RequestIDs}
	if in.ToFunction == "" && in.ToQualifier != "" {
		groups = slices.Collect(slices.Chunk(in.RequestIDs, 1))
	}
	var all []async.Redriven
	for _, ids := range groups {
		to, err := a.target(r, ids[0], in.Target)
		var redriven []async.Redriven
		if err == nil {
			request.RequestIDs, request.To = ids, to
			redriven, err = a.Events.Redrive(r.Context(), request)
		}
		if err != nil && len(groups) == 1 {
			return nil, err
		}
		if err != nil { // of one of many
			redriven = []async.Redriven{{From: ids[0], Err: err}}
		}
		all = append(all, redriven...)
	}
	return all, nil
}

func (a *API) queues(w http.ResponseWriter, r *http.Request) error {
	scope := a.scope(r)
	if r.URL.Query().Get("namespace") == "" {
		scope.Namespace = ""
	}
	out := []Queue{}
	for _, q := range a.Events.Queues(scope) {
		out = append(out, queueOf(q, a.Now()))
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func queueOf(q async.Queue, now time.Time) Queue {
	return Queue{
		Namespace: q.Function.Namespace, Name: q.Function.Name,
		Waiting: q.Waiting, Delayed: q.Delayed, Running: q.Running, Bytes: q.Bytes,
		Oldest: q.Oldest, Age: q.Age(now), Deliveries: q.Deliveries, Held: q.Held, Next: q.Next,
	}
}
