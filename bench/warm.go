package bench

import (
	"context"
	"fmt"
	"time"

	"hearth/api/native"
	"hearth/bench/load"
	"hearth/faas"
)

// settleTimeout bounds the wait for a server to come to rest between two
// measurements, and settlePause is how often it is asked.
const (
	settleTimeout = 30 * time.Second
	settlePause   = 5 * time.Millisecond
)

// Cell is one side of one row in one round.
type Cell struct {
	Latency load.Summary  `json:"latency"`
	Late    load.Summary  `json:"late"` // how late the client sent
	Rate    float64       `json:"rate"` // answers per second
	CPU     time.Duration `json:"cpu"`  // of the server and all its processes, for each request
	// Instances is how many the function had, and Starts how many of them were
	// started while it was measured. Both are 0 for a bare server.
	Instances int `json:"instances"`
	Starts    int `json:"starts"`
	// Handler and Settle are Hearth's own account of its last calls, at most 32:
	// from the hand-over to the instance to its answer, and from there until the
	// answer is sent. Both are 0 for a bare server.
	Handler time.Duration `json:"handler"`
	Settle  time.Duration `json:"settle"`
}

// Pair is a row in one round, by side.
type Pair [sides]Cell

// warmPair measures both sides of a row, one right after the other.
func (s *session) warmPair(ctx context.Context, l *running, shape Shape, round int, first side) (p Pair, err error) {
	for _, which := range [...]side{first, 1 - first} {
		r, cell, err := s.warmCell(ctx, l, shape, which, uint64(round))
		if err != nil {
			return p, fmt.Errorf("%v: %w", which, err)
		}
		p[which] = cell
		err = s.raw.add(rawCell{Kind: "warm", Round: round, Runtime: l.name, Shape: shape, Side: which.String(), Samples: r.Samples})
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

func (s *session) warmCell(ctx context.Context, l *running, shape Shape, which side, seed uint64) (*load.Result, Cell, error) {
	var cell Cell
	target := l.targets[which]
	if _, err := load.Count(ctx, target, shape.Connections, shape.Connections*s.Plan.WarmUp); err != nil {
		return nil, cell, err
	}
	pid := l.bare.pid()
	if which == hearth {
		pid = s.server.child.pid()
		d, err := s.rest(ctx, l.warm)
		if err != nil {
			return nil, cell, err
		}
		cell.Instances = d.Instances.Idle
	}
	before := treeOf(pid)
	r, err := shape.run(ctx, target, s.Plan.Duration, seed)
	if err != nil {
		return nil, cell, err
	}
	after := treeOf(pid)
	cell.Latency, cell.Late, cell.Rate = load.Summarize(r.Latencies()), load.Summarize(r.Lateness()), r.Rate()
	cell.CPU = max(0, after.cpu-before.cpu) / time.Duration(len(r.Samples))
	if which == hearth {
		d, err := s.rest(ctx, l.warm)
		if err != nil {
			return nil, cell, err
		}
		cell.Starts = d.Instances.Idle - cell.Instances
		cell.Instances = d.Instances.Idle
		cell.Handler, cell.Settle = account(d.Recent)
	}
	return r, cell, nil
}

// account is the medians of what the reports of warm calls say.
func account(reports []faas.Report) (handler, settle time.Duration) {
	var handlers, settles []time.Duration
	for _, r := range reports {
		if r.Start == faas.StartWarm {
			handlers, settles = append(handlers, r.Timeline.Handler), append(settles, r.Timeline.Settle)
		}
	}
	return load.Summarize(handlers).P50, load.Summarize(settles).P50
}

func (s Shape) run(ctx context.Context, t load.Target, d time.Duration, seed uint64) (*load.Result, error) {
	if s.Rate == 0 {
		return load.Closed(ctx, t, s.Connections, d)
	}
	return load.Open(ctx, t, s.Connections, load.Poisson(s.Rate, d, seed))
}

// rest waits until all instances of a function are idle, and describes it.
func (s *session) rest(ctx context.Context, name string) (d *native.Description, err error) {
	err = until(ctx, func() (bool, error) {
		d, err = s.server.describe(ctx, name)
		return err == nil && d.Instances.Starting == 0 && d.Instances.Busy == 0, err
	})
	return d, err
}

// until asks again and again whether something has come to be, for a bounded time.
func until(ctx context.Context, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	ticker := time.NewTicker(settlePause)
	defer ticker.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("the server does not come to rest: %w", context.Cause(ctx))
		}
	}
}
