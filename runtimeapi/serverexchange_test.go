package runtimeapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// left waits until the server has left a connection to callers.
func left(t testing.TB, s *Server) {
	t.Helper()
	if err := waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.exchange.left != nil && s.exchange.left.reader == nil
	}); err != nil {
		t.Fatal(err)
	}
}

// held waits until a call is under way whose caller reads the connection itself.
func held(t testing.TB, s *Server) {
	t.Helper()
	if err := waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.exchange.left != nil && s.exchange.left.reader != nil
	}); err != nil {
		t.Fatal(err)
	}
}

func responseTo(id, body string) string {
	return fmt.Sprintf("POST %s%s/response HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", invocationPrefix, id, len(body), body)
}

// settled checks what a call came to.
func settled(t testing.TB, done chan result, want string) {
	t.Helper()
	if r := <-done; r.err != nil || string(r.out.Payload) != want {
		t.Errorf("%v, %d bytes %.100q, want %d bytes %.100q", r.err, len(r.out.Payload), r.out.Payload, len(want), want)
	}
}

// begun is a runtime whose only connection has been left to callers, for so long: it has
// polled, and the first call has been answered.
func begun(t testing.TB, rest time.Duration) (*Server, *client, *rawConn) {
	t.Helper()
	s, c := newServer(t, ServerOptions{})
	s.exchange.rest = rest
	conn := c.raw()
	conn.send(nextRequest)
	if rest > restBetween { // else it may be read again by now
		left(t, s)
	}
	conn.call(s, "first", "1")
	return s, c, conn
}

// call runs an invocation for which the runtime has polled.
func (c *rawConn) call(s *Server, id, answer string) {
	c.t.Helper()
	done := invoke(soon(c.t), s, id, "{}")
	c.event(id)
	c.send("%s", responseTo(id, answer))
	c.accepted()
	settled(c.t, done, answer)
}

func (c *rawConn) event(id string) {
	c.t.Helper()
	if resp, _ := c.answer(); resp.Header.Get(headerRequestID) != id {
		c.t.Fatalf("%d %q, want the event of %s", resp.StatusCode, resp.Header, id)
	}
}

func (c *rawConn) accepted() {
	c.t.Helper()
	if resp, body := c.answer(); resp.StatusCode != 202 || body != string(acceptance) {
		c.t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// The caller itself reads the connection in every usual form of an answer, whether the
// next poll comes before its call or after.
func TestServerExchange(t *testing.T) {
	s, _, conn := begun(t, time.Hour)
	for i, parts := range [][]string{
		{"Content-Length: 2\r\n\r\n{}"},
		{"Transfer-Encoding: chunked\r\n\r\n", "2\r\n{}\r\n", "0\r\n\r\n"},
		{"Transfer-Encoding: chun", "ked\r\n\r\n1\r\n{", "\r\n1\r\n}\r\n0", "\r\n\r\n"},
		{"Transfer-Encoding: chunked\r\nTrailer: A\r\n\r\n2\r\n{}\r\n0\r\n", "A: b\r\n\r\n"},
		{"Content-Length: 2\n\n{}"},
		{"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"},
	} {
		for _, early := range []bool{true, false} {
			id := fmt.Sprintf("%d-%v", i, early)
			var done chan result
			if early {
				conn.send(nextRequest)
				done = invoke(soon(t), s, id, "{}")
			} else {
				done = invoke(soon(t), s, id, "{}")
				if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.pending) == 1 }); err != nil {
					t.Fatal(err)
				}
				conn.send(nextRequest)
			}
			conn.event(id)
			conn.send("POST %s%s/response HTTP/1.1\r\n", invocationPrefix, id)
			for _, part := range parts {
				conn.send("%s", part)
			}
			if strings.HasPrefix(parts[0], "Expect") {
				for range 2 { // the status, an empty line
					if line, err := conn.r.ReadString('\n'); err != nil {
						t.Fatalf("%q, %v", line, err)
					}
				}
			}
			conn.accepted()
			settled(t, done, "{}")
		}
	}
}

// A caller that is interrupted just as the next poll arrives leaves it to the next.
func TestServerExchangeInterruptedAtAPoll(t *testing.T) {
	s, _, conn := begun(t, time.Hour)
	c := s.exchange.left
	conn.send(nextRequest)
	if _, err := c.r.Peek(len(nextRequest)); err != nil {
		t.Fatal(err)
	}
	if err := c.net.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if c.awaitRequest() {
		t.Error("a poll of which nobody can tell whether its client is there is answered")
	}
	conn.call(s, "second", "2")
}

// What comes between two calls is answered without one.
func TestServerExchangeRests(t *testing.T) {
	s, _, conn := begun(t, restBetween)
	conn.send("GET /2018-06-01/ping HTTP/1.1\r\n\r\n")
	if _, body := conn.answer(); body != "pong" {
		t.Error(body)
	}
	conn.send("%s", responseTo("first", "2"))
	if resp, _ := conn.answer(); resp.StatusCode != 403 {
		t.Error(resp.Status)
	}
	conn.send(nextRequest)
	conn.call(s, "second", "2")
}

// A left connection on which no call is due is read by its goroutine again.
func TestServerExchangeIsLookedAt(t *testing.T) {
	s, c, conn := begun(t, restBetween)
	conn.send(nextRequest)
	if err := waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.polls) == 1 && s.exchange.left == nil
	}); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.polls) == 0 && len(s.open) == 0 }); err != nil {
		t.Fatal(err)
	}
	done := invoke(soon(t), s, "second", "{}")
	c.next()
	c.post(invocationPrefix+"second/response", "2", 202)
	settled(t, done, "2")
}

// A poll whose client has gone, or has not waited for its answer, takes no event: be it
// seen by the call or before.
func TestServerExchangePollIsGone(t *testing.T) {
	for name, end := range map[string]func(*rawConn){
		"closed":    func(c *rawConn) { c.Close() },
		"pipelined": func(c *rawConn) { c.send(nextRequest) },
	} {
		for _, polled := range []bool{true, false} {
			s, c := newServer(t, ServerOptions{})
			s.exchange.rest = time.Hour
			conn := c.raw()
			conn.send(nextRequest)
			left(t, s)
			if !polled { // the poll is in the socket's buffer alone
				conn.call(s, "first", "1")
				left(t, s)
				conn.send(nextRequest)
			}
			end(conn)
			done := invoke(soon(t), s, "second", "{}")
			if id, _ := c.next(); id != "second" {
				t.Errorf("%s: %q", name, id)
			}
			c.post(invocationPrefix+"second/response", "2", 202)
			settled(t, done, "2")
		}
	}
}

// Polls and answers that come on other connections than the left one end their caller's
// wait there.
func TestServerExchangeElsewhere(t *testing.T) {
	s, c, conn := begun(t, time.Hour)
	left(t, s)
	done := invoke(soon(t), s, "poll", "{}")
	held(t, s)
	other := c.raw()
	other.send(nextRequest)
	other.event("poll")
	conn.send("%s", responseTo("poll", "2"))
	conn.accepted()
	settled(t, done, "2")

	conn.send(nextRequest)
	left(t, s)
	done = invoke(soon(t), s, "answer", "{}")
	conn.event("answer")
	other.send("%s", responseTo("answer", "3"))
	other.accepted()
	settled(t, done, "3")

	conn.send(nextRequest) // two polls are parked, and each takes an event
	other.send(nextRequest)
	one, two := invoke(soon(t), s, "one", "{}"), invoke(soon(t), s, "two", "{}")
	for _, on := range []*rawConn{conn, other} {
		resp, _ := on.answer()
		id := resp.Header.Get(headerRequestID)
		on.send("%s", responseTo(id, `"`+id+`"`))
		on.accepted()
	}
	settled(t, one, `"one"`)
	settled(t, two, `"two"`)
}

// A caller whose time ends in the middle of an answer leaves the rest of it to the
// connection's goroutine, by which it is accepted and dropped.
func TestServerExchangeGivenUp(t *testing.T) {
	s, _, conn := begun(t, time.Hour)
	for i, sent := range []int{0, 10, 60, len(responseTo("id-0", "2")) - 1} {
		id := fmt.Sprint("id-", i)
		conn.send(nextRequest)
		ctx, cancel := context.WithCancelCause(t.Context())
		done := invoke(ctx, s, id, "{}")
		conn.event(id)
		answer := responseTo(id, "2")
		conn.send("%s", answer[:sent])
		given := errors.New("given up")
		cancel(given)
		if r := <-done; !errors.Is(r.err, given) {
			t.Errorf("%+v", r)
		}
		conn.send("%s", answer[sent:])
		conn.accepted()
	}
	conn.send(nextRequest)
	conn.call(s, "last", "3")
}

// Close ends a call whose caller reads itself, whatever has come of its answer.
func TestServerExchangeClose(t *testing.T) {
	for _, sent := range []string{"", "POST /2018", nextRequest} {
		s, _, conn := begun(t, time.Hour)
		conn.send(nextRequest)
		done := invoke(soon(t), s, "id", "{}")
		conn.event("id")
		conn.send("%s", sent)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if r := <-done; !errors.Is(r.err, ErrGone) {
			t.Errorf("%+v", r)
		}
		conn.ends()
	}
}

// A runtime that answers, and ends at once, has answered.
func TestServerExchangeEndsAfterItsAnswer(t *testing.T) {
	s, _, conn := begun(t, time.Hour)
	for _, last := range []bool{false, true} {
		conn.send(nextRequest)
		done := invoke(soon(t), s, fmt.Sprint(last), "{}")
		conn.event(fmt.Sprint(last))
		answer := responseTo(fmt.Sprint(last), "2")
		if last {
			answer = strings.Replace(answer, "Host: x", "Connection: close", 1)
		}
		conn.send("%s", answer)
		if last {
			conn.Close()
		} else {
			conn.accepted()
		}
		settled(t, done, "2")
	}
	if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.open) == 0 && s.exchange.left == nil }); err != nil {
		t.Error(err)
	}
}

// Events, answers and errors that are larger than any buffer.
func TestServerExchangeLarge(t *testing.T) {
	s, _, conn := begun(t, time.Hour)
	for i, size := range []int{readBuffer - 200, readBuffer, smallEvent, 6 << 20} {
		id, body := fmt.Sprint("id-", i), bytes.Repeat([]byte("x"), size)
		conn.send(nextRequest)
		e := event(id, "")
		e.Payload = body
		done := make(chan result, 1)
		go func() {
			out, err := s.Invoke(soon(t), e)
			done <- result{out, err}
		}()
		if resp, got := conn.answer(); resp.Header.Get(headerRequestID) != id || got != string(body) {
			t.Fatalf("%q with %d bytes", resp.Header, len(got))
		}
		conn.send("%s", responseTo(id, string(body)))
		conn.accepted()
		settled(t, done, string(body))
	}
	conn.send(nextRequest)
	done := invoke(soon(t), s, "over", "{}")
	conn.event("over")
	conn.send("%s", responseTo("over", strings.Repeat("x", MaxResponse+1)))
	if resp, _ := conn.answer(); resp.StatusCode != 413 {
		t.Error(resp.Status)
	}
	if r := <-done; r.out.ErrorType != TypeResponseTooLarge {
		t.Errorf("%+v", r.out)
	}
	conn.send(nextRequest)
	conn.call(s, "last", "3")
}

// Requests without end whose answers nobody reads do not keep a caller beyond its time.
func TestServerExchangeAnswersAreNotRead(t *testing.T) {
	s, _, conn := begun(t, time.Hour)
	conn.send(nextRequest)
	ctx, cancel := context.WithCancel(t.Context())
	done := invoke(ctx, s, "id", "{}")
	conn.event("id")
	flood := make(chan error, 1)
	go func() {
		requests := bytes.Repeat([]byte(responseTo("first", "")), 1000)
		for {
			if _, err := conn.Write(requests); err != nil {
				flood <- err
				return
			}
		}
	}()
	// Nothing is read any more when the answers have filled the buffers.
	if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.exchange.left == nil }); err != nil {
		t.Fatal(err)
	}
	cancel()
	if r := <-done; !errors.Is(r.err, context.Canceled) {
		t.Errorf("%+v", r)
	}
	s.Close()
	<-flood
}

// What is no HTTP ends the connection, and the call waits for a runtime that speaks it.
func TestServerExchangeGarbage(t *testing.T) {
	for _, garbage := range []string{"\x00\x01\x02\r\n\r\n", "POST " + invocationPrefix + "id/response HTTP/1.1\r\nno header\r\n\r\n",
		"POST " + invocationPrefix + "id/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"} {
		s, c, conn := begun(t, time.Hour)
		conn.send(nextRequest)
		done := invoke(soon(t), s, "id", "{}")
		conn.event("id")
		conn.send("%s", garbage)
		if resp, _ := conn.answer(); resp.StatusCode != 400 || !resp.Close {
			t.Errorf("%q: %+v", garbage, resp)
		}
		conn.ends()
		c.post(invocationPrefix+"id/response", "2", 202)
		settled(t, done, "2")
	}
}

// An event whose response is streamed is read by the connection's goroutine.
func TestServerExchangeStream(t *testing.T) {
	s, _, conn := begun(t, time.Hour)
	for i := range 2 {
		conn.send(nextRequest)
		id, to := fmt.Sprint("id-", i), &taken{}
		e := event(id, "{}")
		e.Stream = to
		done := make(chan result, 1)
		go func() {
			out, err := s.Invoke(soon(t), e)
			done <- result{out, err}
		}()
		conn.event(id)
		conn.send("POST %s%s/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", invocationPrefix, id)
		conn.accepted()
		if r := <-done; r.err != nil || to.got.String() != "ab" {
			t.Errorf("%+v, streamed %q", r, to.got.String())
		}
		conn.send(nextRequest)
		conn.call(s, id+"-whole", "1")
	}
}

// A process that has ended is heard to its last byte.
func TestServerExchangeFinish(t *testing.T) {
	s, _, conn := begun(t, time.Hour)
	conn.send(nextRequest)
	done := invoke(soon(t), s, "id", "{}")
	conn.event("id")
	body := strings.Repeat("x", 1<<20)
	go func() {
		_, _ = io.WriteString(conn, responseTo("id", body)) // whether it is taken is seen below
		conn.Close()
	}()
	if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.posting == 1 || len(s.calls) == 0 }); err != nil {
		t.Fatal(err)
	}
	s.Finish(5 * time.Second)
	s.Close()
	settled(t, done, body)
}
