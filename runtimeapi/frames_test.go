package runtimeapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/internal/sockpair"
)

// peer is the runtime's end of a session, as a bootstrap would hold it.
type peer struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func newPeer(t testing.TB, opts FramesOptions) (*Frames, *peer) {
	t.Helper()
	ours, file, err := sockpair.New()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := net.FileConn(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	// A test that waits for a frame which does not come fails and does not hang.
	if err := theirs.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	s := NewFrames(ours, opts)
	t.Cleanup(func() { s.Close(); theirs.Close() })
	return s, &peer{t: t, conn: theirs, r: bufio.NewReader(theirs)}
}

func (p *peer) send(kind byte, header, payload string) {
	b, err := appendFrame(nil, kind, []byte(header), len(payload))
	if err == nil {
		_, err = p.conn.Write(append(b, payload...))
	}
	if err != nil {
		p.t.Error("send:", err)
	}
}

// receive reads a frame of Hearth's, which readFrame's bounds do not fit.
func (p *peer) receive() (kind byte, header, payload []byte) {
	var prefix [framePrefix]byte
	if _, err := io.ReadFull(p.r, prefix[:]); err != nil {
		return 0, nil, nil
	}
	rest := make([]byte, binary.BigEndian.Uint32(prefix[:4])-4)
	if _, err := io.ReadFull(p.r, rest); err != nil {
		return 0, nil, nil
	}
	n := binary.BigEndian.Uint32(prefix[4:]) & maxUint24
	return prefix[4], rest[:n], rest[n:]
}

// start takes the go frame and reports ready.
func (p *peer) start() {
	p.send(frameHello, "", "")
	if kind, _, _ := p.receive(); kind != frameGo {
		p.t.Errorf("first frame is %q, want go", kind)
	}
	p.send(frameReady, "", "")
}

func initialized(t testing.TB, s *Frames) {
	t.Helper()
	if err := s.Init(soon(t)); err != nil {
		t.Fatal("init:", err)
	}
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func event(id string, payload string) *faas.Event {
	return &faas.Event{RequestID: id, Payload: []byte(payload), Deadline: time.Now().Add(time.Minute), InvokedARN: "arn:x"}
}

func TestFramesInvoke(t *testing.T) {
	s, p := newPeer(t, FramesOptions{Go: Go{Handler: "a.b", Environment: map[string]string{"K": "V"}, Concurrency: 3}})
	p.start()
	initialized(t, s)
	if s.FirstByte().IsZero() {
		t.Error("no first byte was noted")
	}
	go func() {
		_, header, payload := p.receive()
		var h invokeHeader
		if err := json.Unmarshal(header, &h); err != nil || h.ID != "one" || h.Remaining < 10_000 || h.Remaining > 60_000 || h.ARN != "arn:x" {
			t.Errorf("header %s", header)
		}
		p.send(frameResponse, "one", "got "+string(payload))
		p.receive()
		p.send(frameError, "two Some.Type", `{"errorMessage":"m"}`)
	}()
	out, err := s.Invoke(soon(t), event("one", "payload"))
	if err != nil || string(out.Payload) != "got payload" || out.FunctionError != "" {
		t.Errorf("one: %+v, %v", out, err)
	}
	out, err = s.Invoke(soon(t), event("two", ""))
	if err != nil || out.ErrorType != "Some.Type" || out.FunctionError != Unhandled {
		t.Errorf("two: %+v, %v", out, err)
	}
}

func TestFramesSeveralInFlight(t *testing.T) {
	s, p := newPeer(t, FramesOptions{Go: Go{Concurrency: 50}})
	p.start()
	initialized(t, s)
	const n = 50
	go func() { // answers in reverse
		var ids []string
		for range n {
			_, header, _ := p.receive()
			var h invokeHeader
			if err := json.Unmarshal(header, &h); err != nil {
				t.Error(err)
			}
			ids = append(ids, h.ID)
		}
		for i := range ids {
			p.send(frameResponse, ids[n-1-i], ids[n-1-i])
		}
	}()
	done := make(chan error, n)
	for i := range n {
		go func() {
			id := fmt.Sprint("call-", i)
			out, err := s.Invoke(soon(t), event(id, "x"))
			if err == nil && string(out.Payload) != id {
				err = fmt.Errorf("%s got %s", id, out.Payload)
			}
			done <- err
		}()
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestFramesBroken(t *testing.T) {
	ready := func(p *peer) { p.start() }
	tests := map[string]func(*peer){
		"ready first":        func(p *peer) { p.send(frameReady, "", "") },
		"two hellos":         func(p *peer) { p.send(frameHello, "", ""); p.send(frameHello, "", "") },
		"two readies":        func(p *peer) { ready(p); p.send(frameReady, "", "") },
		"unknown frame":      func(p *peer) { p.send('?', "", "") },
		"init error late":    func(p *peer) { ready(p); p.send(frameInitError, "T", "{}") },
		"foreign id":         func(p *peer) { ready(p); p.send(frameResponse, "not yours", "{}") },
		"answered twice":     func(p *peer) { ready(p); p.send(frameResponse, "held", "1"); p.send(frameResponse, "held", "2") },
		"long header":        func(p *peer) { p.send(frameHello, string(make([]byte, maxRuntimeHeader+1)), "") },
		"header over length": func(p *peer) { p.conn.Write([]byte{0, 0, 0, 4, frameHello, 0, 0, 9}) },
		"short length":       func(p *peer) { p.conn.Write([]byte{0, 0, 0, 1, frameHello, 0, 0, 0}) },
		"rubbish":            func(p *peer) { p.conn.Write(bytes.Repeat([]byte("rubbish"), 9)) },
	}
	for name, misbehave := range tests {
		t.Run(name, func(t *testing.T) {
			s, p := newPeer(t, FramesOptions{Go: Go{Concurrency: 2}})
			s.mu.Lock()
			held := &call{id: "held", answered: make(chan answer, 1)}
			if err := s.calls.add(held); err != nil {
				t.Error(err)
			}
			s.mu.Unlock()
			misbehave(p)
			select {
			case <-s.gone:
			case <-soon(t).Done():
				t.Fatal("the session lives")
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

func TestFramesInitError(t *testing.T) {
	s, p := newPeer(t, FramesOptions{})
	p.send(frameHello, "", "")
	p.send(frameInitError, "Runtime.ImportModuleError", `{"errorMessage":"m"}`)
	p.conn.Close() // it ends right after; what it said counts
	var reported *InitError
	if err := s.Init(soon(t)); !errors.As(err, &reported) || reported.Type != "Runtime.ImportModuleError" {
		t.Errorf("init: %v", err)
	}
}

func TestFramesOversizeResponse(t *testing.T) {
	s, p := newPeer(t, FramesOptions{MaxResponse: 10})
	p.start()
	go func() {
		p.receive()
		p.send(frameResponse, "a", "0123456789A")
		p.receive()
		p.send(frameResponse, "b", "0123456789")
	}()
	out, err := s.Invoke(soon(t), event("a", ""))
	if err != nil || out.ErrorType != TypeResponseTooLarge {
		t.Errorf("over: %+v, %v", out, err)
	}
	out, err = s.Invoke(soon(t), event("b", ""))
	if err != nil || string(out.Payload) != "0123456789" {
		t.Errorf("at the limit: %+v, %v", out, err)
	}
}

func TestFramesLateAnswer(t *testing.T) {
	s, p := newPeer(t, FramesOptions{Go: Go{Concurrency: 2}})
	p.start()
	ctx, cancel := context.WithCancelCause(context.Background())
	given := errors.New("given up")
	go func() {
		p.receive()
		cancel(given)
		p.receive()
		p.send(frameResponse, "late", "1") // accepted and dropped
		p.send(frameResponse, "next", "2")
	}()
	if _, err := s.Invoke(ctx, event("late", "")); !errors.Is(err, given) {
		t.Errorf("late: %v", err)
	}
	out, err := s.Invoke(soon(t), event("next", ""))
	if err != nil || string(out.Payload) != "2" {
		t.Errorf("next: %+v, %v", out, err)
	}
}

// A runtime that does not read must not hold its caller beyond the deadline. The
// invocations beside it go on: they are answered, and when the runtime reads
// again, it finds whole frames.
func TestFramesBlockedWrite(t *testing.T) {
	s, p := newPeer(t, FramesOptions{Go: Go{Concurrency: 3}})
	p.send(frameHello, "", "")
	p.send(frameReady, "", "")
	initialized(t, s)
	p.receive() // go
	results := make(chan result, 2)
	call := func(id string) {
		out, err := s.Invoke(soon(t), event(id, id))
		results <- result{out, err}
	}
	go call("first")
	p.receive()
	ctx, cancel := context.WithCancel(soon(t))
	go func() { // its deadline comes when half of the frame is there
		if _, err := p.r.Peek(100); err != nil {
			t.Error(err)
		}
		cancel()
		if err := s.conn.SetWriteDeadline(time.Unix(1, 0)); err != nil {
			t.Error(err)
		}
	}()
	large := event("cut", string(make([]byte, 6<<20)))
	if _, err := s.Invoke(ctx, large); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want the end of its context", err)
	}
	clear(large.Payload) // its owner may use it again
	p.send(frameResponse, "first", "1")
	if r := <-results; r.err != nil || string(r.out.Payload) != "1" {
		t.Errorf("the invocation beside it: %+v", r)
	}
	go call("second")
	if kind, _, payload := p.receive(); kind != frameInvoke || len(payload) != 6<<20 {
		t.Errorf("the frame that was cut arrives as %q with %d bytes", kind, len(payload))
	}
	if _, _, payload := p.receive(); string(payload) != "second" {
		t.Errorf("the frame after it is of %q", payload)
	}
	p.send(frameResponse, "cut", "too late")
	p.send(frameResponse, "second", "2")
	if r := <-results; r.err != nil || string(r.out.Payload) != "2" {
		t.Errorf("the invocation after it: %+v", r)
	}
}

// A call that is given up while another one's frame is being written was never
// begun: nothing of it arrives.
func TestFramesGivenUpBeforeWrite(t *testing.T) {
	s, p := newPeer(t, FramesOptions{Go: Go{Concurrency: 2}})
	p.start()
	initialized(t, s)
	s.write <- struct{}{} // somebody writes
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Invoke(ctx, event("never", "")); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want the cancellation", err)
	}
	<-s.write
	if _, known := s.calls.calls["never"]; known {
		t.Error("an answer is expected to an event that was not sent")
	}
	go s.Invoke(soon(t), event("next", "n"))
	if _, _, payload := p.receive(); string(payload) != "n" {
		t.Errorf("got %q, want the next invocation", payload)
	}
	p.send(frameResponse, "next", "")
}

func TestFramesFinish(t *testing.T) {
	s, p := newPeer(t, FramesOptions{})
	p.start()
	initialized(t, s)
	answered := make(chan faas.Outcome, 1)
	go func() {
		out, err := s.Invoke(soon(t), event("a", ""))
		if err != nil {
			t.Error(err)
		}
		answered <- out
	}()
	p.receive()
	p.send(frameResponse, "a", "last words")
	// The peer's end stays open, as where a daemon inherited it.
	s.Finish(time.Second)
	if out := <-answered; string(out.Payload) != "last words" {
		t.Errorf("got %q", out.Payload)
	}
	select {
	case <-s.gone:
	default:
		t.Error("the session lives after Finish")
	}
}

// Nothing of a session runs after Close, whatever state it was in.
func TestFramesCloseLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		s := NewFrames(ours, FramesOptions{})
		done := make(chan error, 1)
		go func() { done <- s.Init(context.Background()) }()
		synctest.Wait()
		s.Close()
		s.Close()
		if err := <-done; !errors.Is(err, ErrGone) {
			t.Errorf("init: %v, want ErrGone", err)
		}
		theirs.Close()
	})
}

func FuzzReadFrame(f *testing.F) {
	for _, seed := range []struct{ kind, header, payload string }{
		{"H", "", ""}, {"D", "id", "{}"}, {"F", "id Type", `{"errorMessage":"m"}`}, {"E", "T", "x"},
	} {
		b, err := appendFrame(nil, seed.kind[0], []byte(seed.header), len(seed.payload))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(b, seed.payload...))
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 'D', 0, 0, 2, 'i', 'd'})
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 64
		r := bufio.NewReader(bytes.NewReader(data))
		for {
			got, err := readFrame(r, limit, "")
			if err != nil {
				return
			}
			if len(got.header) > maxRuntimeHeader || len(got.payload) > limit {
				t.Fatalf("frame of %d and %d bytes", len(got.header), len(got.payload))
			}
			if got.oversize == 0 {
				again, err := appendFrame(nil, got.kind, []byte(got.header), len(got.payload))
				if err != nil || !bytes.Contains(data, append(again, got.payload...)) {
					t.Fatalf("frame %+v does not read back: %v", got, err)
				}
			}
		}
	})
}

// FuzzFramesSession lets a whole session run against arbitrary bytes.
func FuzzFramesSession(f *testing.F) {
	hello, _ := appendFrame(nil, frameHello, nil, 0)
	ready, _ := appendFrame(hello, frameReady, nil, 0)
	answer, _ := appendFrame(ready, frameResponse, []byte("id"), 2)
	f.Add(append(answer, "{}"...), 1)
	f.Add(append(answer, "{}"...), 2)
	begun, _ := appendFrame(ready, frameStream, []byte("id text/plain"), 0)
	part, _ := appendFrame(begun, frameChunk, []byte("id"), 2)
	last, _ := appendFrame(append(part, "{}"...), frameResponse, []byte("id"), 0)
	f.Add(last, 1)
	f.Add(last, -2)
	crash, _ := appendFrame(part, frameCrash, []byte("id T"), 0)
	f.Add(crash, 1)
	f.Fuzz(func(t *testing.T, data []byte, concurrency int) {
		to := faas.ResponseStream(&taken{})
		if concurrency < 0 {
			concurrency, to = -concurrency, nil
		}
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		s := NewFrames(ours, FramesOptions{MaxResponse: 64, Go: Go{Concurrency: concurrency}})
		go func() {
			theirs.Write(data)
			theirs.Close()
		}()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = s.Init(ctx)
		var crash *CrashError
		if _, err := s.Invoke(ctx, streamed("id", to)); err != nil && !errors.Is(err, ErrGone) && !errors.As(err, &crash) {
			t.Fatal(err)
		}
		s.Close()
	})
}

// BenchmarkFrames is a round trip over a real socket pair to a goroutine that
// echoes: the cost of the protocol and of two crossings of the kernel.
func BenchmarkFrames(b *testing.B) {
	for _, size := range []int{64, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s, p := newPeer(b, FramesOptions{})
			p.start()
			initialized(b, s)
			go func() {
				for {
					kind, _, payload := p.receive()
					if kind != frameInvoke {
						return
					}
					p.send(frameResponse, "id", string(payload))
				}
			}()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			e := event("id", string(make([]byte, size)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Invoke(ctx, e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A runtime that crashes answers the invocation at fault; what it held besides
// ends with its connection.
func TestFramesCrash(t *testing.T) {
	s, p := newPeer(t, FramesOptions{Go: Go{Concurrency: 2}})
	p.start()
	initialized(t, s)
	errs := map[string]chan error{"culprit": make(chan error, 1), "beside": make(chan error, 1)}
	for id, done := range errs {
		go func() {
			_, err := s.Invoke(soon(t), event(id, ""))
			done <- err
		}()
		p.receive()
	}
	p.send(frameCrash, "culprit TypeError", `{"errorMessage":"m"}`)
	p.conn.Close()
	want := faas.Outcome{Payload: []byte(`{"errorMessage":"m"}`), FunctionError: Unhandled, ErrorType: "TypeError"}
	var crash *CrashError
	if err := <-errs["culprit"]; !errors.As(err, &crash) || fmt.Sprint(crash.Outcome) != fmt.Sprint(want) {
		t.Errorf("culprit: %v, want a crash with %+v", err, want)
	}
	if err := <-errs["beside"]; !errors.Is(err, ErrGone) {
		t.Errorf("beside: %v, want ErrGone", err)
	}
	if s.Broken() {
		t.Error("a crash counts as a breach of the protocol")
	}
}
