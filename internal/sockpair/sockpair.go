// Package sockpair makes the connected pair of unix stream sockets through which
// Hearth and a process that it starts talk: a net.Conn for Hearth, a descriptor
// for the process.
//
// It owns nothing else, and must not know what is said over the pair.
package sockpair

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// New returns the two ends. Both are close-on-exec. The first is in Go's poller
// (deadlines work); the second blocks, as programs expect of an inherited
// descriptor. The caller closes both.
func New() (net.Conn, *os.File, error) {
	ours, theirs, err := files()
	if err != nil {
		return nil, nil, err
	}
	conn, err := Conn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// Conn makes one end what New returns first, before anything is read from it. The file
// is closed.
func Conn(ours *os.File) (net.Conn, error) {
	defer ours.Close() // FileConn duplicates it
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	guarded, err := guard(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	return guarded, nil
}

// files returns both ends as they are: close-on-exec, and blocking.
func files() (ours, theirs *os.File, err error) {
	// Darwin has no SOCK_CLOEXEC, so the fork lock keeps a concurrent fork from
	// inheriting the pair.
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}
