package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hearth/faas"
)

// segmentsOf are the names of a function's files.
func segmentsOf(t testing.TB, s *Store, id faas.FunctionID) (names []string, size int64) {
	t.Helper()
	entries, err := os.ReadDir(s.path(id))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Name())
		if strings.HasSuffix(e.Name(), ".log") {
			size += info.Size()
		}
	}
	return names, size
}

func TestRotationAndBound(t *testing.T) {
	const bound = 1 << 20
	s := openStore(t, Options{MaxBytesPerFunction: bound})
	st, _ := openStream(t, s, function)
	filler := strings.Repeat("x", 1000)
	const n = 3000
	for i := range n {
		id := fmt.Sprintf("request-%d", i)
		st.Begin(id, "START")
		st.Settle(id, filler, "END")
		if i%50 == 0 {
			find(t, s, Query{RequestID: id})
		}
		if i%200 == 0 {
			if _, size := segmentsOf(t, s, function); size > bound {
				t.Fatalf("%d bytes on disk after %d requests", size, i)
			}
		}
	}
	for _, i := range []int{n - 1, n - 100, n - 700} {
		lines := find(t, s, Query{RequestID: fmt.Sprintf("request-%d", i)})
		if len(lines) != 3 || lines[1].Text != filler {
			t.Errorf("request %d has %d lines", i, len(lines))
		}
	}
	if lines := find(t, s, Query{RequestID: "request-0"}); len(lines) != 0 {
		t.Errorf("the oldest request is still there")
	}
	names, size := segmentsOf(t, s, function)
	if size > bound || size < bound/2 || len(names) < 8 {
		t.Errorf("%d bytes in %v", size, names)
	}
	checkSkips(t, s)
}

// checkSkips: the index spares nearly every full segment when a request is looked for.
func checkSkips(t *testing.T, s *Store) {
	t.Helper()
	fl := s.function(function)
	segments, err := fl.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	read, indexed := 0, 0
	for _, seg := range segments {
		if !seg.indexed {
			continue
		}
		for i := range 100 {
			indexed++
			if fl.mayHave(seg, Query{RequestID: fmt.Sprintf("stranger-%d", i)}) {
				read++
			}
		}
	}
	if indexed == 0 || read*20 > indexed {
		t.Errorf("%d of %d looks would have read a segment in vain", read, indexed)
	}
}

func TestRetention(t *testing.T) {
	c := newClock()
	s := openStore(t, Options{Retention: 8 * time.Hour, Clock: c.read})
	st, _ := openStream(t, s, function)
	other, _ := openStream(t, s, named("other"))
	other.Platform("", "once")
	for hour := range 12 {
		st.Platform("", fmt.Sprintf("hour %d", hour))
		find(t, s, Query{})
		c.advance(time.Hour)
	}
	// Now it is hour 12: what is before hour 4 is hidden at once.
	if lines := find(t, s, Query{}); len(lines) != 8 || lines[0].Text != "hour 4" {
		t.Errorf("%d lines from %q on", len(lines), lines[0].Text)
	}
	c.advance(24 * time.Hour)
	for _, id := range []faas.FunctionID{function, named("other")} {
		if err := s.function(id).sweep(c.read()); err != nil {
			t.Fatal(err)
		}
		if names, _ := segmentsOf(t, s, id); len(names) != 0 {
			t.Errorf("%s still has %v", id, names)
		}
	}
	other.Platform("", "again")
	if lines := find(t, s, Query{Function: named("other")}); len(lines) != 1 {
		t.Errorf("after the sweep: %v", lines)
	}
}

func TestQueries(t *testing.T) {
	c := newClock()
	s := openStore(t, Options{Clock: c.read})
	began := c.read()
	for _, name := range []string{"a", "b"} {
		st, _ := openStream(t, s, named(name))
		for i := range 10 {
			st.Platform("", fmt.Sprintf("%s%d", name, i))
			c.advance(time.Second)
		}
	}
	all := faas.FunctionID{}
	second := func(n int) time.Time { return began.Add(time.Duration(n) * time.Second) }
	tests := map[string]struct {
		q    Query
		want string
	}{
		"limit":     {Query{Function: named("a"), Limit: 3}, "a0 a1 a2"},
		"tail":      {Query{Function: named("a"), Tail: 3}, "a7 a8 a9"},
		"since":     {Query{Function: named("a"), Since: second(8)}, "a8 a9"},
		"until":     {Query{Function: named("a"), Until: second(2)}, "a0 a1"},
		"contains":  {Query{Function: named("a"), Contains: "5"}, "a5"},
		"version":   {Query{Function: named("a"), Version: "7"}, ""},
		"unknown":   {Query{Function: named("c")}, ""},
		"all, tail": {Query{Function: all, Tail: 2}, "b8 b9"},
		"all":       {Query{Function: all, Since: second(9), Limit: 3}, "a9 b0 b1"},
		"region":    {Query{Function: faas.FunctionID{Scope: faas.Scope{Region: "eu-west-1"}}}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			lines, err := s.Find(t.Context(), test.q)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range lines {
				got = append(got, l.Text)
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("got %v, want %s", got, test.want)
			}
		})
	}
	if len(s.functions) != 2 {
		t.Errorf("asking for an unknown function is remembered")
	}
}

func TestResultBytesAreBounded(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	for _, r := range []result{{limit: 1000}, {tail: 1000}} {
		for i := range 100 {
			if err := r.add(Line{Time: time.Unix(int64(i), 0), Text: big}); err != nil {
				break
			}
		}
		r.merge(nil)
		if len(r.lines) != maxResult>>20 || r.bytes > maxResult {
			t.Fatalf("%d lines with %d bytes", len(r.lines), r.bytes)
		}
		if last := r.lines[len(r.lines)-1].Time.Unix(); r.tail > 0 && last != 99 || r.tail == 0 && last != 15 {
			t.Errorf("the last line is %d", last)
		}
	}
}

// TestSweepOfUnreadLogs: after a restart the retention holds for functions that
// nobody calls or asks for.
func TestSweepOfUnreadLogs(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	for _, name := range []string{"old", "new"} {
		st, _ := openStream(t, s, named(name))
		st.Platform("", name)
	}
	s.Close()
	old := s.path(named("old"))
	then := time.Now().Add(-8 * 24 * time.Hour)
	if err := os.Chtimes(filepath.Join(old, "00000001.log"), then, then); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: dir})
	newWriter(s).sweep()
	if have, err := s.onDisk(); err != nil || len(have) != 1 || have[0] != named("new") {
		t.Errorf("left %v, %v", have, err)
	}
	if lines := find(t, s, Query{Function: named("new")}); len(lines) != 1 {
		t.Errorf("%d lines", len(lines))
	}
}

func TestFollow(t *testing.T) {
	noLeaks(t)
	s := openStore(t, Options{})
	st, w := openStream(t, s, function)
	st.Platform("", "old 1")
	st.Platform("", "old 2")
	ctx, cancel := context.WithCancelCause(t.Context())
	lines := make(chan string, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Follow(ctx, Query{Function: faas.FunctionID{Name: function.Name}, Tail: 1}, func(l Line) error {
			lines <- l.Text
			return nil
		})
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-lines:
			if got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%q did not come", want)
		}
	}
	expect("old 2")
	print(t, w, "new 1\n")
	expect("new 1")
	elsewhere := function
	elsewhere.Region = "eu-west-1"
	second, _ := openStream(t, s, elsewhere)
	second.Platform("", "other region")
	expect("other region")
	cause := errors.New("the client went away")
	cancel(cause)
	if err := <-ended; !errors.Is(err, cause) {
		t.Errorf("ended with %v", err)
	}
	if err := s.Follow(t.Context(), Query{Until: time.Now()}, nil); !faas.IsCode(err, faas.CodeInvalid) {
		t.Errorf("until: %v", err)
	}
	stop := errors.New("enough")
	if err := s.Follow(t.Context(), Query{Function: function}, func(Line) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a failing visitor: %v", err)
	}
}

func TestFollowEndsWithStore(t *testing.T) {
	noLeaks(t)
	s := openStore(t, Options{})
	st, _ := openStream(t, s, function)
	st.Platform("", "first")
	var got []string
	ended := make(chan error, 1)
	seen := make(chan struct{}, 10)
	go func() {
		ended <- s.Follow(t.Context(), Query{Function: function}, func(l Line) error {
			got = append(got, l.Text)
			seen <- struct{}{}
			return nil
		})
	}()
	<-seen
	st.Platform("", "last")
	st.Close()
	s.Close()
	if err := <-ended; !errors.Is(err, ErrClosed) || strings.Join(got, ",") != "first,last" {
		t.Errorf("got %v, ended with %v", got, err)
	}
	if _, err := s.Find(t.Context(), Query{}); !errors.Is(err, ErrClosed) {
		t.Errorf("find after close: %v", err)
	}
}

func TestDrop(t *testing.T) {
	s := openStore(t, Options{})
	st, _ := openStream(t, s, function)
	kept, _ := openStream(t, s, named("kept"))
	st.Platform("", "old")
	kept.Platform("", "kept")
	find(t, s, Query{})
	if err := s.Drop(t.Context(), function); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(t.Context(), named("unknown")); err != nil {
		t.Fatal(err)
	}
	st.Platform("", "a draining instance's")
	if lines := find(t, s, Query{}); len(lines) != 0 {
		t.Errorf("after drop: %v", lines)
	}
	again, _ := openStream(t, s, function)
	again.Platform("", "new")
	if got := text(find(t, s, Query{})) + text(find(t, s, Query{Function: named("kept")})); got != "|new\n|kept\n" {
		t.Errorf("got %q", got)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, trashPrefix+"*")); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestNamesStayInside(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: filepath.Join(dir, "logs[1]*")})
	ids := []faas.FunctionID{
		named("../../../../../escape"), named(".."), named(""), named("a/b"), named("ü\xff"),
	}
	for _, id := range ids {
		st, _ := openStream(t, s, id)
		st.Platform("", "hello")
	}
	find(t, s, Query{})
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("written beside the directory: %v", entries)
	}
	have, err := s.onDisk()
	if err != nil || len(have) != len(ids) {
		t.Fatalf("%d of %d on disk: %v", len(have), len(ids), err)
	}
	found := map[faas.FunctionID]bool{}
	for _, id := range have {
		found[id] = true
	}
	for _, id := range ids {
		if !found[id] {
			t.Errorf("%q is not found again", id.Name)
		}
	}
}

// TestDiskFailure: a disk that refuses costs lines, not the function, and the
// gap is marked.
func TestDiskFailure(t *testing.T) {
	s := openStore(t, Options{})
	st, _ := openStream(t, s, function)
	st.Platform("", "before")
	find(t, s, Query{})
	fl := s.function(function)
	fl.mu.Lock()
	broken, err := os.Open(fl.path(fl.seq, ".log")) // not open for writing
	if err != nil {
		t.Fatal(err)
	}
	fl.closeLocked()
	fl.active = broken
	fl.mu.Unlock()
	st.Platform("", "lost")
	find(t, s, Query{})
	fl.close()
	st.Platform("", "after")
	lines := find(t, s, Query{})
	if len(lines) != 3 || lines[0].Text != "before" || !strings.HasSuffix(lines[1].Text, "bytes dropped") || lines[2].Text != "after" {
		t.Errorf("got %q", text(lines))
	}
}

const crashDir = "HEARTH_LOGS_TEST_CRASH_DIR"

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

func writeUntilKilled(dir string) {
	s, err := Open(context.Background(), Options{Dir: dir, MaxBytesPerFunction: 4 << 20})
	if err != nil {
		panic(err)
	}
	r, _, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	st := s.Stream(source(function), r)
	for i := 0; ; i++ {
		id := fmt.Sprintf("r%d", i)
		st.Begin(id, "START "+id)
		st.Settle(id, strings.Repeat("x", 500), "END "+id)
		if i%100 == 0 {
			if _, err := s.Find(context.Background(), Query{Function: function, Limit: 1}); err != nil {
				panic(err)
			}
			fmt.Println(i)
		}
	}
}

func TestCrash(t *testing.T) {
	dir := t.TempDir()
	last := 0
	for round := range 3 {
		durable := crashOnce(t, dir, 500+300*round)
		tear(t, dir)
		s := openStore(t, Options{Dir: dir, MaxBytesPerFunction: 4 << 20})
		id := fmt.Sprintf("r%d", durable)
		if got := find(t, s, Query{RequestID: id, Tail: 3}); len(got) != 3 || got[2].Text != "END "+id {
			t.Fatalf("round %d: %s has %d lines", round, id, len(got))
		}
		st, _ := openStream(t, s, function)
		st.Platform("", fmt.Sprintf("round %d", round))
		if got := find(t, s, Query{Contains: "round"}); len(got) != round+1 {
			t.Fatalf("round %d: %q", round, text(got))
		}
		st.Close()
		s.Close()
		last = durable
	}
	if last == 0 {
		t.Fatal("nothing was written")
	}
}

// crashOnce runs the writer until it said that request n is stored, and kills it.
func crashOnce(t *testing.T, dir string, n int) (durable int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); durable < n && lines.Scan(); {
		if _, err := fmt.Sscan(lines.Text(), &durable); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	return durable
}

// tear does to the last segment what a power loss does: half a record at its end.
func tear(t *testing.T, dir string) {
	t.Helper()
	logs, _ := filepath.Glob(filepath.Join(dir, "*", "*", "*", "*", "*.log"))
	if len(logs) == 0 {
		t.Fatal("no segments")
	}
	f, err := os.OpenFile(logs[len(logs)-1], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, "\x00\x00\x00\n"+`{"t":17000000000000,"r":"r1","v":"$LATEST","i":"i-1","m":["ha`); err != nil {
		t.Fatal(err)
	}
}

// TestFloodHoldsNobody: neither a neighbour nor a barrier waits for the end of a flood,
// which here comes only when they have waited too long.
func TestFloodHoldsNobody(t *testing.T) {
	const rate = 8 << 20
	s := openStore(t, Options{Rate: rate, Burst: rate})
	st, w := openStream(t, s, function)
	st.Begin("flood", "START")
	child := exec.Command("yes", "a line of a function that prints without end")
	child.Stdout = w
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var late atomic.Bool
	watchdog := time.AfterFunc(patience, func() {
		late.Store(true)
		child.Process.Kill()
	})
	quiet, _ := openStream(t, s, named("quiet"))
	for range 20 {
		quiet.Begin("q", "START")
		quiet.Settle("q", "END")
		st.Settle("none")
	}
	watchdog.Stop()
	child.Process.Kill()
	_ = child.Wait() // killed
	if late.Load() {
		t.Error("somebody waited for the flood")
	}
}

// TestFlood: a child that writes as fast as it can costs a bounded amount of
// memory and disk, and is slowed down to its rate.
func TestFlood(t *testing.T) {
	amount := int64(24 << 20)
	rate := int64(8 << 20)
	if os.Getenv("HEARTH_LONG") != "" {
		amount, rate = 1<<30, 64<<20
	}
	const bound = 4 << 20
	noLeaks(t)
	s := openStore(t, Options{MaxBytesPerFunction: bound, Rate: rate, Burst: rate})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	st := s.Stream(source(function), r)
	st.Begin("flood", "START")
	child := exec.Command("/bin/sh", "-c", fmt.Sprintf("yes 'a line of a function that prints without end' | head -c %d", amount))
	child.Stdout = w
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- child.Wait() }()

	quiet, _ := openStream(t, s, named("quiet"))
	var heap uint64
	for waiting := true; waiting; {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			waiting = false
		case <-time.After(20 * time.Millisecond):
			quiet.Begin("q", "START")
			quiet.Settle("q", "END")
			st.Settle("none")
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			heap = max(heap, m.HeapAlloc)
		}
	}
	took := time.Since(began)
	st.Settle("flood", "END")
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	// The burst is free; a barrier may let through a little more than the rate.
	if least := time.Duration(float64(amount-rate) / float64(rate) / 4 * float64(time.Second)); took < least {
		t.Errorf("the flood took only %v", took)
	}
	if heap > 100<<20 {
		t.Errorf("%d bytes of heap", heap)
	}
	if _, size := segmentsOf(t, s, function); size > bound {
		t.Errorf("%d bytes on disk", size)
	}
	lines := find(t, s, Query{Tail: 2})
	if len(lines) != 2 || lines[1].Text != "END" || lines[1].RequestID != "flood" {
		t.Errorf("the end is %q", text(lines))
	}
	if lines := find(t, s, Query{Contains: "bytes dropped"}); len(lines) > 0 {
		t.Logf("dropped %d times, first: %s", len(lines), lines[0].Text)
	}
	t.Logf("%d bytes in %v, heap %d", amount, took, heap)
}

// BenchmarkFindRequest looks for one request in a full log of 64 MiB.
func BenchmarkFindRequest(b *testing.B) {
	s := openStore(b, Options{})
	st, _ := openStream(b, s, function)
	line := strings.Repeat("x", 200)
	n := 0
	for fl := s.function(function); fl.seq < 9; n++ {
		id := fmt.Sprintf("request-%d", n)
		st.Begin(id, "START")
		st.Settle(id, line, "END", "REPORT")
		if n%200 == 0 {
			if err := s.sync(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	id := fmt.Sprintf("request-%d", n/2)
	for b.Loop() {
		if lines := find(b, s, Query{RequestID: id}); len(lines) != 4 {
			b.Fatalf("%d lines", len(lines))
		}
	}
}
