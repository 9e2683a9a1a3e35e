package runtimeapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hearth/faas"
)

// webServer is a server of the test and how often it was connected to.
type webServer struct {
	*HTTP
	dials atomic.Int64
}

func webSession(t testing.TB, address string, concurrency int) *webServer {
	t.Helper()
	s := &webServer{}
	s.HTTP = NewHTTP(HTTPOptions{Concurrency: concurrency, Dial: func(ctx context.Context) (net.Conn, error) {
		s.dials.Add(1)
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func handled(t testing.TB, concurrency int, handler http.HandlerFunc) *webServer {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return webSession(t, server.Listener.Addr().String(), concurrency)
}

func webEvent(payload string) *faas.Event {
	return &faas.Event{RequestID: "id-1", Payload: []byte(payload), Deadline: time.UnixMilli(1234567), InvokedARN: "arn:fn",
		TraceID: "Root=1", ClientContext: []byte("{\n\"a\": 1}")}
}

func webInvoke(t testing.TB, s *webServer, payload string) (faas.Outcome, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.Invoke(ctx, webEvent(payload))
}

// echoRequest answers with what arrived.
func echoRequest(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Add("Set-Cookie", "a=1")
	w.Header().Add("Set-Cookie", "b=2")
	w.Header().Set("Connection", "keep-alive, X-Hop")
	w.Header().Set("X-Hop", "1")
	json.NewEncoder(w).Encode([]any{r.Method, r.RequestURI, r.Host, r.Header, string(body)})
}

func TestHTTPEvents(t *testing.T) {
	const lambda = `"Lambda-Runtime-Aws-Request-Id":["id-1"],"Lambda-Runtime-Client-Context":["{ \"a\": 1}"],` +
		`"Lambda-Runtime-Deadline-Ms":["1234567"],"Lambda-Runtime-Invoked-Function-Arn":["arn:fn"],"Lambda-Runtime-Trace-Id":["Root=1"]`
	s := handled(t, 1, echoRequest)
	for _, test := range []struct{ name, event, want string }{
		{"any", `{"n":1}`, `["POST","/","localhost",{"Content-Length":["7"],"Content-Type":["application/json"],` + lambda + `},"{\"n\":1}"]`},
		{"no object", `7`, `["POST","/","localhost",{"Content-Length":["1"],"Content-Type":["application/json"],` + lambda + `},"7"]`},
		{"version 1", `{"version":"1.0","requestContext":{"http":{"method":"GET"}}}`,
			`["POST","/","localhost",{"Content-Length":["60"],"Content-Type":["application/json"],` + lambda + `},"{\"version\":\"1.0\",\"requestContext\":{\"http\":{\"method\":\"GET\"}}}"]`},
		{"get", `{"version":"2.0","rawPath":"/a%2Fb/c d%","rawQueryString":"x=1&y=%20 z#","requestContext":{"http":{"method":"GET"}}}`,
			`["GET","/a%2Fb/c%20d%25?x=1\u0026y=%20%20z%23","localhost",{` + lambda + `},""]`},
		{"encoded", `{"version":"2.0","rawPath":"/a%2Fb","requestContext":{"http":{"method":"DELETE"}}}`,
			`["DELETE","/a%2Fb","localhost",{` + lambda + `},""]`},
		{"another host", `{"version":"2.0","rawPath":"//evil/x","requestContext":{"http":{"method":"GET"}}}`,
			`["GET","//evil/x","localhost",{` + lambda + `},""]`},
		{"post", `{"version":"2.0","headers":{"host":"a.example:1","content-type":"text/plain","content-length":"99","user-agent":"me",
			"connection":"close","transfer-encoding":"chunked","upgrade":"h2c","expect":"100-continue","lambda-runtime-aws-request-id":"mine",
			"lambda-runtime-cognito-identity":"mine","x-lines":"a\r\nb: c"},
			"cookies":["k=v","l=w"],"body":"aGkh","isBase64Encoded":true,"requestContext":{"http":{"method":"POST"}}}`,
			`["POST","/","a.example:1",{"Content-Length":["3"],"Content-Type":["text/plain"],"Cookie":["k=v; l=w"],` + lambda +
				`,"User-Agent":["me"],"X-Lines":["a  b: c"]},"hi!"]`},
	} {
		out, err := webInvoke(t, s, test.event)
		if err != nil || out.FunctionError != "" {
			t.Errorf("%s: %s, %v", test.name, out.Payload, err)
			continue
		}
		got := strings.TrimSpace(string(out.Payload))
		if strings.Contains(test.event, `"2.0"`) {
			var response httpResponse
			if err := json.Unmarshal(out.Payload, &response); err != nil {
				t.Fatal(err)
			}
			got = strings.TrimSpace(response.Body)
			if response.Status != 200 || response.Headers["content-type"] != "application/json" || fmt.Sprint(response.Cookies) != "[a=1 b=2]" ||
				response.Headers["x-hop"]+response.Headers["connection"]+response.Headers["set-cookie"]+response.Headers["content-length"] != "" {
				t.Errorf("%s: %s", test.name, out.Payload)
			}
		}
		if got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.name, got, test.want)
		}
	}
	if n := s.dials.Load(); n != 1 {
		t.Errorf("%d connections for invocations one after the other, want 1", n)
	}
}

func TestHTTPBadEvents(t *testing.T) {
	s := handled(t, 1, func(http.ResponseWriter, *http.Request) { t.Error("the server was asked") })
	for _, test := range []struct{ event, want string }{
		{`{"version":"2.0","requestContext":{"http":{"method":"GET /x HTTP/1.1\r\nA: b\r\n"}}}`, "requestContext.http.method"},
		{`{"version":"2.0","requestContext":{"http":{"method":"CONNECT"}}}`, "requestContext.http.method"},
		{`{"version":"2.0","requestContext":{"http":{}}}`, "requestContext.http.method"},
		{`{"version":"2.0","headers":{"a b":"c"},"requestContext":{"http":{"method":"GET"}}}`, "headers has a name"},
		{`{"version":"2.0","headers":{"host":"a b"},"requestContext":{"http":{"method":"GET"}}}`, "header Host"},
		{`{"version":"2.0","isBase64Encoded":true,"body":"%","requestContext":{"http":{"method":"GET"}}}`, "not base64"},
	} {
		if out, err := webInvoke(t, s, test.event); err != nil || out.ErrorType != "HTTP.InvalidEvent" || !strings.Contains(string(out.Payload), test.want) {
			t.Errorf("%s: %s, %v; want %q", test.event, out.Payload, err, test.want)
		}
	}
}

func TestHTTPAnswers(t *testing.T) {
	const proxied = `{"version":"2.0","requestContext":{"http":{"method":"GET"}}}`
	head := `{"version":"2.0","requestContext":{"http":{"method":"HEAD"}}}`
	for _, test := range []struct {
		name, answer, event, want, error string
	}{
		{"json", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}", "{}", `{"a":1}`, ""},
		{"text", "HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhi <>", "{}", `"hi \u003c\u003e"`, ""},
		{"nothing", "HTTP/1.1 204 No Content\r\n\r\n", "{}", `null`, ""},
		{"interim", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", "{}", `1`, ""},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n12\r\n0\r\nTrailer: x\r\n\r\n", "{}", `12`, ""},
		{"until close", "HTTP/1.0 200 OK\r\n\r\n[1]", "{}", `[1]`, ""},
		{"error", "HTTP/1.1 500 Oh\r\nContent-Length: 6\r\n\r\nbroken", "{}", `{"errorMessage":"broken","errorType":"HTTP.500"}`, "HTTP.500"},
		{"bare error", "HTTP/1.1 404 Oh\r\nContent-Length: 0\r\n\r\n", "{}", `{"errorMessage":"404 Not Found","errorType":"HTTP.404"}`, "HTTP.404"},
		{"binary error", "HTTP/1.1 500 Oh\r\nContent-Length: 1\r\n\r\n\xff", "{}", `{"errorMessage":"500 Internal Server Error","errorType":"HTTP.500"}`, "HTTP.500"},
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "{}", `{"errorMessage":"302 Found","errorType":"HTTP.302"}`, "HTTP.302"},
		{"binary", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff", "{}", "neither JSON nor text", "HTTP.InvalidResponse"},
		{"proxied error", "HTTP/1.1 500 Oh\r\nContent-Length: 1\r\n\r\nx", proxied, `{"statusCode":500,"headers":{},"body":"x","isBase64Encoded":false}`, ""},
		{"proxied binary", "HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 1\r\n\r\n\xff", proxied,
			`{"statusCode":200,"headers":{"x-a":"1,2"},"body":"/w==","isBase64Encoded":true}`, ""},
		{"head", "HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", head, `{"statusCode":200,"headers":{},"body":"","isBase64Encoded":false}`, ""},
		{"no answer", "", "{}", "could not be read: unexpected EOF", "HTTP.InvalidResponse"},
		{"cut", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1", "{}", "could not be read: unexpected EOF", "HTTP.InvalidResponse"},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n\r\n", "{}", "malformed HTTP", "HTTP.InvalidResponse"},
		{"lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1", "{}", "could not be read", "HTTP.InvalidResponse"},
		{"bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "{}", "could not be read", "HTTP.InvalidResponse"},
		{"upgrade", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "{}", "another protocol", "HTTP.InvalidResponse"},
		{"interim for ever", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 50), "{}", "too many interim", "HTTP.InvalidResponse"},
		{"long header", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 100<<10), "{}", "longer than 65536 bytes", "HTTP.InvalidResponse"},
		{"headers", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: x\r\n", 20000), "{}", "longer than 65536 bytes", "HTTP.InvalidResponse"},
		{"large", "HTTP/1.1 200 OK\r\nContent-Length: 7000000\r\n\r\n" + strings.Repeat("x", 7000000), "{}", "(7000000 bytes) exceeded", TypeResponseTooLarge},
		{"large until close", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 7000000), proxied, "exceeded maximum", TypeResponseTooLarge},
		{"large as text", "HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n" + strings.Repeat("\"", 4000000), "{}", "exceeded maximum", TypeResponseTooLarge},
		{"surplus", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2", "{}", `1`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := webSession(t, rawServer(t, func(conn net.Conn) { io.WriteString(conn, test.answer) }), 1)
			// Twice: what one answer left must not be the next one's.
			for range 2 {
				out, err := webInvoke(t, s, test.event)
				var unread *AnswerError
				if errors.As(err, &unread) {
					out, err = unread.Outcome, nil
				}
				got := string(out.Payload)
				if err != nil || out.ErrorType != test.error || test.error == "" && got != test.want || !strings.Contains(got, test.want) {
					t.Errorf("%.300s (%s), %v; want %s (%s)", got, out.ErrorType, err, test.want, test.error)
				}
			}
		})
	}
}

// rawServer reads the head of one request of each connection, and hands the
// connection over; then it closes it.
func rawServer(t testing.TB, answer func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err == nil {
					_, err = io.Copy(io.Discard, req.Body)
				}
				if err == nil {
					answer(conn)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// A server closes a kept connection while the next request is on its way, and has
// not read it: the request is sent once more. One that it has read is not.
func TestHTTPKeptConnectionIsClosed(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"
	for name, test := range map[string]struct {
		next        func(net.Conn) // what the first connection does about its second request
		dials, read int64
	}{
		"unread": {func(conn net.Conn) { awaitData(t, conn) }, 2, 2},
		"read": {func(conn net.Conn) {
			req, err := http.ReadRequest(bufio.NewReader(conn))
			if err == nil {
				_, err = io.Copy(io.Discard, req.Body)
			}
			if err != nil {
				t.Error(err)
			}
		}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var read atomic.Int64
			s := webSession(t, rawServer(t, func(conn net.Conn) {
				n := read.Add(1)
				io.WriteString(conn, answer)
				if n == 1 {
					test.next(conn)
				}
			}), 1)
			if out, err := webInvoke(t, s, "{}"); err != nil || string(out.Payload) != "1" {
				t.Fatalf("%s, %v", out.Payload, err)
			}
			_, err := webInvoke(t, s, "{}")
			var unanswered *AnswerError
			if retried := err == nil; retried != (test.dials == 2) || !retried && !errors.As(err, &unanswered) {
				t.Errorf("the second: %v", err)
			}
			if s.dials.Load() != test.dials || read.Load() != test.read {
				t.Errorf("%d connections, %d requests read, want %d and %d", s.dials.Load(), read.Load(), test.dials, test.read)
			}
		})
	}
}

// awaitData waits until there is something to read, and does not read it.
func awaitData(t *testing.T, conn net.Conn) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err == nil {
		err = raw.Read(func(fd uintptr) bool {
			n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
			return n > 0 || err != syscall.EAGAIN
		})
	}
	if err != nil {
		t.Error(err)
	}
}

// A server that does not come to an end is given up when the invocation is.
func TestHTTPTimeout(t *testing.T) {
	for name, part := range map[string]string{"silence": "", "head": "HTTP/1.1 200 OK\r\nA: b", "body": "HTTP/1.1 200 OK\r\n\r\nx"} {
		closed := make(chan struct{})
		cause := errors.New("the limit of the test")
		ctx, cancel := context.WithCancelCause(t.Context())
		s := webSession(t, rawServer(t, func(conn net.Conn) {
			io.WriteString(conn, part)
			cancel(cause)
			io.Copy(io.Discard, conn) // until the other end closes it
			close(closed)
		}), 1)
		_, err := s.Invoke(ctx, webEvent("{}"))
		if err != cause {
			t.Errorf("%s: %v, want the cause", name, err)
		}
		select {
		case <-closed:
		case <-time.After(time.Minute):
			t.Errorf("%s: the connection is open", name)
		}
	}
}

// A body without end ends at the limit, not at the invocation's deadline.
func TestHTTPEndlessBody(t *testing.T) {
	for _, head := range []string{"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n"} {
		s := webSession(t, rawServer(t, func(conn net.Conn) {
			part := []byte(strings.Repeat("x", 64<<10))
			for _, err := io.WriteString(conn, head); err == nil; {
				_, err = conn.Write(part)
			}
		}), 1)
		ctx := soon(t)
		out, err := s.Invoke(ctx, webEvent("{}"))
		if err != nil || out.ErrorType != TypeResponseTooLarge || ctx.Err() != nil {
			t.Errorf("%.200s, %v, %v", out.Payload, err, ctx.Err())
		}
	}
}

// A server may answer a request that it has not read.
func TestHTTPEarlyAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = bufio.NewReader(conn).ReadString('\n')
		_, _ = io.WriteString(conn, "HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nbig")
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, 1)) // and wait for its close
		<-t.Context().Done()
	}()
	s := webSession(t, l.Addr().String(), 1)
	out, err := webInvoke(t, s, `"`+strings.Repeat("x", 6<<20)+`"`)
	if err != nil || out.ErrorType != "HTTP.413" {
		t.Errorf("%.200s, %v", out.Payload, err)
	}
}

// Connections that the server closed, and those on which it spoke unasked, are
// not used.
func TestHTTPStaleConnections(t *testing.T) {
	var speak atomic.Bool
	after := make(chan struct{}, 16)
	s := webSession(t, rawServer(t, func(conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
		if speak.Load() {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")
			defer io.Copy(io.Discard, conn)
		}
		after <- struct{}{}
	}), 4)
	for k := range 10 {
		speak.Store(k >= 5)
		if out, err := webInvoke(t, s, "{}"); err != nil || string(out.Payload) != "1" {
			t.Fatalf("call %d: %s, %v", k, out.Payload, err)
		}
		<-after
		// The close is in the kernel before the server's goroutine is here, or soon after.
		eventually(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.idle) == 0 || !silent(s.idle[len(s.idle)-1].conn)
		})
	}
}

func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	if err := waitFor(t, holds); err != nil {
		t.Fatal(err)
	}
}

// An instance that is idle has no connections open.
func TestHTTPIdleConnectionsClose(t *testing.T) {
	s := handled(t, 8, echoRequest)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := webInvoke(t, s, "{}"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.idle) == 0
	})
}

func TestHTTPInitWaitsForThePort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// The port is this test's all the time; whether a server is behind it is decided here.
	var listens atomic.Bool
	var dials atomic.Int64
	s := NewHTTP(HTTPOptions{Concurrency: 1, Dial: func(ctx context.Context) (net.Conn, error) {
		dials.Add(1)
		if !listens.Load() {
			return nil, syscall.ECONNREFUSED
		}
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}})
	defer s.Close()
	ready := make(chan error, 1)
	go func() { ready <- s.Init(t.Context()) }()
	eventually(t, func() bool { return dials.Load() > 5 })
	listens.Store(true)
	if err := <-ready; err != nil {
		t.Error(err)
	}
	listens.Store(false)

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := s.Init(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Init: %v", err)
	}
	go func() { ready <- s.Init(t.Context()) }()
	s.Close()
	if err := <-ready; !errors.Is(err, ErrGone) {
		t.Errorf("Init after Close: %v", err)
	}
}

func TestHTTPClose(t *testing.T) {
	arrived := make(chan struct{})
	s := webSession(t, rawServer(t, func(conn net.Conn) {
		close(arrived)
		io.Copy(io.Discard, conn)
	}), 1)
	ended := make(chan error, 1)
	go func() {
		_, err := s.Invoke(t.Context(), webEvent("{}"))
		ended <- err
	}()
	<-arrived
	s.Finish(time.Millisecond) // it is bounded
	s.Close()
	if err := <-ended; !errors.Is(err, ErrGone) {
		t.Errorf("the invocation: %v", err)
	}
	if _, err := s.Invoke(t.Context(), webEvent("{}")); !errors.Is(err, ErrGone) {
		t.Errorf("Invoke after Close: %v", err)
	}
}

// Whatever the event, the server reads the one request that it describes, or it
// gets none.
func FuzzHTTPEvent(f *testing.F) {
	for _, seed := range []string{
		`{}`, `7`, `{"version":"2.0","requestContext":{"http":{"method":"GET"}}}`,
		`{"version":"2.0","rawPath":"/a b\r\nX: y","rawQueryString":"a=b c\r\n","headers":{"x":"y\r\nz: 1","host":"h"},"cookies":["a\r\nb"],
		"body":"aGkh","isBase64Encoded":true,"requestContext":{"http":{"method":"POST"}}}`,
		`{"version":"2.0","rawPath":"//h/%zz?#","headers":{"transfer-encoding":"chunked","content-length":"5"},"body":"x","requestContext":{"http":{"method":"PUT"}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		req, err := newHTTPRequest(&faas.Event{RequestID: "id", Payload: payload, TraceID: string(payload), ClientContext: payload})
		if err != nil {
			return
		}
		var sent bytes.Buffer
		want := req.Method
		if err := req.Write(&sent); err != nil {
			t.Fatalf("not written: %v", err)
		}
		r := bufio.NewReader(&sent)
		got, err := http.ReadRequest(r)
		if err != nil {
			t.Fatalf("a server cannot read it: %v\n%q", err, sent.Bytes())
		}
		body, err := io.ReadAll(got.Body)
		if err != nil || r.Buffered() > 0 || sent.Len() > 0 {
			t.Fatalf("%v; %d bytes more than one request", err, r.Buffered()+sent.Len())
		}
		if got.Method != want || got.Header.Get(headerRequestID) != "id" || len(got.Header[headerRequestID]) != 1 || len(got.TransferEncoding) > 0 {
			t.Fatalf("%s %v %v", got.Method, got.Header, got.TransferEncoding)
		}
		if !req.proxied && !bytes.Equal(body, payload) {
			t.Fatalf("body %q", body)
		}
	})
}

// Whatever the server answers, the outcome is JSON within the limit.
func FuzzHTTPAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}"))
	f.Add([]byte("HTTP/1.1 103 x\r\n\r\nHTTP/1.1 500 x\r\nSet-Cookie: a\r\nConnection: b\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 200 \r\n\r\n\xff"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		const limit = 512
		c := newHTTPConn(&replay{from: bytes.NewReader(sent)})
		answer, _, err := c.answer(t.Context(), httpRequest{Request: &http.Request{Method: "GET"}}, limit)
		if err != nil {
			return
		}
		for _, proxied := range []bool{true, false} {
			out := answer.outcome(proxied, limit)
			if !json.Valid(out.Payload) || len(out.Payload) > limit && out.FunctionError == "" {
				t.Fatalf("%q, %q", out.Payload, out.FunctionError)
			}
		}
	})
}

// replay is a connection of which only the reading is used.
type replay struct {
	net.Conn
	from io.Reader
}

func (r *replay) Read(p []byte) (int, error) { return r.from.Read(p) }
