package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/engine"
	"hearth/faas"
)

// Queues is what the contract of queues is about: a queue and the record of what
// it settles.
type Queues interface {
	Queue() engine.Queue
	History() engine.History
}

// RunQueue runs the contract of engine.Queue and engine.History. open returns
// empty ones that live until the (sub)test ends.
func RunQueue(t *testing.T, open func(t *testing.T) Queues) {
	for name, test := range map[string]func(*testing.T, context.Context, Queues){
		"FirstInFirstOut":         queueOrder,
		"KeysAreApart":            queueKeys,
		"MessagesComeBackWhole":   queueWhole,
		"BadInput":                queueBadInput,
		"FetchTakesNoMore":        queueFetch,
		"ReleaseKeepsThePlace":    queueRelease,
		"SameIDIsADuplicate":      queueSameID,
		"IdempotencyKey":          queueIdempotency,
		"IdempotencyRace":         queueIdempotencyRace,
		"CapsRefuse":              queueCaps,
		"ScheduleBecomesReady":    queueSchedule,
		"RetryLosesItsPlace":      queueRetry,
		"UpdateReplacesTheHeader": queueUpdate,
		"SettleOnce":              queueSettle,
		"Cancel":                  queueCancel,
		"BacklogCounts":           queueBacklog,
		"NotifyNamesKeys":         queueNotify,
		"ListInOrder":             queueList,
		"ManyAtOnce":              queueMany,
		"CanceledContext":         queueCanceled,
		"HistoryGet":              historyGet,
		"HistoryList":             historyList,
		"HistoryOrder":            historyOrder,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			test(t, ctx, open(t))
		})
	}
}

// ID returns the id of test message n.
func ID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

func message(n int, key string) engine.Message {
	return engine.Message{ID: ID(n), Key: key, Header: fmt.Appendf(nil, "header %d", n), Body: fmt.Appendf(nil, "body %d", n)}
}

// appendAll stores the messages with the numbers given, one after another.
func appendAll(t *testing.T, ctx context.Context, q engine.Queue, key string, numbers ...int) {
	t.Helper()
	for _, n := range numbers {
		r := must(q.Append(ctx, message(n, key), engine.Caps{}))(t)
		if r != (engine.Receipt{ID: ID(n)}) {
			t.Errorf("Append of %d: %+v", n, r)
		}
	}
}

// wantFetch fetches up to max messages and wants exactly those with the numbers
// given, in order.
func wantFetch(t *testing.T, ctx context.Context, q engine.Queue, key string, max int, numbers ...int) []engine.Event {
	t.Helper()
	events := must(q.Fetch(ctx, key, max))(t)
	var got, want []string
	for _, e := range events {
		got = append(got, e.ID)
		if e.State != engine.InFlight || e.Key != key {
			t.Errorf("fetched %s is %v in %s", e.ID, e.State, e.Key)
		}
	}
	for _, n := range numbers {
		want = append(want, ID(n))
	}
	if !slices.Equal(got, want) {
		t.Errorf("Fetch(%s, %d) = %v, want %v", key, max, got, want)
	}
	return events
}

// heard collects the keys of which Notify tells.
type heard struct {
	keys chan string
}

func listen(q engine.Queue) heard {
	h := heard{make(chan string, 10_000)}
	q.Notify(func(key string) { h.keys <- key })
	return h
}

// await returns when a key was named.
func (h heard) await(t *testing.T, ctx context.Context, key string) {
	t.Helper()
	for {
		select {
		case got := <-h.keys:
			if got == key {
				return
			}
		case <-ctx.Done():
			t.Fatalf("nobody was told that %s has a message", key)
		}
	}
}

func queueOrder(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	appendAll(t, ctx, q, "a/f", 1, 2, 3, 4, 5)
	wantFetch(t, ctx, q, "a/f", 2, 1, 2)
	appendAll(t, ctx, q, "a/f", 6)
	wantFetch(t, ctx, q, "a/f", 10, 3, 4, 5, 6)
	wantFetch(t, ctx, q, "a/f", 10)
}

func queueKeys(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	for n := range 30 {
		appendAll(t, ctx, q, fmt.Sprintf("a/f%d", n%3), n)
	}
	wantFetch(t, ctx, q, "a/f1", 3, 1, 4, 7)
	wantFetch(t, ctx, q, "a/f0", 2, 0, 3)
	wantFetch(t, ctx, q, "a/f2", 1, 2)
	wantFetch(t, ctx, q, "a", 1)
	odd := "a/b/\x00 .*>/" + strings.Repeat("x", 255)
	appendAll(t, ctx, q, odd, 100)
	wantFetch(t, ctx, q, odd, 9, 100)
}

func queueWhole(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	body, _ := Content(1, engine.MaxBody)
	header, _ := Content(2, engine.MaxHeader)
	big := engine.Message{ID: ID(1), Key: "a/f", Header: header, Body: body}
	before := time.Now()
	must(q.Append(ctx, big, engine.Caps{}))(t)
	must(q.Append(ctx, engine.Message{ID: ID(2), Key: "a/f"}, engine.Caps{}))(t)
	events := wantFetch(t, ctx, q, "a/f", 2, 1, 2)
	if len(events) != 2 {
		return
	}
	if e := events[0]; !bytes.Equal(e.Header, header) || !bytes.Equal(e.Body, body) {
		t.Errorf("header and body of %d and %d bytes are not what was stored", len(e.Header), len(e.Body))
	}
	if e := events[1]; len(e.Header) != 0 || len(e.Body) != 0 {
		t.Errorf("an empty message came back as %q %q", e.Header, e.Body)
	}
	// Time passes within a call; a clock's grain is a microsecond at most.
	if a := events[0].Accepted; a.Before(before.Add(-time.Microsecond)) || a.After(time.Now().Add(time.Microsecond)) {
		t.Errorf("accepted at %v, called at %v", a, before)
	}
	found := must(q.Find(ctx, ID(1)))(t)
	if !bytes.Equal(found.Body, body) || found.State != engine.InFlight {
		t.Errorf("found %v with %d bytes", found.State, len(found.Body))
	}
}

func queueBadInput(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	good := message(1, "a/f")
	for what, spoil := range map[string]func(*engine.Message){
		"an empty id":               func(m *engine.Message) { m.ID = "" },
		"an id in upper case":       func(m *engine.Message) { m.ID = strings.ToUpper("abcdefab-0000-4000-8000-000000000000") },
		"an empty key":              func(m *engine.Message) { m.Key = "" },
		"an empty token":            func(m *engine.Message) { m.Key = "a//b" },
		"a header that is too long": func(m *engine.Message) { m.Header = make([]byte, engine.MaxHeader+1) },
		"a body that is too long":   func(m *engine.Message) { m.Body = make([]byte, engine.MaxBody+1) },
		"a long idempotency key":    func(m *engine.Message) { m.Idempotency = strings.Repeat("x", engine.MaxIdempotency+1) },
		"a window that is too long": func(m *engine.Message) { m.Window = engine.MaxWindow + 1 },
	} {
		m := good
		spoil(&m)
		if _, err := q.Append(ctx, m, engine.Caps{}); !faas.IsCode(err, faas.CodeInvalid) && !faas.IsCode(err, faas.CodeTooLarge) {
			t.Errorf("Append with %s: %v", what, err)
		}
	}
	appendAll(t, ctx, q, "a/f", 1)
	for what, err := range map[string]error{
		"no status":      q.Settle(ctx, ID(1), engine.Outcome{}),
		"a long status":  q.Settle(ctx, ID(1), engine.Outcome{Status: strings.Repeat("x", engine.MaxStatus+1)}),
		"long details":   q.Cancel(ctx, ID(1), engine.Outcome{Status: "x", Details: make([]byte, engine.MaxDetails+1)}),
		"a long header":  q.Update(ctx, ID(1), make([]byte, engine.MaxHeader+1)),
		"a malformed id": q.Settle(ctx, "1", engine.Outcome{Status: "done"}),
	} {
		if !faas.IsCode(err, faas.CodeInvalid) && !faas.IsCode(err, faas.CodeTooLarge) {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantFetch(t, ctx, q, "a/f", 9, 1)
}

func queueFetch(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	appendAll(t, ctx, q, "a/f", 1, 2)
	wantFetch(t, ctx, q, "a/f", 0)
	wantFetch(t, ctx, q, "a/f", -1)
	wantFetch(t, ctx, q, "a/f", 1, 1)
	var mu sync.Mutex
	taken := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			events, err := q.Fetch(ctx, "a/f", 1)
			mu.Lock()
			defer mu.Unlock()
			taken += len(events)
			if err != nil {
				t.Errorf("Fetch: %v", err)
			}
		})
	}
	wg.Wait()
	if taken != 1 {
		t.Errorf("the message was fetched %d times", taken)
	}
}

func queueRelease(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	appendAll(t, ctx, q, "a/f", 1, 2, 3, 4)
	wantFetch(t, ctx, q, "a/f", 3, 1, 2, 3)
	h := listen(q)
	q.Release(ID(3), ID(1), ID(4), ID(9))
	h.await(t, ctx, "a/f")
	wantFetch(t, ctx, q, "a/f", 9, 1, 3, 4)
	q.Release()
	wantFetch(t, ctx, q, "a/f", 9)
	q.Release(ID(2))
	wantFetch(t, ctx, q, "a/f", 9, 2)
}

func queueSameID(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	appendAll(t, ctx, q, "a/f", 1)
	r := must(q.Append(ctx, message(1, "a/f"), engine.Caps{KeyEvents: 1}))(t)
	if r != (engine.Receipt{ID: ID(1), Duplicate: true}) {
		t.Errorf("the same id again: %+v", r)
	}
	wantFetch(t, ctx, q, "a/f", 9, 1)
}

func queueIdempotency(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	send := func(n int, key, idempotency string) engine.Receipt {
		t.Helper()
		m := message(n, key)
		m.Idempotency = idempotency
		return must(q.Append(ctx, m, engine.Caps{}))(t)
	}
	send(1, "a/f", "once")
	want := engine.Receipt{ID: ID(1), Duplicate: true}
	if r := send(2, "a/f", "once"); r != want {
		t.Errorf("a duplicate: %+v", r)
	}
	if r := send(3, "a/g", "once"); r.Duplicate {
		t.Error("the idempotency key of another queue counts")
	}
	if r := send(4, "a/f", "twice"); r.Duplicate {
		t.Error("another idempotency key counts")
	}
	wantFetch(t, ctx, q, "a/f", 9, 1, 4)
	check(t, q.Settle(ctx, ID(1), engine.Outcome{Status: "done"}))
	if r := send(5, "a/f", "once"); r != want {
		t.Errorf("a duplicate of what is settled: %+v", r)
	}
	m := message(6, "a/f")
	m.Idempotency, m.Window = "short", time.Nanosecond
	must(q.Append(ctx, m, engine.Caps{}))(t)
	if r := send(7, "a/f", "short"); r.Duplicate {
		t.Error("the window does not end")
	}
	if r := send(8, "a/f", "short"); r != (engine.Receipt{ID: ID(7), Duplicate: true}) {
		t.Errorf("a duplicate in the second window: %+v", r)
	}
}

func queueIdempotencyRace(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	receipts := make([]engine.Receipt, 16)
	var wg sync.WaitGroup
	for n := range receipts {
		wg.Go(func() {
			m := message(n, "a/f")
			m.Idempotency = "once"
			var err error
			if receipts[n], err = q.Append(ctx, m, engine.Caps{}); err != nil {
				t.Errorf("Append: %v", err)
			}
		})
	}
	wg.Wait()
	events := must(q.Fetch(ctx, "a/f", 99))(t)
	if len(events) != 1 {
		t.Fatalf("%d messages with one idempotency key", len(events))
	}
	for n, r := range receipts {
		if r.ID != events[0].ID || r.Duplicate == (r.ID == ID(n)) {
			t.Errorf("caller %d got %+v, and %s was stored", n, r, events[0].ID)
		}
	}
}

func queueCaps(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	appendAll(t, ctx, q, "a/f", 1, 2)
	appendAll(t, ctx, q, "a/g", 3)
	appendAll(t, ctx, q, "b/f", 4)
	size := engine.MessageSize(message(1, "a/f"))
	for _, row := range []struct {
		caps    engine.Caps
		refused *engine.Backlogged
	}{
		{engine.Caps{KeyEvents: 2}, &engine.Backlogged{Subject: "a/f", Unit: "events", Limit: 2, Use: 2}},
		{engine.Caps{KeyBytes: 3*size - 1}, &engine.Backlogged{Subject: "a/f", Unit: "bytes", Limit: 3*size - 1, Use: 2 * size}},
		{engine.Caps{AccountEvents: 3}, &engine.Backlogged{Subject: "a", Unit: "events", Limit: 3, Use: 3}},
		{engine.Caps{AccountBytes: 3 * size}, &engine.Backlogged{Subject: "a", Unit: "bytes", Limit: 3 * size, Use: 3 * size}},
	} {
		_, err := q.Append(ctx, message(5, "a/f"), row.caps)
		var got *engine.Backlogged
		if !errors.Is(err, engine.ErrBacklog) || !errors.As(err, &got) || *got != *row.refused || !faas.IsCode(err, faas.CodeThrottled) {
			t.Errorf("caps %+v: %v", row.caps, err)
		}
	}
	if u := q.Use("a"); u != (engine.Use{Events: 3, Bytes: 3 * size}) {
		t.Errorf("account a holds %+v", u)
	}
	// What is in flight waits too; what is settled does not.
	wantFetch(t, ctx, q, "a/f", 1, 1)
	_, err := q.Append(ctx, message(5, "a/f"), engine.Caps{KeyEvents: 2})
	wantIs(t, "Append beside one in flight", err, engine.ErrBacklog)
	check(t, q.Settle(ctx, ID(1), engine.Outcome{Status: "done"}))
	must(q.Append(ctx, message(5, "a/f"), engine.Caps{KeyEvents: 2, KeyBytes: 2 * size, AccountEvents: 3, AccountBytes: 3 * size}))(t)
}

// delay is short, and what is asserted does not depend on how late it ends.
const delay = 30 * time.Millisecond

func queueSchedule(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	h := listen(q)
	at := time.Now().Add(delay)
	must(q.Schedule(ctx, message(1, "a/f"), at, engine.Caps{}))(t)
	must(q.Schedule(ctx, message(2, "a/f"), time.Now().Add(time.Hour), engine.Caps{}))(t)
	must(q.Schedule(ctx, message(3, "a/g"), time.Now().Add(-time.Hour), engine.Caps{}))(t)
	wantFetch(t, ctx, q, "a/g", 9, 3)
	h.await(t, ctx, "a/f")
	if e := wantFetch(t, ctx, q, "a/f", 9, 1); time.Now().Before(at) || len(e) == 1 && e[0].Due.Sub(at).Abs() > time.Microsecond {
		t.Errorf("ready before %v", at)
	}
	if b := q.Backlog("a/f"); b.Delayed != 1 || b.InFlight != 1 {
		t.Errorf("backlog %+v", b)
	}
	if e := must(q.Find(ctx, ID(2)))(t); e.State != engine.Delayed || time.Until(e.Due) < 50*time.Minute {
		t.Errorf("%v until %v", e.State, e.Due)
	}
}

func queueRetry(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	appendAll(t, ctx, q, "a/f", 1, 2)
	wantFetch(t, ctx, q, "a/f", 1, 1)
	h := listen(q)
	wantIs(t, "Retry of one that is not in flight", q.Retry(ctx, ID(2), time.Now(), nil), engine.ErrNotFound)
	wantIs(t, "Retry of one that is not there", q.Retry(ctx, ID(7), time.Now(), nil), engine.ErrNotFound)
	check(t, q.Retry(ctx, ID(1), time.Now().Add(delay), []byte("attempt 2")))
	appendAll(t, ctx, q, "a/f", 3)
	h.await(t, ctx, "a/f") // for the message appended, or for both
	for q.Backlog("a/f").Delayed > 0 {
		h.await(t, ctx, "a/f")
	}
	events := wantFetch(t, ctx, q, "a/f", 9, 2, 3, 1)
	if len(events) == 3 && (string(events[2].Header) != "attempt 2" || string(events[2].Body) != "body 1") {
		t.Errorf("the retried message is %q %q", events[2].Header, events[2].Body)
	}
}

func queueUpdate(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	appendAll(t, ctx, q, "a/f", 1, 2)
	check(t, q.Update(ctx, ID(1), []byte("ready")))
	wantFetch(t, ctx, q, "a/f", 1, 1)
	if e := must(q.Find(ctx, ID(1)))(t); string(e.Header) != "ready" || string(e.Body) != "body 1" {
		t.Errorf("after the first Update: %q %q", e.Header, e.Body)
	}
	check(t, q.Update(ctx, ID(1), []byte("running")))
	q.Release(ID(1))
	if events := wantFetch(t, ctx, q, "a/f", 9, 1, 2); len(events) == 2 && string(events[0].Header) != "running" {
		t.Errorf("after the second Update: %q", events[0].Header)
	}
	wantIs(t, "Update of nothing", q.Update(ctx, ID(3), nil), engine.ErrNotFound)
}

func queueSettle(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	appendAll(t, ctx, q, "a/f", 1, 2)
	wantFetch(t, ctx, q, "a/f", 1, 1)
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = q.Settle(ctx, ID(1), engine.Outcome{Status: "done", Details: []byte{byte(i)}}) })
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		switch {
		case err == nil && won < 0:
			won = i
		case !errors.Is(err, engine.ErrNotFound):
			t.Errorf("Settle %d: %v", i, err)
		}
	}
	if won < 0 {
		t.Fatal("nobody settled it")
	}
	if r := must(o.History().Get(ctx, ID(1)))(t); !bytes.Equal(r.Details, []byte{byte(won)}) {
		t.Errorf("the record is that of %v, not of %d", r.Details, won)
	}
	q.Release(ID(1))
	if _, err := q.Find(ctx, ID(1)); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Find of what is settled: %v", err)
	}
	check(t, q.Settle(ctx, ID(2), engine.Outcome{Status: "expired"})) // without having been fetched
	wantFetch(t, ctx, q, "a/f", 9)
}

func queueCancel(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	appendAll(t, ctx, q, "a/f", 1, 2, 3)
	must(q.Schedule(ctx, message(4, "a/f"), time.Now().Add(time.Hour), engine.Caps{}))(t)
	wantFetch(t, ctx, q, "a/f", 1, 1)
	aborted := engine.Outcome{Status: "aborted"}
	wantIs(t, "Cancel in flight", q.Cancel(ctx, ID(1), aborted), engine.ErrInFlight)
	check(t, q.Cancel(ctx, ID(2), aborted))
	check(t, q.Cancel(ctx, ID(4), aborted))
	wantIs(t, "Cancel of what is settled", q.Cancel(ctx, ID(4), aborted), engine.ErrNotFound)
	wantFetch(t, ctx, q, "a/f", 9, 3)
	if b := q.Backlog("a/f"); b.Delayed != 0 || b.Ready != 0 || b.InFlight != 2 {
		t.Errorf("backlog %+v", b)
	}
}

func queueBacklog(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	if b := q.Backlogs(); len(b) != 0 {
		t.Errorf("an empty queue holds %v", b)
	}
	if b := q.Backlog("a/f"); b != (engine.Backlog{Key: "a/f"}) {
		t.Errorf("an empty key holds %+v", b)
	}
	appendAll(t, ctx, q, "a/f", 1, 2, 3)
	appendAll(t, ctx, q, "b/f", 4)
	wantFetch(t, ctx, q, "a/f", 1, 1)
	second := must(q.Find(ctx, ID(2)))(t)
	b := q.Backlog("a/f")
	if b.Ready != 2 || b.InFlight != 1 || b.Delayed != 0 || b.Bytes != 3*engine.MessageSize(message(1, "")) || !b.Oldest.Equal(second.Accepted) {
		t.Errorf("backlog %+v, the oldest being of %v", b, second.Accepted)
	}
	keys := make(map[string]int)
	for _, b := range q.Backlogs() {
		keys[b.Key] = b.Ready
	}
	if len(keys) != 2 || keys["a/f"] != 2 || keys["b/f"] != 1 {
		t.Errorf("backlogs %v", keys)
	}
	wantFetch(t, ctx, q, "b/f", 1, 4)
	check(t, q.Settle(ctx, ID(4), engine.Outcome{Status: "done"}))
	if b := q.Backlogs(); len(b) != 1 {
		t.Errorf("a drained key is listed: %v", b)
	}
	if u := q.Use("b"); u != (engine.Use{}) {
		t.Errorf("a drained account holds %+v", u)
	}
}

func queueNotify(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	appendAll(t, ctx, q, "a/f", 1)
	h := listen(q)
	appendAll(t, ctx, q, "a/g", 2)
	h.await(t, ctx, "a/g")
	wantFetch(t, ctx, q, "a/g", 1, 2)
	appendAll(t, ctx, q, "a/g", 3)
	h.await(t, ctx, "a/g")
	q.Notify(nil)
	appendAll(t, ctx, q, "a/h", 4)
	for len(h.keys) > 0 {
		if key := <-h.keys; key != "a/g" {
			t.Errorf("told of %s", key)
		}
	}
}

func queueList(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	appendAll(t, ctx, q, "a/f", 1, 2)
	must(q.Schedule(ctx, message(3, "a/f"), time.Now().Add(time.Hour), engine.Caps{}))(t)
	appendAll(t, ctx, q, "a/f", 4)
	appendAll(t, ctx, q, "a/g", 5)
	wantFetch(t, ctx, q, "a/f", 1, 1)
	var got []string
	for after := ""; ; {
		events := must(q.List(ctx, "a/f", after, 2))(t)
		if len(events) == 0 {
			break
		}
		for _, e := range events {
			got = append(got, fmt.Sprintf("%s %v %s", e.ID[35:], e.State, e.Header))
			if e.Body != nil {
				t.Error("List returns bodies")
			}
			after = e.ID
		}
	}
	want := []string{"1 in flight header 1", "2 ready header 2", "3 delayed header 3", "4 ready header 4"}
	if !slices.Equal(got, want) {
		t.Errorf("List: %q, want %q", got, want)
	}
	_, err := q.List(ctx, "a/f", ID(9), 2)
	wantIs(t, "List after nothing", err, engine.ErrNotFound)
}

// queueMany has producers and consumers race over a few keys: each message is
// settled once, and each producer's messages come in its order.
func queueMany(t *testing.T, ctx context.Context, o Queues) {
	const producers, each, keys = 8, 40, 3
	q := o.Queue()
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range each {
				n := p*each + i
				if _, err := q.Append(ctx, message(n, fmt.Sprintf("a/%d", p%keys)), engine.Caps{}); err != nil {
					t.Errorf("Append: %v", err)
					return
				}
			}
		})
	}
	h := listen(q)
	settled := make(chan string, producers*each)
	for k := range keys {
		wg.Go(func() {
			last := make(map[string]string) // by producer
			key := fmt.Sprintf("a/%d", k)
			for len(settled) < cap(settled) {
				events, err := q.Fetch(ctx, key, 5)
				if err != nil {
					t.Errorf("Fetch: %v", err)
					return
				}
				for _, e := range events {
					var n int
					fmt.Sscanf(string(e.Body), "body %d", &n)
					producer := fmt.Sprint(n / each)
					if e.ID <= last[producer] {
						t.Errorf("%s came after %s", e.ID, last[producer])
					}
					last[producer] = e.ID
					wg.Go(func() {
						if err := q.Settle(ctx, e.ID, engine.Outcome{Status: "done"}); err != nil {
							t.Errorf("Settle: %v", err)
						}
						settled <- e.ID
						h.keys <- "settled" // the last one wakes the others
					})
				}
				if len(events) == 0 && len(settled) < cap(settled) {
					select {
					case <-h.keys:
					case <-ctx.Done():
						t.Errorf("%d of %d are settled", len(settled), cap(settled))
						return
					}
				}
			}
			h.keys <- "done"
		})
	}
	wg.Wait()
	q.Notify(nil)
	close(settled)
	once := make(map[string]bool)
	for id := range settled {
		once[id] = true
	}
	if len(once) != producers*each || len(q.Backlogs()) != 0 {
		t.Errorf("%d messages are settled, and there remain %v", len(once), q.Backlogs())
	}
}

func queueCanceled(t *testing.T, ctx context.Context, o Queues) {
	q := o.Queue()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, e1 := q.Append(ended, message(1, "a/f"), engine.Caps{})
	_, e2 := q.Fetch(ended, "a/f", 1)
	_, e3 := o.History().List(ended, engine.Query{Limit: 1})
	for i, err := range []error{e1, e2, e3, q.Settle(ended, ID(1), engine.Outcome{Status: "done"})} {
		wantIs(t, fmt.Sprint("operation ", i), err, context.Canceled)
	}
}
