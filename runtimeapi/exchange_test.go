package runtimeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/internal/deadline"
)

// serving1 is a session with a runtime that takes one invocation at a time.
func serving1(t testing.TB, opts FramesOptions) (*Frames, *peer) {
	t.Helper()
	s, p := newPeer(t, opts)
	p.start()
	initialized(t, s)
	return s, p
}

// A runtime that breaks the protocol during a call fails that call.
func TestExchangeBroken(t *testing.T) {
	for name, misbehave := range map[string]func(*peer){
		"foreign id":         func(p *peer) { p.send(frameResponse, "not yours", "{}") },
		"ready again":        func(p *peer) { p.send(frameReady, "", "") },
		"init error late":    func(p *peer) { p.send(frameInitError, "T", "{}") },
		"unknown frame":      func(p *peer) { p.send('?', "", "") },
		"long header":        func(p *peer) { p.send(frameResponse, strings.Repeat("a", maxRuntimeHeader+1), "") },
		"header over length": func(p *peer) { p.conn.Write([]byte{0, 0, 0, 4, frameResponse, 0, 0, 9}) },
		"short length":       func(p *peer) { p.conn.Write([]byte{0, 0, 0, 1, frameResponse, 0, 0, 0}) },
		"rubbish":            func(p *peer) { p.conn.Write(bytes.Repeat([]byte("rubbish"), 9)) },
	} {
		t.Run(name, func(t *testing.T) {
			s, p := serving1(t, FramesOptions{})
			go func() {
				p.receive()
				misbehave(p)
			}()
			if _, err := s.Invoke(soon(t), event("held", "")); !errors.Is(err, ErrGone) {
				t.Errorf("invoke: %v, want ErrGone", err)
			}
			if !s.Broken() {
				t.Errorf("cause %v, want a broken protocol", s.Cause())
			}
			if _, err := s.Invoke(soon(t), event("after", "")); !errors.Is(err, ErrGone) {
				t.Errorf("invoke after: %v, want ErrGone", err)
			}
		})
	}
}

// What a runtime sends while it holds nothing is never an answer to what comes next.
func TestExchangeUnasked(t *testing.T) {
	s, p := serving1(t, FramesOptions{})
	go func() {
		p.receive()
		p.send(frameResponse, "first", "1")
		p.send(frameResponse, "first", "2")
	}()
	if out, err := s.Invoke(soon(t), event("first", "")); err != nil || string(out.Payload) != "1" {
		t.Errorf("first: %+v, %v", out, err)
	}
	if out, err := s.Invoke(soon(t), event("second", "")); !errors.Is(err, ErrGone) || !s.Broken() {
		t.Errorf("second: %+v, %v, want a broken session", out, err)
	}
}

// A call that is given up ends the session for others, but not the connection: the
// runtime is killed by who gave it up, and does nothing about it before.
func TestExchangeGivenUp(t *testing.T) {
	for name, limited := range map[string]func(t *testing.T) (context.Context, error){
		"at its deadline": func(*testing.T) (context.Context, error) {
			return deadline.New(time.Now()), context.DeadlineExceeded
		},
		"with a cause": func(t *testing.T) (context.Context, error) {
			ctx, cancel := context.WithCancelCause(t.Context())
			given := errors.New("given up")
			cancel(given)
			return ctx, given
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := serving1(t, FramesOptions{})
			ctx, want := limited(t)
			if _, err := s.Invoke(ctx, event("late", "")); !errors.Is(err, want) {
				t.Errorf("late: %v, want %v", err, want)
			}
			if s.Cause() != nil {
				t.Error("the connection is closed")
			}
			if _, err := s.Invoke(soon(t), event("next", "")); !errors.Is(err, ErrGone) {
				t.Errorf("next: %v", err)
			}
			p.send(frameResponse, "late", "1")
		})
	}
}

// A runtime that does not read its event holds its caller until the deadline.
func TestExchangeBlockedWrite(t *testing.T) {
	s, p := serving1(t, FramesOptions{})
	ctx, cancel := context.WithCancel(soon(t))
	go func() {
		if _, err := p.r.Peek(100); err != nil {
			t.Error(err)
		}
		cancel()
	}()
	if _, err := s.Invoke(ctx, event("a", string(make([]byte, 6<<20)))); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want the end of its context", err)
	}
}

func TestExchangeLargeEvent(t *testing.T) {
	s, p := serving1(t, FramesOptions{})
	payload := strings.Repeat("x", 6<<20)
	go func() {
		_, _, got := p.receive()
		p.send(frameResponse, "a", string(got))
	}()
	if out, err := s.Invoke(soon(t), event("a", payload)); err != nil || string(out.Payload) != payload {
		t.Errorf("%d bytes, %v", len(out.Payload), err)
	}
}

// What a runtime sent before its end is still its answer, and ErrGone the answer to
// a call that it left.
func TestExchangeEnd(t *testing.T) {
	for name, c := range map[string]struct {
		last string
		want error
	}{"answered": {"last words", nil}, "left": {"", ErrGone}} {
		t.Run(name, func(t *testing.T) {
			s, p := serving1(t, FramesOptions{})
			go func() {
				p.receive()
				if c.last != "" {
					p.send(frameResponse, "a", c.last)
				}
				p.conn.Close()
			}()
			out, err := s.Invoke(soon(t), event("a", ""))
			if !errors.Is(err, c.want) || string(out.Payload) != c.last {
				t.Errorf("%q, %v", out.Payload, err)
			}
			if _, err := s.Invoke(soon(t), event("b", "")); !errors.Is(err, ErrGone) {
				t.Errorf("after it: %v", err)
			}
			if s.Broken() {
				t.Error("an end counts as a breach of the protocol")
			}
		})
	}
}

// Finish ends a call whose runtime is dead while a process that inherited the
// socket keeps it open.
func TestExchangeFinish(t *testing.T) {
	s, p := serving1(t, FramesOptions{})
	ended := make(chan error, 1)
	go func() {
		_, err := s.Invoke(soon(t), event("a", ""))
		ended <- err
	}()
	p.receive()
	s.Finish(time.Millisecond)
	if err := <-ended; !errors.Is(err, ErrGone) {
		t.Errorf("err = %v, want ErrGone", err)
	}
}

func TestExchangeClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		s := NewFrames(&buffered{Conn: ours}, FramesOptions{})
		for _, kind := range []byte{frameHello, frameReady} {
			b, _ := appendFrame(nil, kind, nil, 0)
			if _, err := theirs.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		go io.Copy(io.Discard, theirs)
		ended := make(chan error, 1)
		go func() {
			_, err := s.Invoke(deadline.New(time.Now().Add(time.Hour)), event("a", ""))
			ended <- err
		}()
		synctest.Wait()
		s.Close()
		if err := <-ended; !errors.Is(err, ErrGone) {
			t.Errorf("err = %v, want ErrGone", err)
		}
		theirs.Close()
	})
}

// buffered is a connection whose writes do not wait for the other end.
type buffered struct{ net.Conn }

func (b *buffered) Write(p []byte) (int, error) {
	go b.Conn.Write(bytes.Clone(p))
	return len(p), nil
}

// The header is what package json would write.
func TestInvokeHeader(t *testing.T) {
	for _, e := range []*faas.Event{
		{RequestID: "id", InvokedARN: "arn:aws:lambda:x"},
		{RequestID: "i\"d\\", InvokedARN: "\x00<é>", TraceID: "Root=1-2;Sampled=0"},
		{RequestID: "id", ClientContext: []byte(`{"custom":{}}`), Cognito: []byte(`{"cognitoIdentityId":"x"}`)},
		{RequestID: "id", Attempt: 3},
		{RequestID: "id", ClientContext: []byte(`}`), Cognito: []byte(`"`)},
	} {
		e.Deadline = time.Now().Add(time.Hour)
		var got invokeHeader
		if err := json.Unmarshal(appendInvokeHeader(nil, e), &got); err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		valid := func(b []byte) string {
			if !json.Valid(b) {
				return ""
			}
			return string(b)
		}
		if got.ID != e.RequestID || got.ARN != e.InvokedARN || got.Trace != e.TraceID || got.Remaining > 3600000 || got.Remaining < 3500000 ||
			got.Attempt != e.Attempt || string(got.Client) != valid(e.ClientContext) || string(got.Cognito) != valid(e.Cognito) {
			t.Errorf("%+v for %+v", got, e)
		}
	}
}

// An invocation costs the memory of its answer and of its context.
func TestExchangeAllocations(t *testing.T) {
	s, p := serving1(t, FramesOptions{})
	answer, err := appendFrame(nil, frameResponse, []byte("id"), 1)
	if err != nil {
		t.Fatal(err)
	}
	answer = append(answer, '1')
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 4096)
		for {
			if _, err := p.conn.Read(buf); err != nil {
				return
			}
			if _, err := p.conn.Write(answer); err != nil {
				return
			}
		}
	}()
	e := event("id", "{}")
	allocs := testing.AllocsPerRun(100, func() {
		ctx := deadline.New(e.Deadline.Add(time.Hour))
		if _, err := s.Invoke(ctx, e); err != nil {
			t.Fatal(err)
		}
		ctx.Stop()
	})
	if allocs > 2 {
		t.Errorf("%v allocations for an invocation", allocs)
	}
	s.Close()
	<-ended
}
