package async

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"hearth/engine"
	"hearth/faas"
)

const (
	defaultPage = 50
	maxPage     = 1000
	// scanned bounds the events that one page looks at: a filter that wants few of
	// many gets a short page and goes on with the next.
	scanned = 20_000
)

// Get returns what has become of an event of the scope (an empty Namespace is
// any); CodeNotFound where the history has none of the request id.
func (s *Service) Get(ctx context.Context, scope faas.Scope, requestID string) (faas.EventRecord, error) {
	e, r, err := s.find(ctx, scope, requestID)
	switch {
	case err != nil:
		return faas.EventRecord{}, err
	case e != nil:
		return s.recordOf(e), nil
	}
	record := settledRecord(r)
	if record.Status != faas.EventDone {
		if record.Redriven, _, err = s.redrives(ctx, record.RequestID); err != nil && !faas.IsCode(err, faas.CodeConflict) {
			return faas.EventRecord{}, err
		}
	}
	for i, d := range record.Deliveries {
		record.Deliveries[i] = s.progress(ctx, record.RequestID, d)
	}
	return record, nil
}

// Payload returns the payload of a recorded event; CodeNotFound where the history
// does not have it (any more).
func (s *Service) Payload(ctx context.Context, scope faas.Scope, requestID string) ([]byte, error) {
	e, r, err := s.find(ctx, scope, requestID)
	switch {
	case err != nil:
		return nil, err
	case e != nil:
		return payloadOf(e.Body), nil
	case !r.Kept:
		return nil, faas.Errorf(faas.CodeNotFound, requestID, "The payload of the event is not kept any more.")
	}
	return payloadOf(r.Body), nil
}

// find returns an event of the scope from its queue, or else from the history.
func (s *Service) find(ctx context.Context, scope faas.Scope, requestID string) (*engine.Event, *engine.Record, error) {
	requestID = strings.ToLower(requestID)
	if engine.CheckID(requestID) != nil {
		return nil, nil, notFound(requestID)
	}
	e, err := s.queue.Find(ctx, requestID)
	if err == nil {
		if id, delivery, ok := functionOf(e.Key); !ok || delivery || !inScope(id, scope) {
			return nil, nil, notFound(requestID)
		}
		return &e, nil, nil
	}
	if !isNotFound(err) {
		return nil, nil, engineError(err)
	}
	r, err := s.history.Get(ctx, requestID)
	if isNotFound(err) {
		return nil, nil, notFound(requestID)
	} else if err != nil {
		return nil, nil, engineError(err)
	}
	if id, delivery, ok := functionOf(r.Key); !ok || delivery || !inScope(id, scope) {
		return nil, nil, notFound(requestID)
	}
	return nil, &r, nil
}

// recordOf is an event without an outcome as its user sees it.
func (s *Service) recordOf(e *engine.Event) faas.EventRecord {
	id, _, _ := functionOf(e.Key)
	r := faas.EventRecord{RequestID: e.ID, Function: id, Accepted: e.Accepted, Status: faas.EventQueued, PayloadBytes: len(e.Body)}
	h, err := decodeHeader(e.Header)
	if err != nil {
		return r // its dispatch says so
	}
	r.Qualifier, r.TraceID, r.Origin, r.Attempts = h.Qualifier, h.Trace, h.Origin, h.Attempts
	if h.Failed+h.Faults > 0 {
		r.Status = faas.EventRetrying
	}
	if e.State == engine.Delayed {
		r.Next = e.Due
	}
	f := s.flights.find(e.ID)
	if f == nil {
		return r
	}
	if a, running := f.open(); running {
		r.Status, r.Next, r.Attempts = faas.EventRunning, time.Time{}, h.with(a).Attempts
	}
	return r
}

// settledRecord is an event with its outcome as its user sees it.
func settledRecord(e *engine.Record) faas.EventRecord {
	id, _, _ := functionOf(e.Key)
	r := faas.EventRecord{RequestID: e.ID, Function: id, Status: faas.EventStatus(e.Status), Accepted: e.Accepted, Ended: e.Settled}
	var o details
	if json.Unmarshal(e.Details, &o) != nil {
		return r
	}
	r.Qualifier, r.Attempts, r.Reason, r.Dropped, r.Deliveries = o.Qualifier, o.Attempts, o.Reason, o.Dropped, o.Deliveries
	r.PayloadBytes, r.TraceID, r.Origin = o.Payload, o.Trace, o.Origin
	return r
}

// List returns a page of the recorded events that the filter wants: first those
// without an outcome, function by function in the order of acceptance, then the
// others, the newest outcome first. A page may be shorter than asked for, or empty,
// and have a Next: there is more to look at. CodeInvalid for a marker that no list
// returned.
func (s *Service) List(ctx context.Context, f Filter) (Page, error) {
	at, err := parseMarker(f.Marker)
	if err != nil {
		return Page{}, err
	}
	l := lister{Service: s, filter: f, left: min(cmp.Or(f.Max, defaultPage), maxPage), budget: scanned}
	if !at.Settled {
		more, err := l.waiting(ctx, at)
		if err != nil || more {
			return l.page, err
		}
		at = position{Settled: true}
	}
	return l.page, l.settled(ctx, at)
}

// position is where the next page begins.
type position struct {
	Settled bool      `json:"s,omitempty"`
	Cursor  uint64    `json:"c,omitempty"` // of the last settled one
	Key     string    `json:"k,omitempty"` // of the queue
	After   string    `json:"a,omitempty"` // the last id of it
	Time    time.Time `json:"t,omitzero"`  // when that was accepted
}

func (p position) marker() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic("async: a marker cannot be encoded: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseMarker(marker string) (p position, err error) {
	if marker == "" {
		return p, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(marker)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil || p.After != "" && engine.CheckID(p.After) != nil || p.Key != "" && engine.CheckKey(p.Key) != nil {
		return p, faas.Errorf(faas.CodeInvalid, "marker", "The marker is not one that a list returned. Begin the list again without it.")
	}
	return p, nil
}

// lister fills one page.
type lister struct {
	*Service
	filter Filter
	page   Page
	left   int // events that the page has room for
	budget int // events that may still be looked at
}

// wants says whether the filter wants an event.
func (l *lister) wants(r *faas.EventRecord) bool {
	f := &l.filter
	return f.Function.Account == r.Function.Account && f.Function.Region == r.Function.Region &&
		(f.Function.Namespace == "" || f.Function.Namespace == r.Function.Namespace) &&
		(f.Function.Name == "" || f.Function.Name == r.Function.Name) &&
		(f.Qualifier == "" || f.Qualifier == r.Qualifier) &&
		(len(f.Statuses) == 0 || slices.Contains(f.Statuses, r.Status)) &&
		(f.Reason == "" || f.Reason == r.Reason) &&
		(f.From.IsZero() || !r.Accepted.Before(f.From)) &&
		(f.Until.IsZero() || r.Accepted.Before(f.Until))
}

// waiting adds events without an outcome; more says that the page ends here.
func (l *lister) waiting(ctx context.Context, at position) (more bool, err error) {
	if n := len(l.filter.Statuses); n > 0 && !slices.ContainsFunc(l.filter.Statuses, func(s faas.EventStatus) bool { return !s.Final() }) ||
		l.filter.Reason != "" {
		return false, nil
	}
	for _, key := range l.keys(at.Key) {
		if key != at.Key {
			at = position{Key: key}
		}
		if more, err := l.queueOf(ctx, at); err != nil || more {
			return more, err
		}
	}
	return false, nil
}

// keys are the queues of the scope from one on, sorted.
func (l *lister) keys(from string) []string {
	var keys []string
	for _, b := range l.queue.Backlogs() {
		id, delivery, ok := functionOf(b.Key)
		if ok && !delivery && b.Key >= from && inScope(id, l.filter.Function.Scope) &&
			(l.filter.Function.Name == "" || l.filter.Function.Name == id.Name) {
			keys = append(keys, b.Key)
		}
	}
	slices.Sort(keys)
	return keys
}

// queueOf adds the events of one queue.
func (l *lister) queueOf(ctx context.Context, at position) (more bool, err error) {
	var shown time.Time // what was accepted before has been shown
	for {
		events, err := l.queue.List(ctx, at.Key, at.After, maxPage)
		if isNotFound(err) { // the last one left the queue: begin again
			shown = at.Time
			events, err = l.queue.List(ctx, at.Key, "", maxPage)
		}
		if err != nil {
			return false, engineError(err)
		}
		for i := range events {
			e := &events[i]
			at.After = e.ID
			if e.Accepted.Before(shown) {
				continue
			}
			l.budget--
			if r := l.recordOf(e); l.wants(&r) {
				l.page.Events = append(l.page.Events, r)
				l.left--
			}
			if l.left == 0 || l.budget == 0 {
				at.Time = e.Accepted
				l.page.Next = at.marker()
				return true, nil
			}
		}
		if len(events) < maxPage {
			return false, nil
		}
	}
}

// settled adds events with an outcome.
func (l *lister) settled(ctx context.Context, at position) error {
	f := &l.filter
	if len(f.Statuses) > 0 && !slices.ContainsFunc(f.Statuses, faas.EventStatus.Final) {
		return nil
	}
	q := engine.Query{Prefix: prefixOf(f.Function), Since: f.From, Before: at.Cursor, Limit: maxPage}
	if len(f.Statuses) == 1 {
		q.Status = string(f.Statuses[0])
	}
	for {
		q.Limit = min(maxPage, max(l.left, 1))
		records, err := l.history.List(ctx, q)
		if err != nil {
			return engineError(err)
		}
		for i := range records {
			q.Before = records[i].Cursor
			l.budget--
			if _, delivery, ok := functionOf(records[i].Key); ok && !delivery {
				if r := settledRecord(&records[i]); l.wants(&r) {
					l.page.Events = append(l.page.Events, r)
					l.left--
				}
			}
			if l.left == 0 || l.budget == 0 {
				l.page.Next = position{Settled: true, Cursor: q.Before}.marker()
				return nil
			}
		}
		if len(records) < q.Limit {
			return nil
		}
	}
}

// prefixOf is the part of the keys that the wanted functions have in common.
func prefixOf(id faas.FunctionID) string {
	prefix := id.Account + "/" + id.Region
	if id.Namespace == "" {
		return prefix
	}
	if prefix += "/" + id.Namespace; id.Name != "" {
		prefix += "/" + id.Name
	}
	return prefix
}

// Queues returns the backlogs of the scope's functions (an empty Namespace is any)
// that are not empty, sorted by namespace and name.
func (s *Service) Queues(scope faas.Scope) []Queue {
	all := make(map[faas.FunctionID]*Queue)
	of := func(id faas.FunctionID) *Queue {
		if all[id] == nil {
			all[id] = &Queue{Function: id}
		}
		return all[id]
	}
	for _, b := range s.queue.Backlogs() {
		id, delivery, ok := functionOf(b.Key)
		if !ok || !inScope(id, scope) {
			continue
		}
		q := of(id)
		if delivery {
			q.Deliveries = b.Ready + b.Delayed + b.InFlight
			continue
		}
		q.Running = min(s.flights.count(b.Key), b.InFlight)
		q.Delayed, q.Bytes, q.Oldest = b.Delayed, b.Bytes, b.Oldest
		q.Waiting = b.Ready + b.Delayed + b.InFlight - q.Running
	}
	queues := make([]Queue, 0, len(all))
	for _, q := range all {
		if n, held := s.notices.of(keyOf(q.Function)); held && q.Waiting > 0 {
			q.Held, q.Next = n.refusal, n.next
		}
		queues = append(queues, *q)
	}
	slices.SortFunc(queues, func(a, b Queue) int {
		return cmp.Or(strings.Compare(a.Function.Namespace, b.Function.Namespace), strings.Compare(a.Function.Name, b.Function.Name))
	})
	return queues
}
