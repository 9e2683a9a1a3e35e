package runtimeapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"hearth/faas"
)

// rawConn is a client that sends what it likes.
type rawConn struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (c *client) raw() *rawConn {
	c.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.base, "http://"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	return &rawConn{c.t, conn, bufio.NewReader(conn)}
}

func (c *rawConn) send(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads one answer.
func (c *rawConn) answer() (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, string(body)
}

// ends checks that the server has closed the connection.
func (c *rawConn) ends() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); err == nil {
		c.t.Errorf("the connection is open, and has %q", b)
	}
}

const nextRequest = "GET " + invocationPrefix + "next HTTP/1.1\r\nHost: x\r\n\r\n"

// What two readers could understand differently, or what is too much, is refused, and
// its connection ends.
func TestServerRefusesMalformedRequests(t *testing.T) {
	_, c := newServer(t, ServerOptions{})
	for name, test := range map[string]struct {
		request string
		status  int
	}{
		"no version":          {"GET /\r\n\r\n", 400},
		"no target":           {"GET  HTTP/1.1\r\n\r\n", 400},
		"another version":     {"GET / HTTP/2.0\r\n\r\n", 505},
		"no colon":            {"GET / HTTP/1.1\r\nHost\r\n\r\n", 400},
		"space before colon":  {"POST / HTTP/1.1\r\nContent-Length : 5\r\n\r\n", 400},
		"folded":              {"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400},
		"two lengths":         {"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
		"signed length":       {"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", 400},
		"negative length":     {"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
		"endless length":      {"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
		"length and chunks":   {"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"chunks and length":   {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400},
		"another encoding":    {"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
		"chunks of 1.0":       {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"another expectation": {"POST / HTTP/1.1\r\nExpect: more\r\n\r\n", 417},
		"a bad escape":        {"GET /%zz HTTP/1.1\r\n\r\n", 400},
		"a long request line": {"GET /" + strings.Repeat("x", maxLine) + " HTTP/1.1\r\n\r\n", 414},
		"a long head":         {"GET / HTTP/1.1\r\n" + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", maxHead/1000), 431},
		"a long length":       {"POST / HTTP/1.1\r\nContent-Length: " + strings.Repeat("0", maxLine) + "5\r\n\r\n", 431},
	} {
		conn := c.raw()
		go func() { _, _ = io.WriteString(conn, test.request) }() // it may be closed in the middle
		resp, err := http.ReadResponse(conn.r, nil)
		if err != nil && len(test.request) > readBuffer {
			continue // what was left unread reset the connection
		}
		if err != nil || resp.StatusCode != test.status || !resp.Close {
			t.Errorf("%s: %v, %+v, want %d", name, err, resp, test.status)
		}
	}
}

// What clients do send is understood, one request after the other.
func TestServerUnderstands(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	conn := c.raw()
	for i, request := range []string{
		"POST %sX/response HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}",
		"POST %sX/response HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}",
		"\r\nPOST %sX/response HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
		"POST %sX/response HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n1;a=b\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
		"POST %sX/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n2\r\n{}\r\n0\r\nA: b\r\n\r\n",
		"POST http://127.0.0.1:9001%sX/response?a=b HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
		"POST %sX/response HTTP/1.1\r\nLambda-Runtime-Function-XRay-Error-Cause: " + strings.Repeat("x", 1<<20) + "\r\nContent-Length: 2\r\n\r\n{}",
	} {
		id := fmt.Sprint("id-", i)
		done := invoke(deadline(t), s, id, "{}")
		conn.send(nextRequest)
		if resp, _ := conn.answer(); resp.Header.Get(headerRequestID) != id {
			t.Fatalf("%q: %+v", request, resp)
		}
		conn.send("%s", strings.Replace(fmt.Sprintf(request, invocationPrefix), "X", id, 1))
		if resp, body := conn.answer(); resp.StatusCode != 202 || body != `{"status":"OK"}`+"\n" || resp.Header.Get("Date") == "" {
			t.Errorf("%q: %d %s", request, resp.StatusCode, body)
		}
		if r := <-done; string(r.out.Payload) != "{}" {
			t.Errorf("%q: %+v", request, r)
		}
	}
	conn.send("%s", "GET /2018-06-01/ping HTTP/1.1\r\n\r\nGET /2018-06-01/ping HTTP/1.1\r\nConnection: keep-alive, Close\r\n\r\n")
	conn.answer()
	if resp, body := conn.answer(); body != "pong" || !resp.Close {
		t.Errorf("%+v %s", resp, body)
	}
	conn.ends()
}

// A client that wants to know whether it may send its body is told so, where the body
// is wanted.
func TestServerExpectations(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	done := invoke(deadline(t), s, "one", "{}")
	c.next()
	conn := c.raw()
	conn.send("POST %sother/response HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n", invocationPrefix)
	if resp, _ := conn.answer(); resp.StatusCode != 400 || !resp.Close {
		t.Errorf("%+v", resp)
	}
	conn.ends()
	conn = c.raw()
	conn.send("POST %sone/response HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", invocationPrefix)
	if line, err := conn.r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Errorf("%q, %v", line, err)
	}
	if _, err := conn.r.ReadString('\n'); err != nil {
		t.Error(err)
	}
	conn.send("{}")
	if resp, _ := conn.answer(); resp.StatusCode != 202 || resp.Close {
		t.Errorf("%+v", resp)
	}
	<-done
}

// Who does not wait for the answer to a poll has its connection closed, and no event.
func TestServerPipelinedPoll(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	conn := c.raw()
	conn.send(nextRequest + nextRequest)
	conn.ends()
	done := invoke(deadline(t), s, "one", "{}")
	c.next()
	c.post(invocationPrefix+"one/response", "1", 202)
	<-done
}

// What a caller chose begins no header of its own.
func TestServerHeadersOfCallers(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	e := event("one", "{}")
	e.TraceID, e.InvokedARN, e.ClientContext = "a\r\nX-Forged: 1\r\n\r\n", "b\nX-Forged: 1", []byte("\r\r")
	go func() { _, _ = s.Invoke(deadline(t), e) }()
	resp, body := c.do("GET", invocationPrefix+"next", nil, nil)
	if resp.Header.Get("X-Forged") != "" || body != "{}" || resp.Header.Get(headerTrace) != "a  X-Forged: 1" {
		t.Errorf("%q %q", resp.Header, body)
	}
	c.post(invocationPrefix+"one/response", "1", 202)
}

// A client that does not read its event keeps nobody: the caller's time ends its wait,
// and Close the rest.
func TestServerClientDoesNotRead(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	conn := c.raw()
	conn.send(nextRequest)
	if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.polls) == 1 }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan result, 1)
	e := event("one", "")
	e.Payload = make([]byte, 64<<20)
	go func() {
		out, err := s.Invoke(ctx, e)
		done <- result{out, err}
	}()
	if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.calls) == 1 && len(s.polls) == 0 }); err != nil {
		t.Fatal(err)
	}
	cancel()
	if r := <-done; !errors.Is(r.err, context.Canceled) {
		t.Errorf("%+v", r)
	}
}

// An event whose client vanishes while it is written goes to the next poll.
func TestServerVanishesInTheMiddleOfAnEvent(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	conn := c.raw()
	conn.send(nextRequest)
	if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.polls) == 1 }); err != nil {
		t.Fatal(err)
	}
	e := event("one", "")
	e.Payload = bytes.Repeat([]byte("x"), 64<<20)
	done := make(chan result, 1)
	go func() {
		out, err := s.Invoke(deadline(t), e)
		done <- result{out, err}
	}()
	if _, err := conn.r.ReadByte(); err != nil { // it has begun
		t.Fatal(err)
	}
	conn.Close()
	if id, body := c.next(); id != "one" || len(body) != len(e.Payload) {
		t.Errorf("%q with %d bytes", id, len(body))
	}
	c.post(invocationPrefix+"one/response", "1", 202)
	if r := <-done; string(r.out.Payload) != "1" {
		t.Errorf("%+v", r)
	}
}

// BenchmarkServerLean is a round trip with a client that costs next to nothing.
func BenchmarkServerLean(b *testing.B) {
	s, c := newServer(b, ServerOptions{})
	conn := c.raw()
	go func() {
		buf := make([]byte, 4096)
		for {
			if _, err := io.WriteString(conn, nextRequest); err != nil {
				return
			}
			if _, err := conn.Read(buf); err != nil {
				return
			}
			if _, err := io.WriteString(conn, "POST "+invocationPrefix+"id/response HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
				return
			}
			if _, err := conn.Read(buf); err != nil {
				return
			}
		}
	}()
	e := &faas.Event{RequestID: "id", Payload: []byte("{}"), InvokedARN: "arn", TraceID: "Root=1"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Invoke(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzRequest reads any bytes as a request. Where net/http takes them too, both must
// understand the same.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nA: b\r\n\r\n"))
	f.Add([]byte("GET http://h/%41?b HTTP/1.0\nExpect: 100-continue\n\n"))
	f.Add([]byte("\r\n\r\nGET * HTTP/1.1\r\nConnection: close\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		const limit = 1000
		r := bufio.NewReaderSize(bytes.NewReader(raw), readBuffer)
		q, err := readRequest(r)
		if err != nil {
			return
		}
		body, err := q.readBody(r, limit)
		if len(body) > limit || q.length < -1 {
			t.Fatalf("%d bytes of a body, length %d", len(body), q.length)
		}
		theirs, theirErr := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil || theirErr != nil {
			return
		}
		want, theirErr := io.ReadAll(theirs.Body)
		if theirErr == nil && (theirs.Method != q.method || !bytes.Equal(want, body)) {
			t.Errorf("%s with %q, net/http reads %s with %q", q.method, body, theirs.Method, want)
		}
	})
}
