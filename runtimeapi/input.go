package runtimeapi

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"hearth/internal/rawio"
)

// errNothing: a connection that is not waited at has nothing to read.
var errNothing = errors.New("runtimeapi: nothing to read")

// input reads a connection without telling the scheduler where the connection has a
// descriptor. It belongs to one goroutine at a time.
type input struct {
	net net.Conn
	raw syscall.RawConn // nil where there is no descriptor
	now bool            // errNothing in place of waiting; only where raw is not nil

	// What is read, and the result. The callback is made once: each would be an
	// allocation.
	buf  []byte
	n    int
	err  error
	once func(fd uintptr) (done bool)
}

func (in *input) init(c net.Conn, raw syscall.RawConn) {
	in.net, in.raw = c, raw
	in.once = func(fd uintptr) bool {
		in.n, in.err = rawio.Read(fd, in.buf)
		if in.err == syscall.EAGAIN && in.now {
			in.err = errNothing
		}
		return in.err != syscall.EAGAIN
	}
}

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	if in.raw == nil || len(p) == 0 {
		return in.net.Read(p)
	}
	in.buf = p
	err := in.raw.Read(in.once)
	in.buf = nil
	switch {
	case err != nil:
		return 0, err
	case in.err == errNothing:
		return 0, errNothing
	case in.err != nil:
		return 0, os.NewSyscallError("read", in.err)
	case in.n == 0:
		return 0, io.EOF
	}
	return in.n, nil
}
