package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"hearth/bench/load"
	"hearth/bench/record"
	"hearth/bench/report"
	"hearth/bench/stage"
)

// The sides of cold starts.
const (
	poolHit   = "Hearth, pool hit"
	poolEmpty = "Hearth, pool empty"
	atOnce    = "Hearth, 8 at once"
	burst     = 8
	// drained is how many cold starts at once empty the stock of sandboxes' parts.
	drained = 12
)

// soon is how long a server of these rows keeps an idle instance: the next call of
// its function is a cold start again.
var soon = []string{"--keep-alive", "50ms"}

// starter makes cold starts of functions whose instances do not last.
type starter struct {
	m      *measurement
	server *stage.Hearth
	names  []string          // of the functions; the first is the one that is measured
	last   map[string]string // request id of the last call, by function
}

// starter deploys n functions with the same package.
func (m *measurement) starter(ctx context.Context, h *stage.Hearth, prefix string, f stage.Function, n int) (*starter, error) {
	c := &starter{m: m, server: h, last: map[string]string{}}
	for i := range n {
		name := fmt.Sprintf("%s-%d", prefix, i)
		if err := h.Deploy(ctx, name, f, memoryMB); err != nil {
			return nil, err
		}
		c.names = append(c.names, name)
	}
	return c, nil
}

// call invokes a function once.
func (c *starter) call(ctx context.Context, name string) (time.Duration, error) {
	r, err := load.Count(ctx, c.server.Target(name), 1, 1)
	if err != nil {
		return 0, err
	}
	return r.Samples[0].Latency(), nil
}

// together calls all the functions at once.
func (c *starter) together(ctx context.Context, names []string) (latencies []time.Duration, elapsed time.Duration, err error) {
	latencies = make([]time.Duration, len(names))
	failures := make([]error, len(names))
	var calls sync.WaitGroup
	began := time.Now()
	for i, name := range names {
		calls.Go(func() { latencies[i], failures[i] = c.call(ctx, name) })
	}
	calls.Wait()
	return latencies, time.Since(began), errors.Join(failures...)
}

var (
	errWarm = errors.New("a call that had to be cold was not")
	errCold = errors.New("a call that had to be warm was not")
)

// timeline fetches Hearth's own account of the last call of a function, which has
// to have been a cold one.
func (c *starter) timeline(ctx context.Context, name string) (t stage.Timeline, err error) {
	err = stage.Until(ctx, "the report of a call of "+name, func() (bool, error) {
		d, err := c.server.Describe(ctx, name)
		if err != nil || len(d.Recent) == 0 || d.Recent[0].RequestID == c.last[name] {
			return false, err
		}
		c.last[name], t = d.Recent[0].RequestID, d.Recent[0].Timeline
		if !d.Recent[0].IsCold() {
			return false, fmt.Errorf("%s: %w", name, errWarm)
		}
		return true, nil
	})
	return t, err
}

// atLevel is back, and a moment more.
func (c *starter) atLevel(ctx context.Context) error {
	if err := c.back(ctx); err != nil {
		return err
	}
	return stage.Pause(ctx, c.m.Plan.Pace)
}

// back waits until no instance is left and the server has all the stem cells that
// it wants.
func (c *starter) back(ctx context.Context) error {
	for _, name := range c.names {
		err := stage.Until(ctx, "the instances of "+name+" gone", func() (bool, error) {
			d, err := c.server.Describe(ctx, name)
			return err == nil && d.Instances.Starting+d.Instances.Idle+d.Instances.Busy == 0, err
		})
		if err != nil {
			return err
		}
	}
	return c.server.Stocked(ctx)
}

// emptied has the server's stock used up by other cold starts, right before.
func (c *starter) emptied(ctx context.Context) error {
	if err := c.atLevel(ctx); err != nil {
		return err
	}
	_, _, err := c.together(ctx, c.names[1:])
	return err
}

// ways are the ways that the starts of a side may go; empty is that of a Hearth
// that does not tell.
var (
	hitWays   = []string{stage.WayCell}
	emptyWays = []string{stage.WayEmpty, stage.WayDirect, ""}
	anyWay    = []string{stage.WayCell, stage.WayEmpty, stage.WayDirect, ""}
)

// coldCell makes n cold starts one after the other, each after what is to come
// before. One that went another way than its side is about does not count: it is
// kept as a side of its own.
func (c *starter) coldCell(ctx context.Context, of, side string, round, n int, allowed []string, before func(context.Context) error) error {
	counted := record.Series{Case: of, Side: side, Round: round}
	others := map[string]*record.Series{}
	for range n {
		if err := before(ctx); err != nil {
			return err
		}
		latency, err := c.call(ctx, c.names[0])
		if err != nil {
			return err
		}
		t, err := c.timeline(ctx, c.names[0])
		if err != nil {
			return err
		}
		s := &counted
		if !slices.Contains(allowed, t.Way) {
			way := side + ", but went the way '" + t.Way + "'"
			if others[way] == nil {
				others[way] = &record.Series{Case: of, Side: way, Round: round}
			}
			s = others[way]
		}
		s.Samples, s.Timelines = append(s.Samples, record.Lasting(latency)), append(s.Timelines, t)
	}
	if len(counted.Samples) > 0 {
		c.m.keep(counted)
	}
	for _, s := range others {
		c.m.keep(*s)
	}
	return nil
}

// burstCell makes cold starts of several functions at once.
func (c *starter) burstCell(ctx context.Context, of string, round int) error {
	names := c.names[:burst]
	if err := c.atLevel(ctx); err != nil {
		return err
	}
	latencies, elapsed, err := c.together(ctx, names)
	if err != nil {
		return err
	}
	s := record.Series{Case: of, Side: atOnce, Round: round, Elapsed: elapsed}
	for i, name := range names {
		t, err := c.timeline(ctx, name)
		if err != nil {
			return err
		}
		s.Samples, s.Timelines = append(s.Samples, record.Lasting(latencies[i])), append(s.Timelines, t)
	}
	c.m.keep(s)
	return nil
}

// coldServers starts one Hearth with stem cells, where it has some, and one without.
func (m *measurement) coldServers(ctx context.Context) (hit, empty *stage.Hearth, err error) {
	if m.binary.Has("cells") {
		if hit, err = m.stage.Hearth(ctx, soon...); err != nil {
			return nil, nil, err
		}
		empty, err = m.stage.Hearth(ctx, append([]string{"--cells", "off"}, soon...)...)
		return hit, empty, err
	}
	m.note("this Hearth has no stem cells: managed runtimes have no pool to hit")
	empty, err = m.stage.Hearth(ctx, soon...)
	return empty, empty, err
}

// coldSides are the two servers of a language's cold starts.
type coldSides struct{ hit, empty *starter }

func measureCold(ctx context.Context, m *measurement) error {
	hit, empty, err := m.coldServers(ctx)
	if err != nil {
		return err
	}
	sides := map[string]coldSides{}
	for _, l := range m.languages {
		var c coldSides
		if c.hit, err = m.starter(ctx, hit, "hit-"+l.Name, l.Function, burst); err != nil {
			return err
		}
		if c.empty, err = m.starter(ctx, empty, "empty-"+l.Name, l.Function, 1+drained); err != nil {
			return err
		}
		sides[l.Name] = c
	}
	return m.rounds(ctx, func(round int) error {
		for _, l := range m.languages {
			if err := m.coldRound(ctx, l, sides[l.Name], round); err != nil {
				return fmt.Errorf("%s: %w", l.Name, err)
			}
		}
		return nil
	})
}

// coldRound measures the cold starts of a language: with everything in stock, with
// nothing in stock, several at once, and the bare server's.
func (m *measurement) coldRound(ctx context.Context, l *stage.Language, c coldSides, round int) error {
	// Of a static binary the stock may be sandboxes or only their parts, and it is
	// empty when others have just used it up. Of the others it is stem cells.
	hits, before := hitWays, c.empty.atLevel
	if l.Name == "go" {
		hits, before = anyWay, c.empty.emptied
	}
	cells := []func() error{
		func() error {
			if c.hit.server == c.empty.server && l.Name != "go" {
				return nil // there are no cells
			}
			return c.hit.coldCell(ctx, l.Name, poolHit, round, m.Plan.Colds, hits, c.hit.atLevel)
		},
		func() error {
			return c.empty.coldCell(ctx, l.Name, poolEmpty, round, m.Plan.Slow, emptyWays, before)
		},
		func() error { return c.hit.burstCell(ctx, l.Name, round) },
		func() error { return m.coldBare(ctx, l, round) },
	}
	for _, i := range inTurn(len(cells), round) {
		if err := cells[i](); err != nil {
			return err
		}
	}
	return nil
}

// coldBare starts the bare server and asks it once, again and again.
func (m *measurement) coldBare(ctx context.Context, l *stage.Language, round int) error {
	s := record.Series{Case: l.Name, Side: bare, Round: round}
	for range m.Plan.Slow {
		b, err := m.stage.Bare(ctx, l, nil)
		if err != nil {
			return err
		}
		if _, err = load.Count(ctx, b.Target, 1, 1); err != nil {
			return err
		}
		s.Samples = append(s.Samples, record.Lasting(time.Since(b.Child.Began)))
		if err := b.Child.Kill(); err != nil {
			return err
		}
		if err := stage.Pause(ctx, m.Plan.Pace); err != nil {
			return err
		}
	}
	m.keep(s)
	return nil
}

// coldGoals are those of the median and of p99 with a full pool, and of the median
// with an empty one, in seconds.
var coldGoals = map[string][3]*report.Goal{
	"go":     {report.AtMost(0.003, 0.002), report.AtMost(0.012, 0.006), report.AtMost(0.005, 0.003)},
	"python": {report.AtMost(0.004, 0.001), report.AtMost(0.016, 0.008), report.AtMost(0.020, 0.010)},
	"node":   {report.AtMost(0.004, 0.0015), report.AtMost(0.016, 0.008), report.AtMost(0.035, 0.025)},
}

func coldSection(r *record.Record) report.Section {
	s := report.Section{Title: "Cold starts", Text: `A call of a function of which no instance runs, from the request to the whole answer at the client, one at a time; the
servers keep an idle instance for 50 ms, and the next call waits until it is gone. *Pool hit*: what Hearth keeps in stock (stem cells for Node and Python; networks, control groups and /tmp images for all) is at
its level, and Hearth's own report of the call says that a stem cell became the instance. *Pool empty*: no stem cells (` + "`--cells off`" + `); for a
static binary, which never uses one, the stock of sandboxes' parts was used up by 12 cold starts at once right before. A start that went
another way than its row says does not count, and is shown in a row of its own. What a hit saves is paid when the pool is filled up
again: see the starts per second. *Bare* is from the fork of the bare server to its first answer.`}
	where := under(r, "bare: none")
	for _, language := range []string{"go", "python", "node"} {
		for i, f := range []struct {
			what, side string
			q          float64
		}{{"pool hit, p50", poolHit, 0.5}, {"pool hit, p99", poolHit, 0.99}, {"pool empty, p50", poolEmpty, 0.5}} {
			s.Figures = append(s.Figures, report.Figure{What: coldTitles[language] + ": " + f.what,
				Value: r.Pooled(language, f.side, f.q), Unit: report.Milli, N: r.N(language, f.side), Goal: coldGoals[language][i], Conditions: where})
		}
	}
	t := report.Table{Head: []string{"function", "side", "p50 ms", "p90 ms", "p99 ms", "min–max ms", "starts", "at once: starts/s"}}
	for _, of := range r.Cases() {
		for _, side := range r.Sides(of) {
			l := load.Summarize(r.All(of, side))
			rate := ""
			if side == atOnce {
				rate = report.PerSecond.Spread(r.Over(of, side, record.Rate))
			}
			t.Add(of, side, report.Milli.Spread(r.Pooled(of, side, 0.5)), report.Milli.Duration(l.P90), report.Milli.Duration(l.P99),
				report.Milli.Duration(l.Min)+"–"+report.Milli.Duration(l.Max), fmt.Sprint(l.N), rate)
		}
	}
	s.Tables = append(s.Tables, t, partsTable(r))
	s.Plots = []report.Plot{coldPlot(r, "plots/cold.svg", "Cold starts: p50 (bar) and p99 (line), ms")}
	return s
}

var coldTitles = map[string]string{"go": "static (Go)", "python": "Python", "node": "Node"}

// parts are those of a timeline.
var parts = []struct {
	name string
	of   func(t stage.Timeline) time.Duration
}{
	{"queue", func(t stage.Timeline) time.Duration { return t.Queue }},
	{"sandbox", func(t stage.Timeline) time.Duration { return t.Sandbox }},
	{"runtime", func(t stage.Timeline) time.Duration { return t.Runtime }},
	{"code", func(t stage.Timeline) time.Duration { return t.Code }},
	{"init", func(t stage.Timeline) time.Duration { return t.Init }},
	{"handler", func(t stage.Timeline) time.Duration { return t.Handler }},
	{"settle", func(t stage.Timeline) time.Duration { return t.Settle }},
}

// partsTable shows where the time of cold starts went.
func partsTable(r *record.Record) report.Table {
	t := report.Table{Caption: "Where it goes, medians of each part in ms, by Hearth's own account; the rest of what the client saw is HTTP and the client. Medians do not add up:",
		Head: []string{"function", "side"}}
	for _, p := range parts {
		t.Head = append(t.Head, p.name)
	}
	t.Head = append(t.Head, "HTTP and client")
	for _, of := range r.Cases() {
		for _, side := range r.Sides(of) {
			if row := partsOf(r.Of(of, side)); row != nil {
				t.Add(append([]string{of, side}, row...)...)
			}
		}
	}
	return t
}

// partsOf is the median of each part of the starts, and of what is left of the
// client's latency; nil where Hearth tells nothing of them.
func partsOf(series []*record.Series) (cells []string) {
	var timelines []stage.Timeline
	var rest []time.Duration
	for _, s := range series {
		for i, t := range s.Timelines {
			timelines = append(timelines, t)
			rest = append(rest, s.Samples[i].Latency()-t.Sum())
		}
	}
	if len(timelines) == 0 {
		return nil
	}
	for _, p := range parts {
		d := make([]time.Duration, len(timelines))
		for i, t := range timelines {
			d[i] = p.of(t)
		}
		cells = append(cells, report.Milli.Duration(load.QuantileOf(d, 0.5)))
	}
	return append(cells, report.Milli.Duration(load.QuantileOf(rest, 0.5)))
}

// coldPlot draws all sides of all cases.
func coldPlot(r *record.Record, file, title string) report.Plot {
	p := report.Plot{File: file, Title: title, Unit: report.Milli}
	for _, of := range r.Cases() {
		g := report.Group{Title: of}
		for _, side := range r.Sides(of) {
			g.Bars = append(g.Bars, report.Bar{Label: side, Ours: side == poolHit || side == poolEmpty || side == atOnce,
				Value: r.Pooled(of, side, 0.5).Median, Tail: r.Pooled(of, side, 0.99).Median})
		}
		p.Groups = append(p.Groups, g)
	}
	return p
}
