package nats_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"hearth/engine"
	"hearth/engine/enginetest"
)

// TestQueueReopen stops an engine and starts it again: what was in flight is at its
// old place, delays go on, idempotency keys are known although their messages are
// settled and removed, caps count, and the history is there.
func TestQueueReopen(t *testing.T) {
	path := t.TempDir()
	e := openTiny(t, path, nil)
	ctx := t.Context()
	send := func(n int, at time.Time, idempotency string) engine.Receipt {
		t.Helper()
		r, err := e.Queue().Schedule(ctx, engine.Message{ID: enginetest.ID(n), Key: "a/f", Body: make([]byte, 100), Idempotency: idempotency}, at, engine.Caps{})
		check(t, err)
		return r
	}
	for n := range 5 {
		send(n, time.Time{}, "")
	}
	send(5, time.Now().Add(-time.Second), "once")
	soon := time.Now().Add(100 * time.Millisecond)
	send(6, soon, "")
	send(7, time.Now().Add(time.Hour), "")
	events, err := e.Queue().Fetch(ctx, "a/f", 3)
	check(t, err)
	check(t, e.Queue().Settle(ctx, events[0].ID, engine.Outcome{Status: "done", Details: []byte("first")}))
	check(t, e.Queue().Settle(ctx, enginetest.ID(5), engine.Outcome{Status: "done", Keep: true}))
	check(t, e.FlushHistory(ctx))
	for range 3 { // until the pages with the settled ones are gone
		check(t, e.Tidy(ctx))
	}
	e.stop()

	e = openTiny(t, path, nil)
	if b := e.Queue().Backlog("a/f"); b.InFlight != 0 || b.Ready+b.Delayed != 6 {
		t.Errorf("backlog %+v", b)
	}
	if u := e.Queue().Use("a"); u.Events != 6 || u.Bytes != 6*(100+engine.MessageOverhead) {
		t.Errorf("account %+v", u)
	}
	if r := send(8, time.Time{}, "once"); r != (engine.Receipt{ID: enginetest.ID(5), Duplicate: true}) {
		t.Errorf("a duplicate over the restart: %+v", r)
	}
	if r, err := e.History().Get(ctx, enginetest.ID(0)); err != nil || string(r.Details) != "first" {
		t.Errorf("record %+v, %v", r, err)
	}
	if r, err := e.History().Get(ctx, enginetest.ID(5)); err != nil || len(r.Body) != 100 {
		t.Errorf("record %+v, %v", r, err)
	}
	eventually(t, func() error {
		if b := e.Queue().Backlog("a/f"); b.Delayed != 1 {
			return fmt.Errorf("backlog %+v", b)
		}
		return nil
	})
	if time.Now().Before(soon) {
		t.Error("a delay ended early")
	}
	events, err = e.Queue().Fetch(ctx, "a/f", 10)
	check(t, err)
	for i, want := range []int{1, 2, 3, 4, 6} {
		if len(events) != 5 || events[i].ID != enginetest.ID(want) {
			t.Fatalf("%d events, number %d is %s", len(events), i, events[i].ID)
		}
	}
	check(t, e.Check(ctx))
}

// TestQueueJournalStaysShort has messages pass one that stays: the journal is
// emptied, and what stays survives the moves.
func TestQueueJournalStaysShort(t *testing.T) {
	path := t.TempDir()
	e := openTiny(t, path, nil)
	ctx := t.Context()
	_, err := e.Queue().Append(ctx, engine.Message{ID: enginetest.ID(0), Key: "a/stuck", Header: []byte("h"), Body: []byte("b"), Idempotency: "i"}, engine.Caps{})
	check(t, err)
	check(t, e.Queue().Update(ctx, enginetest.ID(0), []byte("h2")))
	for n := 1; n < 200; n++ {
		_, err := e.Queue().Append(ctx, engine.Message{ID: enginetest.ID(n), Key: "a/f", Body: make([]byte, 200)}, engine.Caps{})
		check(t, err)
		check(t, e.Queue().Settle(ctx, enginetest.ID(n), engine.Outcome{Status: "done"}))
		if n%10 == 0 {
			check(t, e.Tidy(ctx))
		}
	}
	if pages, bytes := e.QueuePages(); pages > 100 || bytes > 10_000 {
		t.Errorf("%d pages with %d bytes for one message", pages, bytes)
	}
	e.stop()
	e = openTiny(t, path, nil)
	got, err := e.Queue().Find(ctx, enginetest.ID(0))
	check(t, err)
	if string(got.Header) != "h2" || string(got.Body) != "b" {
		t.Errorf("%q %q", got.Header, got.Body)
	}
	r, err := e.Queue().Append(ctx, engine.Message{ID: enginetest.ID(999), Key: "a/stuck", Idempotency: "i"}, engine.Caps{})
	if check(t, err); !r.Duplicate {
		t.Error("the idempotency key was forgotten in a move")
	}
}

// TestQueuePoisonedPage has a page that is no page among the others: it is set
// aside and named, and the queue goes on around it.
func TestQueuePoisonedPage(t *testing.T) {
	path := t.TempDir()
	e := openTiny(t, path, nil)
	ctx := t.Context()
	key := "a/f"
	_, err := e.Queue().Append(ctx, engine.Message{ID: enginetest.ID(1), Key: key}, engine.Caps{})
	check(t, err)
	check(t, e.PublishPage(ctx, key, []byte("this is no page")))
	e.stop()
	e = openTiny(t, path, nil)
	losses := e.Queue().Losses()
	if len(losses) != 1 || !strings.Contains(losses[0].What, "set aside in ") {
		t.Fatalf("losses %+v", losses)
	}
	_, file, _ := strings.Cut(losses[0].What, "set aside in ")
	if got, err := os.ReadFile(file); string(got) != "this is no page" {
		t.Errorf("set aside is %q, %v", got, err)
	}
	if err := e.Check(ctx); !errors.Is(err, engine.ErrDamaged) {
		t.Errorf("Check: %v", err)
	}
	_, err = e.Queue().Append(ctx, engine.Message{ID: enginetest.ID(2), Key: key}, engine.Caps{})
	check(t, err)
	events, err := e.Queue().Fetch(ctx, key, 5)
	check(t, err)
	if len(events) != 2 {
		t.Errorf("%d events", len(events))
	}
	for _, ev := range events {
		check(t, e.Queue().Settle(ctx, ev.ID, engine.Outcome{Status: "done"}))
	}
}

// TestQueueAfterClose finds that a closed queue says so.
func TestQueueAfterClose(t *testing.T) {
	e := openTiny(t, t.TempDir(), nil)
	ctx := t.Context()
	m := engine.Message{ID: enginetest.ID(1), Key: "a/f"}
	_, err := e.Queue().Append(ctx, m, engine.Caps{})
	check(t, err)
	e.stop()
	_, e1 := e.Queue().Append(ctx, m, engine.Caps{})
	_, e2 := e.Queue().Fetch(ctx, "a/f", 1)
	_, e3 := e.Queue().Find(ctx, m.ID)
	_, e4 := e.Queue().List(ctx, "a/f", "", 1)
	_, e5 := e.History().Get(ctx, m.ID)
	_, e6 := e.History().List(ctx, engine.Query{Limit: 1})
	e7 := e.Queue().Settle(ctx, m.ID, engine.Outcome{Status: "done"})
	e8 := e.Queue().Retry(ctx, enginetest.ID(2), time.Now(), nil)
	for i, err := range []error{e1, e2, e3, e4, e5, e6, e7, e8} {
		if !errors.Is(err, engine.ErrClosed) {
			t.Errorf("operation %d after Close: %v", i+1, err)
		}
	}
	e.Queue().Release(m.ID)
}
