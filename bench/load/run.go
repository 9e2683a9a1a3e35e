package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// maxSamples bounds what one run keeps, in samples of 24 bytes.
const maxSamples = 4 << 20

// Target is one server and the request that it gets over and over.
type Target struct {
	Address string // host:port, TCP
	Request []byte // a whole HTTP/1.1 request, as it goes over the wire
	// Check says what is wrong with the body of an answer; nil accepts all. It is
	// called from one goroutine per connection, with bytes that it must not keep.
	Check  func(body []byte) error
	Status int // of an answer as it should be; 0 is 200
	// Timeout bounds one request; 0 is 30 s.
	Timeout time.Duration
}

// Sample is one request. The times count from the begin of the run.
type Sample struct {
	Scheduled time.Duration // when it should have been sent; closed loop: when it was
	Sent      time.Duration
	Done      time.Duration // when its answer had been read whole
}

// Latency is what a user who wanted the answer at the scheduled time waited.
func (s Sample) Latency() time.Duration { return s.Done - s.Scheduled }

// Late is how long after its time the request was sent.
func (s Sample) Late() time.Duration { return s.Sent - s.Scheduled }

// Result is a run in which every request was answered as it should be.
type Result struct {
	Samples []Sample      // of one connection after the other
	Elapsed time.Duration // from the first request to the last answer
}

// Rate is how many requests were answered per second.
func (r *Result) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(len(r.Samples)) / r.Elapsed.Seconds()
}

// Closed sends requests over so many connections, each its next one when the last
// is answered, for the duration given. One request that fails, or an answer that
// Check refuses, fails the run: a rate with errors in it is not a rate.
func Closed(ctx context.Context, t Target, connections int, d time.Duration) (*Result, error) {
	if connections < 1 || d <= 0 {
		return nil, errors.New("load: a closed loop needs connections and a duration")
	}
	return run(ctx, t, connections, func(ctx context.Context, w *worker) error {
		for w.since() < d && len(w.samples) < maxSamples/connections {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := w.do(w.since()); err != nil {
				return err
			}
		}
		return nil
	})
}

// Count sends n requests over so many connections, each its next one when the
// last is answered. n is the number of all connections together.
func Count(ctx context.Context, t Target, connections, n int) (*Result, error) {
	if connections < 1 || n < connections || n > maxSamples {
		return nil, fmt.Errorf("load: %d requests over %d connections are none, or too many", n, connections)
	}
	return run(ctx, t, connections, func(ctx context.Context, w *worker) error {
		share := n / connections
		if w.number < n%connections {
			share++
		}
		for range share {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := w.do(w.since()); err != nil {
				return err
			}
		}
		return nil
	})
}

// run opens the connections, lets work have one each, and puts their samples
// together. The first error ends all of them.
func run(ctx context.Context, t Target, connections int, work func(context.Context, *worker) error) (*Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	workers, err := open(ctx, t, connections)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	ended := make(chan error, connections)
	for _, w := range workers {
		w.began = began
		go func() {
			err := work(ctx, w)
			w.conn.close()
			if err != nil {
				cancel(err)
			}
			ended <- err
		}()
	}
	for range workers {
		<-ended
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return collect(workers), nil
}

func collect(workers []*worker) *Result {
	r := new(Result)
	n := 0
	for _, w := range workers {
		n += len(w.samples)
	}
	r.Samples = make([]Sample, 0, n)
	for _, w := range workers {
		r.Samples = append(r.Samples, w.samples...)
		if len(w.samples) > 0 {
			r.Elapsed = max(r.Elapsed, w.samples[len(w.samples)-1].Done)
		}
	}
	return r
}

// worker is one connection and its samples; one goroutine's.
type worker struct {
	number  int
	conn    *conn
	began   time.Time
	samples []Sample
}

func open(ctx context.Context, t Target, n int) ([]*worker, error) {
	workers := make([]*worker, 0, n)
	for i := range n {
		c, err := dial(ctx, t)
		if err != nil {
			for _, w := range workers {
				w.conn.close()
			}
			return nil, err
		}
		workers = append(workers, &worker{number: i, conn: c, samples: make([]Sample, 0, 1024)})
	}
	return workers, nil
}

func (w *worker) since() time.Duration { return time.Since(w.began) }

// do sends one request and keeps its sample.
func (w *worker) do(scheduled time.Duration) error {
	sent := w.since()
	if err := w.conn.roundTrip(); err != nil {
		return fmt.Errorf("load: request %d of connection %d: %w", len(w.samples)+1, w.number, err)
	}
	w.samples = append(w.samples, Sample{Scheduled: scheduled, Sent: sent, Done: w.since()})
	return nil
}
