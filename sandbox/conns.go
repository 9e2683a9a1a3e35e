package sandbox

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// Loopback returns the address of a Dial, or why no driver dials it: only TCP,
// only IP addresses of the loopback interface, no names, and not port 0.
func Loopback(network, address string) (netip.AddrPort, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return to, fmt.Errorf("sandbox: dial %q: want an IP address and a port", address)
	}
	ip := to.Addr()
	known := network == "tcp" || network == "tcp4" && ip.Is4() || network == "tcp6" && ip.Is6()
	if !known || !ip.IsLoopback() || ip.Is4In6() || ip.Zone() != "" || to.Port() == 0 {
		return to, fmt.Errorf("sandbox: dial %s %s: want tcp and an address of the loopback interface, such as 127.0.0.1:8080",
			network, address)
	}
	return to, nil
}

// Conns are the connections that a driver dialed for its caller, so that Destroy
// can close them. A zero Conns is empty and open. Safe for concurrent use.
type Conns struct {
	mu     sync.Mutex
	open   map[*tracked]struct{}
	closed bool
}

// Add returns the connection as its caller is to have it; after Close it closes
// it and returns nil.
func (c *Conns) Add(conn net.Conn) net.Conn {
	t := &tracked{Conn: conn, of: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return nil
	}
	if c.open == nil {
		c.open = make(map[*tracked]struct{})
	}
	c.open[t] = struct{}{}
	return t
}

// Close closes every connection that is open, and those that are added later.
func (c *Conns) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for t := range c.open {
		t.Conn.Close()
	}
	c.open = nil
}

// tracked is a connection that its set forgets when it is closed.
type tracked struct {
	net.Conn
	of *Conns
}

// SyscallConn implements syscall.Conn, for what the platform's connections can.
func (t *tracked) SyscallConn() (syscall.RawConn, error) {
	if c, ok := t.Conn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// Close implements net.Conn.
func (t *tracked) Close() error {
	t.of.mu.Lock()
	delete(t.of.open, t)
	t.of.mu.Unlock()
	return t.Conn.Close()
}
