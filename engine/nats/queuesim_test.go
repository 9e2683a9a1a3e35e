package nats_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"hearth/engine"
	"hearth/engine/datadir"
	"hearth/engine/enginetest"
	"hearth/engine/nats"
	"hearth/internal/seeds"
)

// openTiny opens an engine whose queues do with a few messages what others do with
// millions.
func openTiny(t testing.TB, path string, change func(*nats.Options)) *opened {
	t.Helper()
	dir, err := datadir.Open(path)
	check(t, err)
	o := nats.Options{Dir: dir, Queue: nats.QueueOptions{Shards: 2}}.WithTinyQueues()
	if change != nil {
		change(&o)
	}
	e, err := nats.Open(t.Context(), o)
	if err != nil {
		dir.Close()
		t.Fatal(err)
	}
	opened := &opened{Engine: e, dir: dir}
	t.Cleanup(opened.stop)
	return opened
}

// modelled is what the simulation knows of one message.
type modelled struct {
	key, header, body string
	state             engine.State
	place             int // of acceptance, or of readiness
}

// model is what the queue must hold.
type model struct {
	*rand.Rand
	live    map[string]*modelled
	settled map[string]engine.Record
	order   []string // ids by settlement
	next    int
	places  int
}

// TestQueueSimulation has a queue whose pages are tiny do random things, with stops
// and copies of the directory as kill -9 leaves it in between, and compares it with
// a model: order, states, headers, outcomes. Nothing may be declared lost.
func TestQueueSimulation(t *testing.T) {
	seeds.Run(t, 3, func(seed uint64) {
		m := &model{Rand: rand.New(rand.NewPCG(seed, 0)), live: make(map[string]*modelled), settled: make(map[string]engine.Record)}
		path := t.TempDir()
		e := openTiny(t, path, nil)
		for step := range 400 {
			switch m.IntN(60) {
			case 0:
				e.stop()
				e = openTiny(t, path, nil)
				m.restart()
			case 1:
				killed := t.TempDir()
				check(t, os.CopyFS(killed, os.DirFS(path)))
				e.stop()
				path, e = killed, openTiny(t, killed, nil)
				m.restart()
			case 2, 3:
				check(t, e.Tidy(t.Context()))
			case 4:
				check(t, e.FlushHistory(t.Context()))
			default:
				m.step(t, e)
			}
			if step%20 == 0 || t.Failed() {
				m.compare(t, e)
			}
			if t.Failed() {
				t.Fatalf("after step %d", step)
			}
		}
		m.compare(t, e)
		m.drain(t, e)
		e.stop()
	})
}

func (m *model) step(t *testing.T, e *opened) {
	q, ctx := e.Queue(), t.Context()
	live := slices.Sorted(maps.Keys(m.live))
	pick := func() (string, *modelled) {
		if len(live) == 0 {
			return enginetest.ID(999_999), nil
		}
		id := live[m.IntN(len(live))]
		return id, m.live[id]
	}
	key := fmt.Sprintf("a%d/f%d", m.IntN(2), m.IntN(3))
	switch m.IntN(8) {
	case 0, 1, 2:
		n := m.next
		m.next++
		v := &modelled{key: key, header: fmt.Sprintf("h%d", n), body: string(make([]byte, m.IntN(200)))}
		at := time.Time{}
		v.state = engine.Ready
		if m.IntN(5) == 0 {
			at, v.state = time.Now().Add(time.Hour), engine.Delayed
		}
		m.places++
		v.place = m.places
		msg := engine.Message{ID: enginetest.ID(n), Key: v.key, Header: []byte(v.header), Body: []byte(v.body)}
		if m.IntN(4) == 0 {
			msg.Idempotency = msg.ID
		}
		_, err := q.Schedule(ctx, msg, at, engine.Caps{})
		check(t, err)
		m.live[msg.ID] = v
	case 3, 4:
		events, err := q.Fetch(ctx, key, 1+m.IntN(3))
		check(t, err)
		for i, want := range m.ready(key)[:len(events)] {
			if e := events[i]; e.ID != want || string(e.Header) != m.live[want].header || string(e.Body) != m.live[want].body {
				t.Errorf("fetched %s %q, want %s", e.ID, e.Header, want)
			}
			m.live[want].state = engine.InFlight
		}
	case 5:
		id, v := pick()
		keep := m.IntN(2) == 0
		err := q.Settle(ctx, id, engine.Outcome{Status: "done", Details: []byte(id), Keep: keep})
		if v == nil {
			if !isNotFound(err) {
				t.Errorf("Settle of nothing: %v", err)
			}
			return
		}
		check(t, err)
		delete(m.live, id)
		r := engine.Record{ID: id, Key: v.key, Kept: keep}
		if keep {
			r.Header, r.Body = []byte(v.header), []byte(v.body)
		}
		m.settled[id] = r
		m.order = append(m.order, id)
	case 6:
		id, v := pick()
		if v == nil {
			return
		}
		header := fmt.Sprintf("h%d.%d", m.next, m.IntN(1000))
		if v.state == engine.InFlight && m.IntN(2) == 0 {
			at := time.Now().Add(-time.Hour)
			if v.state = engine.Ready; m.IntN(2) == 0 {
				at, v.state = time.Now().Add(time.Hour), engine.Delayed
			}
			m.places++
			v.place = m.places
			if v.state == engine.Ready {
				// Its place after a restart is that of its acceptance or of its time,
				// whichever is later; the model would need the clock. Take it out.
				check(t, q.Retry(ctx, id, at, []byte(header)))
				check(t, q.Settle(ctx, id, engine.Outcome{Status: "done"}))
				delete(m.live, id)
				m.settled[id] = engine.Record{ID: id, Key: v.key}
				m.order = append(m.order, id)
				return
			}
			check(t, q.Retry(ctx, id, at, []byte(header)))
		} else {
			check(t, q.Update(ctx, id, []byte(header)))
		}
		v.header = header
	case 7:
		id, v := pick()
		q.Release(id)
		if v != nil && v.state == engine.InFlight {
			v.state = engine.Ready
		}
	}
}

// ready returns the ids that Fetch must return, in order.
func (m *model) ready(key string) []string {
	var ids []string
	for id, v := range m.live {
		if v.key == key && v.state == engine.Ready {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return m.live[a].place - m.live[b].place })
	return ids
}

// restart makes ready what was in flight.
func (m *model) restart() {
	for _, v := range m.live {
		if v.state == engine.InFlight {
			v.state = engine.Ready
		}
	}
}

func (m *model) compare(t *testing.T, e *opened) {
	t.Helper()
	ctx := t.Context()
	if losses := e.Queue().Losses(); len(losses) > 0 {
		t.Errorf("lost: %+v", losses)
	}
	count := make(map[string]int)
	for id, v := range m.live {
		got, err := e.Queue().Find(ctx, id)
		if err != nil || got.Key != v.key || string(got.Header) != v.header || string(got.Body) != v.body || got.State != v.state {
			t.Errorf("%s is %v %q, %v; want %v %q", id, got.State, got.Header, err, v.state, v.header)
		}
		count[v.key]++
	}
	for _, b := range e.Queue().Backlogs() {
		if b.Ready+b.Delayed+b.InFlight != count[b.Key] || b.Ready != len(m.ready(b.Key)) {
			t.Errorf("%+v; want %d of which ready %d", b, count[b.Key], len(m.ready(b.Key)))
		}
		delete(count, b.Key)
	}
	if len(count) > 0 {
		t.Errorf("keys are missing: %v", count)
	}
	m.compareHistory(t, ctx, e.History())
}

func (m *model) compareHistory(t *testing.T, ctx context.Context, h engine.History) {
	t.Helper()
	for id, want := range m.settled {
		got, err := h.Get(ctx, id)
		if err != nil || got.Key != want.Key || got.Kept != want.Kept || string(got.Header) != string(want.Header) || string(got.Body) != string(want.Body) {
			t.Errorf("the record of %s: %+v, %v; want %+v", id, got, err, want)
		}
	}
	var ids []string
	for q := (engine.Query{Limit: 50}); ; {
		records, err := h.List(ctx, q)
		check(t, err)
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			ids = append(ids, r.ID)
		}
		q.Before = records[len(records)-1].Cursor
	}
	slices.Reverse(ids)
	if !slices.Equal(ids, m.order) {
		t.Errorf("%d records are listed, want %d in order of settlement", len(ids), len(m.order))
	}
}

// drain settles everything: then nothing is left in the journals.
func (m *model) drain(t *testing.T, e *opened) {
	for id := range m.live {
		check(t, e.Queue().Settle(t.Context(), id, engine.Outcome{Status: "done"}))
	}
	check(t, e.FlushHistory(t.Context()))
	check(t, e.Tidy(t.Context()))
	check(t, e.Tidy(t.Context()))
	if b := e.Queue().Backlogs(); len(b) > 0 {
		t.Errorf("there remain %v", b)
	}
}
