package runtimeapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/faas"
)

// client is a runtime that speaks HTTP.
type client struct {
	t    testing.TB
	http *http.Client
	base string
}

func newServer(t testing.TB, opts ServerOptions) (*Server, *client) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(opts)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error("close:", err)
		}
		if err := <-done; err != nil {
			t.Error("serve:", err)
		}
	})
	return s, &client{t: t, http: &http.Client{Transport: transport}, base: "http://" + l.Addr().String()}
}

func (c *client) do(method, path string, header http.Header, body io.Reader) (*http.Response, string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(soon(c.t), method, c.base+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	resp, err := c.http.Do(r)
	if err != nil {
		c.t.Errorf("%s %s: %v", method, path, err)
		return &http.Response{Header: http.Header{}}, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Errorf("%s %s: %v", method, path, err)
	}
	return resp, string(b)
}

// next polls once and returns the request id and the event.
func (c *client) next() (id, event string) {
	c.t.Helper()
	resp, body := c.do("GET", invocationPrefix+"next", nil, nil)
	if resp.StatusCode != http.StatusOK {
		c.t.Errorf("next: %d %s", resp.StatusCode, body)
	}
	return resp.Header.Get(headerRequestID), body
}

// post sends an answer and checks the status.
func (c *client) post(path, body string, want int) string {
	c.t.Helper()
	resp, got := c.do("POST", path, nil, strings.NewReader(body))
	if resp.StatusCode != want {
		c.t.Errorf("POST %s: %d %s, want %d", path, resp.StatusCode, got, want)
	}
	return got
}

// result is what an Invoke in the background came to.
type result struct {
	out faas.Outcome
	err error
}

func invoke(ctx context.Context, s *Server, id, payload string) chan result {
	done := make(chan result, 1)
	go func() {
		out, err := s.Invoke(ctx, event(id, payload))
		done <- result{out, err}
	}()
	return done
}

// Before init has ended anybody inside may report that it failed; only one
// report is read at a time, or a hundred unfinished ones would hold their bodies
// in Hearth's memory.
func TestServerReadsOneInitError(t *testing.T) {
	_, c := newServer(t, ServerOptions{})
	body, first := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		resp, got := c.do("POST", runtimePrefix+"init/error", nil, body)
		if resp.StatusCode != http.StatusAccepted {
			t.Errorf("the first report: %d %s", resp.StatusCode, got)
		}
	}()
	// The pipe gives its bytes away when the request is sent; what is sent beyond
	// the sockets' buffers is seen by a handler that reads.
	if _, err := first.Write(make([]byte, 6<<20)); err != nil {
		t.Fatal(err)
	}
	c.post(runtimePrefix+"init/error", `{}`, http.StatusForbidden)
	first.Close()
	<-done
}

func TestServerInvoke(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	e := event("one", `{"a":1}`)
	e.TraceID, e.ClientContext = "Root=1", []byte("{\n\"k\":1}")
	done := make(chan result, 1)
	go func() {
		out, err := s.Invoke(soon(t), e)
		done <- result{out, err}
	}()
	resp, body := c.do("GET", invocationPrefix+"next", nil, nil)
	h := resp.Header
	if body != `{"a":1}` || h.Get(headerRequestID) != "one" || h.Get(headerARN) != "arn:x" || h.Get(headerTrace) != "Root=1" ||
		h.Get(headerDeadline) != fmt.Sprint(e.Deadline.UnixMilli()) || h.Get(headerClient) != `{ "k":1}` || h.Get(headerCognito) != "" {
		t.Errorf("next: %q %v", body, h)
	}
	if got := c.post(invocationPrefix+"one/response", `"done"`, 202); strings.TrimSpace(got) != `{"status":"OK"}` {
		t.Errorf("accepted with %q", got)
	}
	if r := <-done; r.err != nil || string(r.out.Payload) != `"done"` || r.out.FunctionError != "" {
		t.Errorf("%+v", r)
	}
	if err := s.Init(soon(t)); err != nil {
		t.Error("init after the first poll:", err)
	}
}

func TestServerErrors(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	for _, test := range []struct {
		header, body, wantType, wantBody string
	}{
		{"Given.Type", `{"errorType":"Own"}`, "Given.Type", `{"errorType":"Own"}`},
		{"", `{"errorType":"Own"}`, "Own", `{"errorType":"Own"}`},
		{"", `no json`, TypeUnknown, `no json`},
		{"T", "", "T", `{"errorMessage":"","errorType":"T"}`},
	} {
		done := invoke(soon(t), s, "id"+test.header+test.body, "{}")
		id, _ := c.next()
		_ = id
		header := http.Header{}
		if test.header != "" {
			header.Set(headerErrorType, test.header)
		}
		path := invocationPrefix + urlEscape("id"+test.header+test.body) + "/error"
		if resp, body := c.do("POST", path, header, strings.NewReader(test.body)); resp.StatusCode != 202 {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		r := <-done
		if r.out.ErrorType != test.wantType || string(r.out.Payload) != test.wantBody || r.out.FunctionError != Unhandled {
			t.Errorf("%+v: %+v %s", test, r.out, r.out.Payload)
		}
	}
}

func urlEscape(s string) string {
	return strings.NewReplacer("%", "%25", " ", "%20", "{", "%7B", "}", "%7D", `"`, "%22", ":", "%3A").Replace(s)
}

func TestServerIllegal(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	wantError := func(body, errorType string) {
		t.Helper()
		if !strings.Contains(body, `"errorType":"`+errorType+`"`) || !strings.Contains(body, `"errorMessage":"`) {
			t.Errorf("got %s, want %s", body, errorType)
		}
	}
	wantError(c.post(invocationPrefix+"x/response", "{}", 403), "InvalidStateTransition") // before any next
	done := invoke(soon(t), s, "one", "{}")
	c.next()
	wantError(c.post(invocationPrefix+"other/response", "{}", 400), "InvalidRequestID")
	wantError(c.post(runtimePrefix+"init/error", "{}", 403), "InvalidStateTransition")
	wantError(c.post("/2020-01-01/extension/register", "{}", 501), "NotSupported")
	wantError(c.post(invocationPrefix+"one/else", "{}", 404), "NotFound")
	wantError(c.post("/", "{}", 404), "NotFound")
	c.post(invocationPrefix+"one/response", "1", 202)
	wantError(c.post(invocationPrefix+"one/response", "2", 403), "InvalidStateTransition") // twice
	if r := <-done; string(r.out.Payload) != "1" {
		t.Errorf("%+v", r)
	}
	// An event that no poll took yet has no id that the runtime could know.
	invoke(t.Context(), s, "queued", "{}")
	if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.pending) == 1 }); err != nil {
		t.Fatal(err)
	}
	wantError(c.post(invocationPrefix+"queued/response", "{}", 400), "InvalidRequestID")
}

// waitFor polls a condition that no channel tells of, for at most some seconds.
func waitFor(t testing.TB, condition func() bool) error {
	ctx := soon(t)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("the condition did not come true")
		}
	}
	return nil
}

func TestServerOversize(t *testing.T) {
	s, c := newServer(t, ServerOptions{MaxResponse: 1000})
	for _, chunked := range []bool{false, true} {
		done := invoke(soon(t), s, fmt.Sprint(chunked), "{}")
		id, _ := c.next()
		var body io.Reader = bytes.NewReader(make([]byte, 5<<20))
		if chunked {
			body = io.MultiReader(body)
		}
		resp, got := c.do("POST", invocationPrefix+id+"/response", nil, body)
		if resp.StatusCode != 413 || !strings.Contains(got, "RequestEntityTooLarge") {
			t.Errorf("%d %s", resp.StatusCode, got)
		}
		if r := <-done; r.out.ErrorType != TypeResponseTooLarge || !strings.Contains(string(r.out.Payload), "(5242880 bytes)") {
			t.Errorf("%+v %s", r, r.out.Payload)
		}
	}
	done := invoke(soon(t), s, "fits", "{}")
	c.next()
	c.post(invocationPrefix+"fits/response", strings.Repeat("x", 1000), 202)
	if r := <-done; len(r.out.Payload) != 1000 {
		t.Errorf("%+v", r)
	}
}

func TestServerLateAnswer(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	ctx, cancel := context.WithCancelCause(context.Background())
	late := invoke(ctx, s, "late", "{}")
	c.next()
	given := errors.New("given up")
	cancel(given)
	if r := <-late; !errors.Is(r.err, given) {
		t.Errorf("%+v", r)
	}
	c.post(invocationPrefix+"late/response", "1", 202)
	c.post(invocationPrefix+"late/response", "1", 403)
	next := invoke(soon(t), s, "next", "{}")
	c.next()
	c.post(invocationPrefix+"next/response", "2", 202)
	if r := <-next; string(r.out.Payload) != "2" {
		t.Errorf("%+v", r)
	}
}

func TestServerGivenUpBeforeDelivery(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	first := invoke(ctx, s, "first", "{}")
	if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.pending) == 1 }); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-first
	second := invoke(soon(t), s, "second", "{}")
	if id, _ := c.next(); id != "second" {
		t.Errorf("got %q", id)
	}
	c.post(invocationPrefix+"second/response", "1", 202)
	<-second
}

func TestServerStreamedErrorTrailer(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	done := invoke(soon(t), s, "one", "{}")
	c.next()
	r, err := http.NewRequest("POST", c.base+invocationPrefix+"one/response", io.MultiReader(strings.NewReader("partial")))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
	doc := `{"errorMessage":"mid stream"}`
	r.Trailer = http.Header{headerErrorType: {"My.Error"}, headerErrorBody: {base64.StdEncoding.EncodeToString([]byte(doc))}}
	resp, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := <-done; resp.StatusCode != 202 || got.out.ErrorType != "My.Error" || string(got.out.Payload) != doc {
		t.Errorf("%d %+v %s", resp.StatusCode, got.out, got.out.Payload)
	}
}

func TestServerInitError(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	header := http.Header{headerErrorType: {"Runtime.Bad"}}
	if resp, body := c.do("POST", runtimePrefix+"init/error", header, strings.NewReader(`{"errorMessage":"m"}`)); resp.StatusCode != 202 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	var reported *InitError
	if err := s.Init(soon(t)); !errors.As(err, &reported) || reported.Type != "Runtime.Bad" || string(reported.Payload) != `{"errorMessage":"m"}` {
		t.Errorf("init: %v", err)
	}
	c.post(runtimePrefix+"init/error", "{}", 403)
	if resp, _ := c.do("GET", invocationPrefix+"next", nil, nil); resp.StatusCode != 403 {
		t.Errorf("next after init/error: %d", resp.StatusCode)
	}
}

// A poll whose client vanished must not eat an event.
func TestServerVanishedPoll(t *testing.T) {
	s, c := newServer(t, ServerOptions{Concurrency: 4})
	for i := range 20 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %snext HTTP/1.1\r\nHost: x\r\n\r\n", invocationPrefix)
		if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.polls) == 1 }); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.polls) == 0 }); err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprint("call-", i)
		done := invoke(soon(t), s, id, "{}")
		if got, _ := c.next(); got != id {
			t.Errorf("got %q, want %q", got, id)
		}
		c.post(invocationPrefix+id+"/response", "1", 202)
		if r := <-done; r.err != nil {
			t.Error(r.err)
		}
	}
}

// A call whose poll cannot take it goes to the next poll, before those that came later;
// where there is none, to the head of the queue.
func TestServerHandedBack(t *testing.T) {
	s := NewServer(ServerOptions{})
	dead := func() *conn {
		ours, theirs := net.Pipe()
		theirs.Close()
		c := s.newConn(ours)
		s.park(c)
		return c
	}
	dead()
	dead()
	first := invoke(t.Context(), s, "first", "{}")
	queued := func(n int) {
		t.Helper()
		if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.pending) == n }); err != nil {
			t.Fatal(err)
		}
	}
	queued(1)
	second := invoke(t.Context(), s, "second", "{}")
	queued(2)
	for _, want := range []string{"first", "second"} {
		if c := s.park(nil); c == nil || c.id != want {
			t.Errorf("next is %+v, want %s", c, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, done := range []chan result{first, second} {
		if r := <-done; !errors.Is(r.err, ErrGone) {
			t.Errorf("after close: %v", r.err)
		}
	}
}

func TestServerParallelPolls(t *testing.T) {
	const polls, calls = 16, 400
	s, c := newServer(t, ServerOptions{Concurrency: polls})
	var runtime sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	for range polls {
		runtime.Go(func() {
			for {
				r, _ := http.NewRequestWithContext(ctx, "GET", c.base+invocationPrefix+"next", nil)
				resp, err := c.http.Do(r)
				if err != nil {
					return
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				c.post(invocationPrefix+resp.Header.Get(headerRequestID)+"/response", string(body), 202)
			}
		})
	}
	var callers sync.WaitGroup
	for i := range calls {
		callers.Go(func() {
			want := fmt.Sprint(i)
			r := <-invoke(soon(t), s, "call-"+want, want)
			if r.err != nil || string(r.out.Payload) != want {
				t.Errorf("call %s: %+v", want, r)
			}
		})
	}
	callers.Wait()
	stop()
	runtime.Wait()
}

func TestServerFinishReadsWhatWasSent(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	done := invoke(soon(t), s, "one", "{}")
	c.next()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("x", 3<<20)
	go func() {
		fmt.Fprintf(conn, "POST %sone/response HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", invocationPrefix, len(body), body)
		conn.Close()
	}()
	if err := waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.posting == 1 || len(s.calls) == 0 }); err != nil {
		t.Fatal(err)
	}
	s.Finish(time.Minute)
	s.Close()
	if r := <-done; len(r.out.Payload) != len(body) {
		t.Errorf("%d bytes, %v", len(r.out.Payload), r.err)
	}
}

// More connections than the limit wait; none of them costs an accepted socket.
func TestServerConnectionLimit(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	address := strings.TrimPrefix(c.base, "http://")
	var conns []net.Conn
	for range s.conns + 10 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		conn.Close()
	}
	done := invoke(soon(t), s, "one", "{}")
	c.next()
	c.post(invocationPrefix+"one/response", "1", 202)
	<-done
}

// BenchmarkServer is a round trip of one poll and one response on keep-alive
// connections: two HTTP requests of the runtime for each invocation.
func BenchmarkServer(b *testing.B) {
	s, c := newServer(b, ServerOptions{})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		for {
			r, _ := http.NewRequestWithContext(ctx, "GET", c.base+invocationPrefix+"next", nil)
			resp, err := c.http.Do(r)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			post, _ := http.NewRequestWithContext(ctx, "POST", c.base+invocationPrefix+resp.Header.Get(headerRequestID)+"/response", bytes.NewReader(body))
			if resp, err = c.http.Do(post); err != nil {
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		if _, err := s.Invoke(ctx, event(fmt.Sprint("id-", i), "{}")); err != nil {
			b.Fatal(err)
		}
	}
}
