package line

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hearth/internal/eager"
	"hearth/internal/rawio"
)

// Line is a net.Conn. One goroutine at a time may read and one write; others may set
// deadlines, and close it.
type Line struct {
	local, remote net.Addr
	in, out       side
	wait          eager.Wait // of in; the reader's

	mu sync.Mutex // held over each system call, none of which waits
	fd int        // -1 when it is closed
}

// side is one direction, with an epoll descriptor that watches the socket for it alone
// and is itself watched by Go's poller.
type side struct {
	line   *Line
	call   func(fd uintptr, p []byte) (int, error)
	events uint32

	watch *os.File        // nil until the side has to sleep; set with Line.mu held
	raw   syscall.RawConn // of watch
	by    time.Time       // the deadline, for a watch that is made later; guarded by Line.mu
	armed bool            // watch looks at the socket; guarded by Line.mu

	// What is read or written, and the result. The callbacks are made once: each
	// would be an allocation.
	buf  []byte
	n    int
	err  error
	now  func() bool
	wake func(epoll uintptr) bool
}

var _ net.Conn = (*Line)(nil)

// Take takes over the socket of conn, which it closes, or returns nil where that
// cannot be done. Nobody uses conn any more. own is how many of the pieces of work at
// hand are the reader's own while it waits (package eager).
//
// Descriptors that the other side sends along with its data are closed by whoever
// reads, which may take long: a socket that may get some must not be taken.
func Take(conn net.Conn, own int) *Line {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	l := &Line{fd: -1, local: conn.LocalAddr(), remote: conn.RemoteAddr(), wait: eager.Wait{Own: int32(own)}}
	_ = raw.Control(func(fd uintptr) { // an error leaves fd as it is
		if own, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			l.fd = own
		}
	})
	l.in.init(l, rawio.Read, unix.EPOLLIN)
	l.out.init(l, rawio.Write, unix.EPOLLOUT)
	if l.fd < 0 || l.in.openLocked() != nil {
		l.Close()
		return nil
	}
	l.in.wake = l.awaitInput
	conn.Close() // l has a descriptor of its own
	return l
}

func (s *side) init(l *Line, call func(uintptr, []byte) (int, error), events uint32) {
	s.line, s.call, s.events = l, call, events
	s.now = func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return s.tryLocked()
	}
	s.wake = func(epoll uintptr) bool { return s.now() || s.sleep(epoll) }
}

// openLocked makes the descriptor that waits.
func (s *side) openLocked() error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(epoll, true); err != nil {
		unix.Close(epoll)
		return err
	}
	watch := os.NewFile(uintptr(epoll), "epoll")
	raw, err := watch.SyscallConn()
	if err == nil {
		err = watch.SetReadDeadline(s.by) // an error says that the poller does not take it
	}
	if err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, s.line.fd, &unix.EpollEvent{})
	}
	if err != nil {
		watch.Close()
		return err
	}
	s.watch, s.raw = watch, raw
	return nil
}

// tryLocked does the system call, and reports whether it did something.
func (s *side) tryLocked() bool {
	if s.line.fd < 0 {
		s.n, s.err = 0, net.ErrClosed
		return true
	}
	s.n, s.err = s.call(uintptr(s.line.fd), s.buf)
	return s.err != syscall.EAGAIN
}

// sleep has the poller wake the side when there is something to do; true where there
// is by now.
func (s *side) sleep(epoll uintptr) (done bool) {
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	if s.armed {
		return false
	}
	s.armLocked(epoll, true)
	return s.tryLocked() // what came before has woken nobody
}

// armLocked has the watch look at the socket, or not. What it looks at wakes a thread,
// and to change it is a system call: so it looks on where it was slept the last time.
func (s *side) armLocked(epoll uintptr, armed bool) {
	event := unix.EpollEvent{}
	if armed {
		event.Events = s.events
	}
	if unix.EpollCtl(int(epoll), unix.EPOLL_CTL_MOD, s.line.fd, &event) == nil { // it fails on a closed socket
		s.armed = armed
	}
}

// awaitInput reads, or has the poller wake the reader.
func (l *Line) awaitInput(epoll uintptr) (done bool) {
	s := &l.in
	done = s.now()
	if !done && l.wait.Begin() {
		l.mu.Lock()
		if s.armed {
			s.armLocked(epoll, false)
		}
		l.mu.Unlock()
		done = l.wait.Look(s.now)
	}
	if done || s.sleep(epoll) {
		l.wait.Over()
		return true
	}
	return false
}

// Read implements net.Conn.
func (l *Line) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s := &l.in
	s.buf = p
	err := s.raw.Read(s.wake)
	s.buf = nil
	if err == nil {
		err = s.err
	}
	if err == nil && s.n == 0 {
		return 0, io.EOF
	}
	return l.result(s.n, err, "read")
}

// Write implements net.Conn.
func (l *Line) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var some int
		some, err = l.write(p[n:min(len(p), n+promptBytes)])
		n += some
	}
	return n, err
}

func (l *Line) write(p []byte) (int, error) {
	s := &l.out
	s.buf = p
	defer func() { s.buf = nil }()
	if s.now() {
		return l.result(s.n, s.err, "write")
	}
	err := s.open()
	if err == nil {
		err = s.raw.Read(s.wake) // the descriptor of epoll is read from, whatever it watches
	}
	if err == nil {
		err = s.err
	}
	return l.result(s.n, err, "write")
}

// open is openLocked, once.
func (s *side) open() error {
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	switch {
	case s.line.fd < 0:
		return net.ErrClosed
	case s.watch != nil:
		return nil
	}
	return s.openLocked()
}

// result is what a net.Conn returns.
func (l *Line) result(n int, err error, operation string) (int, error) {
	if err == nil {
		return n, nil
	}
	l.mu.Lock()
	if l.fd < 0 {
		err = net.ErrClosed
	}
	l.mu.Unlock()
	if errors.Is(err, os.ErrDeadlineExceeded) { // the watch's
		err = os.ErrDeadlineExceeded
	}
	return 0, &net.OpError{Op: operation, Net: l.local.Network(), Source: l.local, Addr: l.remote, Err: err}
}

// LocalAddr implements net.Conn.
func (l *Line) LocalAddr() net.Addr { return l.local }

// RemoteAddr implements net.Conn.
func (l *Line) RemoteAddr() net.Addr { return l.remote }

// SetDeadline implements net.Conn.
func (l *Line) SetDeadline(t time.Time) error {
	if err := l.in.setDeadline(t); err != nil {
		return err
	}
	return l.out.setDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (l *Line) SetReadDeadline(t time.Time) error { return l.in.setDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (l *Line) SetWriteDeadline(t time.Time) error { return l.out.setDeadline(t) }

func (s *side) setDeadline(t time.Time) error {
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	if s.line.fd < 0 {
		return net.ErrClosed
	}
	s.by = t
	if s.watch == nil {
		return nil
	}
	return s.watch.SetReadDeadline(t)
}

// Close implements net.Conn. A Read or Write that waits returns.
func (l *Line) Close() error {
	l.mu.Lock()
	if l.fd < 0 {
		l.mu.Unlock()
		return nil
	}
	err := unix.Close(l.fd)
	l.fd = -1
	l.mu.Unlock()
	// Whoever waits is woken, and needs mu to return: closing waits for that. No watch
	// is made any more.
	for _, s := range []*side{&l.in, &l.out} {
		if s.watch != nil {
			s.watch.Close()
		}
	}
	return err
}
