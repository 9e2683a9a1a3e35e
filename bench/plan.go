package bench

import (
	"fmt"
	"time"
)

// memoryMB is the memory of the functions: it comes with one whole CPU, so that no
// CPU quota is measured instead of Hearth.
const memoryMB = 1769

// Plan is what a run measures and for how long.
type Plan struct {
	Rounds   int           `json:"rounds"`
	Duration time.Duration `json:"duration"` // of one cell: one side of one row in one round
	WarmUp   int           `json:"warmUp"`   // requests of each connection before a cell
	Shapes   []Shape       `json:"shapes"`
	// Cold is how many cold starts each runtime has in a round, one after the
	// other; Burst how many at once after them.
	Cold  int `json:"cold"`
	Burst int `json:"burst"`
	// ColdPause is the time between two cold starts, in which the server may get
	// ready for the next one.
	ColdPause time.Duration `json:"coldPause"`
	// Probe is how long the machine is watched before a round, for what others do.
	Probe time.Duration `json:"probe"`
}

// Shape is one form of load.
type Shape struct {
	Connections int     `json:"connections"`
	Rate        float64 `json:"rate"` // arrivals per second of an open loop; 0 is a closed loop
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

// shapes are the rows of every runtime.
var shapes = []Shape{{Connections: 1}, {Connections: 16}, {Connections: 16, Rate: 400}}

// Full is the plan of make bench: some five minutes.
func Full() Plan {
	return Plan{Rounds: 5, Duration: 2 * time.Second, WarmUp: 200, Shapes: shapes,
		Cold: 10, Burst: 8, ColdPause: 150 * time.Millisecond, Probe: time.Second}
}

// Quick is a plan that tries the harness itself; its numbers mean little.
func Quick() Plan {
	return Plan{Rounds: 1, Duration: 200 * time.Millisecond, WarmUp: 5, Shapes: shapes,
		Cold: 2, Burst: 2, ColdPause: 20 * time.Millisecond, Probe: 100 * time.Millisecond}
}
