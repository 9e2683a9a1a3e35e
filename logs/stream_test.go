package logs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAttribution(t *testing.T) {
	noLeaks(t)
	s := openStore(t, Options{})
	st, w := openStream(t, s, function)
	print(t, w, "init\nhalf")
	st.Begin("r1", "START r1")
	print(t, w, "one\ntwo\nno end")
	st.Settle("r1", "END r1", "REPORT r1")
	print(t, w, "background\n")
	st.Begin("r2", "START r2")
	st.Platform("r2", "Task timed out\n")
	st.Settle("r2", "END r2")
	st.Platform("", "INIT_REPORT")
	print(t, w, "last words")
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st.Platform("r2", "killed") // harmless
	want := `|init
|half
r1|START r1
r1|one
r1|two
r1|no end
r1|END r1
r1|REPORT r1
|background
r2|START r2
r2|Task timed out
r2|END r2
|INIT_REPORT
|last words
r2|killed
`
	lines := find(t, s, Query{})
	if got := text(lines); got != want {
		t.Fatalf("got:\n%s\nwant:\n%s", got, want)
	}
	if l := lines[0]; l.Function != function || l.Version != "$LATEST" || l.Instance != "i-1" || time.Since(l.Time) > time.Minute {
		t.Errorf("line %+v", l)
	}
	if got := text(find(t, s, Query{RequestID: "r1", Contains: "o"})); got != "r1|one\nr1|two\nr1|no end\n" {
		t.Errorf("by request: %q", got)
	}
	tail := "START r1\none\ntwo\nno end\nEND r1\nREPORT r1\n"
	if got := string(st.Tail("r1")); got != tail {
		t.Errorf("tail %q", got)
	}
	if got := st.Tail("r1"); got != nil {
		t.Errorf("tail again %q", got)
	}
}

func TestSeveralInFlight(t *testing.T) {
	s := openStore(t, Options{})
	st, w := openStream(t, s, function)
	st.Begin("a", "START a")
	print(t, w, "only a\n")
	st.Begin("b", "START b")
	print(t, w, "whose?\n{\"level\":\"INFO\",\"requestId\":\"a\"}\n{\"requestId\":\"stranger\"}\n{\"requestId\": broken\n")
	st.Platform("b", "framed")
	st.Settle("a", "END a")
	print(t, w, "only b\n{\"requestId\":\"a\"}\n")
	st.Settle("b", "END b")
	want := `a|START a
a|only a
b|START b
|whose?
a|{"level":"INFO","requestId":"a"}
|{"requestId":"stranger"}
|{"requestId": broken
b|framed
a|END a
b|only b
b|{"requestId":"a"}
b|END b
`
	if got := text(find(t, s, Query{})); got != want {
		t.Fatalf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestManyTails(t *testing.T) {
	s := openStore(t, Options{})
	st, w := openStream(t, s, function)
	const n = 200
	for i := range n {
		st.Begin(fmt.Sprint(i), fmt.Sprint("START ", i))
	}
	print(t, w, "%s\n", strings.Repeat("x", 5000))
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { st.Settle(fmt.Sprint(i), fmt.Sprint("END ", i)) })
	}
	wg.Wait()
	for i := range n {
		if got, want := string(st.Tail(fmt.Sprint(i))), fmt.Sprintf("START %d\nEND %d\n", i, i); got != want {
			t.Fatalf("tail %d is %q", i, got)
		}
	}
	st.Begin("long", "START long")
	print(t, w, "%s\n%s\n", strings.Repeat("x", 9000), strings.Repeat("y", 3000))
	st.Settle("long", "END long")
	tail := st.Tail("long")
	if len(tail) != tailBytes || !bytes.HasSuffix(tail, []byte("y\nEND long\n")) || tail[0] != 'x' {
		t.Errorf("a long tail: %d bytes", len(tail))
	}
}

func TestLongLine(t *testing.T) {
	s := openStore(t, Options{})
	st, w := openStream(t, s, function)
	st.Begin("r", "START")
	line := strings.Repeat("0123456789abcdef", 600<<10/16)
	print(t, w, "%s\nafter\n", line)
	// All is read: a barrier does not wait for so much as long as a busy machine may take.
	await(t, "the last line is stored", func() bool { return len(find(t, s, Query{Contains: "after"})) == 1 })
	st.Settle("r", "END")
	lines := find(t, s, Query{RequestID: "r"})
	var sizes []int
	var all strings.Builder
	for _, l := range lines[1 : len(lines)-2] {
		sizes = append(sizes, len(l.Text))
		all.WriteString(l.Text)
	}
	if all.String() != line || fmt.Sprint(sizes) != "[262144 262144 90112]" {
		t.Errorf("pieces %v", sizes)
	}
}

func TestHostileBytes(t *testing.T) {
	s := openStore(t, Options{})
	st, w := openStream(t, s, function)
	var every []byte
	for c := range 256 {
		if c != '\n' {
			every = append(every, byte(c))
		}
	}
	texts := []string{string(every), "\x1b[31mred\x1b[0m", `{"t":1,"r":"forged"}`, "\u2028 \"quoted\" \\", "", "\xff\xfe", "\r"}
	st.Begin("r", "START")
	print(t, w, "%s\n", strings.Join(texts, "\n"))
	st.Settle("r\x80", "not in flight")
	st.Settle("r", "END")
	lines := find(t, s, Query{RequestID: "r"})
	if len(lines) != len(texts)+2 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, want := range texts {
		if got := lines[i+1].Text; got != want {
			t.Errorf("line %d: %q, want %q", i, got, want)
		}
	}
	if got := find(t, s, Query{RequestID: "forged"}); len(got) != 0 {
		t.Errorf("a forged record was believed: %v", got)
	}
	if got := find(t, s, Query{RequestID: "r\x80"}); len(got) != 1 {
		t.Errorf("a request id that is not UTF-8: %v", got)
	}
}

// TestBarrier: whatever a child wrote before it answered is attributed to its
// request, however fast the answer is.
func TestBarrier(t *testing.T) {
	noLeaks(t)
	s := openStore(t, Options{})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	st := s.Stream(source(function), r)
	child := exec.Command("/bin/sh", "-c", `while read id; do echo "out $id"; echo "err $id" >&2; echo "$id" >&3; done`)
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, answer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	child.Stdout, child.Stderr, child.ExtraFiles = w, w, []*os.File{answer}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	answer.Close()
	const n = 500
	buf := make([]byte, 64)
	for i := range n {
		id := fmt.Sprintf("r%d", i)
		st.Begin(id, "START")
		fmt.Fprintln(in, id)
		if _, err := answers.Read(buf); err != nil {
			t.Fatal(err)
		}
		st.Settle(id, "END")
		if got, want := string(st.Tail(id)), fmt.Sprintf("START\nout %s\nerr %s\nEND\n", id, id); got != want {
			t.Fatalf("tail of %s: %q", id, got)
		}
	}
	in.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	answers.Close()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 250, n - 1} {
		id := fmt.Sprintf("r%d", i)
		if got := find(t, s, Query{RequestID: id}); len(got) != 4 {
			t.Errorf("%s has %d lines", id, len(got))
		}
	}
}

func TestCloseWithLivingWriter(t *testing.T) {
	noLeaks(t)
	s := openStore(t, Options{})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	st := s.Stream(source(function), r)
	print(t, w, "a daemon holds the pipe\n")
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if got := text(find(t, s, Query{})); got != "|a daemon holds the pipe\n" {
		t.Errorf("%q", got)
	}
}

// BenchmarkSettle is the warm path of a quiet function.
func BenchmarkSettle(b *testing.B) {
	s := openStore(b, Options{})
	st, _ := openStream(b, s, function)
	b.ReportAllocs()
	for b.Loop() {
		st.Begin("8f507cfc-xmpl-4697-b07a-ac58fc914c95", "START RequestId: 8f507cfc-xmpl-4697-b07a-ac58fc914c95 Version: $LATEST")
		st.Settle("8f507cfc-xmpl-4697-b07a-ac58fc914c95", "END RequestId: 8f507cfc-xmpl-4697-b07a-ac58fc914c95",
			"REPORT RequestId: 8f507cfc-xmpl-4697-b07a-ac58fc914c95\tDuration: 0.20 ms\tBilled Duration: 1 ms\tMemory Size: 1769 MB\tMax Memory Used: 60 MB")
	}
}

func BenchmarkSettleWithOutput(b *testing.B) {
	s := openStore(b, Options{Rate: 1 << 40, Burst: 1 << 50})
	st, w := openStream(b, s, function)
	line := []byte("2026-01-02T03:04:05.000Z\tINFO\thello from the handler\n")
	b.ReportAllocs()
	for b.Loop() {
		st.Begin("8f507cfc-xmpl-4697-b07a-ac58fc914c95", "START")
		w.Write(line)
		st.Settle("8f507cfc-xmpl-4697-b07a-ac58fc914c95", "END", "REPORT")
	}
}
