package network

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// onThread runs fn on an OS thread of its own, never the process's main one: what
// changes the main thread's namespace shows in /proc/PID for everybody. fn
// returns whether it left the thread as it was; one that is not is thrown away.
func onThread(fn func() (clean bool, err error)) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// Keep the main thread busy, so that the next goroutine gets another.
			result <- onThread(fn)
			runtime.UnlockOSThread()
			return
		}
		clean, err := fn()
		if clean {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}

// threadNS opens the network namespace of the calling thread.
func threadNS() (int, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the network namespace: %w", err)
	}
	return fd, nil
}

// inNamespace runs fn on a thread in the network namespace ns, and brings the
// thread back to home.
func inNamespace(home, ns int, fn func() error) error {
	return onThread(func() (bool, error) {
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return true, fmt.Errorf("enter the network namespace: %w", err)
		}
		err := fn()
		return unix.Setns(home, unix.CLONE_NEWNET) == nil, err
	})
}

// newNamespace makes a network namespace, runs fn in it, and returns its
// descriptor, which is all that keeps it.
func newNamespace(home int, fn func(ns int) error) (int, error) {
	ns := -1
	err := onThread(func() (bool, error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return true, fmt.Errorf("make a network namespace: %w", err)
		}
		var err error
		if ns, err = threadNS(); err == nil {
			err = fn(ns)
		}
		return unix.Setns(home, unix.CLONE_NEWNET) == nil, err
	})
	if err != nil && ns >= 0 {
		err = errors.Join(err, unix.Close(ns))
		ns = -1
	}
	return ns, err
}

// loopbackUp brings up lo in the calling thread's namespace. It uses an ioctl:
// one system call where netlink takes four.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	return nil
}
