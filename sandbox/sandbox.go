// Package sandbox declares what holds an instance: an isolated place in which
// one runtime process and its children run under limits, and nothing else does.
//
// It owns the seam between the platform and the kernel. It must not know what a
// function, an invocation or a runtime is. Drivers live in folders of their own
// (process, none, fake) and pass the contract suite in sandboxtest.
package sandbox

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// Errors that callers test for with errors.Is.
var (
	// ErrDestroyed is returned by every method after Destroy.
	ErrDestroyed = errors.New("sandbox: destroyed")
	// ErrNoCapacity: the machine (memory, pids, disk, slots) has no room now.
	ErrNoCapacity = errors.New("sandbox: no capacity on this machine")
	// ErrUnsupported: this driver cannot do what was asked (Listen and the
	// like in driver none may behave differently; each driver says so).
	ErrUnsupported = errors.New("sandbox: not supported by this driver")
)

// Egress is what a sandbox's network reaches; the values are faas.Egress's.
type Egress string

const (
	EgressInternet Egress = "internet"
	EgressNone     Egress = "none"
)

// Spec is what a sandbox is made for. Everything in it is fixed for its life,
// except the CPU quota (SetCPU), the memory limit (SetMemory), and mounts that are
// added (Mount). So one can be made, and a runtime started in it, before anybody
// knows for which function.
type Spec struct {
	// ID is unique among the driver's sandboxes, 1..64 of [a-zA-Z0-9-]. It is in
	// the names of what the driver leaves in the kernel.
	ID       string
	MemoryMB int // hard limit on everything charged to the sandbox
	TmpMB    int // hard size of /tmp
	// MilliCPU is the CPU quota after init, in thousandths of a core; 0 = none.
	// A sandbox starts without a quota: the owner calls SetCPU when init ended.
	MilliCPU int
	Pids     int // processes and threads; 0 = 1,024
	Files    int // open files per process; 0 = 1,024
	Egress   Egress
	Mounts   []Mount
}

// Mount makes a host directory visible in the sandbox, read-only, nosuid, nodev.
// Target is absolute; its parents must be one of /var, /opt or a path below
// them. The source may be unreadable to the sandbox's user as a path: only its
// own mode bits and its content's count.
type Mount struct{ Source, Target string }

// Command is the one process that is started in a sandbox.
type Command struct {
	Args []string // Args[0] is an absolute path inside the sandbox
	Env  []string // the whole environment
	Dir  string
	// Mounts are added before the command runs, as by Mount. Where that fails the
	// sandbox is to be destroyed.
	Mounts []Mount
	// Socket asks for one end of a stream socket pair as descriptor 3 of the
	// process; Sandbox.Socket is the other.
	Socket bool
}

// Driver makes sandboxes of one kind. Safe for concurrent use.
type Driver interface {
	// Name is the driver's name in configuration: process, none.
	Name() string
	// Create prepares a sandbox, in which nothing runs yet. ErrNoCapacity where
	// the machine has no room.
	Create(ctx context.Context, spec Spec) (Sandbox, error)
	// Close destroys every sandbox and waits until nothing of them is left.
	Close() error
}

// Sandbox is one isolated place. All methods are safe for concurrent use; after
// Destroy they are harmless and return ErrDestroyed.
type Sandbox interface {
	ID() string
	// Listen opens a listener inside the sandbox's own network namespace, at an
	// address such as 127.0.0.1:9001, served by the caller's goroutines. It is
	// closed by Destroy. It must precede Start where the process expects it.
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	// Dial connects to what a process of the sandbox listens at, inside the
	// sandbox's own network namespace: to an IP address of the loopback interface
	// such as 127.0.0.1:8080 and to no other, over tcp, tcp4 or tcp6. An error
	// that is syscall.ECONNREFUSED where nothing listens. The caller closes the
	// connection; Destroy does too.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	// Start runs the command. It returns when the process was exec'ed (or could
	// not be), at most once per sandbox.
	Start(ctx context.Context, cmd Command) error
	// Socket is the host's end of the command's descriptor 3; nil before Start
	// or where none was asked for. The caller closes it.
	Socket() net.Conn
	// Output is the read end of the one pipe that is both standard output and
	// standard error; nil before Start. Non-blocking (it is in Go's poller). The
	// caller must drain it always, and closes it.
	Output() *os.File
	// Mount adds mounts at any time between Create and Destroy, while processes run
	// and while they are frozen; the next open of a path sees them. Targets are
	// among MountPoints, each at most once in a sandbox's life, Spec.Mounts
	// included. Nothing that runs in the sandbox can lead a mount elsewhere. An
	// error for the arguments or a source leaves the sandbox as it was; after any
	// other it may have some of the mounts, and is to be destroyed.
	Mount(ctx context.Context, mounts ...Mount) error
	// SetMemory changes the hard limit to mb, 1 or more, while processes run and
	// while they are frozen. ErrNoCapacity where the machine has no room for more.
	// A limit below what is in use is an error, or ends the sandbox as out of
	// memory.
	SetMemory(mb int) error
	// SetCPU sets the CPU quota, in thousandths of a core; 0 removes it.
	SetCPU(milli int) error
	// Freeze stops every process of the sandbox; Thaw lets them go on. Neither
	// waits until the last has stopped or goes on, except where the kernel has no
	// other way (control groups of version 1). The owner orders the two.
	Freeze() error
	Thaw() error
	// Signal sends a signal to the started process only.
	Signal(sig syscall.Signal) error
	// Usage returns what the sandbox used so far; the last figures after its end.
	Usage() (Usage, error)
	// MemoryPeak is Usage's figure of that name alone, cheap enough for the end of
	// every invocation.
	MemoryPeak() (int64, error)
	// Done is closed when the started process has ended, or when the group was
	// out of memory (which ends the sandbox whatever process the kernel chose).
	// Before Destroy other processes of the sandbox may still run.
	Done() <-chan struct{}
	// Exit is how the process ended; valid after Done.
	Exit() Exit
	// Destroy kills everything in the sandbox and returns when no process of it
	// is left, at most about a second later; what is slow to clean is cleaned in
	// the background. Idempotent: the first cause is kept. A process that could
	// not be killed in time is an error, and its slot is never used again.
	Destroy(cause string) error
}

// Usage is what a sandbox used.
type Usage struct {
	MemoryPeak int64 // bytes, highest so far
	Memory     int64 // bytes now
	CPU        time.Duration
	Pids       int
}

// Exit is how a process ended.
type Exit struct {
	Code   int            // exit status; -1 where a signal ended it
	Signal syscall.Signal // 0 where it exited
	OOM    bool           // the group ran out of memory
}
