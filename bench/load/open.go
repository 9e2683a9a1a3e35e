package load

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Schedule is when requests are due, counted from the begin of the run, in order.
type Schedule []time.Duration

// Poisson returns the arrivals of a Poisson process: the gaps are exponential, as
// those of many users who do not know of each other. The same seed gives the same
// arrivals.
func Poisson(perSecond float64, d time.Duration, seed uint64) Schedule {
	var s Schedule
	random := rand.New(rand.NewPCG(seed, 0))
	for at := 0.0; perSecond > 0 && len(s) < maxSamples; {
		at += random.ExpFloat64() / perSecond
		due := time.Duration(at * float64(time.Second))
		if due >= d {
			break
		}
		s = append(s, due)
	}
	return s
}

// Burst returns n arrivals at one moment.
func Burst(n int) Schedule { return make(Schedule, n) }

// Open sends one request at each time of the schedule over so many connections. A
// request that finds all of them busy waits, and its latency with it. A failed
// request fails the run, as with Closed.
func Open(ctx context.Context, t Target, connections int, s Schedule) (*Result, error) {
	if connections < 1 || len(s) == 0 || len(s) > maxSamples {
		return nil, errors.New("load: an open loop needs connections and a schedule")
	}
	due := make(chan time.Duration, len(s)) // never blocks the one who keeps time
	first := make(chan time.Time, connections)
	ctx, cancel := context.WithCancel(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		defer close(due)
		var began time.Time
		select {
		case began = <-first:
		case <-ctx.Done():
			return
		}
		keepTime(ctx, began, s, due)
	}()
	defer func() { cancel(); <-kept }()
	return run(ctx, t, connections, func(ctx context.Context, w *worker) error {
		first <- w.began // the same for all
		for {
			select {
			case at, more := <-due:
				if !more {
					return ctx.Err()
				}
				if err := w.do(at); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
}

// keepTime passes each arrival on when it is due.
func keepTime(ctx context.Context, began time.Time, s Schedule, due chan<- time.Duration) {
	p := newPauser()
	defer p.close()
	for _, at := range s {
		if pause := at - time.Since(began); pause > 0 {
			p.pause(ctx, pause)
		}
		if ctx.Err() != nil {
			return
		}
		due <- at
	}
}
