package runtimeapi

import (
	"errors"
	"net"
	"syscall"

	"hearth/internal/line"
)

// errNothing: a connection that is not waited at has nothing to read.
var errNothing = errors.New("runtimeapi: nothing to read")

// input reads a connection. It belongs to one goroutine at a time.
type input struct {
	net    net.Conn
	socket *line.Socket // the same; nil where it is none
	now    bool         // errNothing in place of waiting; only with socket
}

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	if !in.now {
		return in.net.Read(p)
	}
	n, err := in.socket.ReadNow(p)
	if err == syscall.EAGAIN {
		err = errNothing
	}
	return n, err
}
