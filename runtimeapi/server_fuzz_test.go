package runtimeapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func FuzzServer(f *testing.F) {
	f.Add("POST", invocationPrefix+"id/response", "Lambda-Runtime-Function-Error-Type", "T", []byte("{}"))
	f.Add("POST", invocationPrefix+"id/error", "Transfer-Encoding", "chunked", []byte(`{"errorType":"x"}`))
	f.Add("POST", invocationPrefix+"id/response", "Transfer-Encoding", "chunked", []byte("2\r\nab\r\n0\r\nLambda-Runtime-Function-Error-Type: x\r\n\r\n"))
	f.Add("POST", runtimePrefix+"init/error", "X", "y", []byte("{}"))
	f.Add("PUT", "/2018-06-01/../runtime", "Content-Length", "-1", []byte{0})
	f.Fuzz(func(t *testing.T, method, path, name, value string, body []byte) {
		if method == http.MethodGet && path == invocationPrefix+"next" {
			return // waits, as it should
		}
		s := NewServer(ServerOptions{MaxResponse: 16})
		defer s.Close()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan result, 1)
		go func() {
			out, err := s.Invoke(ctx, streamed("id", &taken{}))
			done <- result{out, err}
		}()
		defer func() { cancel(); <-done }()
		if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.pending) == 1 }); err != nil {
			t.Fatal(err)
		}
		s.park(nil) // takes the call
		conn := &recorder{}
		request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\n%s: %s\r\nConnection: close\r\n\r\n%s", method, path, name, value, body)
		l := &oneConn{conn: scripted(request, conn), done: make(chan struct{})}
		served := make(chan struct{})
		go func() { defer close(served); _ = s.Serve(l) }()
		<-l.done
		s.Close()
		<-served
	})
}

// recorder is what a scripted connection's server wrote.
type recorder struct{ bytes.Buffer }

// scripted is a connection that yields the request and then its end.
func scripted(request string, out io.Writer) net.Conn {
	return &scriptedConn{in: strings.NewReader(request), out: out}
}

type scriptedConn struct {
	net.Conn
	in     io.Reader
	out    io.Writer
	once   sync.Once
	closed func()
}

func (c *scriptedConn) Read(b []byte) (int, error)       { return c.in.Read(b) }
func (c *scriptedConn) Write(b []byte) (int, error)      { return c.out.Write(b) }
func (c *scriptedConn) Close() error                     { c.once.Do(c.closed); return nil }
func (c *scriptedConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *scriptedConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *scriptedConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptedConn) SetWriteDeadline(time.Time) error { return nil }

// oneConn is a listener that yields one connection; done is closed with that.
type oneConn struct {
	conn  net.Conn
	done  chan struct{}
	taken bool
}

func (l *oneConn) Accept() (net.Conn, error) {
	if l.taken {
		<-l.done
		return nil, net.ErrClosed
	}
	l.taken = true
	l.conn.(*scriptedConn).closed = func() { close(l.done) }
	return l.conn, nil
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
