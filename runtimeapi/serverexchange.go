package runtimeapi

import (
	"bytes"
	"context"
	"errors"
	"os"
	"time"

	"hearth/internal/deadline"
)

// Where a runtime takes one invocation at a time, its caller serves the connection
// that the last poll came on until the answer is there: no goroutine hands it over,
// which would wake another thread for each call.
//
// So nobody reads that connection, which is called left, while the runtime holds no
// invocation: its next poll is read by the next call. If none comes for restBetween, the
// connection gets its own goroutine again, until its next poll. It has one, too, whenever
// an invocation is under way that does not read there itself.
//
// A caller reads nothing but whole requests that are those of a runtime. All else it
// leaves to the connection's goroutine, with every byte in the buffer: large or slow
// bodies, streams, requests of extensions, and what is malformed. So its end may
// interrupt it wherever it waits.

// restBetween is how long a left connection is not looked at; twice that at most.
const restBetween = 10 * time.Millisecond

// exchange is guarded by Server.mu.
type exchange struct {
	allowed bool
	rest    time.Duration // restBetween, but for tests
	left    *conn         // nil where each connection has a goroutine that reads it
	count   int           // of the calls that were answered there
	seen    int           // count when the timer was set
	waits   bool          // the timer is set
	timer   *time.Timer
}

// leave reports whether the connection, whose goroutine asks, is left to callers.
func (s *Server) leave(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.exchange
	if !x.allowed || x.left != nil || !c.parked || c.socket == nil || c.r.Buffered() > 0 || len(s.calls) > 0 || s.closed {
		return false
	}
	x.left = c
	s.restLocked()
	return true
}

// takeLocked returns the connection at which the caller is to wait for its answer; nil
// where that is no left one. The poll is the one that has taken the call, or nil.
func (s *Server) takeLocked(ctx context.Context, call *served, poll *conn) *conn {
	c := s.exchange.left
	switch {
	case c == nil || c.reader != nil:
		return nil
	case call.event.Stream != nil || poll != nil && poll != c:
		s.resumeLocked()
		return nil
	}
	c.reader, call.reads = call, c
	at, _ := ctx.Deadline()
	_ = c.net.SetReadDeadline(at) // an error means that it is closed: so does the read
	return c
}

// converse serves a left connection until the call is answered. It reports false where
// that is left to others.
func (s *Server) converse(ctx context.Context, call *served, on *conn) (answered bool) {
	if _, timed := deadline.Of(ctx); !timed { // it may end earlier
		stop := context.AfterFunc(ctx, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			call.interruptLocked(nil)
		})
		defer stop()
	}
	open := true
	for open && len(call.answered) == 0 && on.awaitRequest() {
		open = on.serveRequest()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	on.reader, call.reads = nil, nil
	answered = len(call.answered) > 0
	switch {
	case !open:
		s.exchange.left = nil
		delete(s.open, on)
	case answered && len(s.calls) == 0 && !s.closed:
		s.exchange.count++
		s.restLocked()
	default:
		s.resumeLocked()
	}
	return answered
}

// interruptLocked ends a caller's own reading, unless what it waits for is read there.
func (c *served) interruptLocked(except *conn) {
	if c.reads != nil && c.reads != except {
		_ = c.reads.net.SetReadDeadline(time.Unix(1, 0)) // an error means that it is closed
	}
}

// resumeLocked gives the left connection a goroutine again.
func (s *Server) resumeLocked() {
	c := s.exchange.left
	s.exchange.left = nil
	_ = c.net.SetReadDeadline(time.Time{}) // an error means that it is closed
	s.serveLocked(c)
}

// restLocked has the left connection looked at when it has rested.
func (s *Server) restLocked() {
	x := &s.exchange
	if x.waits {
		return
	}
	x.waits, x.seen = true, x.count
	if x.timer == nil {
		x.timer = time.AfterFunc(x.rest, s.look)
	} else {
		x.timer.Reset(x.rest)
	}
}

func (s *Server) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.exchange
	x.waits = false
	switch {
	case x.left == nil || x.left.reader != nil || s.closed:
	case x.seen != x.count:
		s.restLocked()
	default:
		s.resumeLocked()
	}
}

func (x *exchange) stopLocked() {
	if x.timer != nil {
		x.timer.Stop()
	}
}

// quiet reports whether a connection is open and has nothing to read behind its poll.
// Else it is closed, so that the poll takes no event; but a reader that was interrupted
// cannot tell, and leaves it open.
func (c *conn) quiet() bool {
	c.in.now = true
	_, err := c.r.Peek(c.r.Buffered() + 1)
	c.in.now = false
	if err != errNothing && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.close()
	}
	return err == errNothing
}

// writable reports whether nothing is being written to the connection.
func (c *conn) writable() bool {
	if !c.writing.TryLock() {
		return false
	}
	c.writing.Unlock()
	return true
}

// awaitRequest waits until a request can be answered without waiting for anything
// else. It takes nothing from the buffer.
func (c *conn) awaitRequest() bool {
	for {
		buffered, _ := c.r.Peek(c.r.Buffered()) // what is there can be had
		whole, plain := scan(buffered)
		switch {
		case !plain:
			return false
		case whole && buffered[0] == 'G' && bytes.Index(buffered, headEnd)+len(headEnd) < len(buffered):
			c.close() // as quiet does
			return false
		case whole && buffered[0] == 'G': // it may have been there for a while
			return c.quiet() && c.writable()
		case whole:
			return c.writable()
		}
		if _, err := c.r.Peek(len(buffered) + 1); err != nil { // the buffer is full, the end, an interruption
			return false
		}
	}
}
