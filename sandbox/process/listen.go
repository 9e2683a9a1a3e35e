//go:build linux && amd64

package process

import (
	"context"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// listen opens a listener in the sandbox's network namespace. The first of IPv4
// uses the socket that was made with the sandbox: a socket belongs to the namespace
// that it was made in, whoever binds it.
func (b *box) listen(ctx context.Context, network, address string) (net.Listener, error) {
	if network == "tcp" || network == "tcp4" {
		if to, err := netip.ParseAddrPort(address); err == nil && to.Addr().Is4() {
			if fd := b.takeSpare(); fd >= 0 {
				return listenOn(fd, to)
			}
		}
	}
	var ln net.Listener
	err := onThread(func() (err error) {
		if err := b.join(unix.CLONE_NEWNET); err != nil {
			return err
		}
		// Addresses are literals here: nothing is resolved, on any other thread.
		var config net.ListenConfig
		// MPTCP, which Go listens with by default, makes a second socket that
		// would keep the namespace from being recycled.
		config.SetMultipathTCP(false)
		ln, err = config.Listen(ctx, network, address)
		return err
	})
	return ln, err
}

// takeSpare returns the spare socket, which becomes its caller's, or -1.
func (b *box) takeSpare() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	fd := b.spare
	b.spare = -1
	return fd
}

// listenOn makes a socket, of which it becomes the owner, listen as package net
// would.
func listenOn(fd int, to netip.AddrPort) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "tcp "+to.String())
	defer f.Close() // FileListener has a descriptor of its own
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: os.NewSyscallError("bind", err)}
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	return net.FileListener(f)
}

// backlog is net.core.somaxconn's default; the kernel takes the smaller of the two.
const backlog = 4096
