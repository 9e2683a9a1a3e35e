//go:build linux && amd64

package process

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// onThread runs f on an operating-system thread that ends with it, so that f may
// change the thread's namespaces, root and control groups at will.
//
// Never on the process's main thread: that one cannot end, and Hearth's own
// /proc/self would show a sandbox's namespaces for ever. A goroutine that finds
// itself there keeps the main thread busy while another takes the work.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		finished := false
		defer func() {
			// A runtime.Goexit in f (a test's FailNow) must not leave the caller waiting.
			if !finished {
				done <- errors.New("process: the setup thread was abandoned")
			}
		}()
		err := f()
		finished = true
		done <- err
		// No UnlockOSThread: the thread dies with the goroutine.
	}()
	return <-done
}
