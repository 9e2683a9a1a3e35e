package runtimeapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"hearth/faas"
)

// HTTPOptions configures an HTTP.
type HTTPOptions struct {
	// Dial connects to the runtime's server. The session closes the connection.
	Dial func(ctx context.Context) (net.Conn, error)
	// Concurrency is the number of invocations that may be in flight; 0 = 1. So
	// many idle connections are kept at most.
	Concurrency int
	// MaxResponse bounds a result and an error document, in bytes; 0 = MaxResponse.
	MaxResponse int
}

// HTTP is the Session with a runtime that is an HTTP/1.1 server of its own: each
// invocation is one request. Safe for concurrent use.
type HTTP struct {
	dial  func(ctx context.Context) (net.Conn, error)
	slots int
	limit int

	// life ends with Close; it is what every dial and request is bounded by.
	life context.Context
	end  context.CancelFunc

	mu     sync.Mutex
	closed bool
	idle   []*httpConn // oldest first
	sweep  *time.Timer // runs while idle is not empty
	busy   int         // invocations whose answer may still come
	quiet  chan struct{}
}

// idleLimit is how long a connection waits for its next request. It is below what
// any server is known to keep one (2 s and more), since a request that meets the
// server's close is lost: it cannot be told whether the server had begun with it,
// and an invocation is never delivered twice.
const idleLimit = time.Second

// AnswerError is an invocation whose answer the server did not give, or not in a
// form that can be read. Where the runtime has ended, that is the reason; else
// Outcome, a function error, is the invocation's.
type AnswerError struct {
	Outcome faas.Outcome
	Cause   error
}

func (e *AnswerError) Error() string { return "no answer from the HTTP server: " + e.Cause.Error() }

func (e *AnswerError) Unwrap() error { return e.Cause }

// NewHTTP returns a session that dials nothing yet.
func NewHTTP(opts HTTPOptions) *HTTP {
	h := &HTTP{dial: opts.Dial, slots: max(1, opts.Concurrency), limit: opts.MaxResponse, quiet: make(chan struct{}, 1)}
	if h.limit == 0 {
		h.limit = MaxResponse
	}
	h.life, h.end = context.WithCancel(context.Background())
	return h
}

// Init implements Session: the runtime is ready when its port takes a connection.
func (h *HTTP) Init(ctx context.Context) error {
	const longest = 25 * time.Millisecond
	ctx, stop := h.within(ctx)
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for wait := time.Millisecond; ; wait = min(longest, wait+wait/4) {
		conn, err := h.dial(ctx)
		if err == nil {
			conn.Close()
			return nil
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// within bounds ctx by the session: Close ends it with ErrGone as its cause.
func (h *HTTP) within(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(h.life, func() { cancel(ErrGone) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// FirstByte is always zero: a server says nothing until it is asked, so all that
// it does before its port opens is init.
func (h *HTTP) FirstByte() time.Time { return time.Time{} }

// Slots implements Session: an HTTP server takes as many requests as come.
func (h *HTTP) Slots() (int, <-chan struct{}) { return h.slots, nil }

// Broken implements what a Frames answers: what one answer breaks is its own
// connection only.
func (h *HTTP) Broken() bool { return false }

// Invoke implements Session; the error may be an *AnswerError too.
func (h *HTTP) Invoke(ctx context.Context, event *faas.Event) (faas.Outcome, error) {
	if !h.enter() {
		return faas.Outcome{}, ErrGone
	}
	defer h.leave()
	req, err := newHTTPRequest(event)
	if err != nil {
		return httpFailure(typeInvalidEvent, err.Error()), nil
	}
	ctx, stop := h.within(ctx)
	defer stop()
	req.stream = event.Stream
	answer, err := h.exchange(ctx, req)
	switch {
	case err == nil && answer.streamed != nil:
		return answer.streamed.finish(faas.Outcome{}), nil
	case err == nil:
		return answer.outcome(req.proxied, h.limit), nil
	case ctx.Err() != nil:
		return faas.Outcome{}, context.Cause(ctx)
	}
	return faas.Outcome{}, &AnswerError{Cause: err, Outcome: httpFailure(typeInvalidResponse, answerReason(err))}
}

// answerReason words an error of an exchange without the addresses in it.
func answerReason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "the function's HTTP server takes no connections any more"
	}
	return "the answer of the function's HTTP server could not be read: " + clipText(err.Error(), 512)
}

func (h *HTTP) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.busy++
	return true
}

func (h *HTTP) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy--; h.busy == 0 {
		select {
		case h.quiet <- struct{}{}:
		default:
		}
	}
}

// Finish is called when the runtime's process has ended: answers that it had
// sent are read to their end, for at most the time given.
func (h *HTTP) Finish(within time.Duration) {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		h.mu.Lock()
		busy := h.busy > 0
		h.mu.Unlock()
		if !busy {
			return
		}
		select {
		case <-h.quiet:
		case <-deadline.C:
			return
		case <-h.life.Done():
			return
		}
	}
}

// Close implements Session. It closes every connection.
func (h *HTTP) Close() error {
	h.mu.Lock()
	idle := h.idle
	h.idle, h.closed = nil, true
	if h.sweep != nil {
		h.sweep.Stop()
	}
	h.mu.Unlock()
	h.end()
	for _, c := range idle {
		c.conn.Close()
	}
	return nil
}

// take returns the connection that was used last, which was kept, or a new one.
func (h *HTTP) take(ctx context.Context) (c *httpConn, kept bool, err error) {
	for {
		h.mu.Lock()
		last := len(h.idle) - 1
		if last < 0 {
			h.mu.Unlock()
			conn, err := h.dial(ctx)
			if err != nil {
				return nil, false, err
			}
			return newHTTPConn(conn), false, nil
		}
		c = h.idle[last]
		h.idle[last] = nil
		h.idle = h.idle[:last]
		h.mu.Unlock()
		if time.Since(c.since) < idleLimit && silent(c.conn) {
			return c, true, nil
		}
		c.conn.Close()
	}
}

// put keeps a connection for the next request.
func (h *HTTP) put(c *httpConn) {
	c.since = time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.idle) >= h.slots {
		c.conn.Close()
		return
	}
	h.idle = append(h.idle, c)
	switch {
	case h.sweep == nil:
		h.sweep = time.AfterFunc(idleLimit, h.closeIdle)
	case len(h.idle) == 1:
		h.sweep.Reset(idleLimit)
	}
}

// closeIdle closes the connections that nobody used for idleLimit: an instance
// that is idle holds no descriptors of Hearth's for them.
func (h *HTTP) closeIdle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, old := time.Now(), 0
	for old < len(h.idle) && now.Sub(h.idle[old].since) >= idleLimit {
		h.idle[old].conn.Close()
		old++
	}
	h.idle = slices.Delete(h.idle, 0, old)
	if len(h.idle) > 0 {
		h.sweep.Reset(idleLimit - now.Sub(h.idle[0].since))
	}
}

// silent reports whether an idle connection is open and nothing was sent on it.
func silent(conn net.Conn) bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return true // what cannot be asked is found out by the request
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var peeked error
	err = raw.Read(func(fd uintptr) bool {
		_, _, peeked = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		return true
	})
	return err == nil && errors.Is(peeked, syscall.EAGAIN)
}

// httpRequest is the request of one invocation.
type httpRequest struct {
	*http.Request
	// proxied: the event was an HTTP request, and its result is an HTTP response.
	proxied bool
	stream  faas.ResponseStream // nil where the answer is wanted whole
}

// again is the request to be sent once more.
func (r httpRequest) again() httpRequest {
	again := *r.Request
	if r.GetBody != nil {
		again.Body, _ = r.GetBody() // of bytes in memory: it does not fail
	}
	r.Request = &again
	return r
}
