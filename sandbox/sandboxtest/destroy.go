package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"hearth/sandbox"
)

func testDestroyUnstarted(t *testing.T, s *suite) {
	box := s.box(t)
	destroy(t, box, "not wanted")
	if err := box.Start(within(t), s.features.Command(Print)); !errors.Is(err, sandbox.ErrDestroyed) {
		t.Errorf("Start after Destroy: %v", err)
	}
}

func testDestroyEnded(t *testing.T, s *suite) {
	box := s.box(t)
	s.start(t, box, Exit7)
	before := ended(t, box)
	destroy(t, box, "exit")
	if after := box.Exit(); after != before {
		t.Errorf("Exit changed from %+v to %+v by Destroy", before, after)
	}
}

func testDestroyTree(t *testing.T, s *suite) {
	box := s.box(t)
	out := s.start(t, box, Tree)
	out.expect(t, "ready")
	destroy(t, box, "timeout")
	out.end(t)
	select {
	case <-box.Done():
	default:
		t.Error("Destroy returned and Done is not closed")
	}
	if e := box.Exit(); e.Signal != syscall.SIGKILL || e.OOM {
		t.Errorf("Exit = %+v, want SIGKILL", e)
	}
}

func testDaemon(t *testing.T, s *suite) {
	box := s.box(t)
	out := s.start(t, box, Daemon)
	out.expect(t, "ready")
	destroy(t, box, "timeout")
	out.end(t)
}

func testOrphan(t *testing.T, s *suite) {
	box := s.box(t)
	out := s.start(t, box, Orphan)
	if e := ended(t, box); e != (sandbox.Exit{}) {
		t.Errorf("Exit = %+v, want a clean one", e)
	}
	destroy(t, box, "exit")
	out.end(t)
}

// Destroy is idempotent, from many goroutines too; the first cause is kept and
// named by what the methods return later.
func testDestroyTwice(t *testing.T, s *suite) {
	box := s.box(t)
	s.start(t, box, Tree).expect(t, "ready")
	destroy(t, box, "the-first-cause")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := box.Destroy(fmt.Sprint("cause ", i)); err != nil {
				t.Errorf("Destroy again: %v", err)
			}
		})
	}
	wg.Wait()
	if err := box.SetCPU(1); err == nil || !strings.Contains(err.Error(), "the-first-cause") {
		t.Errorf("SetCPU after Destroy: %v; want the first cause named", err)
	}
}

func testAfterDestroy(t *testing.T, s *suite) {
	box := s.box(t)
	s.start(t, box, Sleep).expect(t, "ready")
	destroy(t, box, "done")
	for name, call := range map[string]func() error{
		"Listen":    func() error { _, err := box.Listen(within(t), "tcp", "127.0.0.1:0"); return err },
		"Dial":      func() error { _, err := box.Dial(within(t), "tcp", "127.0.0.1:9"); return err },
		"Start":     func() error { return box.Start(within(t), s.features.Command(Print)) },
		"SetCPU":    func() error { return box.SetCPU(100) },
		"SetMemory": func() error { return box.SetMemory(256) },
		"Mount": func() error {
			return box.Mount(within(t), sandbox.Mount{Source: t.TempDir(), Target: "/var/task"})
		},
		"Freeze": box.Freeze,
		"Thaw":   box.Thaw,
		"Signal": func() error { return box.Signal(syscall.SIGTERM) },
	} {
		if err := call(); !errors.Is(err, sandbox.ErrDestroyed) {
			t.Errorf("%s after Destroy: %v, want ErrDestroyed", name, err)
		}
	}
	// The last figures stay readable, or the sandbox says that it is destroyed.
	if _, err := box.Usage(); err != nil && !errors.Is(err, sandbox.ErrDestroyed) {
		t.Errorf("Usage after Destroy: %v", err)
	}
	if _, err := box.MemoryPeak(); err != nil && !errors.Is(err, sandbox.ErrDestroyed) {
		t.Errorf("MemoryPeak after Destroy: %v", err)
	}
	if box.ID() == "" {
		t.Error("ID after Destroy is empty")
	}
}

// Whichever of Start and Destroy comes first, nothing runs afterwards.
func testDestroyRacesStart(t *testing.T, s *suite) {
	d := s.driver(t)
	for range 10 {
		box := create(t, d, spec())
		started := make(chan error, 1)
		go func() { started <- box.Start(context.Background(), s.features.Command(Tree)) }()
		if err := box.Destroy("raced"); err != nil {
			t.Errorf("Destroy: %v", err)
		}
		if err := <-started; err == nil {
			ended(t, box)
			collect(t, box).end(t)
		} else if !errors.Is(err, sandbox.ErrDestroyed) {
			t.Errorf("Start against Destroy: %v", err)
		}
	}
}

func testDriverClose(t *testing.T, s *suite) {
	d := s.open(t)
	var outs []*output
	var boxes []sandbox.Sandbox
	for range 3 {
		box := create(t, d, spec())
		boxes = append(boxes, box)
		outs = append(outs, s.start(t, box, Tree))
	}
	unstarted := create(t, d, spec())
	for _, out := range outs {
		out.expect(t, "ready")
	}
	if err := d.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for i, box := range boxes {
		outs[i].end(t)
		ended(t, box)
	}
	if err := unstarted.SetCPU(1); !errors.Is(err, sandbox.ErrDestroyed) {
		t.Errorf("SetCPU after the driver's Close: %v", err)
	}
	if _, err := d.Create(within(t), spec()); !errors.Is(err, sandbox.ErrClosed) {
		t.Errorf("Create after Close: %v, want ErrClosed", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

func testBadSpec(t *testing.T, s *suite) {
	d := s.driver(t)
	for _, id := range []string{"", "a/b", "..", "a b", strings.Repeat("x", 65)} {
		sp := spec()
		sp.ID = id
		if _, err := d.Create(within(t), sp); err == nil {
			t.Errorf("Create with the ID %q succeeded", id)
		}
	}
	sp := spec()
	create(t, d, sp)
	if _, err := d.Create(within(t), sp); err == nil {
		t.Error("a second sandbox of the same ID was created")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := d.Create(ctx, spec()); !errors.Is(err, context.Canceled) {
		t.Errorf("Create with a canceled context: %v", err)
	}
}

func testParallel(t *testing.T, s *suite) {
	d := s.driver(t)
	var wg sync.WaitGroup
	for range 8 {
		box := create(t, d, spec())
		out := s.start(t, box, Tree)
		wg.Go(func() {
			out.expect(t, "ready")
			if err := box.Destroy("parallel"); err != nil {
				t.Errorf("Destroy: %v", err)
			}
		})
	}
	wg.Wait()
}

// After a driver's Close neither goroutines nor descriptors are left of it.
func testNothingLeft(t *testing.T, s *suite) {
	cycle := func() {
		d := s.open(t)
		for _, p := range []Program{Print, Tree, Echo, Sleep} {
			box := create(t, d, spec())
			if _, err := box.Listen(within(t), "tcp", "127.0.0.1:0"); err != nil {
				t.Fatal(err)
			}
			cmd := s.features.Command(p)
			cmd.Socket = true
			if err := box.Start(within(t), cmd); err != nil {
				t.Fatal(err)
			}
			if p == Sleep {
				destroy(t, box, "nothing left")
			}
			defer box.Output().Close()
			defer box.Socket().Close()
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cycle() // what is made once for all (the poller, threads) exists now
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for range 3 {
		cycle()
	}
	eventually(t, fmt.Sprintf("back to %d goroutines and %d descriptors", goroutines, files), func() bool {
		return runtime.NumGoroutine() <= goroutines && openFiles(t) <= files
	})
}

// openFiles counts this process's descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		if entries, err := os.ReadDir(dir); err == nil {
			return len(entries)
		}
	}
	t.Fatal("this system does not list open descriptors")
	return 0
}
