package invoke_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/invoke"
	"hearth/pool/pooltest"
)

// client is an invoke.Stream that notes what it gets; with a pause it takes so long
// for each part.
type client struct {
	pause time.Duration
	gone  bool // every Write fails

	mu     sync.Mutex
	head   string
	got    bytes.Buffer
	writes int
}

func (c *client) Begin(head invoke.StreamHead) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head += head.ExecutedVersion + " " + head.ContentType
}

func (c *client) Write(part []byte) error {
	if c.pause > 0 {
		timer := time.NewTimer(c.pause)
		<-timer.C
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	if c.gone {
		return errors.New("gone")
	}
	c.got.Write(part)
	return nil
}

func (c *client) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("[%s] %s", c.head, c.got.String())
}

// handler is a fake runtime whose handler is f.
func handler(f func(ctx context.Context, e *faas.Event) (faas.Outcome, error)) *pooltest.Starter {
	return pooltest.New(func(int, *faas.Version) pooltest.Script { return pooltest.Script{Handle: f} })
}

func streamed(to invoke.Stream) *invoke.Request {
	req := request("{}")
	req.Stream = to
	return req
}

var functionError = faas.Outcome{Payload: []byte(`{"errorType":"E"}`), FunctionError: "Unhandled", ErrorType: "E"}

func TestStream(t *testing.T) {
	for name, test := range map[string]struct {
		handle  func(ctx context.Context, e *faas.Event) (faas.Outcome, error)
		got     string
		payload string
		bytes   int64
	}{
		"parts": {func(ctx context.Context, e *faas.Event) (faas.Outcome, error) {
			e.Stream.Open("text/html")
			return faas.Outcome{}, errors.Join(e.Stream.Write(ctx, []byte("ab")), e.Stream.Write(ctx, []byte("c")))
		}, "[7 text/html] abc", "", 3},
		"nothing": {func(ctx context.Context, e *faas.Event) (faas.Outcome, error) {
			e.Stream.Open("text/html")
			return faas.Outcome{}, nil
		}, "[7 text/html] ", "", 0},
		"whole": {func(ctx context.Context, e *faas.Event) (faas.Outcome, error) {
			return faas.Outcome{Payload: []byte("[1]")}, nil
		}, "[7 application/json] [1]", "", 3},
		"fails first": {func(ctx context.Context, e *faas.Event) (faas.Outcome, error) {
			return functionError, nil
		}, "[] ", `{"errorType":"E"}`, 17},
		"fails in the middle": {func(ctx context.Context, e *faas.Event) (faas.Outcome, error) {
			e.Stream.Open("")
			return functionError, e.Stream.Write(ctx, []byte("ab"))
		}, "[7 ] ab", `{"errorType":"E"}`, 19},
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, handler(test.handle), func(t *testing.T, s *invoke.Service) {
				to := &client{}
				res, err := s.Invoke(t.Context(), streamed(to))
				if err != nil {
					t.Fatal(err)
				}
				if to.String() != test.got || string(res.Outcome.Payload) != test.payload || res.Report.ResponseBytes != test.bytes {
					t.Errorf("%s, payload %s, %d bytes", to, res.Outcome.Payload, res.Report.ResponseBytes)
				}
			})
		})
	}
}

// What an invocation costs ends with the function, not with its client: its instance is
// free for the next one while the client reads what is left.
func TestStreamReleasesBeforeTheClientHasRead(t *testing.T) {
	fake := handler(func(ctx context.Context, e *faas.Event) (faas.Outcome, error) {
		if e.Stream == nil {
			return faas.Outcome{Payload: []byte("1")}, nil
		}
		e.Stream.Open("")
		return faas.Outcome{}, e.Stream.Write(ctx, []byte("abc"))
	})
	serve(t, fake, func(t *testing.T, s *invoke.Service) {
		slow := &client{pause: time.Hour}
		done := make(chan *invoke.Result, 1)
		go func() {
			res, err := s.Invoke(t.Context(), streamed(slow))
			if err != nil {
				t.Error(err)
			}
			done <- res
		}()
		synctest.Wait()
		if res, err := s.Invoke(t.Context(), request("{}")); err != nil || res.Report.Start != faas.StartWarm {
			t.Errorf("the next call: %+v, %v", res, err)
		}
		if res := <-done; res.Report.Duration >= time.Hour || slow.String() != "[7 ] abc" {
			t.Errorf("duration %v, %s", res.Report.Duration, slow)
		}
		if n := len(fake.Runtimes()); n != 1 {
			t.Errorf("%d instances", n)
		}
	})
}

// A function that is ahead of its client by more than the buffer waits, and its own
// limit ends that: the instance is dead before the stream ends.
func TestStreamBackPressureAndTimeout(t *testing.T) {
	wrote := 0
	fake := handler(func(ctx context.Context, e *faas.Event) (faas.Outcome, error) {
		e.Stream.Open("")
		for {
			if err := e.Stream.Write(ctx, make([]byte, 64<<10)); err != nil {
				return faas.Outcome{}, err
			}
			wrote++
		}
	})
	serve(t, fake, func(t *testing.T, s *invoke.Service) {
		slow := &client{pause: time.Minute}
		began := time.Now()
		res, err := s.Invoke(t.Context(), streamed(slow))
		if err != nil {
			t.Fatal(err)
		}
		if wrote > 5 {
			t.Errorf("%d parts of 64 KiB ahead of a client that has taken none", wrote)
		}
		if res.Outcome.ErrorType != "Sandbox.Timedout" || res.Report.Duration != 3*time.Second || !strings.HasPrefix(slow.String(), "[7 ] ") {
			t.Errorf("%+v, %.20s", res, slow)
		}
		if took := time.Since(began); took < time.Minute {
			t.Errorf("returned after %v, before the client had read", took)
		}
		if !fake.Runtimes()[0].Dead() {
			t.Error("the instance lives")
		}
	})
}

// Without its client an invocation goes on, and its output goes nowhere.
func TestStreamClientGone(t *testing.T) {
	ended := false
	fake := handler(func(ctx context.Context, e *faas.Event) (faas.Outcome, error) {
		e.Stream.Open("")
		for range 100 {
			if err := e.Stream.Write(ctx, make([]byte, 64<<10)); err != nil {
				return faas.Outcome{}, err
			}
		}
		ended = true
		return faas.Outcome{}, nil
	})
	serve(t, fake, func(t *testing.T, s *invoke.Service) {
		to := &client{gone: true}
		res, err := s.Invoke(t.Context(), streamed(to))
		if err != nil || !ended || to.writes != 1 || res.Report.Status != faas.StatusSuccess || res.Report.ResponseBytes != 100*64<<10 {
			t.Errorf("%+v, %v, %d writes, ended %v", res, err, to.writes, ended)
		}
	})
}

func TestStreamDryRun(t *testing.T) {
	serve(t, pooltest.New(nil), func(t *testing.T, s *invoke.Service) {
		to := &client{}
		req := streamed(to)
		req.Type = invoke.DryRun
		if res, err := s.Invoke(t.Context(), req); err != nil || res.ExecutedVersion != "7" || to.String() != "[] " {
			t.Errorf("%+v, %v, %s", res, err, to)
		}
	})
}
