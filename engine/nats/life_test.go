package nats_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/engine"
	"hearth/engine/enginetest"
)

func TestReopen(t *testing.T) {
	path := t.TempDir()
	e := start(t, path)
	want := fill(t, e)
	before, err := e.Meta().List(t.Context(), "")
	check(t, err)
	for range 3 {
		e.stop()
		e = start(t, path)
		after, err := e.Meta().List(t.Context(), "")
		check(t, err)
		if fmt.Sprint(after) != fmt.Sprint(before) {
			t.Error("entries or revisions changed over a restart")
		}
		for digest, content := range want.blobs {
			check(t, read(t.Context(), e.Blobs(), digest, content))
		}
		check(t, e.Check(t.Context()))
	}
	last := before[len(before)-1]
	rev, err := e.Meta().Create(t.Context(), "later", nil)
	check(t, err)
	if rev <= last.Revision {
		t.Errorf("revision %d after %d", rev, last.Revision)
	}
}

func TestLockedDirectory(t *testing.T) {
	path := t.TempDir()
	start(t, path)
	_, err := open(t, path, 0)
	if !errors.Is(err, engine.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second Open: %v; want ErrLocked and this process's id", err)
	}
}

// TestNoOpenPort compares the listening sockets of this process before and
// after: the engine opens none.
func TestNoOpenPort(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	before := sockets(t)
	start(t, t.TempDir())
	if after := sockets(t); after != before {
		t.Errorf("%d sockets before, %d after", before, after)
	}
}

func sockets(t *testing.T) (n int) {
	fds, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
		if err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

// TestCloseLeavesNothing opens, uses and closes engines, with watches that are
// still running, and compares goroutines and open files.
func TestCloseLeavesNothing(t *testing.T) {
	round := func() {
		e := start(t, t.TempDir())
		fill(t, e)
		ended := make(chan error, 3)
		var ready sync.WaitGroup
		for range cap(ended) {
			ready.Add(1)
			go func() {
				ended <- e.Meta().Watch(context.Background(), "", func(c engine.Change) error {
					if c.Key == "" {
						ready.Done()
					}
					return nil
				})
			}()
		}
		ready.Wait()
		e.stop()
		for range cap(ended) {
			if err := <-ended; !errors.Is(err, engine.ErrClosed) {
				t.Errorf("Watch after Close: %v", err)
			}
		}
		_, digest := enginetest.Content(0, 0)
		_, e1 := e.Meta().Get(t.Context(), "k")
		_, e2 := e.Meta().Create(t.Context(), "k", nil)
		_, e3 := e.Meta().List(t.Context(), "")
		_, e4 := e.Blobs().Size(t.Context(), digest)
		for i, err := range []error{e1, e2, e3, e4, e.Blobs().Put(t.Context(), digest, bytes.NewReader(nil)), e.Check(t.Context())} {
			if !errors.Is(err, engine.ErrClosed) {
				t.Errorf("operation %d after Close: %v", i, err)
			}
		}
	}
	round() // what the first use starts for the whole process is not a leak
	goroutines, fds := runtime.NumGoroutine(), openFiles(t)
	round()
	eventually(t, func() error {
		if g, f := runtime.NumGoroutine(), openFiles(t); g > goroutines || f > fds {
			stacks := make([]byte, 1<<20)
			return fmt.Errorf("%d goroutines and %d files before, %d and %d after\n%s", goroutines, fds, g, f, stacks[:runtime.Stack(stacks, true)])
		}
		return nil
	})
}

func openFiles(t *testing.T) int {
	fds, err := os.ReadDir("/dev/fd")
	check(t, err)
	return len(fds)
}

// eventually polls, for what tells nobody when it has happened.
func eventually(t *testing.T, holds func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// TestCloseAtOnce closes with a context that has ended while an upload and a
// watch hang: Close cuts them off.
func TestCloseAtOnce(t *testing.T) {
	e := start(t, t.TempDir())
	watching := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- e.Meta().Watch(context.Background(), "", func(engine.Change) error { close(watching); return nil })
	}()
	<-watching
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check(t, e.Close(ctx))
	check(t, e.Close(ctx))
	if err := <-ended; !errors.Is(err, engine.ErrClosed) {
		t.Errorf("Watch: %v", err)
	}
}

// TestCheckWhileWriting has the check read while writers write: it must not see
// damage where there is only change.
func TestCheckWhileWriting(t *testing.T) {
	e := start(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("%d/%d", w, i%7)
				entry, err := e.Meta().Get(t.Context(), key)
				switch {
				case isNotFound(err):
					_, err = e.Meta().Create(t.Context(), key, nil)
				case i%5 == 0:
					_, err = e.Meta().Delete(t.Context(), key, entry.Revision)
				default:
					_, err = e.Meta().Update(t.Context(), key, []byte(key), entry.Revision)
				}
				if err != nil {
					t.Errorf("writer: %v", err)
					return
				}
			}
		})
	}
	for range 10 {
		check(t, e.Check(t.Context()))
	}
	cancel()
	wg.Wait()
}

// TestWatchSurvives takes the server's side of a watch away, by deleting its
// consumer and by starting JetStream again: the watch goes on, with every change
// once and in order.
func TestWatchSurvives(t *testing.T) {
	e := start(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	changes, ended := make(chan engine.Change, 100), make(chan error, 1)
	go func() {
		ended <- e.Meta().Watch(ctx, "", func(c engine.Change) error { changes <- c; return nil })
	}()
	<-changes // the mark
	for round, harm := range []func() error{
		func() error { return nil },
		func() error { _, err := e.LoseConsumers(ctx); return err },
		e.Wound,
		func() error { return errors.Join(e.Wound(), e.Wound()) },
	} {
		check(t, harm())
		for i := range 5 {
			rev, err := e.Meta().Create(ctx, fmt.Sprintf("%d/%d", round, i), nil)
			check(t, err)
			select {
			case c := <-changes:
				if c.Revision != rev {
					t.Fatalf("round %d: revision %d, want %d", round, c.Revision, rev)
				}
			case <-ctx.Done():
				t.Fatalf("round %d: no change came", round)
			}
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
}
