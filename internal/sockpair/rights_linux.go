package sockpair

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A descriptor that comes with data and is not taken is closed by the kernel, on
// the thread that reads. Closing a TCP socket that lingers waits for as long as
// its sender chose, which would be the function: the read does not return, nor
// does a Close of the connection, which waits for it, and no process is left that
// could be killed for it.

// guard makes it an error to send descriptors to this end (Linux 6.16), or, on
// older kernels, returns a connection whose Close ends such a wait.
func guard(conn net.Conn) (net.Conn, error) {
	plain, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("not a unix socket")
	}
	raw, err := plain.SyscallConn()
	if err != nil {
		return nil, err
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0)
	})
	if errors.Is(optErr, unix.ENOPROTOOPT) {
		return nudged{plain}, nil
	}
	return conn, errors.Join(err, os.NewSyscallError("setsockopt SO_PASSRIGHTS", optErr))
}

// nudged is a connection that cannot refuse descriptors.
type nudged struct{ *net.UnixConn }

// nudgeEvery is how often a Close that waits tries to end a wait.
const nudgeEvery = 50 * time.Millisecond

// Close closes the connection. Meanwhile a signal, which Go sends to its threads
// now and then anyway, ends a wait in the kernel.
func (c nudged) Close() error {
	closed := make(chan struct{})
	var nudger sync.WaitGroup
	nudger.Go(func() {
		tick := time.NewTicker(nudgeEvery)
		defer tick.Stop()
		for {
			select {
			case <-closed:
				return
			case <-tick.C:
				nudgeThreads()
			}
		}
	})
	err := c.UnixConn.Close()
	close(closed)
	nudger.Wait()
	return err
}

// nudgeThreads sends SIGURG to every thread of this process. Which one waits is
// not known; one that ended meanwhile misses nothing.
func nudgeThreads() {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return // the next tick tries again
	}
	for _, task := range tasks {
		if tid, err := strconv.Atoi(task.Name()); err == nil {
			_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
		}
	}
}
