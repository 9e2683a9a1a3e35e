package fake

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"hearth/internal/sockpair"
	"hearth/sandbox"
)

// killWait bounds how long Destroy waits for a program that ignores its context.
const killWait = time.Second

// Sandbox is a program and what it was given.
type Sandbox struct {
	driver *Driver
	spec   sandbox.Spec
	ended  chan struct{} // closed when the program returned
	gone   chan struct{} // closed when the first Destroy is through

	mu        sync.Mutex
	started   bool
	destroyed bool
	cause     string
	process   *Process
	socket    net.Conn
	output    *os.File
	listeners map[string]*listener
	nextPort  int
	dialed    sandbox.Conns
	cpu       int
	memory    int
	mounts    []sandbox.Mount
	frozen    bool
	usage     sandbox.Usage

	exit sandbox.Exit // set before ended
	err  error        // of the first Destroy, set before gone
}

var _ sandbox.Sandbox = (*Sandbox)(nil)

func newSandbox(d *Driver, spec sandbox.Spec) *Sandbox {
	return &Sandbox{driver: d, spec: spec, ended: make(chan struct{}), gone: make(chan struct{}),
		listeners: make(map[string]*listener), nextPort: 40000, usage: sandbox.Usage{Pids: 1},
		memory: spec.MemoryMB, mounts: spec.Mounts}
}

// ID returns Spec.ID.
func (s *Sandbox) ID() string { return s.spec.ID }

// Spec returns what the sandbox was made for.
func (s *Sandbox) Spec() sandbox.Spec { return s.spec }

// Start runs the program named by Args[0].
func (s *Sandbox) Start(ctx context.Context, cmd sandbox.Command) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.aliveLocked(); err != nil {
		return err
	}
	if s.started {
		return sandbox.ErrStarted
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.started = true
	if err := s.mountLocked(cmd.Mounts); err != nil {
		return err
	}
	if len(cmd.Args) == 0 {
		return errors.New("fake: the command has no arguments")
	}
	if s.driver.opts.OnStart != nil {
		if err := s.driver.opts.OnStart(s.spec, cmd); err != nil {
			return err
		}
	}
	program, err := s.driver.program(cmd.Args[0])
	if err != nil {
		return err
	}
	return s.launchLocked(program, cmd)
}

func (s *Sandbox) launchLocked(program Program, cmd sandbox.Command) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	p := &Process{Command: cmd, Spec: s.spec, Output: w, box: s}
	if cmd.Socket {
		host, theirs, err := sockpair.New()
		if err != nil {
			return errors.Join(err, r.Close(), w.Close())
		}
		p.Socket, err = net.FileConn(theirs)
		theirs.Close()
		if err != nil {
			return errors.Join(err, host.Close(), r.Close(), w.Close())
		}
		s.socket = host
	}
	// The process outlives the call that started it; kill and Destroy end it.
	p.ctx, p.cancel = context.WithCancel(context.Background())
	s.output, s.process = r, p
	go func() {
		s.exit = p.run(program)
		close(s.ended)
	}()
	return nil
}

// Socket is the host's end of the program's socket.
func (s *Sandbox) Socket() net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.socket
}

// Output is the read end of the program's output.
func (s *Sandbox) Output() *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output
}

// Mount records the mounts; see Mounts.
func (s *Sandbox) Mount(ctx context.Context, mounts ...sandbox.Mount) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.aliveLocked(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.mountLocked(mounts)
}

func (s *Sandbox) mountLocked(mounts []sandbox.Mount) error {
	for _, m := range mounts {
		if _, err := os.Lstat(m.Source); err != nil {
			return fmt.Errorf("fake: mount %s: %w", m.Target, err)
		}
	}
	all, err := sandbox.AddMounts(s.mounts, mounts)
	if err != nil {
		return err
	}
	s.mounts = all
	return nil
}

// Mounts returns Spec.Mounts and those that Mount added.
func (s *Sandbox) Mounts() []sandbox.Mount {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mounts
}

// SetMemory records the limit; see Memory.
func (s *Sandbox) SetMemory(mb int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.aliveLocked(); err != nil {
		return err
	}
	if err := sandbox.CheckMemory(mb); err != nil {
		return err
	}
	s.memory = mb
	return nil
}

// Memory returns the limit in MB.
func (s *Sandbox) Memory() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.memory
}

// SetCPU records the quota; see CPU.
func (s *Sandbox) SetCPU(milli int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.aliveLocked(); err != nil {
		return err
	}
	s.cpu = milli
	return nil
}

// CPU returns the last quota set; 0 = none.
func (s *Sandbox) CPU() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cpu
}

// Freeze records that the sandbox is frozen; the program runs on.
func (s *Sandbox) Freeze() error { return s.setFrozen(true) }

// Thaw undoes Freeze.
func (s *Sandbox) Thaw() error { return s.setFrozen(false) }

// Frozen reports whether Freeze was called last.
func (s *Sandbox) Frozen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frozen
}

func (s *Sandbox) setFrozen(frozen bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.aliveLocked(); err != nil {
		return err
	}
	s.frozen = frozen
	return nil
}

// Signal delivers a signal to the program; see Process.Signals.
func (s *Sandbox) Signal(sig syscall.Signal) error {
	s.mu.Lock()
	err, p := s.aliveLocked(), s.process
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if p == nil {
		return fmt.Errorf("sandbox %s: not started", s.spec.ID)
	}
	p.signal(sig)
	return nil
}

// SetUsage decides what Usage returns from now on.
func (s *Sandbox) SetUsage(u sandbox.Usage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usage = u
}

// MemoryPeak is Usage's figure of that name.
func (s *Sandbox) MemoryPeak() (int64, error) {
	usage, err := s.Usage()
	return usage.MemoryPeak, err
}

// Usage returns what SetUsage was given last.
func (s *Sandbox) Usage() (sandbox.Usage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage, nil
}

// Done is closed when the program returned.
func (s *Sandbox) Done() <-chan struct{} { return s.ended }

// Exit is how the program ended.
func (s *Sandbox) Exit() sandbox.Exit {
	select {
	case <-s.ended:
		return s.exit
	default:
		return sandbox.Exit{}
	}
}

// Destroy kills the program and waits until it has returned.
func (s *Sandbox) Destroy(cause string) error {
	s.mu.Lock()
	if s.destroyed {
		s.mu.Unlock()
		<-s.gone
		return s.err
	}
	s.destroyed, s.cause = true, cause
	p, listeners := s.process, s.listeners
	s.mu.Unlock()

	for _, l := range listeners {
		l.Close()
	}
	s.dialed.Close()
	if p != nil {
		p.kill(syscall.SIGKILL)
		timer := time.NewTimer(killWait)
		defer timer.Stop()
		select {
		case <-s.ended:
		case <-timer.C:
			s.err = fmt.Errorf("sandbox %s: its program still runs %v after it was killed", s.spec.ID, killWait)
		}
	}
	s.driver.remove(s)
	close(s.gone)
	return s.err
}

// Cause is what Destroy was first given; empty before.
func (s *Sandbox) Cause() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

func (s *Sandbox) aliveLocked() error {
	if s.destroyed {
		return sandbox.Destroyed(s.cause)
	}
	return nil
}
