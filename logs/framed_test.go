package logs

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// frame is a framed line, as a runtime writes it.
func frame(request, text string) string { return "\x1e" + request + "\x1f" + text + "\n" }

// part is a framed line that goes on.
func part(request, text string) string { return "\x1e" + request + "\x1d" + text + "\n" }

func TestFramedLines(t *testing.T) {
	for name, test := range map[string]struct {
		output string // while a and b are in flight, and c has ended
		want   string
	}{
		"own":                   {frame("a", "1") + frame("b", "2") + frame("a", "3"), "a|1\nb|2\na|3\n"},
		"empty":                 {frame("a", ""), "a|\n"},
		"parts interleave":      {part("a", "on") + part("b", "tw") + part("a", "") + frame("b", "o") + frame("a", "e"), "b|two\na|one\n"},
		"part without an end":   {part("a", "open") + frame("b", "x"), "b|x\na|open\n"},
		"raw":                   {"whose?\n" + frame("b", "x"), "|whose?\nb|x\n"},
		"raw before a frame":    {"no end" + frame("b", "x"), "|no end\nb|x\n"},
		"raw JSON":              {`{"requestId":"a"}` + "\n", "a|{\"requestId\":\"a\"}\n"},
		"frame around JSON":     {frame("b", `{"requestId":"a"}`), "b|{\"requestId\":\"a\"}\n"},
		"ended":                 {frame("c", "late") + part("c", "later"), "c|late\nc|later\n"},
		"of a stranger":         {frame("z", "x"), "|\x1ez\x1fx\n"},
		"no id":                 {"\x1e\x1fx\n", "|\x1e\x1fx\n"},
		"no separator":          {"\x1ea\n", "|\x1ea\n"},
		"JSON text sequence":    {"\x1e{\"a\":1}\n", "|\x1e{\"a\":1}\n"},
		"id too long":           {frame(strings.Repeat("a", 200), "x"), "|" + strings.TrimSuffix(frame(strings.Repeat("a", 200), "x"), "\n") + "\n"},
		"separator in the text": {frame("a", "1\x1f2\x1d3\x1e4"), "a|1\x1f2\x1d3\x1e4\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Options{})
			st, w := openStream(t, s, function)
			for _, request := range []string{"a", "b", "c"} {
				st.Begin(request, "")
			}
			st.Settle("c")
			print(t, w, "%s", test.output)
			st.Settle("b")
			st.Settle("a")
			if got := text(find(t, s, Query{})); got != test.want {
				t.Errorf("got:\n%q\nwant:\n%q", got, test.want)
			}
		})
	}
}

// A line that was read with one invocation in flight is another's where its frame
// says so.
func TestFramedLineOfEndedInvocation(t *testing.T) {
	s := openStore(t, Options{})
	st, w := openStream(t, s, function)
	st.Begin("slow", "")
	st.Begin("quick", "")
	st.Settle("slow", "timed out")
	print(t, w, "%sraw\n", frame("slow", "still here"))
	st.Settle("quick")
	if got, want := text(find(t, s, Query{})), "slow|timed out\nslow|still here\nquick|raw\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := string(st.Tail("quick")); got != "raw\n" {
		t.Errorf("tail %q", got)
	}
	for i := range 100 { // the one that ended long ago is forgotten
		id := fmt.Sprint("n", i)
		st.Begin(id, "")
		st.Settle(id)
	}
	if n := len(st.captures.past.known); n != minPast || st.captures.past.has("slow") {
		t.Errorf("%d requests are remembered, want the last %d", n, minPast)
	}
}

// Unfinished lines take bounded memory, whatever number of invocations has one.
func TestPartsAreBounded(t *testing.T) {
	s := openStore(t, Options{})
	st, w := openStream(t, s, function)
	const requests = 40
	for i := range requests {
		st.Begin(fmt.Sprint("r", i), "")
	}
	chunk := strings.Repeat("x", 3900)
	go func() {
		for range 20 {
			for i := range requests {
				fmt.Fprint(w, part(fmt.Sprint("r", i), chunk))
			}
		}
		fmt.Fprint(w, frame("r0", "end"))
	}()
	await(t, "the last line is there", func() bool {
		st.mu.Lock()
		defer st.mu.Unlock()
		if st.parts > maxParts {
			t.Errorf("%d bytes are held back, want at most %d", st.parts, maxParts)
		}
		return len(st.captures.flying["r0"].part) == 0 && bytes.HasSuffix(st.captures.flying["r0"].buf, []byte("end\n"))
	})
	sizes := map[string]int{}
	for i := range requests {
		st.Settle(fmt.Sprint("r", i))
	}
	if st.parts != 0 {
		t.Errorf("%d bytes are held back for nobody", st.parts)
	}
	for i := range requests {
		for _, l := range find(t, s, Query{RequestID: fmt.Sprint("r", i)}) {
			sizes[l.RequestID] += len(l.Text)
		}
		want := 20 * len(chunk)
		if i == 0 {
			want += len("end")
		}
		if got := sizes[fmt.Sprint("r", i)]; got != want {
			t.Errorf("request %d: %d bytes of log, want %d", i, got, want)
		}
	}
}

// However the writes of several requests interleave, and wherever reads cut the
// pipe's bytes, each request's log is what it wrote.
func TestFramedInterleaving(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	for round := range 20 {
		s := openStore(t, Options{})
		st, _ := openStream(t, s, function)
		requests := 1 + rng.IntN(8)
		wrote := make([]strings.Builder, requests)
		var pipe []byte
		for i := range requests {
			st.Begin(fmt.Sprint("r", i), "")
		}
		for range 200 {
			i := rng.IntN(requests)
			id, text := fmt.Sprint("r", i), strings.Repeat(string(rune('a'+i)), rng.IntN(50))
			if rng.IntN(3) == 0 {
				pipe = append(pipe, part(id, text)...)
			} else {
				pipe = append(pipe, frame(id, text)...)
				text += "\n"
			}
			wrote[i].WriteString(text)
		}
		for len(pipe) > 0 {
			n := 1 + rng.IntN(min(len(pipe), 300))
			st.mu.Lock()
			st.outputLocked(pipe[:n])
			st.mu.Unlock()
			pipe = pipe[n:]
		}
		for i := range requests {
			id := fmt.Sprint("r", i)
			st.Settle(id)
			var got strings.Builder
			for _, line := range find(t, s, Query{RequestID: id}) {
				got.WriteString(line.Text + "\n")
			}
			want := wrote[i].String()
			if want != "" && !strings.HasSuffix(want, "\n") {
				want += "\n"
			}
			if got.String() != want {
				t.Fatalf("seed %d, round %d, request %s:\ngot  %q\nwant %q", seed, round, id, got.String(), want)
			}
		}
	}
}

func FuzzParseFramed(f *testing.F) {
	f.Add([]byte(frame("a", "b")))
	f.Add([]byte(part("id", "")))
	f.Add([]byte("\x1e\x1f\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if len(line) == 0 || line[0] != frameStart || bytes.IndexByte(line, '\n') != len(line)-1 {
			return
		}
		got, ok := parseFramed(line)
		if !ok {
			return
		}
		again := frame(got.request, strings.TrimSuffix(string(got.text), "\n"))
		if got.goesOn {
			again = part(got.request, strings.TrimSuffix(string(got.text), "\n"))
		}
		if again != string(line) || got.request == "" || len(got.request) > maxFrameID {
			t.Errorf("%q → %+v → %q", line, got, again)
		}
	})
}

// A line that no frame is around is not cut by invocations that begin and end
// while it is nobody's before and after.
func TestRawLineAmongSeveral(t *testing.T) {
	s := openStore(t, Options{})
	st, w := openStream(t, s, function)
	st.Begin("a", "")
	print(t, w, "of a, ")
	st.Begin("b", "")
	print(t, w, "whose")
	st.Begin("c", "")
	print(t, w, "ever\nof ")
	st.Settle("c")
	print(t, w, "nobody\nnobody's, ")
	st.Settle("b")
	print(t, w, "and a's\n")
	st.Settle("a")
	want := "a|of a, \n|whoseever\n|of nobody\n|nobody's, \na|and a's\n"
	if got := text(find(t, s, Query{})); got != want {
		t.Errorf("got:\n%q\nwant:\n%q", got, want)
	}
}

// Of many barriers that wait for the writer all go on when it has taken what was
// pending, and none waits as long as it may.
func TestBarriersGoOnTogether(t *testing.T) {
	s := openStore(t, Options{Barrier: time.Hour})
	st, _ := openStream(t, s, function)
	st.mu.Lock()
	st.queued = true // the writer is told later
	for !st.fullLocked() {
		st.addLineLocked("", strings.Repeat("x", 3000))
	}
	st.mu.Unlock()
	const requests = 4
	var settled sync.WaitGroup
	for i := range requests {
		settled.Go(func() { st.Settle(fmt.Sprint("r", i)) })
	}
	stacks := make([]byte, 1<<20)
	await(t, "all wait for room", func() bool {
		return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), ").awaitRoomLocked(") == requests
	})
	s.enqueue(st)
	done := make(chan struct{})
	go func() { settled.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Error("barriers wait although there is room")
	}
}

// Barriers of many invocations at once do not read beyond what may wait for a
// writer that is slow: nothing is dropped, what is printed waits in the pipe, and a
// frame that they read a part of is one line all the same.
func TestBarriersWaitForRoom(t *testing.T) {
	s := openStore(t, Options{})
	st, w := openStream(t, s, function)
	st.mu.Lock()
	st.queued = true // the writer is never told
	st.mu.Unlock()
	const requests, frames = 16, 1000
	for i := range requests {
		st.Begin(fmt.Sprint("r", i), "")
	}
	var rest []byte
	for k := range frames {
		rest = append(rest, frame(fmt.Sprint("r", k%requests), strings.Repeat("x", 3000))...)
	}
	for i := range requests {
		if err := w.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := w.Write(rest)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the pipe is not full: %v", err)
		}
		rest = rest[n:]
		st.Settle(fmt.Sprint("r", i))
	}
	st.mu.Lock()
	if st.pending.dropped > 0 || len(st.pending.data) > pendingBytes {
		t.Errorf("%d bytes wait and %d were dropped", len(st.pending.data), st.pending.dropped)
	}
	st.mu.Unlock()
	s.enqueue(st)
	if err := w.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(rest); err != nil {
		t.Fatal(err)
	}
	await(t, "everything is stored", func() bool { return len(find(t, s, Query{})) == frames })
	n := 0
	for i := range requests {
		for _, line := range find(t, s, Query{RequestID: fmt.Sprint("r", i)}) {
			n++
			if len(line.Text) != 3000 {
				t.Errorf("r%d has a torn line of %d bytes", i, len(line.Text))
			}
		}
	}
	if n != frames {
		t.Errorf("%d lines of %d are found by their requests", n, frames)
	}
}
