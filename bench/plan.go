package bench

import (
	"fmt"
	"time"

	"hearth/bench/load"
	"hearth/bench/record"

	"context"
)

// memoryMB is the memory of the functions: it comes with one whole CPU, so that no
// CPU quota is measured instead of Hearth.
const memoryMB = 1769

// Plan is how much is measured.
type Plan struct {
	Short  bool          // a trial of the harness
	Rounds int           // of every row
	Cell   time.Duration // load on one side of one case in one round
	WarmUp int           // requests of each connection before that
	// Seasoning is how many requests of each connection a server gets before the
	// first round: a runtime's compiler has done its work by then, in all instances.
	Seasoning int
	Probe     time.Duration // for which the machine is watched before a round
	// Colds is how many cold starts each side has in a round where the next way is
	// pool hits; Slow where it is something slower, of which fewer say as much.
	Colds, Slow int
	// Pace is the time between two cold starts, in which the stock may be filled up.
	Pace time.Duration
	// Many is how many functions are many; Idle and Frozen are how many instances
	// are kept to look at their CPU and at their memory.
	Many, Idle, Frozen int
	// Span is for how long starts are counted, or idle instances are watched.
	Span time.Duration
	// Backlog and Queue are how many events are drained, and are queued at a kill.
	Backlog, Queue int
	// Guests is how many single events come during the drain of others'.
	Guests int
}

// Full is the plan of make bench.
func Full() Plan {
	return Plan{Rounds: 5, Cell: time.Second, WarmUp: 200, Seasoning: 2000, Probe: 500 * time.Millisecond,
		Colds: 60, Slow: 8, Pace: 100 * time.Millisecond, Many: 10_000, Idle: 200, Frozen: 100, Span: 10 * time.Second,
		Backlog: 100_000, Queue: 1_000_000, Guests: 200}
}

// Short is a plan that tries the harness; its numbers mean little.
func Short() Plan {
	return Plan{Short: true, Rounds: 1, Cell: 150 * time.Millisecond, WarmUp: 5, Seasoning: 5, Probe: 50 * time.Millisecond,
		Colds: 3, Slow: 2, Pace: 30 * time.Millisecond, Many: 100, Idle: 10, Frozen: 5, Span: time.Second,
		Backlog: 2000, Queue: 2000, Guests: 5}
}

// Shape is one form of load.
type Shape struct {
	Connections int
	Rate        float64 // arrivals per second of an open loop; 0 is a closed loop
}

func (s Shape) String() string {
	connections := fmt.Sprintf("%d connections", s.Connections)
	if s.Connections == 1 {
		connections = "1 connection"
	}
	if s.Rate == 0 {
		return "closed loop, " + connections
	}
	return fmt.Sprintf("open loop, %.0f/s, %s", s.Rate, connections)
}

func (s Shape) run(ctx context.Context, t load.Target, d time.Duration, seed uint64) (*load.Result, error) {
	if s.Rate == 0 {
		return load.Closed(ctx, t, s.Connections, d)
	}
	return load.Open(ctx, t, s.Connections, load.Poisson(s.Rate, d, seed))
}

// series keeps the result of a load.
func series(of, side string, round int, r *load.Result) record.Series {
	return record.Series{Case: of, Side: side, Round: round, Elapsed: r.Elapsed, Samples: record.Samples(r.Samples), Values: map[string]float64{}}
}
