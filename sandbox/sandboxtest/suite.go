// Package sandboxtest is the contract of sandbox.Driver as tests: every driver
// passes Run, the fake included.
//
// It owns what "a sandbox" may be relied on for; it must not know how any driver
// does it. What only an isolating driver can do is asked for by Features.
package sandboxtest

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hearth/sandbox"
)

// wait bounds everything that a test waits for. It is long because the machine
// may be busy; no passing test waits for it.
const wait = time.Minute

// Features says what the driver does beyond the common contract, and how it runs
// the suite's programs.
type Features struct {
	// Command makes the command for a program; nil is Shell.
	Command func(Program) sandbox.Command
	// Daemons: Destroy also ends processes that left their session and parent.
	Daemons bool
	// Outlives: children of the process live on when it has ended, until Destroy.
	Outlives bool
	// Memory, Pids and Tmp: the limits are enforced; with Memory, running out is
	// reported.
	Memory, Pids, Tmp bool
	// Freeze: Freeze and Thaw work.
	Freeze bool
	// Network: each sandbox has its own, so that the host cannot dial a listener
	// and two sandboxes can listen at the same address.
	Network bool
	// Mounts: Spec.Mounts are real for the command, and read-only.
	Mounts bool
}

// Run runs the suite. Each test makes a driver of its own with open, which must
// not register its Close: the suite closes it.
func Run(t *testing.T, open func(*testing.T) sandbox.Driver, f Features) {
	if f.Command == nil {
		f.Command = Shell
	}
	s := &suite{open: open, features: f}
	for _, c := range []struct {
		name string
		test func(*testing.T, *suite)
		on   bool
	}{
		{"Output", testOutput, true},
		{"Flood", testFlood, true},
		{"ExitStatus", testExitStatus, true},
		{"Environment", testEnvironment, true},
		{"Socket", testSocket, true},
		{"NoSocket", testNoSocket, true},
		{"StartOnce", testStartOnce, true},
		{"StartFails", testStartFails, true},
		{"StartCanceled", testStartCanceled, true},
		{"Signal", testSignal, true},
		{"IgnoredSignal", testIgnoredSignal, true},
		{"Usage", testUsage, true},
		{"BadSpec", testBadSpec, true},
		{"MountRefused", testMountRefused, true},
		{"SetMemoryRefused", testSetMemoryRefused, true},
		{"Listen", testListen, true},
		{"ListenClosed", testListenClosed, true},
		{"Dial", testDial, true},
		{"DialRefused", testDialRefused, true},
		{"DialElsewhere", testDialElsewhere, true},
		{"DialCanceled", testDialCanceled, true},
		{"DialClosed", testDialClosed, true},
		{"DialLeavesNothing", testDialLeavesNothing, true},
		{"DestroyUnstarted", testDestroyUnstarted, true},
		{"DestroyEnded", testDestroyEnded, true},
		{"DestroyTree", testDestroyTree, true},
		{"DestroyTwice", testDestroyTwice, true},
		{"AfterDestroy", testAfterDestroy, true},
		{"DestroyRacesStart", testDestroyRacesStart, true},
		{"DriverClose", testDriverClose, true},
		{"Parallel", testParallel, true},
		{"NothingLeft", testNothingLeft, true},
		{"Daemon", testDaemon, f.Daemons},
		{"Orphan", testOrphan, f.Outlives},
		{"OutOfMemory", testOutOfMemory, f.Memory},
		{"SetMemory", testSetMemory, f.Memory},
		{"PidsLimit", testPidsLimit, f.Pids},
		{"TmpLimit", testTmpLimit, f.Tmp},
		{"Freeze", testFreeze, f.Freeze},
		{"OwnNetwork", testOwnNetwork, f.Network},
		{"DialOwnNetwork", testDialOwnNetwork, f.Network},
		{"Mounts", testMounts, f.Mounts},
		{"MountEarly", testMountEarly, f.Mounts},
		{"MountLate", testMountLate, f.Mounts},
		{"MountAtStart", testMountAtStart, f.Mounts},
		{"MountFrozen", testMountFrozen, f.Mounts && f.Freeze},
		{"PathMapper", testPathMapper, !f.Mounts},
	} {
		if c.on {
			t.Run(c.name, func(t *testing.T) { c.test(t, s) })
		}
	}
}

type suite struct {
	open     func(*testing.T) sandbox.Driver
	features Features
}

// driver opens a driver that the test's end closes.
func (s *suite) driver(t *testing.T) sandbox.Driver {
	t.Helper()
	d := s.open(t)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Driver.Close: %v", err)
		}
	})
	return d
}

var ids atomic.Int64

// spec is a modest sandbox with an ID of its own.
func spec() sandbox.Spec {
	return sandbox.Spec{ID: fmt.Sprintf("suite-%d-%d", os.Getpid(), ids.Add(1)), MemoryMB: 128, TmpMB: 64, Egress: sandbox.EgressNone}
}

func create(t *testing.T, d sandbox.Driver, sp sandbox.Spec) sandbox.Sandbox {
	t.Helper()
	box, err := d.Create(within(t), sp)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	return box
}

// box makes a sandbox on a driver of its own.
func (s *suite) box(t *testing.T) sandbox.Sandbox {
	t.Helper()
	return create(t, s.driver(t), spec())
}

// start runs a program and returns what collects its output.
func (s *suite) start(t *testing.T, box sandbox.Sandbox, p Program, env ...string) *output {
	t.Helper()
	cmd := s.features.Command(p)
	cmd.Env = append(cmd.Env, env...)
	cmd.Socket = p == Echo
	if err := box.Start(within(t), cmd); err != nil {
		t.Fatalf("Start %s: %v", p, err)
	}
	return collect(t, box)
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	t.Cleanup(cancel)
	return ctx
}

// ended waits for Done and returns Exit.
func ended(t *testing.T, box sandbox.Sandbox) sandbox.Exit {
	t.Helper()
	select {
	case <-box.Done():
		return box.Exit()
	case <-time.After(wait):
		t.Fatalf("the process did not end within %v\n%s", wait, stacks())
		return sandbox.Exit{}
	}
}

func destroy(t *testing.T, box sandbox.Sandbox, cause string) {
	t.Helper()
	if err := box.Destroy(cause); err != nil {
		t.Fatalf("Destroy: %v", err)
	}
}

// stacks is what a test that waited in vain shows.
func stacks() string {
	buf := make([]byte, 1<<16)
	return string(buf[:runtime.Stack(buf, true)])
}

// eventually polls for what neither the kernel nor the contract announces.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %v: %s", wait, what)
		case <-tick.C:
		}
	}
}

// output drains a sandbox's output for the length of a test.
type output struct {
	file  *os.File
	lines chan string   // complete lines; closed at the end of the output
	bytes atomic.Int64  // read so far
	stop  chan struct{} // closed at the test's end
}

// collect starts draining. It is stopped, and its file closed, at the test's end.
func collect(t *testing.T, box sandbox.Sandbox) *output {
	t.Helper()
	o := &output{file: box.Output(), lines: make(chan string, 64), stop: make(chan struct{})}
	if o.file == nil {
		t.Fatal("Output is nil after Start")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.drain()
	}()
	t.Cleanup(func() {
		close(o.stop)
		o.file.Close()
		<-done
	})
	return o
}

func (o *output) drain() {
	defer close(o.lines)
	buf, partial := make([]byte, 32<<10), ""
	for {
		n, err := o.file.Read(buf)
		o.bytes.Add(int64(n))
		if err != nil {
			return
		}
		partial += string(buf[:n])
		for {
			line, rest, found := strings.Cut(partial, "\n")
			if !found {
				break
			}
			partial = rest
			select {
			case o.lines <- line:
			case <-o.stop:
				return
			}
		}
	}
}

// line returns the next line, or fails.
func (o *output) line(t *testing.T) string {
	t.Helper()
	select {
	case line, ok := <-o.lines:
		if !ok {
			t.Fatal("the output has ended")
		}
		return line
	case <-time.After(wait):
		t.Fatalf("no output within %v", wait)
	}
	return ""
}

func (o *output) expect(t *testing.T, want string) {
	t.Helper()
	if got := o.line(t); got != want {
		t.Fatalf("output %q, want %q", got, want)
	}
}

// end waits for the end of the output: it comes when nobody is left who holds it.
func (o *output) end(t *testing.T) {
	t.Helper()
	deadline := time.After(wait)
	for {
		select {
		case _, ok := <-o.lines:
			if !ok {
				return
			}
		case <-deadline:
			t.Fatalf("the output did not end within %v: a process still holds it", wait)
		}
	}
}
