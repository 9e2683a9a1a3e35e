package runtimeapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

const (
	// maxAnswerHeader bounds the status line and header fields of an answer, in
	// bytes, those of interim answers included.
	maxAnswerHeader = 64 << 10
	// maxInterim bounds the interim (1xx) answers before the final one.
	maxInterim = 5
)

var (
	errAnswerHeader = errors.New("its header is longer than 65536 bytes")
	errInterim      = errors.New("it sent too many interim answers")
	errUpgrade      = errors.New("it wants another protocol, which an invocation cannot speak")
)

// httpConn is a connection to the runtime's server. One exchange at a time uses it.
type httpConn struct {
	conn   net.Conn
	head   *headLimit
	reader *bufio.Reader
	since  time.Time // when it became idle
	// refused: it was closed before the server had read the request that was sent
	// last, and nothing was answered.
	refused bool
}

func newHTTPConn(conn net.Conn) *httpConn {
	head := &headLimit{from: conn}
	return &httpConn{conn: conn, head: head, reader: bufio.NewReader(head)}
}

// headLimit reads at most so many bytes more, then fails.
type headLimit struct {
	from io.Reader
	left int64
}

func (l *headLimit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errAnswerHeader
	}
	n, err := l.from.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// httpAnswer is what the server answered. The body is cut after the limit.
type httpAnswer struct {
	status   int
	header   http.Header
	body     []byte
	oversize int64 // at least so many bytes were announced or read, where over the limit
	streamed *sink // where the body has gone there
}

// exchange sends the request on a connection and reads the answer. When ctx ends
// the connection is closed. The server is hostile: memory is bounded by
// maxAnswerHeader and the response limit, time by ctx.
//
// A server may close a connection that was kept at the very moment at which it is
// used again. A request that it has not read is sent once more, on a new one.
func (h *HTTP) exchange(ctx context.Context, req httpRequest) (httpAnswer, error) {
	c, kept, err := h.take(ctx)
	if err != nil {
		return httpAnswer{}, err
	}
	answer, err := h.exchangeOn(ctx, c, req)
	if !kept || err == nil || !c.refused || ctx.Err() != nil {
		return answer, err
	}
	conn, dialing := h.dial(ctx)
	if dialing != nil {
		return answer, err
	}
	return h.exchangeOn(ctx, newHTTPConn(conn), req.again())
}

func (h *HTTP) exchangeOn(ctx context.Context, c *httpConn, req httpRequest) (httpAnswer, error) {
	unbind := context.AfterFunc(ctx, func() { c.conn.Close() })
	written := make(chan error, 1)
	// Beside the reading: a server may answer before it has read all.
	go func() { // ends with the request's last byte, or when the connection is closed
		w := bufio.NewWriter(c.conn)
		err := req.Write(w)
		if err == nil {
			err = w.Flush()
		}
		written <- err
	}()
	answer, reusable, err := c.answer(ctx, req, h.limit)
	if !reusable || !wrote(written) {
		unbind()
		c.refused = err != nil && c.head.left == maxAnswerHeader && reset(c.conn, err)
		c.conn.Close()
		<-written
		return answer, err
	}
	if unbind() {
		h.put(c)
	}
	return answer, err
}

// reset reports whether the peer had closed the connection before it read all that
// was sent: then its system answers with a reset, before or behind the end of the
// stream. A peer that closes what it has read sends none.
func reset(conn net.Conn, err error) bool {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return true
	}
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	pending := 0
	err = raw.Control(func(fd uintptr) {
		pending, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR) // 0 where it fails
	})
	return err == nil && pending != 0
}

// wrote reports whether the request was written. Where the server has read all,
// the writing goroutine is about to say so.
func wrote(written chan error) bool {
	timer := time.NewTimer(10 * time.Millisecond)
	defer timer.Stop()
	select {
	case err := <-written:
		written <- err // for whoever closes the connection
		return err == nil
	case <-timer.C:
		return false
	}
}

// answer reads one answer. The connection is reusable if nothing is left on it.
func (c *httpConn) answer(ctx context.Context, req httpRequest, limit int) (a httpAnswer, reusable bool, err error) {
	c.head.left = maxAnswerHeader
	resp, err := c.final(req.Request)
	if err != nil {
		return a, false, err
	}
	// The body is not closed: that would read it to its end, and it holds nothing
	// but the connection.
	c.head.left = 1<<63 - 1
	a.status, a.header = resp.StatusCode, resp.Header
	if req.stream != nil && (req.proxied || a.status < 300) {
		err := a.stream(ctx, req, resp.Body)
		return a, err == nil && !a.streamed.full() && c.reusable(resp), err
	}
	var body bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= 256<<10 {
		body.Grow(int(n) + bytes.MinRead) // memory is taken as bytes arrive
	}
	n, err := body.ReadFrom(io.LimitReader(resp.Body, int64(limit)+1))
	if err != nil {
		return a, false, err
	}
	if n > int64(limit) {
		a.oversize = max(n, resp.ContentLength)
		return a, false, nil
	}
	a.body = body.Bytes()
	return a, c.reusable(resp), nil
}

// reusable reports whether another request may follow an answer that was read whole.
func (c *httpConn) reusable(resp *http.Response) bool { return !resp.Close && c.reader.Buffered() == 0 }

// final reads answers until one is not interim.
func (c *httpConn) final(req *http.Request) (*http.Response, error) {
	for range 1 + maxInterim {
		resp, err := http.ReadResponse(c.reader, req)
		switch {
		case err != nil && c.head.left <= 0: // what was read of it may be no header
			return nil, errAnswerHeader
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, errUpgrade
		case resp.StatusCode >= 200:
			return resp, nil
		}
	}
	return nil, errInterim
}
