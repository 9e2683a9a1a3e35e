package runtimeapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"hearth/faas"
	"hearth/internal/line"
)

// smallEvent is the most that is copied behind an event's headers, so that both are
// one write.
const smallEvent = 32 << 10

// conn is one connection of a runtime. One goroutine at a time reads its requests, one
// after the other: the connection's own, or a caller of Invoke (serverexchange.go). The
// answer to a parked poll is written by whoever has the event: the caller of Invoke,
// with no other goroutine between the two.
type conn struct {
	server *Server
	net    net.Conn
	socket *line.Socket // the same; nil where it is none
	in     input
	r      *bufio.Reader // of in

	parked bool    // in server.polls; guarded by Server.mu
	reader *served // whose caller reads here; nil where none does; guarded by Server.mu

	writing sync.Mutex // held for the length of an answer; taken without Server.mu
	out     []byte     // what is being written, while writing is held
}

func (s *Server) newConn(c net.Conn) *conn {
	conn := &conn{server: s, net: c}
	if limited, ok := c.(*limitedConn); ok {
		if conn.socket = line.NewSocket(limited.Conn, 1); conn.socket != nil {
			limited.Conn = conn.socket
		}
	}
	conn.in = input{net: c, socket: conn.socket}
	conn.r = bufio.NewReaderSize(&conn.in, readBuffer)
	return conn
}

// serve answers requests until the connection or the server ends, or until it is left
// to callers of Invoke: then it is open.
func (c *conn) serve() (left bool) {
	for c.serveRequest() {
		if c.server.leave(c) {
			return true
		}
	}
	return false
}

// serveRequest answers the next request. It reports whether another may follow; else
// the connection is closed.
func (c *conn) serveRequest() (goesOn bool) {
	q, err := readRequest(c.r)
	if c.server.received(c) { // it is gone, or did not wait for the answer to its poll
		c.close()
		return false
	}
	if err != nil {
		var malformed *badRequest
		if errors.As(err, &malformed) {
			q = query{last: true} // where its body ends is not known
			c.refuse(&q, malformed.status, "InvalidRequest", malformed.why)
		}
		c.close()
		return false
	}
	if c.server.route(c, &q); q.last {
		c.close()
	}
	return !q.last
}

func (c *conn) close() {
	_ = c.net.Close() // ours to end; its error tells nobody anything
}

// body reads the request's body, as far as it is wanted.
func (c *conn) body(q *query) ([]byte, error) {
	if err := c.goOn(q); err != nil {
		return nil, err
	}
	return q.readBody(c.r, c.server.limit)
}

// goOn tells a client that waits for it to send the request's body.
func (c *conn) goOn(q *query) error {
	if !q.expects {
		return nil
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	q.expects = false
	_, err := c.net.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	return err
}

var acceptance = []byte(`{"status":"OK"}` + "\n")

// accept answers a request whose body was read.
func (c *conn) accept() { c.reply(http.StatusAccepted, acceptance, false) }

// dismiss answers a request whose body nobody wants, after it.
func (c *conn) dismiss(q *query, status int, body []byte) {
	if q.expects { // it has not been sent
		q.length, q.last = 0, true
	}
	q.skipBody(c.r)
	c.reply(status, body, q.last)
}

// refuse answers with the Runtime API's error document.
func (c *conn) refuse(q *query, status int, errorType, message string) {
	body, err := json.Marshal(struct {
		Message string `json:"errorMessage"`
		Type    string `json:"errorType"`
	}{message, errorType})
	if err != nil { // strings always marshal
		body = []byte("{}")
	}
	c.dismiss(q, status, append(body, '\n'))
}

// refuseBody answers a post whose body could not be taken.
func (c *conn) refuseBody(q *query, err error) {
	rest := q.length
	q.length = 0 // as much as is read of it was
	var size *oversizeError
	if errors.As(err, &size) {
		q.last = q.last || rest < 0
		c.refuse(q, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", size.Error())
		return
	}
	q.last = true
	c.refuse(q, http.StatusBadRequest, "InvalidRequest", "the request's body could not be read")
}

func (c *conn) reply(status int, body []byte, last bool) { c.replyWith(status, body, last, "", "") }

// replyWith is reply with one more header, unless its name is "".
func (c *conn) replyWith(status int, body []byte, last bool, header, value string) {
	c.writing.Lock()
	b := appendStatus(c.out[:0], status)
	b = append(b, "Content-Type: application/json\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n"...)
	if last {
		b = append(b, "Connection: close\r\n"...)
	}
	if header != "" {
		b = appendHeader(b, header, value)
	}
	b = append(b, "\r\n"...)
	c.out = append(b, body...)
	n, err := c.tryWrite()
	// A client that does not hear the answer has ended; its sandbox tells that. One that
	// is closed now has a buffer that is full of answers which nobody reads.
	if n == len(c.out) || err != nil || last && c.socket != nil {
		c.writing.Unlock()
		return
	}
	_ = c.writeRest(net.Buffers{c.out[n:]}, func(error) {})
}

// writeRest has a goroutine write what the client does not take at once, give up
// writing and call done with what came of it.
func (c *conn) writeRest(rest net.Buffers, done func(error)) error {
	begun := c.server.spawn(func() { // it ends when the connection does
		_, err := rest.WriteTo(c.net)
		c.writing.Unlock()
		done(err)
	})
	if !begun {
		c.writing.Unlock()
		return net.ErrClosed
	}
	return nil
}

func appendStatus(b []byte, status int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	return append(b, "\r\n"...)
}

// deliver writes an event to the connection, whose poll has taken it. It does not wait
// for a client that does not read: then a goroutine does. An error says that the client
// does not have the event; where the goroutine finds that, the event goes back.
func (c *conn) deliver(call *served) error {
	c.writing.Lock()
	payload := call.event.Payload
	c.out = appendEventHead(c.out[:0], call.event)
	rest := net.Buffers{c.out, payload}
	if len(payload) <= smallEvent {
		c.out = append(c.out, payload...)
		n, err := c.tryWrite()
		if n == len(c.out) || err != nil {
			c.writing.Unlock()
			return err
		}
		rest = net.Buffers{c.out[n:]}
	}
	return c.writeRest(rest, func(err error) {
		if err != nil {
			c.close()
			c.server.handOver(call, c.server.undeliver(call))
		}
	})
}

// tryWrite writes as much of out as the connection takes at once.
func (c *conn) tryWrite() (n int, err error) {
	if c.socket == nil {
		return 0, nil
	}
	n, err = c.socket.WriteNow(c.out)
	if err == syscall.EAGAIN {
		err = nil
	}
	return n, err
}

// appendEventHead appends the head of the answer to a poll.
func appendEventHead(b []byte, e *faas.Event) []byte {
	b = appendStatus(b, http.StatusOK)
	b = append(b, "Content-Type: application/json\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(e.Payload)), 10)
	b = append(b, "\r\n"+headerDeadline+": "...)
	b = strconv.AppendInt(b, e.Deadline.UnixMilli(), 10)
	b = append(b, "\r\n"...)
	b = appendHeader(b, headerRequestID, e.RequestID)
	b = appendHeader(b, headerARN, e.InvokedARN)
	if e.TraceID != "" {
		b = appendHeader(b, headerTrace, e.TraceID)
	}
	if e.Attempt > 0 {
		b = appendHeader(b, headerAttempt, strconv.Itoa(e.Attempt))
	}
	if len(e.ClientContext) > 0 {
		b = appendHeader(b, headerClient, string(e.ClientContext))
	}
	if len(e.Cognito) > 0 {
		b = appendHeader(b, headerCognito, string(e.Cognito))
	}
	return append(b, "\r\n"...)
}

// appendHeader appends a header whose value a caller chose: no line may begin in it.
func appendHeader(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	from := len(b)
	b = append(b, value...)
	for i := bytes.IndexAny(b[from:], "\r\n"); i >= 0; i = bytes.IndexAny(b[from:], "\r\n") {
		b[from+i] = ' '
		from += i + 1
	}
	return append(b, "\r\n"...)
}
