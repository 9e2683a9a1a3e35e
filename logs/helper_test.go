package logs

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/faas"
)

var function = faas.FunctionID{
	Scope: faas.Scope{Account: faas.DefaultAccount, Region: faas.DefaultRegion, Namespace: faas.DefaultNamespace},
	Name:  "thumbnails",
}

func named(name string) faas.FunctionID {
	id := function
	id.Name = name
	return id
}

func source(id faas.FunctionID) Source {
	return Source{Function: id, Version: faas.Latest, Instance: "i-1"}
}

func openStore(t testing.TB, o Options) *Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// openStream is a stream over a pipe, and the pipe's end for writing.
func openStream(t testing.TB, s *Store, id faas.FunctionID) (*Stream, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	st := s.Stream(source(id), r)
	t.Cleanup(func() {
		w.Close()
		st.Close()
	})
	return st, w
}

func print(t testing.TB, w *os.File, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(w, format, args...); err != nil {
		t.Fatal(err)
	}
}

func find(t testing.TB, s *Store, q Query) []Line {
	t.Helper()
	if q.Function == (faas.FunctionID{}) {
		q.Function = function
	}
	lines, err := s.Find(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// text is lines as "request|text", one per row.
func text(lines []Line) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s|%s\n", l.RequestID, l.Text)
	}
	return b.String()
}

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// patience bounds everything that is expected to happen.
const patience = time.Minute

// await polls for what the kernel or another goroutine gives no event for.
// It is used in clean-ups too, where the test's own context has ended.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: it did not happen", what)
		}
	}
}

// noLeaks fails where a test leaves goroutines or descriptors behind.
func noLeaks(t *testing.T) {
	t.Helper()
	goroutines, fds := runtime.NumGoroutine(), openFiles(t)
	t.Cleanup(func() {
		await(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
		await(t, fmt.Sprintf("no more than %d descriptors are open", fds), func() bool { return openFiles(t) <= fds })
	})
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
