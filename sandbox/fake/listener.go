package fake

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"

	"hearth/sandbox"
)

// listener is a listener in memory: what a sandbox of its own network namespace
// has, without the namespace. The same address is free in every sandbox.
type listener struct {
	addr   address
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	drop   func() // takes the address back
}

type address struct{ network, hostport string }

func (a address) Network() string { return a.network }
func (a address) String() string  { return a.hostport }

// Listen opens a listener that Process.Dial reaches. Port 0 picks a free one.
func (s *Sandbox) Listen(ctx context.Context, network, hostport string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.aliveLocked(); err != nil {
		return nil, err
	}
	if port == "0" {
		s.nextPort++
		port = strconv.Itoa(s.nextPort)
	}
	a := address{network, net.JoinHostPort(host, port)}
	key := a.network + " " + a.hostport
	if s.listeners[key] != nil {
		return nil, fmt.Errorf("listen %s: %w", key, syscall.EADDRINUSE)
	}
	l := &listener{addr: a, conns: make(chan net.Conn), closed: make(chan struct{}), drop: func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.destroyed { // Destroy walks the map
			delete(s.listeners, key)
		}
	}}
	s.listeners[key] = l
	return l, nil
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: l.addr.network, Addr: l.addr, Err: net.ErrClosed}
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.drop()
	})
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// Dial connects to a listener of the sandbox, which Listen opened too: a fake
// program has no network of its own.
func (s *Sandbox) Dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	s.mu.Lock()
	err := s.aliveLocked()
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if _, err := sandbox.Loopback(network, hostport); err != nil {
		return nil, err
	}
	conn, err := s.dial(ctx, network, hostport)
	if err != nil {
		return nil, err
	}
	if conn = s.dialed.Add(conn); conn == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, s.aliveLocked()
	}
	return conn, nil
}

// dial hands one end of a synchronous pipe to whoever accepts.
func (s *Sandbox) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	s.mu.Lock()
	l := s.listeners[network+" "+hostport]
	s.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("dial %s %s: %w", network, hostport, syscall.ECONNREFUSED)
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, fmt.Errorf("dial %s %s: %w", network, hostport, syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
