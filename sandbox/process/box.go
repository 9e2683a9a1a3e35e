//go:build linux && amd64

package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hearth/internal/sockpair"
	"hearth/sandbox"
)

// gentleDeath is how long the processes of a sandbox have to be gone before the
// command's group is killed too.
const gentleDeath = 20 * time.Millisecond

// box is one sandbox. Its life: Create houses it, Start launches the command,
// Destroy kills everything and hands it to clean. Whatever ends first, everything
// ends through the death of the first process.
type box struct {
	d    *Driver
	id   string
	slot *slot

	files, pids int // limits of its processes

	// Set by Create and constant until clean.
	netns    Netns
	tmp      *image
	mnt      *os.File // the mount namespace; its last mounts go when this is closed
	first    *proc    // pid 1 of the sandbox
	command  *proc    // the starter, which becomes the command
	lifeline *os.File // first ends when this is closed, by Destroy or by Hearth's death
	oom      *oomEvents
	cpu0     time.Duration // the group's CPU time when the sandbox began

	ready bool // built; guarded by Driver.mu

	watchers  sync.WaitGroup
	firstGone chan struct{} // closed when no process is left in the pid namespace
	done      chan struct{} // see sandbox.Sandbox.Done
	killed    chan struct{} // closed when Destroy begins
	destroyed chan struct{} // closed when Destroy's own part is over

	mu         sync.Mutex
	launching  chan struct{} // non-nil once Start was called; closed when it is over
	started    bool          // the command was exec'ed
	plumbing   *plumbing     // what Start has not given to socket and output
	spare      int           // a socket of the network namespace for Listen, or -1
	socket     net.Conn
	output     *os.File
	listeners  []net.Listener
	dialed     sandbox.Conns
	mounts     []sandbox.Mount // of the Spec and of Mount
	memoryMB   int             // the hard limit
	exit       sandbox.Exit
	ended      bool // done is closed
	outOfMem   bool
	dying      bool // Destroy was called
	cause      string
	last       sandbox.Usage // after the end
	destroyErr error
}

var _ sandbox.Sandbox = (*box)(nil)

func (b *box) ID() string { return b.id }

// watch starts the goroutines that see the sandbox's ends. They end by its death.
func (b *box) watch() {
	b.watchers.Go(b.awaitFirst)
	b.watchers.Go(b.reap)
	b.watchers.Go(func() {
		if b.oom.wait(b.slot.group) {
			b.mu.Lock()
			b.outOfMem = true
			b.mu.Unlock()
			b.kill()
		}
	})
}

// awaitFirst reaps the first process.
func (b *box) awaitFirst() {
	if _, err := b.first.wait(); err != nil {
		b.d.log.Error("cannot wait for a sandbox's first process", "user", b.slot.uid, "error", err)
	}
	close(b.firstGone)
}

// Listen implements sandbox.Sandbox.
func (b *box) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	if err := b.dead(); err != nil {
		return nil, err
	}
	ln, err := b.listen(ctx, network, address)
	if err != nil {
		if dead := b.dead(); dead != nil {
			return nil, dead
		}
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dying {
		ln.Close()
		return nil, sandbox.Destroyed(b.cause)
	}
	b.listeners = append(b.listeners, ln)
	return ln, nil
}

// Start implements sandbox.Sandbox.
func (b *box) Start(ctx context.Context, cmd sandbox.Command) error {
	if err := checkCommand(cmd); err != nil {
		return err
	}
	if err := errors.Join(ctx.Err(), checkMounts(cmd.Mounts)); err != nil {
		return err
	}
	launched, err := b.claimStart()
	if err != nil {
		return err
	}
	defer close(launched)
	if err := b.d.setups.enter(ctx, b.killed); err != nil {
		return errors.Join(b.dead(), ctx.Err())
	}
	defer b.d.setups.leave()
	if err := b.start(cmd); err != nil {
		if dead := b.dead(); dead != nil {
			return dead
		}
		return scarce(fmt.Errorf("process: start %s: %w", cmd.Args[0], err))
	}
	return nil
}

func checkCommand(cmd sandbox.Command) error {
	if len(cmd.Args) == 0 || cmd.Args[0] == "" || cmd.Args[0][0] != '/' {
		return errors.New("process: a command needs an absolute path as its first argument")
	}
	for _, s := range slices.Concat(cmd.Args, cmd.Env, []string{cmd.Dir}) {
		if strings.ContainsRune(s, 0) {
			return errors.New("process: a command's arguments, environment and directory cannot hold a NUL")
		}
	}
	return nil
}

// claimStart lets the first Start through; it closes the channel when it is over.
func (b *box) claimStart() (chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.dying:
		return nil, sandbox.Destroyed(b.cause)
	case b.launching != nil:
		return nil, sandbox.ErrStarted
	}
	b.launching = make(chan struct{})
	return b.launching, nil
}

// start makes the starter become the command.
func (b *box) start(cmd sandbox.Command) error {
	sources, err := b.openMounts(cmd.Mounts)
	if err != nil {
		return err
	}
	defer closeSources(sources)
	m := order(cmd)
	encoded, err := m.encode()
	if err != nil {
		return err
	}
	control, socket, err := b.takeSocket(cmd.Socket)
	if err != nil {
		return err
	}
	told := b.tell(control, encoded, sources)
	outcome := m.outcome(control) // first: to wait for the mount would be one more time to be woken
	if err = told(); err == nil {
		err = outcome
	}
	b.mu.Lock()
	if err == nil && b.dying { // an end that looked like an exec
		err = sandbox.Destroyed(b.cause)
	}
	if err != nil {
		b.mu.Unlock()
		if socket != nil {
			socket.Close()
		}
		return err
	}
	b.started = true
	b.socket = socket
	b.output, b.plumbing.output = b.plumbing.output, nil
	b.mu.Unlock()
	b.closeUnused()
	return nil
}

// takeSocket returns the starter's control, and Hearth's end of the command's socket if
// that is wanted.
func (b *box) takeSocket(wanted bool) (control *os.File, socket net.Conn, err error) {
	b.mu.Lock()
	control = b.plumbing.control // nil after Destroy
	ours := b.plumbing.socket
	b.plumbing.socket = nil
	b.mu.Unlock()
	switch {
	case control == nil || ours == nil:
		return nil, nil, sandbox.ErrDestroyed
	case wanted:
		socket, err = sockpair.Conn(ours)
	default:
		ours.Close()
	}
	return control, socket, err
}

// tell gives the starter its message, when the sources, if any, are mounted. The thread
// that mounted does it: to wake this one would take as long as the mount. Where it
// fails the starter is not heard of any more.
func (b *box) tell(control *os.File, message []byte, sources []source) (wait func() error) {
	send := func(err error) error {
		if err == nil {
			err = deliver(control, message)
		}
		if err != nil {
			hangUp(control)
		}
		return err
	}
	if len(sources) == 0 {
		err := send(nil)
		return func() error { return err }
	}
	return b.d.mounter.begin(b.mnt, func() error { return attachAllAt(sources) }, send)
}

// closeUnused closes what was made for Start and Listen and was not used.
func (b *box) closeUnused() {
	if fd := b.takeSpare(); fd >= 0 {
		unix.Close(fd)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.plumbing != nil {
		b.plumbing.closeOurs()
	}
}

// reap waits for the command's end.
func (b *box) reap() {
	status, err := b.command.wait()
	if err != nil {
		b.d.log.Error("cannot wait for a command", "user", b.slot.uid, "error", err)
		status = exitStatus{code: -1, signal: syscall.SIGKILL}
	}
	b.finish(sandbox.Exit{Code: status.code, Signal: status.signal, OOM: b.oom.happened(b.slot.group)})
}

// finish records the first end and closes done.
func (b *box) finish(exit sandbox.Exit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	exit.OOM = exit.OOM || b.outOfMem
	b.exit, b.ended = exit, true
	close(b.done)
}

// kill ends every process of the sandbox; it does not wait for it. The death of the
// first process ends its pid namespace, in which no process is born from then on.
// The command need not wait for that.
func (b *box) kill() error {
	return errors.Join(b.slot.group.mortal(), b.first.kill(unix.SIGKILL), b.command.kill(unix.SIGKILL))
}

// dead returns the error of every method after Destroy, or nil before.
func (b *box) dead() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dying {
		return sandbox.Destroyed(b.cause)
	}
	return nil
}

// Socket implements sandbox.Sandbox.
func (b *box) Socket() net.Conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.socket
}

// Output implements sandbox.Sandbox.
func (b *box) Output() *os.File {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.output
}

// SetCPU implements sandbox.Sandbox.
func (b *box) SetCPU(milli int) error {
	return b.alive(func() error { return b.slot.group.setCPU(milli) })
}

// Freeze implements sandbox.Sandbox.
func (b *box) Freeze() error { return b.alive(b.slot.group.freeze) }

// Thaw implements sandbox.Sandbox.
func (b *box) Thaw() error { return b.alive(b.slot.group.thaw) }

// alive runs f unless the sandbox is destroyed. A Destroy that comes while f runs
// waits for nothing: the slot is not used again before clean has undone f's work,
// and clean waits for f.
func (b *box) alive(f func() error) error {
	b.mu.Lock()
	if b.dying {
		defer b.mu.Unlock()
		return sandbox.Destroyed(b.cause)
	}
	b.watchers.Add(1)
	b.mu.Unlock()
	defer b.watchers.Done()
	return f()
}

// Signal implements sandbox.Sandbox. A command that has ended gets nothing.
func (b *box) Signal(sig syscall.Signal) error {
	return b.alive(func() error {
		b.mu.Lock()
		started := b.started
		b.mu.Unlock()
		if !started {
			return errors.New("process: no command was started")
		}
		return b.command.kill(sig)
	})
}

// Usage implements sandbox.Sandbox. The memory peak holds the page cache of files
// that this sandbox was the first to read.
func (b *box) Usage() (sandbox.Usage, error) {
	var u sandbox.Usage
	err := b.alive(func() (err error) {
		u, err = b.usage()
		return err
	})
	if errors.Is(err, sandbox.ErrDestroyed) {
		<-b.destroyed
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.last, err
	}
	return u, err
}

// MemoryPeak implements sandbox.Sandbox.
func (b *box) MemoryPeak() (int64, error) {
	var peak int64
	err := b.alive(func() (err error) {
		peak, err = b.slot.group.memoryPeak()
		return err
	})
	if errors.Is(err, sandbox.ErrDestroyed) {
		last, err := b.Usage()
		return last.MemoryPeak, err
	}
	return peak, err
}

func (b *box) usage() (sandbox.Usage, error) {
	u, err := b.slot.group.usage()
	u.CPU -= b.cpu0
	return u, err
}

// Done implements sandbox.Sandbox.
func (b *box) Done() <-chan struct{} { return b.done }

// Exit implements sandbox.Sandbox.
func (b *box) Exit() sandbox.Exit {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.exit
}

// Destroy implements sandbox.Sandbox.
func (b *box) Destroy(cause string) error {
	b.mu.Lock()
	if b.dying {
		b.mu.Unlock()
		<-b.destroyed
		return b.destroyErr
	}
	b.dying, b.cause = true, cause
	close(b.killed)
	listeners := b.listeners
	b.mu.Unlock()

	err := b.end(listeners)
	b.mu.Lock()
	b.destroyErr = err
	b.mu.Unlock()
	b.d.log.Debug("sandbox destroyed", "sandbox", b.id, "cause", cause, "error", err)
	b.d.cleanLater(func() { b.d.clean(b, err == nil) })
	close(b.destroyed) // after the line above: who waits for it may wait for the cleaning next
	return err
}

// end kills everything and waits until it is dead.
func (b *box) end(listeners []net.Listener) error {
	b.d.deaths <- struct{}{} // those before it leave within the limit
	defer b.d.deaths.leave()
	killErr := b.kill()
	// Dying takes CPU time, and a crowd that forked for ever has many to die: out of
	// their quota they would take seconds. Recycling the group sets it again.
	killErr = errors.Join(killErr, b.slot.group.setCPU(0))
	b.lifeline.Close()
	for _, ln := range listeners {
		ln.Close()
	}
	b.dialed.Close()
	if !b.gone(gentleDeath) {
		// The first process waits for the CPU, or has many to kill.
		killErr = errors.Join(killErr, b.slot.group.kill())
	}
	if !b.gone(b.d.deathLimit) {
		return fmt.Errorf("process: sandbox %s has processes left %v after it was killed: %w",
			b.id, b.d.deathLimit, errors.Join(killErr, context.DeadlineExceeded))
	}
	<-b.done // the command was reaped before its namespace could be gone
	last, err := b.slot.group.lastUsage()
	last.CPU -= b.cpu0
	if err != nil {
		b.d.log.Warn("cannot read the last usage of a sandbox", "sandbox", b.id, "error", err)
	}
	b.mu.Lock()
	b.last = last
	b.mu.Unlock()
	return nil
}

// gone waits until no process is left. A launch that was under way either fails,
// its pid namespace being gone, or is over; either way its process is dead before
// the first one is.
func (b *box) gone(limit time.Duration) bool {
	b.mu.Lock()
	launching := b.launching
	b.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for _, gone := range []chan struct{}{launching, b.firstGone} {
		if gone == nil {
			continue
		}
		select {
		case <-gone:
		case <-timer.C:
			return false
		}
	}
	return true
}
