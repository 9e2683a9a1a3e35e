package bench

import (
	"math"
	"slices"
	"time"

	"hearth/bench/load"
	"hearth/faas"
)

// Report is everything that a run came to.
type Report struct {
	Started   time.Time `json:"started"`
	Version   string    `json:"version"` // of Hearth
	Isolation string    `json:"isolation"`
	Machine   Machine   `json:"machine"`
	Runtimes  []Runtime `json:"runtimes"`
	Plan      Plan      `json:"plan"`
	Loads     []string  `json:"loads"` // load average before each round
	Busy      []float64 `json:"busy"`  // share of the processors in use before each round, by others
	Rows      []*Row    `json:"rows"`
	Colds     []*Cold   `json:"colds"`
}

// Runtime is what the functions and bare servers of a language ran on.
type Runtime struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Row compares both sides under one shape of load.
type Row struct {
	Runtime string `json:"runtime"`
	Shape   Shape  `json:"shape"`
	Pairs   []Pair `json:"pairs"` // by round
}

func (r *Report) row(runtime string, shape Shape) *Row {
	for _, row := range r.Rows {
		if row.Runtime == runtime && row.Shape == shape {
			return row
		}
	}
	row := &Row{Runtime: runtime, Shape: shape}
	r.Rows = append(r.Rows, row)
	return row
}

func (r *Report) cold(runtime string) *Cold {
	for _, c := range r.Colds {
		if c.Runtime == runtime {
			return c
		}
	}
	c := &Cold{Runtime: runtime}
	r.Colds = append(r.Colds, c)
	return c
}

// A run with fewer rounds, or with others so busy beside it, is marked as one not
// to be quoted.
const (
	enoughRounds = 5
	quietShare   = 0.1
)

// Trial says that the run was too short to mean anything.
func (r *Report) Trial() bool { return r.Plan.Rounds < enoughRounds }

// Disturbed says that something else used the processors.
func (r *Report) Disturbed() bool { return r.Busiest() > quietShare }

// Busiest is the largest share of the processors that others used.
func (r *Report) Busiest() float64 { return load.SpreadOf(slices.Clone(r.Busy)).Max }

// Of returns the rows of a shape.
func (r *Report) Of(s Shape) (rows []*Row) {
	for _, row := range r.Rows {
		if row.Shape == s {
			rows = append(rows, row)
		}
	}
	return rows
}

// over is the spread of a number of a pair over the rounds.
func (r *Row) over(f func(Pair) float64) load.Spread {
	values := make([]float64, len(r.Pairs))
	for i, p := range r.Pairs {
		values[i] = f(p)
	}
	return load.SpreadOf(values)
}

// Bare and Hearth are the two sides, for the template.
func (r *Row) Bare() Side   { return Side{r, bareServer} }
func (r *Row) Hearth() Side { return Side{r, hearth} }

// Added is what Hearth adds to the median latency, in nanoseconds.
func (r *Row) Added() load.Spread {
	return r.over(func(p Pair) float64 { return float64(p[hearth].Latency.P50 - p[bareServer].Latency.P50) })
}

// Slowdown is Hearth's median latency as a multiple of the bare server's.
func (r *Row) Slowdown() load.Spread {
	return r.over(func(p Pair) float64 {
		return ratio(float64(p[hearth].Latency.P50), float64(p[bareServer].Latency.P50))
	})
}

// Share is Hearth's rate as a share of the bare server's.
func (r *Row) Share() load.Spread {
	return r.over(func(p Pair) float64 { return ratio(p[hearth].Rate, p[bareServer].Rate) })
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// Side is one side of a row over the rounds.
type Side struct {
	row   *Row
	which side
}

func (s Side) over(f func(Cell) float64) load.Spread {
	return s.row.over(func(p Pair) float64 { return f(p[s.which]) })
}

// P50, P99 and P999 are quantiles of each round's latency, in nanoseconds.
func (s Side) P50() load.Spread {
	return s.over(func(c Cell) float64 { return float64(c.Latency.P50) })
}
func (s Side) P99() load.Spread {
	return s.over(func(c Cell) float64 { return float64(c.Latency.P99) })
}
func (s Side) P999() load.Spread {
	return s.over(func(c Cell) float64 { return float64(c.Latency.P999) })
}

// Late is how late the client sent 99 of 100 requests at most, in nanoseconds.
func (s Side) Late() load.Spread { return s.over(func(c Cell) float64 { return float64(c.Late.P99) }) }

// Rate is answers per second.
func (s Side) Rate() load.Spread { return s.over(func(c Cell) float64 { return c.Rate }) }

// CPU is processor time for each request, in nanoseconds.
func (s Side) CPU() load.Spread { return s.over(func(c Cell) float64 { return float64(c.CPU) }) }

// Handler and Settle are Hearth's own account, in nanoseconds.
func (s Side) Handler() load.Spread {
	return s.over(func(c Cell) float64 { return float64(c.Handler) })
}
func (s Side) Settle() load.Spread { return s.over(func(c Cell) float64 { return float64(c.Settle) }) }

// Samples is how many requests all rounds had.
func (s Side) Samples() (n int) {
	for _, p := range s.row.Pairs {
		n += p[s.which].Latency.N
	}
	return n
}

// Instances is the most that a round had, and Starts what was started while it was
// measured, over all rounds.
func (s Side) Instances() (n int) {
	for _, p := range s.row.Pairs {
		n = max(n, p[s.which].Instances)
	}
	return n
}

// Starts is how many instances were started while the side was measured.
func (s Side) Starts() (n int) {
	for _, p := range s.row.Pairs {
		n += p[s.which].Starts
	}
	return n
}

// SlowdownMean and ShareMean are geometric means over the runtimes of a shape.
func (r *Report) SlowdownMean(s Shape) float64 { return r.mean(s, (*Row).Slowdown) }

// ShareMean is the geometric mean of Share.
func (r *Report) ShareMean(s Shape) float64 { return r.mean(s, (*Row).Share) }

func (r *Report) mean(s Shape, of func(*Row) load.Spread) float64 {
	rows := r.Of(s)
	sum := 0.0
	for _, row := range rows {
		sum += math.Log(of(row).Median)
	}
	return math.Exp(sum / float64(len(rows)))
}

// Latency summarizes the starts that were alone.
func (c *Cold) Latency() load.Summary { return latencyOf(c.Starts) }

// BareLatency summarizes the starts of the bare server.
func (c *Cold) BareLatency() load.Summary { return load.Summarize(slices.Clone(c.Bare)) }

// BurstLatency summarizes the starts of all bursts.
func (c *Cold) BurstLatency() load.Summary {
	var all []ColdStart
	for _, b := range c.Bursts {
		all = append(all, b.Starts...)
	}
	return latencyOf(all)
}

// BurstRate is the starts per second of each burst.
func (c *Cold) BurstRate() load.Spread {
	rates := make([]float64, len(c.Bursts))
	for i, b := range c.Bursts {
		rates[i] = float64(len(b.Starts)) / b.Elapsed.Seconds()
	}
	return load.SpreadOf(rates)
}

func latencyOf(starts []ColdStart) load.Summary {
	d := make([]time.Duration, len(starts))
	for i, s := range starts {
		d[i] = s.Latency
	}
	return load.Summarize(d)
}

// Part is the median of one part of a cold start.
type Part struct {
	Name   string
	Median time.Duration
}

// parts are those of faas.Timeline, and what the client saw beside them.
var parts = []struct {
	name string
	of   func(t *faas.Timeline) time.Duration
}{
	{"queue", func(t *faas.Timeline) time.Duration { return t.Queue }},
	{"sandbox", func(t *faas.Timeline) time.Duration { return t.Sandbox }},
	{"runtime", func(t *faas.Timeline) time.Duration { return t.Runtime }},
	{"code", func(t *faas.Timeline) time.Duration { return t.Code }},
	{"init", func(t *faas.Timeline) time.Duration { return t.Init }},
	{"handler", func(t *faas.Timeline) time.Duration { return t.Handler }},
	{"settle", func(t *faas.Timeline) time.Duration { return t.Settle }},
}

// Parts returns where the time of the starts that were alone went. Medians do not
// add up to the median of the whole.
func (c *Cold) Parts() []Part {
	out := make([]Part, 0, len(parts)+1)
	rest := make([]time.Duration, len(c.Starts))
	for i, s := range c.Starts {
		rest[i] = s.Latency
	}
	for _, part := range parts {
		d := make([]time.Duration, len(c.Starts))
		for i := range c.Starts {
			d[i] = part.of(&c.Starts[i].Timeline)
			rest[i] -= d[i]
		}
		out = append(out, Part{part.name, load.Summarize(d).P50})
	}
	return append(out, Part{"HTTP and client", load.Summarize(rest).P50})
}
