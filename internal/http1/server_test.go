package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// echo answers with all that a handler sees of its request.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.Header().Set("X-Seen", fmt.Sprintf("%s %s %s host %s length %d error %v", r.Method, r.RequestURI, r.URL, r.Host, r.ContentLength, err))
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		w.Header().Add("X-Header", fmt.Sprintf("%s=%q", name, r.Header[name]))
	}
	_, _ = w.Write(body)
}

// started is a server on loopback, ended with the test.
type started struct {
	*Server
	t       *testing.T
	address string
	served  chan error
}

func start(t *testing.T, handler http.HandlerFunc, direct func(string) bool) *started {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s := &started{t: t, address: l.Addr().String(), served: make(chan error, 1), Server: &Server{
		Rest: &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute,
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)},
		Direct: direct, Logger: log,
	}}
	go func() { s.served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-s.served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		s.serving.Wait()
	})
	return s
}

func hot(path string) bool { return strings.HasPrefix(path, "/hot") }

// client is a raw connection.
type client struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

func (s *started) dial() *client {
	s.t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(time.Minute)) // a test that hangs fails
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return &client{c, s.t, bufio.NewReader(c)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// receive reads an answer, and returns it without what differs from time to time.
func (c *client) receive() string {
	c.t.Helper()
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return "none"
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if answer.StatusCode == http.StatusOK && answer.Header.Get("Date") == "" {
		c.t.Error("an answer without a date")
	}
	delete(answer.Header, "Date")
	return fmt.Sprintln(answer.Status, answer.Proto, answer.Header, answer.ContentLength, answer.TransferEncoding, answer.Close, string(body), err)
}

const plainHead = "POST /hot/path HTTP/1.1\r\nHost: localhost\r\nContent-Length: "

func post(body string) string { return fmt.Sprintf("%s%d\r\n\r\n%s", plainHead, len(body), body) }

// TestAnswersAreThoseOfNetHTTP sends the same bytes to this server and to net/http
// alone: it must not be seen which one a client talks to.
func TestAnswersAreThoseOfNetHTTP(t *testing.T) {
	large := strings.Repeat("x", 300<<10)
	for name, text := range map[string]string{
		"plain":             post("{}"),
		"empty":             post(""),
		"query":             "POST /hot?a=b&c=%20 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1",
		"headers":           "POST /hot HTTP/1.1\r\nhost: LOCALHOST:80\r\nx-a: b\r\nX-A: c\r\ncontent-length: 1\r\nUser-Agent:   me \r\n\r\n1",
		"pipelined":         post("one") + post("two") + post("three"),
		"direct and others": post("one") + "GET /cold HTTP/1.1\r\nHost: a\r\n\r\n" + post("two"),
		"large":             post(large),
		"just not large":    post(large[:200<<10]),
		"chunked":           "POST /hot HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"smuggled":          "POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"two lengths":       "POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
		"continue":          "POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n1",
		"close":             "POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1",
		"old":               "POST /hot HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\n\r\n1",
		"old and kept":      "POST /hot HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n1",
		"no host":           "POST /hot HTTP/1.1\r\nContent-Length: 1\r\n\r\n1",
		"no length":         "POST /hot HTTP/1.1\r\nHost: a\r\n\r\n",
		"rubbish":           "rubbish\r\n\r\n",
		"long head":         "POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nA: " + strings.Repeat("a", 2*headBytes) + "\r\n\r\n1",
		"bare newlines":     "POST /hot HTTP/1.1\nHost: a\nContent-Length: 1\n\n1",
		"encoded path":      "POST /hot%2Fa HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1",
	} {
		t.Run(name, func(t *testing.T) {
			direct, alone := start(t, echo, hot).dial(), start(t, echo, func(string) bool { return false }).dial()
			for _, c := range []*client{direct, alone} {
				go io.WriteString(c, text) // one that is refused early may fail
			}
			for range 1 + strings.Count(name, "pipelined")*2 + strings.Count(name, "others")*2 {
				got, want := direct.receive(), alone.receive()
				if got != want || want == "none" {
					t.Fatalf("got  %.500s\nwant %.500s", got, want)
				}
			}
		})
	}
}

func TestByteByByte(t *testing.T) {
	c := start(t, echo, hot).dial()
	whole := start(t, echo, hot).dial()
	for range 2 {
		for _, b := range []byte(post("body")) {
			c.send(string(b))
		}
		whole.send(post("body"))
		if got, want := c.receive(), whole.receive(); got != want {
			t.Fatalf("got %s\nwant %s", got, want)
		}
	}
}

// TestUnreadBodyIsSkipped: a handler that does not read its body leaves the
// connection in order.
func TestUnreadBodyIsSkipped(t *testing.T) {
	c := start(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }, hot).dial()
	go io.WriteString(c, post(strings.Repeat("x", 100<<10))+post("second"))
	for range 2 {
		if got := c.receive(); !strings.HasPrefix(got, "204") {
			t.Fatal(got)
		}
	}
}

func TestHalfABody(t *testing.T) {
	failed := make(chan error, 1)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		failed <- err
	}, hot)
	c := s.dial()
	c.send(plainHead + "10\r\n\r\n12345")
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the handler read %v", err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("the connection does not end: %v", err)
	}
}

// TestClientHangsUp: a handler that waits for the end of its request is told of a
// client that went away, and of nothing else.
func TestClientHangsUp(t *testing.T) {
	for name, length := range map[string]int{"with the head": 4, "after the head": 100 << 10} {
		t.Run(name, func(t *testing.T) {
			waiting, ended := make(chan struct{}), make(chan error)
			s := start(t, func(w http.ResponseWriter, r *http.Request) {
				done := r.Context().Done() // before the body has arrived
				_, _ = io.Copy(io.Discard, r.Body)
				close(waiting)
				<-done
				ended <- r.Context().Err()
			}, hot)
			c := s.dial()
			go io.WriteString(c, post(strings.Repeat("x", length)))
			<-waiting
			c.Close()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the context ended with %v", err)
			}
		})
	}
}

// TestNextRequestWhileWaiting: a client that sends its next request early has not
// hung up, and loses no byte of it.
func TestNextRequestWhileWaiting(t *testing.T) {
	release := make(chan struct{})
	contexts := make(chan context.Context, 2)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		contexts <- r.Context()
		select {
		case <-r.Context().Done():
			t.Error("the context ended")
		case <-release:
		}
		echo(w, r)
	}, hot)
	c := s.dial()
	c.send(post("first"))
	first := <-contexts
	c.send(post("second"))
	close(release)
	for _, want := range []string{"first", "second"} {
		if got := c.receive(); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	<-contexts
	<-first.Done() // it ends with its answer
}

// TestShutdown: idle connections end, a request in flight is answered and then
// its connection ends.
func TestShutdown(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hot/path" {
			close(entered)
			<-release
		}
		echo(w, r)
	}, hot)
	resting, active, untouched := s.dial(), s.dial(), s.dial()
	resting.send(strings.Replace(post("x"), "path", "rest", 1))
	resting.receive()
	active.send(post("active"))
	<-entered
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }()
	for _, c := range []*client{resting, untouched} {
		if n, err := io.Copy(io.Discard, c); n != 0 { // a reset will do
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	close(release)
	if got := active.receive(); !strings.Contains(got, "active") {
		t.Errorf("got %s", got)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := io.ReadAll(active); err != nil {
		t.Error(err)
	}
}

func TestPanicEndsTheConnection(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) { panic("on purpose") }, hot)
	c := s.dial()
	c.send(post(""))
	if got := c.receive(); got != "none" {
		t.Errorf("got %s", got)
	}
}

// TestResponses: what a handler may do with its answer, compared with net/http.
func TestResponses(t *testing.T) {
	big := strings.Repeat("b", 100<<10)
	for name, handler := range map[string]http.HandlerFunc{
		"nothing":        func(http.ResponseWriter, *http.Request) {},
		"status":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"unknown status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(499) },
		"no content": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
			if _, err := io.WriteString(w, "x"); err != http.ErrBodyNotAllowed {
				t.Error(err)
			}
		},
		"written in parts": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "one ")
			io.WriteString(w, "two")
		},
		"large with a length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(2*len(big)))
			io.WriteString(w, big)
			io.WriteString(w, big)
		},
		"hostile header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["X-Echo"] = []string{"a\r\nInjected: yes"}
		},
		"close": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			io.WriteString(w, "bye")
		},
		"too much": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1")
			if _, err := io.WriteString(w, "xy"); err != http.ErrContentLength {
				t.Error(err)
			}
			io.WriteString(w, "x")
		},
		"too little": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "x")
		},
	} {
		t.Run(name, func(t *testing.T) {
			direct, alone := start(t, handler, hot).dial(), start(t, handler, func(string) bool { return false }).dial()
			direct.send(post("{}"))
			alone.send(post("{}"))
			if got, want := direct.receive(), alone.receive(); got != want {
				t.Errorf("got  %.300s\nwant %.300s", got, want)
			}
		})
	}
}

// TestRequestAllocations holds what a request costs before and after its handler.
func TestRequestAllocations(t *testing.T) {
	var c *conn
	s := &Server{Rest: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}),
		ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute}, Direct: hot, Logger: slog.New(slog.DiscardHandler)}
	text := post("{}")
	c = newConn(s, &scripted{text: text})
	allocs := testing.AllocsPerRun(100, func() {
		h, plain, err := c.next()
		if err != nil || !plain || !c.exchange(&h) {
			t.Fatalf("%v, %t", err, plain)
		}
	})
	if allocs > 6 {
		t.Errorf("%v allocations for a request", allocs)
	}
}

// scripted is a client that sends the same request whenever it is read.
type scripted struct {
	net.Conn
	text string
}

func (c *scripted) Read(p []byte) (int, error)      { return copy(p, c.text), nil }
func (c *scripted) Write(p []byte) (int, error)     { return len(p), nil }
func (c *scripted) RemoteAddr() net.Addr            { return &net.TCPAddr{} }
func (c *scripted) SetReadDeadline(time.Time) error { return nil }
