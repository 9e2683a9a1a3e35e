package runtimeapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"hearth/faas"
	"hearth/internal/bounded"
)

// taken is a client of a streamed response that takes everything at once, or, with a
// pipe, as the pipe is read.
type taken struct {
	pipe *bounded.Pipe // nil takes at once

	mu    sync.Mutex
	types []string // of each Open
	got   bytes.Buffer
}

func (k *taken) Open(contentType string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.types = append(k.types, contentType)
}

func (k *taken) Write(ctx context.Context, p []byte) error {
	if k.pipe != nil {
		if err := k.pipe.Write(ctx, p); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.got.Write(p)
	return nil
}

func (k *taken) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Sprintf("%q %s", k.types, k.got.String())
}

func streamed(id string, to faas.ResponseStream) *faas.Event {
	e := event(id, "{}")
	e.Stream = to
	return e
}

// What a managed runtime streams reaches the stream, or is collected; with one
// invocation at a time and with several.
func TestFramesStream(t *testing.T) {
	long := strings.Repeat("x", 3*StreamWindow/4)
	for _, test := range []struct {
		name   string
		frames func(p *peer)
		stream string // what the stream got
		whole  string // the payload where nothing streams
		error  string
	}{
		{"parts", func(p *peer) {
			p.send(frameStream, "id text/plain", "")
			p.send(frameChunk, "id", "ab")
			p.send(frameChunk, "id", "")
			p.send(frameChunk, "id", "c")
			p.send(frameResponse, "id", "")
		}, `["text/plain"] abc`, "abc", ""},
		{"nothing", func(p *peer) {
			p.send(frameStream, "id ", "")
			p.send(frameResponse, "id", "")
		}, `[""] `, "", ""},
		{"fails at once", func(p *peer) {
			p.send(frameStream, "id text/plain", "")
			p.send(frameError, "id Some.Type", `{"a":1}`)
		}, `[] `, `{"a":1}`, "Some.Type"},
		{"fails in the middle", func(p *peer) {
			p.send(frameStream, "id text/plain", "")
			p.send(frameChunk, "id", "ab")
			p.send(frameError, "id Some.Type", `{"a":1}`)
		}, `["text/plain"] ab`, `{"a":1}`, "Some.Type"},
		{"whole", func(p *peer) { p.send(frameResponse, "id", "7") }, `[] `, "7", ""},
		{"long", func(p *peer) {
			p.send(frameStream, "id text/plain", "")
			p.send(frameChunk, "id", long)
			p.send(frameResponse, "id", "")
		}, `["text/plain"] ` + long, long, ""},
	} {
		for _, concurrency := range []int{1, 2} {
			t.Run(test.name+"/"+strconv.Itoa(concurrency), func(t *testing.T) {
				s, p := newPeer(t, FramesOptions{Go: Go{Concurrency: concurrency}})
				p.start()
				initialized(t, s)
				go func() { // reads credits away, too
					for kind, _, _ := p.receive(); kind != 0; kind, _, _ = p.receive() {
						if kind == frameInvoke {
							test.frames(p)
						}
					}
				}()
				to := &taken{}
				out, err := s.Invoke(soon(t), streamed("id", to))
				wantPayload := ""
				if test.error != "" || test.name == "whole" {
					wantPayload = test.whole
				}
				if err != nil || out.ErrorType != test.error || string(out.Payload) != wantPayload || to.String() != test.stream {
					t.Errorf("streamed: %.200s %s, %v: %.200s", out.Payload, out.ErrorType, err, to)
				}
				out, err = s.Invoke(soon(t), event("id", "{}"))
				if err != nil || out.ErrorType != test.error || string(out.Payload) != test.whole {
					t.Errorf("collected: %.200s %s, %v", out.Payload, out.ErrorType, err)
				}
			})
		}
	}
}

// What is collected has the limit of a response, whatever the runtime sends.
func TestFramesStreamOverLimit(t *testing.T) {
	s, p := newPeer(t, FramesOptions{MaxResponse: 5})
	p.start()
	initialized(t, s)
	go func() {
		p.receive()
		p.send(frameStream, "id ", "")
		for range 3 {
			p.send(frameChunk, "id", "abc")
		}
		p.send(frameResponse, "id", "")
	}()
	out, err := s.Invoke(soon(t), event("id", "{}"))
	if err != nil || out.ErrorType != TypeResponseTooLarge || !strings.Contains(string(out.Payload), "(9 bytes)") {
		t.Errorf("%s, %v", out.Payload, err)
	}
}

// Two streams share a socket: the one whose client does not read holds up neither the
// other nor more than its window.
func TestFramesStreamsInterleaved(t *testing.T) {
	s, p := newPeer(t, FramesOptions{Go: Go{Concurrency: 2}})
	p.start()
	initialized(t, s)
	slow, fast := &taken{pipe: bounded.New(10)}, &taken{}
	done := make(chan error, 2)
	run := func(id string, to faas.ResponseStream) {
		_, err := s.Invoke(soon(t), streamed(id, to))
		done <- err
	}
	go run("slow", slow)
	p.receive()
	p.send(frameStream, "slow ", "")
	p.send(frameChunk, "slow", strings.Repeat("s", 20))
	go run("fast", fast)
	p.receive()
	p.send(frameStream, "fast ", "")
	for range 5 {
		p.send(frameChunk, "fast", strings.Repeat("f", StreamWindow))
		if kind, header, payload := p.receive(); kind != frameCredit || string(header) != "fast" || string(payload) != strconv.Itoa(StreamWindow) {
			t.Fatalf("frame %q %s %s, want the credit of fast", kind, header, payload)
		}
	}
	p.send(frameResponse, "fast", "")
	if err := <-done; err != nil || fast.got.Len() != 5*StreamWindow {
		t.Errorf("fast: %d bytes, %v", fast.got.Len(), err)
	}
	for got := 0; got < 20; {
		part, err := slow.pipe.Next(soon(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		got += len(part)
	}
	if kind, header, payload := p.receive(); kind != frameCredit || string(header) != "slow" || string(payload) != "20" {
		t.Errorf("frame %q %s %s, want the credit of slow", kind, header, payload)
	}
	p.send(frameResponse, "slow", "")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A runtime that breaks the rules of streams breaks its session.
func TestFramesStreamBroken(t *testing.T) {
	for name, test := range map[string]struct {
		concurrency int
		frames      func(p *peer)
	}{
		"chunk first":    {2, func(p *peer) { p.send(frameChunk, "id", "a") }},
		"chunk first, 1": {1, func(p *peer) { p.send(frameChunk, "id", "a") }},
		"twice":          {2, func(p *peer) { p.send(frameStream, "id ", ""); p.send(frameStream, "id ", "") }},
		"twice, 1":       {1, func(p *peer) { p.send(frameStream, "id ", ""); p.send(frameStream, "id ", "") }},
		"another's":      {2, func(p *peer) { p.send(frameStream, "id ", ""); p.send(frameChunk, "other", "a") }},
		"another's, 1":   {1, func(p *peer) { p.send(frameStream, "id ", ""); p.send(frameChunk, "other", "a") }},
		"the window": {2, func(p *peer) {
			p.send(frameStream, "id ", "")
			for range 4 { // the first is with the stream, another waits for it
				p.send(frameChunk, "id", strings.Repeat("x", StreamWindow))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := newPeer(t, FramesOptions{Go: Go{Concurrency: test.concurrency}})
			p.start()
			initialized(t, s)
			go func() {
				p.receive()
				p.t = discard{t} // the session may end while it writes
				test.frames(p)
			}()
			_, err := s.Invoke(soon(t), streamed("id", &taken{pipe: bounded.New(1)}))
			if !errors.Is(err, ErrGone) || !s.Broken() {
				t.Errorf("%v, cause %v", err, s.Cause())
			}
		})
	}
}

// discard keeps what a peer has to say to itself.
type discard struct{ testing.TB }

func (discard) Error(...any) {}

// A client that does not read is no way around the invocation's limit, nor around the
// session's end.
func TestStreamEnds(t *testing.T) {
	limit := errors.New("the limit")
	frames := func(concurrency int) func(t *testing.T) (Session, func()) {
		return func(t *testing.T) (Session, func()) {
			s, p := newPeer(t, FramesOptions{Go: Go{Concurrency: concurrency}})
			p.start()
			initialized(t, s)
			return s, func() {
				p.receive()
				p.send(frameStream, "id ", "")
				p.send(frameChunk, "id", "abc")
			}
		}
	}
	for name, open := range map[string]func(t *testing.T) (Session, func()){
		"frames": frames(1), "frames of several": frames(2),
		"server": func(t *testing.T) (Session, func()) {
			s, c := newServer(t, ServerOptions{})
			return s, func() {
				c.next()
				body, write := io.Pipe()
				t.Cleanup(func() { write.Close() })
				go io.WriteString(write, "abc")
				go http.Post(c.base+invocationPrefix+"id/response", "text/plain", body)
			}
		},
		"http": func(t *testing.T) (Session, func()) {
			s := handled(t, 1, func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "abc")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			})
			return s, func() {}
		},
	} {
		for ending, end := range map[string]func(s Session, cancel func(error)) error{
			"limit": func(_ Session, cancel func(error)) error { cancel(limit); return limit },
			"close": func(s Session, _ func(error)) error { s.Close(); return ErrGone },
		} {
			t.Run(name+"/"+ending, func(t *testing.T) {
				s, answer := open(t)
				to := &taken{pipe: bounded.New(2)}
				ctx, cancel := context.WithCancelCause(soon(t))
				done := make(chan error, 1)
				go func() {
					_, err := s.Invoke(ctx, streamed("id", to))
					done <- err
				}()
				answer()
				if part, err := to.pipe.Next(soon(t), nil); string(part) != "ab" || err != nil {
					t.Fatalf("%q, %v", part, err)
				}
				want := end(s, cancel)
				if err := <-done; !errors.Is(err, want) {
					t.Errorf("%v, want %v", err, want)
				}
			})
		}
	}
}

// What a runtime had sent before its process ended is passed on, however slow the
// client is.
func TestFramesStreamOfEnded(t *testing.T) {
	s, p := newPeer(t, FramesOptions{})
	p.start()
	initialized(t, s)
	to := &taken{pipe: bounded.New(1)}
	done := make(chan error, 1)
	go func() {
		_, err := s.Invoke(soon(t), streamed("id", to))
		done <- err
	}()
	p.receive()
	p.send(frameStream, "id ", "")
	p.send(frameChunk, "id", "abc")
	p.send(frameResponse, "id", "")
	p.conn.Close()
	if part, err := to.pipe.Next(soon(t), nil); string(part) != "a" || err != nil {
		t.Fatalf("%q, %v", part, err)
	}
	finished := make(chan struct{})
	go func() { s.Finish(0); close(finished) }()
	for rest := "bc"; rest != ""; {
		part, err := to.pipe.Next(soon(t), nil)
		if err != nil || !strings.HasPrefix(rest, string(part)) {
			t.Fatalf("%q, %v", part, err)
		}
		rest = rest[len(part):]
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-finished
}

func TestServerStream(t *testing.T) {
	trailers := http.Header{headerErrorType: nil, headerErrorBody: nil}
	failed := http.Header{headerErrorType: {"Some.Type"}, headerErrorBody: {base64.StdEncoding.EncodeToString([]byte(`{"a":1}`))}}
	for _, test := range []struct {
		name, body string
		trailer    http.Header
		stream     string
		payload    string
		error      string
	}{
		{"parts", "abc", trailers, `["text/plain"] abc`, "", ""},
		{"nothing", "", trailers, `["text/plain"] `, "", ""},
		{"fails at once", "", failed, `[] `, `{"a":1}`, "Some.Type"},
		{"fails in the middle", "ab", failed, `["text/plain"] ab`, `{"a":1}`, "Some.Type"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, c := newServer(t, ServerOptions{})
			to := &taken{}
			done := make(chan result, 1)
			go func() {
				out, err := s.Invoke(soon(t), streamed("id", to))
				done <- result{out, err}
			}()
			c.next()
			// As aws-lambda-go sends it: in chunks, and without a word of streaming.
			r, err := http.NewRequest("POST", c.base+invocationPrefix+"id/response", io.MultiReader(strings.NewReader(test.body)))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "text/plain")
			r.Trailer = test.trailer.Clone()
			resp, err := c.http.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			got := <-done
			if resp.StatusCode != http.StatusAccepted || got.err != nil || got.out.ErrorType != test.error ||
				string(got.out.Payload) != test.payload || to.String() != test.stream {
				t.Errorf("%d, %s %s, %v: %s", resp.StatusCode, got.out.Payload, got.out.ErrorType, got.err, to)
			}
		})
	}
}

// A response that breaks off is a function error of its own, where the process does
// not end.
func TestServerStreamTruncated(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	to := &taken{}
	done := make(chan error, 1)
	go func() {
		_, err := s.Invoke(soon(t), streamed("id", to))
		done <- err
	}()
	c.next()
	body, write := io.Pipe()
	go func() {
		io.WriteString(write, "ab")
		write.CloseWithError(io.ErrUnexpectedEOF)
	}()
	if _, err := c.http.Post(c.base+invocationPrefix+"id/response", "text/plain", body); err == nil {
		t.Error("the post went well")
	}
	var cut *AnswerError
	if err := <-done; !errors.As(err, &cut) || cut.Outcome.ErrorType != TypeTruncated || to.String() != `["text/plain"] ab` {
		t.Errorf("%v, %s", err, to)
	}
}

// A streamed response that the invocation's end has overtaken is accepted and dropped,
// and its connection serves on.
func TestServerStreamLate(t *testing.T) {
	s, c := newServer(t, ServerOptions{})
	to := &taken{pipe: bounded.New(1)}
	ctx, cancel := context.WithCancel(soon(t))
	done := make(chan result, 1)
	go func() {
		out, err := s.Invoke(ctx, streamed("id", to))
		done <- result{out, err}
	}()
	c.next()
	go func() {
		to.pipe.Next(soon(t), nil) // the response has begun
		cancel()
	}()
	resp, err := c.http.Post(c.base+invocationPrefix+"id/response", "text/plain", io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20))))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := <-done; resp.StatusCode != http.StatusAccepted || !errors.Is(got.err, context.Canceled) {
		t.Errorf("%d, %v", resp.StatusCode, got.err)
	}
}

func TestHTTPStream(t *testing.T) {
	const proxied = `{"version":"2.0","requestContext":{"http":{"method":"GET"}}}`
	for _, test := range []struct{ name, event, stream, error string }{
		{"plain", "{}", `["text/plain"] ab`, ""},
		{"proxied", proxied, `["` + faas.HTTPIntegration + `"] {"statusCode":200,"headers":{"content-type":"text/plain"},"cookies":["k=v"]}` +
			strings.Repeat("\x00", 8) + "ab", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			step := make(chan struct{})
			s := handled(t, 1, func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Date"] = nil
				w.Header().Set("Content-Type", "text/plain")
				w.Header().Set("Set-Cookie", "k=v")
				io.WriteString(w, "a")
				w.(http.Flusher).Flush()
				<-step // until the first part has come
				io.WriteString(w, "b")
			})
			to := &taken{pipe: bounded.New(1 << 20)}
			go func() {
				for part := ""; !strings.HasSuffix(part, "a"); {
					got, err := to.pipe.Next(soon(t), nil)
					if part += string(got); err != nil {
						t.Error(err)
						break
					}
				}
				close(step)
			}()
			e := webEvent(test.event)
			e.Stream = to
			out, err := s.Invoke(soon(t), e)
			if err != nil || out.FunctionError != test.error || out.Payload != nil || to.String() != test.stream {
				t.Errorf("%s, %v: %s", out.Payload, err, to)
			}
			if n := s.dials.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
	s := handled(t, 1, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", 500) })
	e, to := webEvent("{}"), &taken{}
	e.Stream = to
	if out, err := s.Invoke(soon(t), e); err != nil || out.ErrorType != "HTTP.500" || to.String() != "[] " {
		t.Errorf("%s, %v: %s", out.Payload, err, to)
	}
}
