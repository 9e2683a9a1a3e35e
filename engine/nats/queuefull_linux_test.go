package nats_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hearth/engine"
	"hearth/engine/enginetest"
)

// TestQueueDiskFull fills the disk up to the reserve: acceptance stops with
// ErrFull, and what waits is fetched, retried and settled all the same; also after
// a restart; when there is room again, acceptance goes on.
func TestQueueDiskFull(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, path string) {
		e, err := open(t, filepath.Join(path, "data"), smallReserve)
		check(t, err)
		ctx := t.Context()
		accepted := 0
		send := func() error {
			_, err := e.Queue().Append(ctx, engine.Message{ID: enginetest.ID(accepted), Key: "a/f", Body: make([]byte, 1<<20)}, engine.Caps{})
			if err == nil {
				accepted++
			}
			return err
		}
		for err == nil {
			err = send()
		}
		wantFull(t, "Append", err)
		if accepted < 10 {
			t.Fatalf("only %d messages fitted", accepted)
		}
		work := func(from, to int) {
			t.Helper()
			events, err := e.Queue().Fetch(ctx, "a/f", to-from)
			check(t, err)
			for i, ev := range events {
				if ev.ID != enginetest.ID(from+i) || len(ev.Body) != 1<<20 {
					t.Errorf("fetched %s with %d bytes", ev.ID, len(ev.Body))
				}
				if i == 0 {
					check(t, e.Queue().Retry(ctx, ev.ID, time.Now().Add(time.Hour), []byte("again")))
				}
				check(t, e.Queue().Settle(ctx, ev.ID, engine.Outcome{Status: "done"}))
			}
			if len(events) != to-from {
				t.Errorf("%d of %d events", len(events), to-from)
			}
		}
		work(0, 3)
		e.stop()
		e, err = open(t, filepath.Join(path, "data"), smallReserve)
		check(t, err)
		defer e.stop()
		wantFull(t, "Append after a restart", send())
		work(3, accepted)
		check(t, e.FlushHistory(ctx))
		check(t, e.Tidy(ctx)) // takes the settled pages off the disk
		check(t, send())
		if losses := e.Queue().Losses(); len(losses) > 0 {
			t.Errorf("lost: %+v", losses)
		}
	})
}

// TestQueueDiskFullBehindTheGuard lets the store itself meet the full disk: callers get
// ErrFull, nothing that was acknowledged is lost, and it goes on when there is room.
func TestQueueDiskFullBehindTheGuard(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, path string) {
		e, err := open(t, filepath.Join(path, "data"), -1<<40)
		check(t, err)
		defer e.stop()
		ctx, sent := t.Context(), 0
		send := func() error {
			m := engine.Message{ID: enginetest.ID(sent), Key: "a/f", Body: make([]byte, 50<<10), Header: fmt.Append(nil, sent)}
			_, err := e.Queue().Append(ctx, m, engine.Caps{KeyEvents: 10_000})
			if err == nil {
				sent++
			}
			return err
		}
		check(t, send())
		occupy(t, path)
		for err == nil {
			err = send()
		}
		wantFull(t, "Append", err)
		if b := e.Queue().Backlog("a/f"); b.Ready != sent {
			t.Errorf("%d sent, %+v", sent, b)
		}
		if _, err := e.Queue().Find(ctx, enginetest.ID(0)); err != nil {
			t.Errorf("Find on a full disk: %v", err)
		}
		check(t, os.Remove(filepath.Join(path, "filler")))
		err = send()
		for try := 0; errors.Is(err, engine.ErrFull) && try < 3; try++ {
			err = send()
		}
		check(t, err)
		events, err := e.Queue().Fetch(ctx, "a/f", 10_000)
		check(t, err)
		if len(events) != sent {
			t.Errorf("%d of %d events", len(events), sent)
		}
		for _, ev := range events {
			check(t, e.Queue().Settle(ctx, ev.ID, engine.Outcome{Status: "done"}))
		}
	})
}
