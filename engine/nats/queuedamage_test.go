package nats_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hearth/engine"
	"hearth/engine/datadir"
	"hearth/engine/enginetest"
	"hearth/engine/nats"
)

// queued is what a data directory's queues held before it was damaged.
type queued struct {
	waiting map[string]string // header by id
	settled map[string]bool
}

// fillQueues has messages wait, some with a second header, and settles others: in
// the history's journal, and in the queue's only.
func fillQueues(t *testing.T, e *opened) queued {
	t.Helper()
	ctx, q := t.Context(), e.Queue()
	want := queued{waiting: make(map[string]string), settled: make(map[string]bool)}
	for n := range 60 {
		m := engine.Message{ID: enginetest.ID(n), Key: fmt.Sprintf("a/f%d", n%3), Header: []byte("first"), Body: make([]byte, 100)}
		_, err := q.Append(ctx, m, engine.Caps{})
		check(t, err)
		want.waiting[m.ID] = "first"
		switch n % 4 {
		case 1:
			check(t, q.Update(ctx, m.ID, []byte("second")))
			want.waiting[m.ID] = "second"
		case 2:
			check(t, q.Settle(ctx, m.ID, engine.Outcome{Status: "done"}))
			delete(want.waiting, m.ID)
			want.settled[m.ID] = true
		}
		if n == 40 {
			check(t, e.FlushHistory(ctx))
		}
	}
	return want
}

// TestQueueDamage flips a bit of, cuts and deletes every file of the queues, one at a
// time. The engine must come up with everything, or say what is lost, and how
// much at most; or refuse to start as damaged.
func TestQueueDamage(t *testing.T) {
	path := t.TempDir()
	one := func(o *nats.Options) { o.Queue.Shards = 1 }
	e := openTiny(t, path, one)
	want := fillQueues(t, e)
	check(t, e.Witness())
	master := filepath.Join(t.TempDir(), "master")
	check(t, os.CopyFS(master, os.DirFS(path))) // as kill -9 leaves it
	e.stop()
	whole, told := 0, 0
	for _, file := range files(t, master) {
		if !ofQueues(file) {
			continue
		}
		for name, harm := range harms(t, filepath.Join(master, file)) {
			t.Run(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file)+"/"+name, func(t *testing.T) {
				victim := filepath.Join(t.TempDir(), "victim")
				check(t, os.CopyFS(victim, os.DirFS(master)))
				harm(t, filepath.Join(victim, file))
				switch wantTold(t, victim, want) {
				case 0:
					whole++
				default:
					told++
				}
			})
		}
	}
	if whole == 0 || told == 0 {
		t.Errorf("%d were whole and %d lost something: the test proves nothing", whole, told)
	}
}

// wantTold opens a damaged directory and returns how many messages are missing. They
// must not be more than the losses say.
func wantTold(t *testing.T, path string, want queued) (missing int) {
	t.Helper()
	dir, err := datadir.Open(path)
	check(t, err)
	defer dir.Close()
	o := nats.Options{Dir: dir}.WithTinyQueues()
	e, err := nats.Open(t.Context(), o)
	if err != nil {
		if !strings.Contains(err.Error(), "damaged") && !strings.Contains(err.Error(), "missing") && !strings.Contains(err.Error(), "does not say") {
			t.Errorf("Open: %v", err)
		}
		return 1
	}
	defer e.Close(context.Background())
	// What can no longer be read is noticed at the latest when it is read.
	older, twice := 0, 0
	for id, header := range want.waiting {
		got, err := e.Queue().Find(t.Context(), id)
		switch {
		case err != nil:
			missing++
		case string(got.Header) != header:
			older++
		}
	}
	records := 0
	for id := range want.settled {
		if _, err := e.Queue().Find(t.Context(), id); err == nil {
			twice++ // its outcome is lost: it runs again
		}
		if _, err := e.History().Get(t.Context(), id); err == nil {
			records++
		}
	}
	said, unknown := 0, false
	for _, l := range e.Queue().Losses() {
		said += max(0, l.Events)
		unknown = unknown || l.Events < 0
		if l.What == "" || l.Events > 0 && len(l.IDs) > l.Events {
			t.Errorf("a loss without sense: %+v", l)
		}
	}
	if missing > said && !unknown {
		t.Errorf("%d messages are missing, and the losses say %d", missing, said)
	}
	silent := len(e.Queue().Losses()) == 0
	if silent && (older > 0 || twice > 0 || records < len(want.settled)) {
		t.Errorf("nothing is said of %d old headers, %d lost outcomes and %d records", older, twice, len(want.settled)-records)
	}
	// It goes on.
	if _, err := e.Queue().Append(t.Context(), engine.Message{ID: enginetest.ID(1000), Key: "a/f0"}, engine.Caps{}); err != nil {
		t.Errorf("Append after the damage: %v", err)
	}
	check(t, e.Queue().Settle(t.Context(), enginetest.ID(1000), engine.Outcome{Status: "done"}))
	if !silent {
		t.Logf("%d missing, %d of older headers, %d outcomes lost: %+v", missing, older, twice, e.Queue().Losses())
	}
	return missing + older + twice
}

// TestQueuePageLostWhileRunning takes a page away under a running queue: the ids that
// it held are named, and what is on other pages is fetched.
func TestQueuePageLostWhileRunning(t *testing.T) {
	var told []engine.Loss
	e := openTiny(t, t.TempDir(), func(o *nats.Options) {
		o.Queue.Shards = 1
		o.Queue.OnLoss = func(l engine.Loss) { told = append(told, l) }
	})
	q, ctx := e.Queue(), t.Context()
	for n := range 10 {
		_, err := q.Append(ctx, engine.Message{ID: enginetest.ID(n), Key: "a/f", Body: make([]byte, 400)}, engine.Caps{})
		check(t, err)
	}
	check(t, e.LosePage(ctx, 3))
	events, err := q.Fetch(ctx, "a/f", 10)
	check(t, err)
	if len(events) != 9 || events[2].ID != enginetest.ID(3) {
		t.Errorf("%d events, the third being %s", len(events), events[2].ID)
	}
	if len(told) != 1 || !slices.Equal(told[0].IDs, []string{enginetest.ID(2)}) || told[0].Events != 1 || !slices.Equal(told[0].Keys, []string{"a/f"}) {
		t.Errorf("told of %+v", told)
	}
	if b := q.Backlog("a/f"); b.InFlight != 9 || b.Ready != 0 {
		t.Errorf("backlog %+v", b)
	}
}

// TestQueueClockJumps sets the wall clock back and forth: the order of messages, and
// of what was settled, is that of the calls, delays last as long as they were asked
// for, and a restart with the clock set back keeps all of it.
func TestQueueClockJumps(t *testing.T) {
	var jump time.Duration
	clock := func(o *nats.Options) { *o = o.WithClock(func() time.Time { return time.Now().Add(jump) }) }
	path := t.TempDir()
	e := openTiny(t, path, clock)
	ctx := t.Context()
	send := func(n int) {
		t.Helper()
		_, err := e.Queue().Append(ctx, engine.Message{ID: enginetest.ID(n), Key: "a/f"}, engine.Caps{})
		check(t, err)
	}
	_, err := e.Queue().Schedule(ctx, engine.Message{ID: enginetest.ID(100), Key: "a/later"}, time.Now().Add(30*time.Minute), engine.Caps{})
	check(t, err)
	want := []string{}
	for n, jumped := range []time.Duration{0, time.Hour, -time.Hour, -48 * time.Hour, time.Minute} {
		jump = jumped
		send(n)
		want = append(want, enginetest.ID(n))
	}
	check(t, e.Tidy(ctx))
	if b := e.Queue().Backlog("a/later"); b.Delayed != 1 {
		t.Errorf("a jump ended a delay: %+v", b)
	}
	e.stop()
	jump = -24 * time.Hour
	e = openTiny(t, path, clock)
	send(5)
	want = append(want, enginetest.ID(5))
	events, err := e.Queue().Fetch(ctx, "a/f", 10)
	check(t, err)
	var got []string
	for _, ev := range events {
		got = append(got, ev.ID)
		check(t, e.Queue().Settle(ctx, ev.ID, engine.Outcome{Status: "done"}))
		jump -= time.Hour
	}
	if !slices.Equal(got, want) {
		t.Errorf("fetched %v", got)
	}
	records, err := e.History().List(ctx, engine.Query{Limit: 10})
	check(t, err)
	for n, r := range records {
		if r.ID != want[len(want)-1-n] {
			t.Errorf("record %d is %s", n, r.ID)
		}
	}
}

// TestQueueStartsBeforeTheClockIsSet: on a machine whose clock is far behind when it
// starts, what waits for a time is not kept waiting for the clock.
func TestQueueStartsBeforeTheClockIsSet(t *testing.T) {
	var jump time.Duration
	clock := func(o *nats.Options) { *o = o.WithClock(func() time.Time { return time.Now().Add(jump) }) }
	path, ctx := t.TempDir(), t.Context()
	e := openTiny(t, path, clock)
	_, err := e.Queue().Schedule(ctx, engine.Message{ID: enginetest.ID(1), Key: "a/soon"}, time.Now().Add(2*time.Second), engine.Caps{})
	check(t, err)
	_, err = e.Queue().Schedule(ctx, engine.Message{ID: enginetest.ID(2), Key: "a/late"}, time.Now().Add(time.Hour), engine.Caps{})
	check(t, err)
	e.stop()
	jump = -50 * 365 * 24 * time.Hour
	e = openTiny(t, path, clock)
	ready := make(chan string, 2)
	e.Queue().Notify(func(key string) { ready <- key })
	if b := e.Queue().Backlog("a/soon"); b.Ready == 0 {
		select {
		case key := <-ready:
			if key != "a/soon" {
				t.Errorf("%s is ready", key)
			}
		case <-time.After(time.Minute):
			t.Error("it waits for the clock")
		}
	}
	if b := e.Queue().Backlog("a/late"); b.Delayed != 1 {
		t.Errorf("a delay of an hour is over: %+v", b)
	}
}
