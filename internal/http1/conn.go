package http1

import (
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"hearth/internal/line"
)

// States of a connection. Shutdown ends those that are idle; a request that has
// begun to arrive is answered.
const (
	idle int32 = iota
	busy
	ended
)

// idleSlack is how much later than IdleTimeout an idle connection may be closed, so
// that the deadline is not set anew for each request.
const idleSlack = time.Second

// conn is one connection. Everything but its state belongs to the goroutine that
// serves it, and early to the context's watcher while there is one.
type conn struct {
	server *Server
	net    net.Conn // a line.Socket, where it is TCP
	remote string
	state  atomic.Int32

	buf      [headBytes]byte
	n        int       // bytes in buf that belong to no request yet
	deadline time.Time // of reading, as it was set last; zero where unknown
	early    [1]byte   // what the watcher read of the next request
	hasEarly bool

	header http.Header
	values [maxHeaders]string
	answer response
	body   body
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{server: s, net: nc, remote: nc.RemoteAddr().String(), header: http.Header{}}
	if socket := line.NewSocket(nc, 0); socket != nil {
		c.net = socket
	}
	c.answer = response{conn: nc, fast: c.net, header: http.Header{}}
	return c
}

// closeIdle ends the connection if it is idle, closeNow in any case.
func (c *conn) closeIdle() {
	if c.state.CompareAndSwap(idle, ended) {
		c.net.Close()
	}
}

func (c *conn) closeNow() {
	c.state.Store(ended)
	c.net.Close()
}

// serve answers requests until the connection ends or is handed over.
func (c *conn) serve() {
	for {
		h, plain, err := c.next()
		if err != nil {
			c.net.Close() // what failed is the connection
			return
		}
		if !plain {
			c.untimed()
			c.server.handed.give(c.net, c.buf[:c.n])
			return
		}
		if !c.exchange(&h) {
			c.net.Close()
			return
		}
		if c.n == 0 && !c.rest() {
			return
		}
	}
}

// rest makes the connection idle; false where it was closed instead.
func (c *conn) rest() bool {
	if !c.state.CompareAndSwap(busy, idle) {
		return false // Close was here
	}
	if c.server.closing.Load() { // and may have seen it busy
		c.closeIdle()
		return false
	}
	return true
}

// next waits for a request and reads its head.
func (c *conn) next() (h head, plain bool, err error) {
	for first := true; ; first = false {
		if c.n > 0 {
			c.state.CompareAndSwap(idle, busy)
			if c.state.Load() == ended {
				return h, false, net.ErrClosed
			}
			var done bool
			h, plain, done = parseHead(c.buf[:c.n], c.header, c.values[:])
			if !done && c.n == len(c.buf) {
				plain, done = false, true
			}
			if done {
				if plain {
					path, _, _ := strings.Cut(h.target, "?")
					plain = c.server.Direct(path)
				}
				return h, plain, nil
			}
		}
		c.await(first)
		n, err := c.net.Read(c.buf[c.n:])
		c.n += n
		if n == 0 && err != nil {
			if c.n > 0 && errors.Is(err, io.EOF) {
				return h, false, nil // net/http has an answer for half a request
			}
			return h, false, err
		}
	}
}

// await sets the deadline of the next read: that of an idle connection, or that of
// a head that has begun.
func (c *conn) await(first bool) {
	now := time.Now()
	if c.n == 0 {
		if left := c.deadline.Sub(now); left < c.server.Rest.IdleTimeout {
			c.timed(now.Add(c.server.Rest.IdleTimeout + idleSlack))
		}
		return
	}
	if limit := c.server.Rest.ReadHeaderTimeout; first || c.deadline.Sub(now) > limit {
		c.timed(now.Add(limit))
	}
}

// timed sets the deadline of reads. An error means that the connection is closed,
// which the read says, too.
func (c *conn) timed(t time.Time) {
	c.deadline = t
	_ = c.net.SetReadDeadline(t)
}

func (c *conn) untimed() { c.timed(time.Time{}) }

// interrupt ends a read that is under way.
func (c *conn) interrupt() { c.timed(time.Unix(1, 0)) }

// exchange serves one request. It reports whether another may follow.
func (c *conn) exchange(h *head) bool {
	c.body = body{conn: c, rest: c.buf[h.size:min(c.n, h.size+h.length)]}
	c.body.left = h.length - len(c.body.rest)
	x := &requestContext{conn: c, arriving: c.body.left > 0}
	c.body.context = x
	if x.arriving {
		c.untimed()
	}
	w := &c.answer
	w.reset()
	w.close = c.server.closing.Load()
	well := c.handle(w, c.request(h, x))
	x.finish()
	if !well {
		return false
	}
	if c.body.left > 0 {
		if _, err := io.Copy(io.Discard, &c.body); err != nil {
			w.close = true
		}
	}
	if w.finish() != nil || w.close {
		return false
	}
	used := h.size + min(c.n-h.size, h.length)
	c.n = copy(c.buf[:], c.buf[used:c.n])
	if c.hasEarly { // it came after all that had been read, as the body was here
		c.buf[c.n] = c.early[0]
		c.n++
		c.hasEarly = false
	}
	return true
}

func (c *conn) request(h *head, x *requestContext) *http.Request {
	r := &http.Request{
		Method: plainMethod, URL: requestURL(h.target), RequestURI: h.target,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h.header, Host: h.host, RemoteAddr: c.remote,
		ContentLength: int64(h.length), Body: http.NoBody,
	}
	if h.length > 0 {
		r.Body = &c.body
	}
	return r.WithContext(x)
}

// handle calls the handler. A panic ends the connection without an answer, as with
// net/http.
func (c *conn) handle(w http.ResponseWriter, r *http.Request) (well bool) {
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			c.server.Logger.Error("a handler panicked", "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	c.server.Rest.Handler.ServeHTTP(w, r)
	return true
}

// body is the body of the request that is served: what had arrived with the head,
// and then what is read of the connection.
type body struct {
	conn    *conn
	context *requestContext
	rest    []byte // of what had arrived
	left    int    // what is to be read beyond it
}

func (b *body) Read(p []byte) (int, error) {
	if len(b.rest) > 0 {
		n := copy(p, b.rest)
		b.rest = b.rest[n:]
		return n, nil
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.conn.net.Read(p[:min(len(p), b.left)])
	if b.left -= n; b.left == 0 {
		b.context.arrived()
		return n, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (b *body) Close() error { return nil }
