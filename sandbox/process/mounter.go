//go:build linux && amd64

package process

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mounter is a thread that enters sandboxes' mounts, one after the other, for some
// ten microseconds each. Making a thread for each, as onThread does, takes longer
// than what is done there.
type mounter struct {
	home *os.File // the mount namespace in which it waits
	work chan mountWork
	gone chan struct{}
}

// mountWork is one visit to a sandbox's mounts.
type mountWork struct {
	in   *os.File
	f    func() error
	then func(err error) error // called at home again with f's error; its own is the work's. nil is nothing
	done chan error
}

func (w mountWork) end(err error) {
	if w.then != nil {
		err = w.then(err)
	}
	w.done <- err
}

// newMounter starts the thread. It waits in the mount namespace home, so that it
// keeps no sandbox's alive; home stays its owner's, and open until close returned.
func newMounter(home *os.File) *mounter {
	m := &mounter{home: home, work: make(chan mountWork, 16), gone: make(chan struct{})}
	go func() {
		defer close(m.gone)
		m.run()
	}()
	return m
}

// begin has the thread run f in the mount namespace ns, and then when it is home again.
// Its caller calls what it returns, which waits for the end.
func (m *mounter) begin(ns *os.File, f func() error, then func(err error) error) (wait func() error) {
	w := mountWork{in: ns, f: f, then: then, done: make(chan error, 1)}
	m.work <- w
	return func() error { return <-w.done }
}

// close ends the thread. Nobody begins anything any more.
func (m *mounter) close() {
	close(m.work)
	<-m.gone
}

// run works until close. The thread ends with it, or as soon as it cannot go home;
// then another one goes on.
func (m *mounter) run() {
	for more := true; more; {
		_ = onThread(func() error { // its error is that of the work, which has it
			more = m.runHere()
			return nil
		})
	}
}

// runHere works on the calling thread, and reports whether there may be more work.
func (m *mounter) runHere() bool {
	setupErr := unix.Unshare(unix.CLONE_FS)
	if setupErr == nil {
		setupErr = enterMounts(m.home)
	}
	for w := range m.work {
		if setupErr != nil {
			w.end(fmt.Errorf("process: prepare a thread for mounts: %w", setupErr))
			return true
		}
		err := enterMounts(w.in)
		if err == nil {
			err = w.f()
		}
		home := enterMounts(m.home)
		w.end(err)
		if home != nil {
			return true
		}
	}
	return false
}

// enterMounts moves the calling thread, whose file system state is its own, into a
// mount namespace.
func enterMounts(ns *os.File) error {
	conn, err := ns.SyscallConn()
	if err != nil {
		return err
	}
	var setErr error
	err = conn.Control(func(fd uintptr) { setErr = unix.Setns(int(fd), unix.CLONE_NEWNS) })
	if err = errors.Join(err, setErr); err != nil {
		return fmt.Errorf("process: enter a sandbox's mounts: %w", err)
	}
	return nil
}
