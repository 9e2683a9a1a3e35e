package fake

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"hearth/engine"
)

// event is a message that is not settled.
type event struct {
	engine.Event
	place uint64 // in its queue: when it was accepted or became due, in order
	first uint64 // its place in the order of acceptance
	timer *time.Timer
}

// accepted remembers an idempotency key.
type accepted struct {
	id    string
	until time.Time
}

type queue struct {
	gate gate

	mu      sync.Mutex
	events  map[string]*event
	ready   map[string][]*event    // of each key, by place
	seen    map[[2]string]accepted // by key and idempotency key
	order   uint64
	notify  func(key string)
	records []engine.Record // oldest first
}

func (q *queue) init() {
	q.events = make(map[string]*event)
	q.ready = make(map[string][]*event)
	q.seen = make(map[[2]string]accepted)
}

func (q *queue) close() {
	q.gate.close()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.events {
		if e.timer != nil {
			e.timer.Stop()
		}
	}
}

func (q *queue) Append(ctx context.Context, m engine.Message, caps engine.Caps) (engine.Receipt, error) {
	return q.Schedule(ctx, m, time.Time{}, caps)
}

func (q *queue) Schedule(ctx context.Context, m engine.Message, at time.Time, caps engine.Caps) (engine.Receipt, error) {
	if err := cmp.Or(engine.CheckMessage(m), ctx.Err(), q.gate.write(m.Key)); err != nil {
		return engine.Receipt{}, err
	}
	q.mu.Lock()
	receipt, err := q.acceptLocked(m, at, caps)
	notify := q.notify
	q.mu.Unlock()
	if err == nil && !receipt.Duplicate && notify != nil && !at.After(time.Now()) {
		notify(m.Key)
	}
	return receipt, err
}

func (q *queue) acceptLocked(m engine.Message, at time.Time, caps engine.Caps) (engine.Receipt, error) {
	now := time.Now()
	if _, there := q.events[m.ID]; there {
		return engine.Receipt{ID: m.ID, Duplicate: true}, nil
	}
	mark := [2]string{m.Key, m.Idempotency}
	if first, ok := q.seen[mark]; m.Idempotency != "" && ok && now.Before(first.until) {
		return engine.Receipt{ID: first.id, Duplicate: true}, nil
	}
	if caps != (engine.Caps{}) {
		key := q.useLocked(func(e *event) bool { return e.Key == m.Key })
		if err := caps.Admit(m, key, q.accountLocked(engine.Account(m.Key))); err != nil {
			return engine.Receipt{}, err
		}
	}
	if m.Idempotency != "" {
		q.seen[mark] = accepted{m.ID, now.Add(cmp.Or(m.Window, engine.DefaultWindow))}
	}
	m.Header, m.Body = bytes.Clone(m.Header), bytes.Clone(m.Body)
	m.Idempotency, m.Window = "", 0
	q.order++
	e := &event{Event: engine.Event{Message: m, State: engine.Ready, Accepted: now, Due: now}, place: q.order, first: q.order}
	q.events[m.ID] = e
	if at.After(now) {
		q.delayLocked(e, at)
	} else {
		q.readyLocked(e)
	}
	return engine.Receipt{ID: m.ID}, nil
}

// delayLocked has an event wait until a time.
func (q *queue) delayLocked(e *event, at time.Time) {
	e.State, e.Due = engine.Delayed, at
	e.timer = time.AfterFunc(time.Until(at), func() {
		q.mu.Lock()
		if q.events[e.ID] != e || e.State != engine.Delayed || e.Due != at {
			q.mu.Unlock()
			return
		}
		q.order++
		e.place = q.order
		q.readyLocked(e)
		notify := q.notify
		q.mu.Unlock()
		if notify != nil {
			notify(e.Key)
		}
	})
}

func (q *queue) Fetch(ctx context.Context, key string, n int) ([]engine.Event, error) {
	if err := cmp.Or(engine.CheckKey(key), ctx.Err(), q.gate.read(key)); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	ready := q.ready[key]
	n = max(0, min(n, len(ready)))
	q.ready[key] = ready[n:]
	var taken []engine.Event
	for _, e := range ready[:n] {
		e.State = engine.InFlight
		taken = append(taken, e.copy())
	}
	return taken, nil
}

// readyLocked puts an event into the order of those that can be fetched.
func (q *queue) readyLocked(e *event) {
	e.State = engine.Ready
	i, _ := q.findLocked(e)
	q.ready[e.Key] = slices.Insert(q.ready[e.Key], i, e)
}

func (q *queue) findLocked(e *event) (int, bool) {
	return slices.BinarySearchFunc(q.ready[e.Key], e, func(a, b *event) int { return cmp.Compare(a.place, b.place) })
}

func (q *queue) Release(ids ...string) {
	q.mu.Lock()
	var keys []string
	for _, id := range ids {
		if e := q.events[id]; e != nil && e.State == engine.InFlight {
			q.readyLocked(e)
			keys = append(keys, e.Key)
		}
	}
	notify := q.notify
	q.mu.Unlock()
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		if notify != nil {
			notify(key)
		}
	}
}

func (q *queue) Update(ctx context.Context, id string, header []byte) error {
	return q.change(ctx, id, engine.CheckHeader(id, header), func(e *event) error {
		e.Header = bytes.Clone(header)
		return nil
	})
}

func (q *queue) Retry(ctx context.Context, id string, at time.Time, header []byte) error {
	return q.change(ctx, id, engine.CheckHeader(id, header), func(e *event) error {
		if e.State != engine.InFlight {
			return engine.NotFound(id)
		}
		e.Header = bytes.Clone(header)
		q.delayLocked(e, at)
		return nil
	})
}

func (q *queue) Settle(ctx context.Context, id string, o engine.Outcome) error {
	return q.change(ctx, id, engine.CheckOutcome(id, o), func(e *event) error { q.settleLocked(e, o); return nil })
}

func (q *queue) Cancel(ctx context.Context, id string, o engine.Outcome) error {
	return q.change(ctx, id, engine.CheckOutcome(id, o), func(e *event) error {
		if e.State == engine.InFlight {
			return engine.Fetched(id)
		}
		q.settleLocked(e, o)
		return nil
	})
}

func (q *queue) settleLocked(e *event, o engine.Outcome) {
	if e.timer != nil {
		e.timer.Stop()
	}
	delete(q.events, e.ID)
	if i, ok := q.findLocked(e); e.State == engine.Ready && ok {
		q.ready[e.Key] = slices.Delete(q.ready[e.Key], i, i+1)
	}
	q.order++
	r := engine.Record{ID: e.ID, Key: e.Key, Status: o.Status, Accepted: e.Accepted, Settled: time.Now(), Details: bytes.Clone(o.Details), Kept: o.Keep, Cursor: q.order}
	if o.Keep {
		r.Header, r.Body = e.Header, e.Body
	}
	q.records = append(q.records, r)
}

// change has apply change the event of an id under the lock.
func (q *queue) change(ctx context.Context, id string, bad error, apply func(*event) error) error {
	if err := cmp.Or(engine.CheckID(id), bad, ctx.Err(), q.gate.read(id)); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.events[id]
	if e == nil {
		return engine.NotFound(id)
	}
	return apply(e)
}

func (q *queue) Notify(ready func(key string)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.notify = ready
}

func (q *queue) Backlog(key string) engine.Backlog {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.backlogLocked(key)
}

func (q *queue) backlogLocked(key string) engine.Backlog {
	b := engine.Backlog{Key: key}
	for _, e := range q.events {
		if e.Key != key {
			continue
		}
		b.Bytes += engine.MessageSize(e.Message)
		switch e.State {
		case engine.Ready:
			b.Ready++
		case engine.InFlight:
			b.InFlight++
		case engine.Delayed:
			b.Delayed++
		}
	}
	if ready := q.ready[key]; len(ready) > 0 {
		b.Oldest = ready[0].Accepted
	}
	return b
}

func (q *queue) Backlogs() []engine.Backlog {
	q.mu.Lock()
	defer q.mu.Unlock()
	keys := make(map[string]bool)
	for _, e := range q.events {
		keys[e.Key] = true
	}
	var all []engine.Backlog
	for key := range keys {
		all = append(all, q.backlogLocked(key))
	}
	return all
}

func (q *queue) Use(account string) engine.Use {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.accountLocked(account)
}

func (q *queue) accountLocked(account string) engine.Use {
	return q.useLocked(func(e *event) bool { return engine.Account(e.Key) == account })
}

func (q *queue) useLocked(counts func(*event) bool) (u engine.Use) {
	for _, e := range q.events {
		if counts(e) {
			u.Events++
			u.Bytes += engine.MessageSize(e.Message)
		}
	}
	return u
}

func (q *queue) Find(ctx context.Context, id string) (found engine.Event, err error) {
	err = q.change(ctx, id, nil, func(e *event) error { found = e.copy(); return nil })
	return found, err
}

func (q *queue) List(ctx context.Context, key, after string, limit int) ([]engine.Event, error) {
	if err := cmp.Or(engine.CheckKey(key), ctx.Err(), q.gate.read(key)); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	from := uint64(0)
	if after != "" {
		e := q.events[after]
		if e == nil {
			return nil, engine.NotFound(after)
		}
		from = e.first
	}
	var found []*event
	for _, e := range q.events {
		if e.Key == key && e.first > from {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b *event) int { return cmp.Compare(a.first, b.first) })
	var events []engine.Event
	for _, e := range found[:min(limit, len(found))] {
		c := e.copy()
		c.Body = nil
		events = append(events, c)
	}
	return events, nil
}

// Losses returns nothing: memory does not rot.
func (q *queue) Losses() []engine.Loss { return nil }

// copy returns the event such that a caller who changes it changes only its own.
func (e *event) copy() engine.Event {
	c := e.Event
	c.Header, c.Body = bytes.Clone(c.Header), bytes.Clone(c.Body)
	return c
}

// history is the queue as the record of what it settled.
type history queue

func (h *history) Get(ctx context.Context, id string) (engine.Record, error) {
	if err := cmp.Or(engine.CheckID(id), ctx.Err(), h.gate.read(id)); err != nil {
		return engine.Record{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range slices.Backward(h.records) {
		if r.ID == id {
			return r, nil
		}
	}
	return engine.Record{}, engine.NotFound(id)
}

func (h *history) List(ctx context.Context, query engine.Query) ([]engine.Record, error) {
	if err := cmp.Or(engine.CheckQuery(query), ctx.Err(), h.gate.read(query.Prefix)); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []engine.Record
	for _, r := range slices.Backward(h.records) {
		if query.Selects(r) && len(found) < query.Limit {
			r.Header, r.Body = nil, nil
			found = append(found, r)
		}
	}
	return found, nil
}
