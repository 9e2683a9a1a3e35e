package http1

import (
	"io"
	"net"
	"syscall"

	"hearth/internal/rawio"
)

// promptBytes bounds what is written without telling the scheduler: it is copied,
// and goes through the loopback to its reader, meanwhile.
const promptBytes = 32 << 10

// socket reads and writes a TCP connection with package rawio. One goroutine at a
// time may read, and one write. The callbacks are made once: each would be an
// allocation.
type socket struct {
	*net.TCPConn
	raw     syscall.RawConn
	in, out transfer
}

// transfer is a system call of one direction and its result.
type transfer struct {
	buf []byte
	n   int
	err error
	try func(fd uintptr) bool
}

// prompt returns a connection that does as nc, at a lower price where nc is TCP
// itself.
func prompt(nc net.Conn) net.Conn {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nc
	}
	raw, err := tcp.SyscallConn()
	if err != nil { // it is closed, and says so itself
		return nc
	}
	s := &socket{TCPConn: tcp, raw: raw}
	s.in.try = func(fd uintptr) bool { return s.in.over(rawio.Read(fd, s.in.buf)) }
	s.out.try = func(fd uintptr) bool { return s.out.over(rawio.Write(fd, s.out.buf)) }
	return s
}

// over takes the result of a try, and reports whether it is one.
func (t *transfer) over(n int, err error) bool {
	t.n, t.err = n, err
	return err != syscall.EAGAIN
}

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.in.buf = p
	err := s.raw.Read(s.in.try)
	s.in.buf = nil
	switch {
	case err != nil:
		return 0, err
	case s.in.err == nil && s.in.n == 0:
		return 0, io.EOF
	}
	return s.in.n, s.in.err
}

// Write implements net.Conn.
func (s *socket) Write(p []byte) (n int, err error) {
	if len(p) > promptBytes {
		return s.TCPConn.Write(p)
	}
	for n < len(p) && err == nil {
		s.out.buf = p[n:]
		if err = s.raw.Write(s.out.try); err == nil {
			n, err = n+s.out.n, s.out.err
		}
	}
	s.out.buf = nil
	return n, err
}
