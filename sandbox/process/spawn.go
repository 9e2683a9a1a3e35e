//go:build linux && amd64

package process

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// op is one system call of a script, in the order of the kernel's registers.
type op struct {
	nr   uintptr
	args [6]uintptr
}

// script is what a new process does between clone and exec: system calls, each
// of which must succeed. Its operands stay pinned until release.
type script struct {
	ops   []op
	names []string
	pins  runtime.Pinner
}

func (s *script) add(name string, nr uintptr, args ...uintptr) {
	o := op{nr: nr}
	copy(o.args[:], args)
	s.ops = append(s.ops, o)
	s.names = append(s.names, name)
}

// bytes pins b, which must not be empty, and returns its address.
func (s *script) bytes(b []byte) uintptr {
	s.pins.Pin(&b[0])
	return uintptr(unsafe.Pointer(&b[0]))
}

// text pins a copy of v with a final NUL and returns its address.
func (s *script) text(v string) uintptr { return s.bytes(append([]byte(v), 0)) }

// texts pins a NULL-terminated vector of strings and returns its address.
func (s *script) texts(vs []string) uintptr {
	vector := make([]uintptr, len(vs)+1)
	for i, v := range vs {
		vector[i] = s.text(v)
	}
	return pin(s, &vector[0])
}

// pin pins what p points at and returns its address.
func pin[T any](s *script, p *T) uintptr {
	s.pins.Pin(p)
	return uintptr(unsafe.Pointer(p))
}

func (s *script) release() { s.pins.Unpin() }

// cloneArgs is struct clone_args of linux/sched.h, version 2.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal   uint64
	stack, stackSize, tls, setTID, setTIDSize, into uint64
}

// failure is where the child writes which system call failed, and how.
type failure struct {
	errno uintptr
	at    uintptr // address of the op
}

// cloneAndRun clones a child that works off ops, and returns its pid or a
// negated errno once the child has exec'ed or ended.
//
//go:noescape
func cloneAndRun(args *cloneArgs, ops *op, n uintptr, failed *failure) (pid uintptr)

// proc is a spawned process. Its pidfd is in Go's poller: waiting for it holds no
// thread.
type proc struct {
	pid   int // in Hearth's pid namespace; only for what has no pidfd form
	pidfd *os.File
}

// spawn runs a script, which begins with descriptors, in a new process and returns
// when it has exec'ed. It must run on a thread that ends afterwards (onThread): all
// its signals stay blocked. cgroup is a descriptor of the v2 group that the process
// is born in, or -1.
func spawn(s *script, cgroup int) (*proc, error) {
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^uint64(0)
	}
	// A signal handler of Go must not run in a child that shares its memory.
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return nil, fmt.Errorf("process: block signals: %w", err)
	}
	pidfd := int32(-1)
	args := &cloneArgs{
		flags:      unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_FILES | unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND,
		pidfd:      uint64(pin(s, &pidfd)),
		exitSignal: uint64(unix.SIGCHLD),
	}
	if cgroup >= 0 {
		args.flags |= unix.CLONE_INTO_CGROUP
		args.into = uint64(cgroup)
	}
	failed := new(failure)
	s.pins.Pin(failed)
	s.pins.Pin(&s.ops[0])
	r := cloneAndRun(args, &s.ops[0], uintptr(len(s.ops)), failed)
	runtime.KeepAlive(s)
	if e := -int(r); e > 0 && e < 4096 {
		return nil, fmt.Errorf("process: clone: %w", syscall.Errno(e))
	}
	p := &proc{pid: int(r)}
	_ = unix.SetNonblock(int(pidfd), true) // without it the poller refuses, and wait says so
	p.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
	if failed.errno != 0 {
		if _, err := p.wait(); err != nil {
			return nil, err
		}
		at := (failed.at - uintptr(unsafe.Pointer(&s.ops[0]))) / unsafe.Sizeof(op{})
		return nil, fmt.Errorf("process: %s: %w", s.names[at], syscall.Errno(failed.errno))
	}
	return p, nil
}

// siginfo is the part of siginfo_t that waitid fills in.
type siginfo struct {
	signo, errno, code, _ int32
	pid, uid, status      int32
	_                     [100]byte
}

const cldExited = 1

// wait reaps the process and returns its wait status: exited with a code, or
// ended by a signal. Exactly one caller.
func (p *proc) wait() (status exitStatus, err error) {
	defer p.pidfd.Close()
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return exitStatus{}, err
	}
	var info siginfo
	var waitErr error
	err = conn.Read(func(fd uintptr) bool {
		for {
			_, _, e := unix.Syscall6(unix.SYS_WAITID, unix.P_PIDFD, fd,
				uintptr(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOHANG, 0, 0)
			switch {
			case e == unix.EINTR:
				continue
			case e == unix.EAGAIN:
				return false // PIDFD_NONBLOCK and still running
			case e != 0:
				waitErr = fmt.Errorf("process: wait: %w", e)
				return true
			}
			return info.pid != 0
		}
	})
	if err == nil {
		err = waitErr
	}
	if err != nil {
		return exitStatus{}, err
	}
	if info.code == cldExited {
		return exitStatus{code: int(info.status)}, nil
	}
	return exitStatus{code: -1, signal: syscall.Signal(info.status)}, nil
}

type exitStatus struct {
	code   int
	signal syscall.Signal
}

// kill sends a signal. A process that has ended is no error.
func (p *proc) kill(sig syscall.Signal) error {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return nil // closed: reaped
	}
	var sendErr error
	if conn.Control(func(fd uintptr) {
		sendErr = unix.PidfdSendSignal(int(fd), sig, nil, 0)
	}) != nil || sendErr == unix.ESRCH {
		return nil
	}
	return sendErr
}
