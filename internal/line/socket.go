package line

import (
	"io"
	"net"
	"os"
	"syscall"

	"hearth/internal/eager"
	"hearth/internal/rawio"
)

// promptBytes bounds what is written in one go without telling the scheduler: it is
// copied, and on the loopback goes to its reader, meanwhile.
const promptBytes = 32 << 10

// Socket is a TCP connection that stays in Go's poller. While its reader looks, what
// arrives wakes nobody: less than a low-water mark is not worth it to the kernel.
//
// One goroutine at a time may read, and one write; all else is the connection's own.
type Socket struct {
	*net.TCPConn
	raw     syscall.RawConn
	wait    eager.Wait // of reading
	unheard bool       // the low-water mark is up; the reader's
	in, out transfer
}

// transfer is a system call of one direction and its result. The callbacks are made
// once: each would be an allocation.
type transfer struct {
	buf      []byte
	n        int
	err      error
	wait     func(fd uintptr) (done bool)
	dontWait func(fd uintptr) (done bool)
}

// NewSocket returns a Socket of a connection that is TCP itself, else nil. own is how
// many of the pieces of work at hand are the reader's own while it waits (package eager).
func NewSocket(conn net.Conn, own int) *Socket {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil { // it is closed, and says so itself
		return nil
	}
	s := &Socket{TCPConn: tcp, raw: raw, wait: eager.Wait{Own: int32(own)}}
	in := func(fd uintptr) bool { return s.in.over(rawio.Read(fd, s.in.buf)) }
	out := func(fd uintptr) bool { return s.out.over(rawio.Write(fd, s.out.buf)) }
	s.in.wait = func(fd uintptr) bool { return s.await(fd, in) }
	s.in.dontWait = func(fd uintptr) bool { in(fd); return true }
	s.out.wait = out
	s.out.dontWait = func(fd uintptr) bool { out(fd); return true }
	return s
}

// over takes the result of a try, and reports whether it is one.
func (t *transfer) over(n int, err error) bool {
	t.n, t.err = n, err
	return err != syscall.EAGAIN
}

// await reads, or has the poller wake the reader.
func (s *Socket) await(fd uintptr, in func(fd uintptr) bool) (done bool) {
	done = in(fd)
	if !done && s.wait.Begin() && (s.unheard || setUnheard(fd, true)) {
		s.unheard = true
		done = s.wait.Look(func() bool { return in(fd) })
	}
	if !done && s.unheard { // what has arrived wakes the poller now
		s.unheard = !setUnheard(fd, false)
		done = s.unheard // the connection is closed, as the next try says
	}
	if done {
		s.wait.Over()
	}
	return done
}

// Read implements net.Conn.
func (s *Socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return s.read(p, s.in.wait)
}

// ReadNow reads what is there: syscall.EAGAIN where nothing is.
func (s *Socket) ReadNow(p []byte) (int, error) { return s.read(p, s.in.dontWait) }

func (s *Socket) read(p []byte, try func(fd uintptr) bool) (int, error) {
	s.in.buf = p
	err := s.raw.Read(try)
	s.in.buf = nil
	switch {
	case err != nil:
		return 0, err
	case s.in.err == syscall.EAGAIN:
		return 0, s.in.err
	case s.in.err != nil:
		return 0, os.NewSyscallError("read", s.in.err)
	case s.in.n == 0:
		return 0, io.EOF
	}
	return s.in.n, nil
}

// WriteTo is Read and Write in turn; the connection's own would never be woken while the
// low-water mark is up.
func (s *Socket) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{s}) }

// Write implements net.Conn.
func (s *Socket) Write(p []byte) (n int, err error) {
	if len(p) > promptBytes {
		return s.TCPConn.Write(p)
	}
	for n < len(p) && err == nil {
		var some int
		some, err = s.write(p[n:], s.out.wait)
		n += some
	}
	return n, err
}

// WriteNow writes as much as there is room for: syscall.EAGAIN where none is.
func (s *Socket) WriteNow(p []byte) (int, error) { return s.write(p, s.out.dontWait) }

func (s *Socket) write(p []byte, try func(fd uintptr) bool) (int, error) {
	s.out.buf = p
	err := s.raw.Write(try)
	s.out.buf = nil
	switch {
	case err != nil:
		return 0, err
	case s.out.err != nil && s.out.err != syscall.EAGAIN:
		return 0, os.NewSyscallError("write", s.out.err)
	}
	return s.out.n, s.out.err
}
