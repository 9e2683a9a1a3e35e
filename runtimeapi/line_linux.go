package runtimeapi

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hearth/internal/rawio"
)

// line is a connection that one goroutine writes to and reads from in turn. Go's
// poller waits for both directions of every socket, so each frame that the other
// side takes out of the buffer wakes a thread of Hearth for nothing. This socket is
// not in it: what is, is an epoll descriptor that watches the socket for input alone.
type line struct {
	watch *os.File        // the epoll descriptor
	raw   syscall.RawConn // of watch

	mu     sync.Mutex // held over each system call, none of which waits
	fd     int        // -1 when it is closed
	output bool       // watch looks for room to write, too

	// What is read or written, and the result. The callbacks are made once: each
	// would be an allocation.
	buf               []byte
	n                 int
	err               error
	tryRead, tryWrite func(uintptr) bool
}

// newLine takes over the socket of conn, which it closes, or returns nil where that
// cannot be done. Nobody uses conn any more. Descriptors that a runtime sends along
// with its data are closed by whoever reads, which may take long; where the kernel
// does not keep them off, conn is of another type.
func newLine(conn io.Closer) *line {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	l := &line{fd: -1}
	_ = raw.Control(func(fd uintptr) { // an error leaves fd as it is
		if own, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			l.fd = own
		}
	})
	if l.fd < 0 || !l.open() {
		l.Close()
		return nil
	}
	socket.Close() // l has a descriptor of its own
	return l
}

// open makes the descriptor that waits.
func (l *line) open() bool {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	if err := unix.SetNonblock(epoll, true); err != nil {
		unix.Close(epoll)
		return false
	}
	l.watch = os.NewFile(uintptr(epoll), "epoll")
	l.tryRead, l.tryWrite = l.readOnce, l.writeOnce
	if l.raw, err = l.watch.SyscallConn(); err != nil {
		return false
	}
	if l.SetReadDeadline(time.Time{}) != nil { // the poller does not take it
		return false
	}
	return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, l.fd, &unix.EpollEvent{Events: unix.EPOLLIN}) == nil
}

// Read reads some bytes, and waits until there are some.
func (l *line) Read(p []byte) (int, error) { return l.do(l.tryRead, p, io.EOF) }

// Write writes all of p, and waits for room.
func (l *line) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var some int
		some, err = l.do(l.tryWrite, p[n:], io.ErrUnexpectedEOF)
		n += some
	}
	return n, err
}

// do tries a system call until it does something; none is what nothing means.
func (l *line) do(try func(uintptr) bool, p []byte, none error) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	l.buf, l.n, l.err = p, 0, nil
	err := l.raw.Read(try)
	l.buf = nil
	switch {
	case err != nil:
		return 0, err
	case l.err == nil && l.n == 0:
		return 0, none
	}
	return l.n, l.err
}

func (l *line) readOnce(epoll uintptr) (done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.output { // a write that was given up
		l.look(epoll, false)
	}
	l.n, l.err = rawio.Read(uintptr(l.fd), l.buf)
	return l.err != syscall.EAGAIN
}

func (l *line) writeOnce(epoll uintptr) (done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n, l.err = rawio.Write(uintptr(l.fd), l.buf)
	if full := l.err == syscall.EAGAIN; full != l.output {
		l.look(epoll, full)
	}
	return l.err != syscall.EAGAIN
}

// look has the epoll descriptor watch for room to write, or not.
func (l *line) look(epoll uintptr, output bool) {
	l.output = output
	event := unix.EpollEvent{Events: unix.EPOLLIN}
	if output {
		event.Events = unix.EPOLLOUT // input would end the wait again and again
	}
	if err := unix.EpollCtl(int(epoll), unix.EPOLL_CTL_MOD, l.fd, &event); err != nil && l.fd >= 0 {
		l.err = err
	}
}

// SetDeadline is for both directions: one goroutine does one thing at a time.
func (l *line) SetDeadline(t time.Time) error { return l.watch.SetReadDeadline(t) }

// SetReadDeadline is SetDeadline.
func (l *line) SetReadDeadline(t time.Time) error { return l.SetDeadline(t) }

// SetWriteDeadline is SetDeadline.
func (l *line) SetWriteDeadline(t time.Time) error { return l.SetDeadline(t) }

// Close closes the socket; a Read or Write that waits returns.
func (l *line) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fd < 0 {
		return nil
	}
	err := unix.Close(l.fd)
	l.fd = -1
	if l.watch != nil {
		l.watch.Close() // whoever waits is woken
	}
	return err
}
