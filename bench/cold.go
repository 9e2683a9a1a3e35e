package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"hearth/bench/load"
	"hearth/faas"
)

// ColdStart is one first call of a function.
type ColdStart struct {
	Latency  time.Duration `json:"latency"` // at the client
	Timeline faas.Timeline `json:"timeline"`
}

// Cold is the cold starts of one runtime.
type Cold struct {
	Runtime string      `json:"runtime"`
	Starts  []ColdStart `json:"starts"` // one after the other
	// Bare are starts of the bare server: from the fork to its first answer.
	Bare   []time.Duration `json:"bare"`
	Bursts []ColdBurst     `json:"bursts"`
}

// ColdBurst is first calls of several functions at once.
type ColdBurst struct {
	Starts  []ColdStart   `json:"starts"`
	Elapsed time.Duration `json:"elapsed"` // from the first call to the last answer
}

// coldRound deploys functions that were never called, calls each once, and deletes
// them. A start of the bare server follows each that is alone.
func (s *session) coldRound(ctx context.Context, l *running, round int) error {
	names, err := s.deployMany(ctx, l, round)
	if err != nil {
		return err
	}
	before := treeOf(s.server.child.pid()).processes
	cold := s.report.cold(l.name)
	for _, name := range names[:s.Plan.Cold] {
		start, err := s.coldStart(ctx, name)
		if err != nil {
			return err
		}
		cold.Starts = append(cold.Starts, start)
		if err := pause(ctx, s.Plan.ColdPause); err != nil {
			return err
		}
		bare, err := l.coldBare(ctx)
		if err != nil {
			return err
		}
		cold.Bare = append(cold.Bare, bare)
		if err := pause(ctx, s.Plan.ColdPause); err != nil {
			return err
		}
	}
	burst, err := s.coldBurst(ctx, names[s.Plan.Cold:])
	if err != nil {
		return err
	}
	cold.Bursts = append(cold.Bursts, burst)
	s.say("  %-6s cold starts: last %v, burst of %d in %v", l.name,
		cold.Starts[len(cold.Starts)-1].Latency, s.Plan.Burst, burst.Elapsed)
	return s.removeMany(ctx, names, before)
}

// deployMany creates the functions of a round and waits until the server has
// nothing left to do for them.
func (s *session) deployMany(ctx context.Context, l *running, round int) ([]string, error) {
	names := make([]string, s.Plan.Cold+s.Plan.Burst)
	for i := range names {
		names[i] = fmt.Sprintf("cold-%s-%d-%d", l.name, round, i)
		if err := s.server.deploy(ctx, names[i], l.function); err != nil {
			return nil, err
		}
	}
	return names, pause(ctx, s.Plan.ColdPause)
}

// removeMany deletes functions and waits until the server has no more processes
// than before they were called.
func (s *session) removeMany(ctx context.Context, names []string, before int) error {
	for _, name := range names {
		if err := s.server.remove(ctx, name); err != nil {
			return err
		}
	}
	return until(ctx, func() (bool, error) {
		return treeOf(s.server.child.pid()).processes <= before, nil
	})
}

var errWarm = errors.New("a call that had to be cold was not")

// coldStart makes the first call of a function and fetches Hearth's own account of
// it.
func (s *session) coldStart(ctx context.Context, name string) (ColdStart, error) {
	latency, err := s.firstCall(ctx, name)
	if err != nil {
		return ColdStart{}, err
	}
	return s.timed(ctx, name, latency)
}

func (s *session) firstCall(ctx context.Context, name string) (time.Duration, error) {
	r, err := load.Count(ctx, s.server.warmTarget(name), 1, 1)
	if err != nil {
		return 0, err
	}
	return r.Samples[0].Latency(), nil
}

// timed fetches the timeline of the only call of a function, which has to have
// been a cold one.
func (s *session) timed(ctx context.Context, name string, latency time.Duration) (start ColdStart, err error) {
	d, err := s.server.describe(ctx, name)
	if err != nil {
		return start, err
	}
	if len(d.Recent) != 1 || d.Recent[0].Cold != faas.ColdFirst {
		return start, fmt.Errorf("%s: %w", name, errWarm)
	}
	return ColdStart{Latency: latency, Timeline: d.Recent[0].Timeline}, nil
}

// coldBurst makes the first calls of all the functions at once.
func (s *session) coldBurst(ctx context.Context, names []string) (b ColdBurst, err error) {
	latencies, failures := make([]time.Duration, len(names)), make([]error, len(names))
	var calls sync.WaitGroup
	began := time.Now()
	for i, name := range names {
		calls.Go(func() { latencies[i], failures[i] = s.firstCall(ctx, name) })
	}
	calls.Wait()
	b.Elapsed = time.Since(began)
	if err := errors.Join(failures...); err != nil {
		return b, err
	}
	for i, name := range names {
		start, err := s.timed(ctx, name, latencies[i])
		if err != nil {
			return b, err
		}
		b.Starts = append(b.Starts, start)
	}
	return b, nil
}

// coldBare starts the bare server and asks it once.
func (l *running) coldBare(ctx context.Context) (time.Duration, error) {
	c, target, err := l.startBare(ctx)
	if err != nil {
		return 0, err
	}
	_, err = load.Count(ctx, target, 1, 1)
	took := time.Since(c.began)
	return took, errors.Join(err, c.kill())
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
