//go:build linux && amd64

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// child is a process beside the command.
type child struct {
	proc *proc
	done chan struct{} // closed when exit is set
	exit sandbox.Exit
}

var _ sandbox.Spawner = (*box)(nil)

// Spawn implements sandbox.Spawner. The process is born in the sandbox's namespaces
// and groups, from a thread that enters them for that, with the command's privileges.
func (b *box) Spawn(ctx context.Context, cmd sandbox.Command, output *os.File) (sandbox.Child, error) {
	if err := checkCommand(cmd); err != nil {
		return nil, err
	}
	if err := b.d.setups.enter(ctx, b.killed); err != nil {
		return nil, errors.Join(b.dead(), ctx.Err())
	}
	defer b.d.setups.leave()
	c := &child{done: make(chan struct{})}
	err := b.alive(func() error {
		fds, err := childDescriptors(output, b.slot.uid)
		defer closeAll(fds)
		if err != nil {
			return err
		}
		err = onThread(func() error { return b.spawnIn(cmd, fds, c) })
		if err == nil {
			b.watchers.Go(func() { c.reap(b.d) })
		}
		return err
	})
	if err != nil {
		if dead := b.dead(); dead != nil {
			return nil, dead
		}
		return nil, scarce(fmt.Errorf("process: spawn %s: %w", cmd.Args[0], err))
	}
	return c, nil
}

// childDescriptors are standard input, output and error.
func childDescriptors(output *os.File, uid int) (fds []int, err error) {
	// The pipe is its user's, or /dev/stdout and /dev/stderr could not be opened.
	if err := unix.Fchown(int(output.Fd()), uid, uid); err != nil {
		return nil, err
	}
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	out, err := unix.FcntlInt(output.Fd(), unix.F_DUPFD_CLOEXEC, 0) // whatever becomes of output meanwhile
	if err != nil {
		return []int{null}, err
	}
	return []int{null, out, out}, nil
}

// closeAll closes descriptors, of which one that is there twice in a row is one.
func closeAll(fds []int) {
	for _, fd := range slices.Compact(slices.Clone(fds)) {
		unix.Close(fd)
	}
}

// spawnIn spawns the process on a thread that ends afterwards.
func (b *box) spawnIn(cmd sandbox.Command, fds []int, c *child) error {
	in, err := b.slot.group.openDoors()
	defer in.close()
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("process: unshare: %w", err)
	}
	if err := b.join(namespaces | unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := in.enter(); err != nil {
		return err
	}
	if err := dropBounds(b.d.caps); err != nil {
		return err
	}
	dir := cmd.Dir
	if dir == "" {
		dir = "/"
	}
	c.proc, err = b.d.berths.spawn(fds, in.run, func(s *script) {
		s.confine(b, len(fds), b.files, b.pids)
		s.add("change to "+dir, unix.SYS_CHDIR, s.text(dir))
		s.exec(cmd.Args[0], cmd.Args, cmd.Env)
	})
	return err
}

// reap waits for the process's end, which that of the sandbox is as well.
func (c *child) reap(d *Driver) {
	defer close(c.done)
	status, err := c.proc.wait()
	if err != nil {
		d.log.Error("cannot wait for a process beside the command", "error", err)
		status = exitStatus{code: -1, signal: syscall.SIGKILL}
	}
	c.exit = sandbox.Exit{Code: status.code, Signal: status.signal}
}

func (c *child) Done() <-chan struct{} { return c.done }

func (c *child) Exit() sandbox.Exit {
	<-c.done
	return c.exit
}

func (c *child) Signal(sig syscall.Signal) error { return c.proc.kill(sig) }
