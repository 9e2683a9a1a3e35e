//go:build linux && amd64

package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// Dial implements sandbox.Sandbox. Only the socket is made on a thread inside the
// network namespace. The wait for an answer is out here: a server that accepts
// nothing would hold a thread for each call that waits, and Go ends a process
// that has too many.
func (b *box) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := b.dead(); err != nil {
		return nil, err
	}
	to, err := sandbox.Loopback(network, address)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fd := -1
	err = onThread(func() (err error) {
		if err := b.join(unix.CLONE_NEWNET); err != nil {
			return err
		}
		fd, err = beginConnect(to)
		return err
	})
	if err == nil {
		var conn net.Conn
		if conn, err = finishConnect(ctx, fd, to); err == nil {
			if conn = b.dialed.Add(conn); conn != nil {
				return conn, nil
			}
		}
	}
	if dead := b.dead(); dead != nil {
		return nil, dead
	}
	return nil, fmt.Errorf("process: dial %s in %s: %w", to, b.id, err)
}

// beginConnect makes a socket in the calling thread's namespace that connects.
func beginConnect(to netip.AddrPort) (int, error) {
	family, target := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if to.Addr().Is4() {
		family, target = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, target); err != nil && !errors.Is(err, unix.EINPROGRESS) && !errors.Is(err, unix.EINTR) {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// finishConnect waits until the socket, of which it becomes the owner, is
// connected, at most until ctx ends.
func finishConnect(ctx context.Context, fd int, to netip.AddrPort) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "tcp "+to.String())
	defer f.Close() // FileConn has a descriptor of its own
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) }) // on a closed file nothing waits
	defer stop()
	var connectErr error
	err = raw.Write(func(fd uintptr) (done bool) {
		done, connectErr = connected(int(fd))
		return done
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err = errors.Join(err, connectErr); err != nil {
		return nil, err
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	// A port that the kernel also gives to those who connect may have been given
	// to this socket, which is then connected to itself.
	if conn.LocalAddr().String() == conn.RemoteAddr().String() {
		conn.Close()
		return nil, syscall.ECONNREFUSED
	}
	return conn, nil
}

// connected reports whether a connect is over, and how it failed.
func connected(fd int) (bool, error) {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return true, err
	case code != 0:
		return true, syscall.Errno(code)
	}
	_, err = unix.Getpeername(fd)
	if errors.Is(err, unix.ENOTCONN) {
		return false, nil
	}
	return true, err
}
