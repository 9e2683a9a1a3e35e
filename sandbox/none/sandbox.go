package none

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"hearth/internal/sockpair"
	"hearth/sandbox"
)

// killWait bounds how long Destroy waits for killed processes to be gone.
const killWait = time.Second

// Sandbox is one subprocess and its session. It is a sandbox.PathMapper.
type Sandbox struct {
	driver *Driver
	spec   sandbox.Spec
	tmp    string // the host's directory behind /tmp

	ended chan struct{} // closed when the process was reaped; what is below "set before ended" is then readable
	gone  chan struct{} // closed when the first Destroy is through

	// mu is held over the exec in Start, so that Destroy comes either before it
	// (nothing starts) or after it (there is a process to kill).
	mu        sync.Mutex
	started   bool
	cause     string // of the first Destroy; see destroyed
	destroyed bool
	cmd       *exec.Cmd // nil before a successful Start
	socket    net.Conn
	output    *os.File
	mounts    []sandbox.Mount
	listeners []net.Listener
	dialed    sandbox.Conns
	peak      int64 // the highest resident set that Usage has seen: an exec begins anew

	exit     sandbox.Exit  // set before ended
	usage    sandbox.Usage // set before ended
	leftover error         // set before ended: members of the session that would not die
	err      error         // of the first Destroy, set before gone
}

var (
	_ sandbox.Sandbox    = (*Sandbox)(nil)
	_ sandbox.PathMapper = (*Sandbox)(nil)
)

func newSandbox(d *Driver, spec sandbox.Spec, tmp string) *Sandbox {
	return &Sandbox{driver: d, spec: spec, tmp: tmp, mounts: spec.Mounts, ended: make(chan struct{}), gone: make(chan struct{})}
}

// ID returns Spec.ID.
func (s *Sandbox) ID() string { return s.spec.ID }

// Path maps a path below a mount's target, or below /tmp, to the host's path
// behind it; the longest target wins. Any other path is the host's own.
func (s *Sandbox) Path(target string) string {
	best := sandbox.Mount{Source: s.tmp, Target: "/tmp"}
	found := below(target, best.Target)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mounts {
		if below(target, m.Target) && (!found || len(m.Target) > len(best.Target)) {
			best, found = m, true
		}
	}
	if !found {
		return target
	}
	return filepath.Join(best.Source, strings.TrimPrefix(target, best.Target))
}

func below(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/' || dir == "/")
}

// Listen listens on the host. Use port 0 and the listener's own address.
func (s *Sandbox) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	if err := s.alive(); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("sandbox %s: %w", s.spec.ID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.destroyed {
		l.Close()
		return nil, sandbox.Destroyed(s.cause)
	}
	s.listeners = append(s.listeners, l)
	return l, nil
}

// Dial connects to the host's own loopback, where other programs listen too.
func (s *Sandbox) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := s.alive(); err != nil {
		return nil, err
	}
	if _, err := sandbox.Loopback(network, address); err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("sandbox %s: %w", s.spec.ID, err)
	}
	if conn = s.dialed.Add(conn); conn == nil {
		return nil, s.alive()
	}
	return conn, nil
}

// Start runs the command in a session of its own, as Hearth's own user. Paths in
// the command are host paths; see Path.
func (s *Sandbox) Start(ctx context.Context, c sandbox.Command) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.destroyed {
		return sandbox.Destroyed(s.cause)
	}
	if s.started {
		return sandbox.ErrStarted
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.started = true
	if err := s.mountLocked(c.Mounts); err != nil {
		return err
	}
	if len(c.Args) == 0 {
		return fmt.Errorf("sandbox %s: the command has no arguments", s.spec.ID)
	}
	// A slice that is empty but not nil keeps exec from passing Hearth's own
	// environment on.
	cmd := &exec.Cmd{Path: c.Args[0], Args: c.Args, Env: append([]string{}, c.Env...), Dir: c.Dir,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := s.launchLocked(cmd, c.Socket); err != nil {
		return fmt.Errorf("sandbox %s: start %s: %w", s.spec.ID, c.Args[0], err)
	}
	go s.wait(cmd) // ends with the process, which Destroy kills and waits for
	return nil
}

// launchLocked gives the command its descriptors and execs it.
func (s *Sandbox) launchLocked(cmd *exec.Cmd, withSocket bool) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	cmd.Stdout, cmd.Stderr = w, w
	if withSocket {
		conn, theirs, err := sockpair.New()
		if err != nil {
			return errors.Join(err, r.Close())
		}
		defer theirs.Close()
		cmd.ExtraFiles = []*os.File{theirs}
		s.socket = conn
	}
	if err := cmd.Start(); err != nil {
		r.Close()
		if s.socket != nil {
			s.socket.Close()
			s.socket = nil
		}
		return err
	}
	s.cmd, s.output = cmd, r
	return nil
}

// wait reaps the process with its session and publishes how it ended.
func (s *Sandbox) wait(cmd *exec.Cmd) {
	s.leftover = reap(cmd)
	s.exit = exitOf(cmd.ProcessState)
	s.usage = finalUsage(cmd.ProcessState)
	close(s.ended)
}

// finalUsage is what the process and the children it waited for used.
func finalUsage(state *os.ProcessState) sandbox.Usage {
	u := sandbox.Usage{CPU: state.UserTime() + state.SystemTime()}
	if ru, ok := state.SysUsage().(*syscall.Rusage); ok {
		u.MemoryPeak = int64(ru.Maxrss) * maxRSSUnit
	}
	return u
}

func exitOf(state *os.ProcessState) sandbox.Exit {
	e := sandbox.Exit{Code: state.ExitCode()}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal()
	}
	return e
}

// Socket is the host's end of descriptor 3.
func (s *Sandbox) Socket() net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.socket
}

// Output is the read end of the pipe that is the process's output.
func (s *Sandbox) Output() *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output
}

// Mount adds to what Path maps. Processes that run are not told.
func (s *Sandbox) Mount(ctx context.Context, mounts ...sandbox.Mount) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.destroyed {
		return sandbox.Destroyed(s.cause)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.mountLocked(mounts)
}

func (s *Sandbox) mountLocked(mounts []sandbox.Mount) error {
	for _, m := range mounts {
		if _, err := os.Lstat(m.Source); err != nil {
			return fmt.Errorf("sandbox %s: mount %s: %w", s.spec.ID, m.Target, err)
		}
	}
	all, err := sandbox.AddMounts(s.mounts, mounts)
	if err != nil {
		return err
	}
	s.mounts = all
	return nil
}

// SetMemory changes nothing: this driver enforces no limits.
func (s *Sandbox) SetMemory(mb int) error {
	if err := s.alive(); err != nil {
		return err
	}
	return sandbox.CheckMemory(mb)
}

// SetCPU changes nothing: this driver enforces no limits.
func (s *Sandbox) SetCPU(int) error { return s.alive() }

// Freeze is not supported.
func (s *Sandbox) Freeze() error { return s.unsupported() }

// Thaw is not supported.
func (s *Sandbox) Thaw() error { return s.unsupported() }

func (s *Sandbox) unsupported() error {
	if err := s.alive(); err != nil {
		return err
	}
	return sandbox.ErrUnsupported
}

// Signal sends a signal to the started process; to one that has ended it is
// harmless.
func (s *Sandbox) Signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.destroyed {
		return sandbox.Destroyed(s.cause)
	}
	if s.cmd == nil {
		return fmt.Errorf("sandbox %s: not started", s.spec.ID)
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// MemoryPeak is Usage's figure of that name.
func (s *Sandbox) MemoryPeak() (int64, error) {
	usage, err := s.Usage()
	return usage.MemoryPeak, err
}

// Usage counts the started process; at its end also the children it waited for. MemoryPeak and Memory are
// its resident set, known while it runs only on linux.
func (s *Sandbox) Usage() (sandbox.Usage, error) {
	s.mu.Lock()
	cmd := s.cmd
	s.mu.Unlock()
	if cmd == nil {
		return sandbox.Usage{}, s.alive()
	}
	select {
	case <-s.ended:
		return s.usage, nil
	default:
	}
	usage, err := processUsage(cmd.Process.Pid)
	if errors.Is(err, os.ErrNotExist) { // ended between the two
		<-s.ended
		return s.usage, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peak = max(s.peak, usage.MemoryPeak)
	usage.MemoryPeak = s.peak
	return usage, err
}

// Done is closed when the process has ended and its session with it.
func (s *Sandbox) Done() <-chan struct{} { return s.ended }

// Exit is how the process ended. OOM is never reported: nothing is limited.
func (s *Sandbox) Exit() sandbox.Exit {
	select {
	case <-s.ended:
		return s.exit
	default:
		return sandbox.Exit{}
	}
}

// Destroy kills the session, closes the listeners and removes /tmp.
func (s *Sandbox) Destroy(cause string) error {
	s.mu.Lock()
	if s.destroyed {
		s.mu.Unlock()
		<-s.gone
		return s.err
	}
	s.destroyed, s.cause = true, cause
	cmd, listeners := s.cmd, s.listeners
	s.mu.Unlock()

	for _, l := range listeners {
		_ = l.Close() // the server may have closed it already
	}
	s.dialed.Close()
	s.err = s.kill(cmd)
	if err := os.RemoveAll(s.tmp); err != nil {
		s.driver.log.Warn("sandbox /tmp was not removed", "sandbox", s.spec.ID, "err", err)
	}
	s.driver.remove(s)
	close(s.gone)
	return s.err
}

// kill ends the process and waits until its session is gone.
func (s *Sandbox) kill(cmd *exec.Cmd) error {
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sandbox %s: kill: %w", s.spec.ID, err)
	}
	timer := time.NewTimer(2 * killWait) // killSession has its own bound within
	defer timer.Stop()
	select {
	case <-s.ended:
		if s.leftover != nil {
			return fmt.Errorf("sandbox %s: %w", s.spec.ID, s.leftover)
		}
		return nil
	case <-timer.C:
		return fmt.Errorf("sandbox %s: its process is still there %v after SIGKILL", s.spec.ID, 2*killWait)
	}
}

func (s *Sandbox) alive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.destroyed {
		return sandbox.Destroyed(s.cause)
	}
	return nil
}
