package sandboxtest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"hearth/sandbox"
)

func testOutput(t *testing.T, s *suite) {
	box := s.box(t)
	if box.Output() != nil {
		t.Error("Output before Start is not nil")
	}
	out := s.start(t, box, Print)
	out.expect(t, "out")
	out.expect(t, "err")
	out.end(t)
	if e := ended(t, box); e != (sandbox.Exit{}) {
		t.Errorf("Exit = %+v, want a clean one", e)
	}
}

// A full pipe stops the process until somebody reads; all of it arrives.
func testFlood(t *testing.T, s *suite) {
	box := s.box(t)
	out := s.start(t, box, Flood)
	ended(t, box)
	out.end(t)
	if n := out.bytes.Load(); n != 1<<20 {
		t.Errorf("%d bytes of output, want %d", n, 1<<20)
	}
}

func testExitStatus(t *testing.T, s *suite) {
	box := s.box(t)
	if box.Exit() != (sandbox.Exit{}) {
		t.Error("Exit before Start is not zero")
	}
	s.start(t, box, Exit7)
	if e, want := ended(t, box), (sandbox.Exit{Code: 7}); e != want {
		t.Errorf("Exit = %+v, want %+v", e, want)
	}
}

// The command gets the environment and directory that it was given.
func testEnvironment(t *testing.T, s *suite) {
	box := s.box(t)
	s.start(t, box, Environment).expect(t, "hello /")
}

func testSocket(t *testing.T, s *suite) {
	box := s.box(t)
	if box.Socket() != nil {
		t.Error("Socket before Start is not nil")
	}
	s.start(t, box, Echo)
	conn := box.Socket()
	if conn == nil {
		t.Fatal("Socket is nil")
	}
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	for _, word := range []string{"one\n", "two\n", strings.Repeat("x", 10_000) + "\n"} {
		if _, err := io.WriteString(conn, word); err != nil {
			t.Fatal(err)
		}
		if got, err := reader.ReadString('\n'); err != nil || got != word {
			t.Fatalf("read %d bytes, %v; want the %d that were written", len(got), err, len(word))
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if e := ended(t, box); e != (sandbox.Exit{}) {
		t.Errorf("Exit = %+v after its socket's end, want a clean one", e)
	}
}

func testNoSocket(t *testing.T, s *suite) {
	box := s.box(t)
	s.start(t, box, Sleep).expect(t, "ready")
	if box.Socket() != nil {
		t.Error("Socket is not nil, and none was asked for")
	}
}

func testStartOnce(t *testing.T, s *suite) {
	box := s.box(t)
	s.start(t, box, Sleep).expect(t, "ready")
	if err := box.Start(within(t), s.features.Command(Print)); err == nil {
		t.Error("a second Start succeeded")
	}
	select {
	case <-box.Done():
		t.Error("the first process ended")
	default:
	}
}

// A file that does not exist is an error of Start, and the sandbox can still be
// destroyed.
func testStartFails(t *testing.T, s *suite) {
	box := s.box(t)
	cmd := s.features.Command(Print)
	cmd.Args = []string{"/no/such/program"}
	if err := box.Start(within(t), cmd); err == nil {
		t.Error("Start of a missing program succeeded")
	}
	destroy(t, box, "start failed")
}

func testStartCanceled(t *testing.T, s *suite) {
	box := s.box(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := box.Start(ctx, s.features.Command(Sleep)); !errors.Is(err, context.Canceled) {
		t.Errorf("Start with a canceled context: %v", err)
	}
}

func testSignal(t *testing.T, s *suite) {
	box := s.box(t)
	s.start(t, box, Sleep).expect(t, "ready")
	if err := box.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if e, want := ended(t, box), (sandbox.Exit{Code: -1, Signal: syscall.SIGTERM}); e != want {
		t.Errorf("Exit = %+v, want %+v", e, want)
	}
	if err := box.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("Signal to a process that has ended: %v", err)
	}
}

func testIgnoredSignal(t *testing.T, s *suite) {
	box := s.box(t)
	out := s.start(t, box, Stubborn)
	out.expect(t, "ready")
	if err := box.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	destroy(t, box, "ignores SIGTERM")
	if e := ended(t, box); e.Signal != syscall.SIGKILL {
		t.Errorf("Exit = %+v, want SIGKILL", e)
	}
	out.end(t)
}

func testUsage(t *testing.T, s *suite) {
	box := s.box(t)
	if _, err := box.Usage(); err != nil {
		t.Errorf("Usage before Start: %v", err)
	}
	s.start(t, box, Sleep).expect(t, "ready")
	u, err := box.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if u.MemoryPeak < 0 || u.Memory < 0 || u.CPU < 0 || u.Pids < 1 {
		t.Errorf("Usage = %+v of a running process", u)
	}
	if peak, err := box.MemoryPeak(); err != nil || peak < u.MemoryPeak {
		t.Errorf("MemoryPeak = %d, %v after a Usage of %+v", peak, err, u)
	}
	if err := box.SetCPU(500); err != nil {
		t.Errorf("SetCPU: %v", err)
	}
	if err := box.SetCPU(0); err != nil {
		t.Errorf("SetCPU to none: %v", err)
	}
}

func testOutOfMemory(t *testing.T, s *suite) {
	box := s.box(t)
	s.start(t, box, Eat)
	if e := ended(t, box); !e.OOM {
		t.Errorf("Exit = %+v, want OOM", e)
	}
	u, err := box.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if limit := int64(128 << 20); u.MemoryPeak < limit/2 || u.MemoryPeak > limit+limit/8 {
		t.Errorf("MemoryPeak = %d MB with a limit of 128", u.MemoryPeak>>20)
	}
	destroy(t, box, "out of memory")
}

// The limit in force is the last that was set.
func testSetMemory(t *testing.T, s *suite) {
	sp := spec()
	sp.MemoryMB = 64
	box := create(t, s.driver(t), sp)
	for _, mb := range []int{96, 32, 128} {
		if err := box.SetMemory(mb); err != nil {
			t.Fatalf("SetMemory(%d): %v", mb, err)
		}
	}
	s.start(t, box, Eat)
	if e := ended(t, box); !e.OOM {
		t.Errorf("Exit = %+v, want OOM", e)
	}
	peak, err := box.MemoryPeak()
	if err != nil {
		t.Fatal(err)
	}
	if limit := int64(128 << 20); peak < limit/2 || peak > limit+limit/8 {
		t.Errorf("MemoryPeak = %d MB with a limit of 128", peak>>20)
	}
}

func testSetMemoryRefused(t *testing.T, s *suite) {
	box := s.box(t)
	for _, mb := range []int{0, -1} {
		if err := box.SetMemory(mb); err == nil {
			t.Errorf("SetMemory(%d) succeeded", mb)
		}
	}
	if err := box.SetMemory(64); err != nil {
		t.Errorf("SetMemory(64): %v", err)
	}
}

func testPidsLimit(t *testing.T, s *suite) {
	sp := spec()
	sp.Pids = 32
	box := create(t, s.driver(t), sp)
	out := s.start(t, box, Fork)
	out.expect(t, "refused")
	destroy(t, box, "fork bomb")
	out.end(t)
}

func testTmpLimit(t *testing.T, s *suite) {
	sp := spec()
	sp.TmpMB = 64
	box := create(t, s.driver(t), sp)
	s.start(t, box, Fill).expect(t, "full")
	if e := ended(t, box); e != (sandbox.Exit{}) {
		t.Errorf("Exit = %+v: a full /tmp must be an error of the write", e)
	}
}

func testFreeze(t *testing.T, s *suite) {
	box := s.box(t)
	out := s.start(t, box, Count)
	out.expect(t, "tick")
	if err := box.Freeze(); err != nil {
		t.Fatal(err)
	}
	// What was under way may still arrive; then there is silence.
	quiet := 0
	for last := out.bytes.Load(); quiet < 20; {
		select {
		case _, ok := <-out.lines:
			if !ok {
				t.Fatal("the output ended while frozen")
			}
		case <-time.After(10 * time.Millisecond):
		}
		now := out.bytes.Load()
		if now == last {
			quiet++
		} else {
			quiet = 0
		}
		last = now
	}
	if err := box.Thaw(); err != nil {
		t.Fatal(err)
	}
	out.expect(t, "tick")
	if err := box.Freeze(); err != nil {
		t.Fatal(err)
	}
	destroy(t, box, "frozen") // a frozen sandbox dies like any other
	out.end(t)
}
