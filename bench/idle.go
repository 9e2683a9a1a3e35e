package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hearth/bench/record"
	"hearth/bench/report"
	"hearth/bench/stage"
)

// idleRest is how long instances are left alone before they are looked at.
const idleRest = time.Second

// measureIdle keeps many instances after one call of each, and looks at their
// memory and their CPU.
func measureIdle(ctx context.Context, m *measurement) error {
	return m.roundsOf(ctx, 1, func(round int) error {
		for _, l := range m.languages {
			if err := m.idleCell(ctx, l, round); err != nil {
				return fmt.Errorf("%s: %w", l.Name, err)
			}
		}
		return nil
	})
}

func (m *measurement) idleCell(ctx context.Context, l *stage.Language, round int) error {
	h, err := m.stage.Hearth(ctx)
	if err != nil {
		return err
	}
	n := m.Plan.Frozen
	if l.Name == "node" {
		n = m.Plan.Idle
	}
	c, err := m.starter(ctx, h, "idle", l.Function, n)
	if err != nil {
		return err
	}
	if err := c.callEach(ctx, c.names[:m.Plan.Frozen]); err != nil {
		return err
	}
	s := record.Series{Case: l.Name, Side: hearth, Round: round, Values: map[string]float64{}}
	if err := c.atRest(ctx, s.Values); err != nil {
		return err
	}
	tree := stage.TreeOf(h.Child.PID())
	own, err1 := stage.MemoryOf(tree.PIDs[:1])
	memory, err2 := stage.MemoryOf(tree.PIDs[1:])
	if err1 != nil || err2 != nil {
		return fmt.Errorf("smaps_rollup: %w", errors.Join(err1, err2))
	}
	s.Values["instances"], s.Values["processes"] = float64(m.Plan.Frozen), float64(len(tree.PIDs)-1)
	s.Values["pss"], s.Values["rss"], s.Values["server"] = float64(memory.PSS), float64(memory.RSS), float64(own.PSS)
	if l.Name == "node" {
		if err := c.callEach(ctx, c.names[m.Plan.Frozen:]); err != nil {
			return err
		}
		if err := c.atRest(ctx, map[string]float64{}); err != nil {
			return err
		}
		before := stage.TreeOf(h.Child.PID())
		if err := stage.Pause(ctx, m.Plan.Span); err != nil {
			return err
		}
		after := stage.TreeOf(h.Child.PID())
		seconds := m.Plan.Span.Seconds()
		s.Values["ownCPU"] = (after.Root - before.Root).Seconds() / seconds
		s.Values["instancesCPU"] = (after.CPU - after.Root - before.CPU + before.Root).Seconds() / seconds
		m.say("    %d idle: instances %.3f %% of a core, Hearth %.3f %%", m.Plan.Idle, 100*s.Values["instancesCPU"], 100*s.Values["ownCPU"])
	}
	m.say("    %-10s PSS of an idle instance %.2f MB", l.Name, pssOf(&s)/1e6)
	m.keep(s)
	return h.Stop()
}

// callEach calls functions once, four at a time.
func (c *starter) callEach(ctx context.Context, names []string) error {
	for len(names) > 0 {
		some := min(4, len(names))
		if _, _, err := c.together(ctx, names[:some]); err != nil {
			return err
		}
		names = names[some:]
	}
	return nil
}

// atRest waits until the stock is complete and everything that is to be frozen has
// had the time, and counts the stem cells.
func (c *starter) atRest(ctx context.Context, values map[string]float64) error {
	if err := c.server.Stocked(ctx); err != nil {
		return err
	}
	cells, err := c.server.Cells(ctx)
	if err != nil {
		return err
	}
	for _, cell := range cells {
		values["cells"] += float64(cell.Parked)
	}
	return stage.Pause(ctx, idleRest)
}

// pssOf is the memory of one idle instance. Stem cells are counted as instances,
// which they nearly are: /proc does not tell which is which.
func pssOf(s *record.Series) float64 {
	return s.Values["pss"] / (s.Values["instances"] + s.Values["cells"])
}

func idleSection(r *record.Record) report.Section {
	s := report.Section{Title: "Idle instances", Text: `100 functions, each called once, a second later: the proportional set size (PSS) of all processes below Hearth's
own, from /proc/PID/smaps_rollup, for each instance; the stem cells that stand by are counted as instances. Then 200 Node instances for ten
seconds: the CPU time of all of them, and Hearth's own.`}
	where := under(r, "")
	where.Payload = "one call each: " + where.Payload
	for _, f := range []struct {
		language  string
		must, aim float64
	}{{"go", 1.5e6, 0.7e6}, {"python", 9e6, 4e6}, {"node", 9e6, 7e6}} {
		s.Figures = append(s.Figures, report.Figure{What: "PSS of an idle instance: " + coldTitles[f.language], Value: r.Over(f.language, hearth, pssOf), Unit: report.Megabytes,
			N: int(sum(r, f.language, "instances")), Goal: report.AtMost(f.must, f.aim), Conditions: where})
	}
	s.Figures = append(s.Figures,
		report.Figure{What: "200 idle Node instances over 10 s: their CPU", Value: r.Over("node", hearth, record.Value("instancesCPU")), Unit: report.Core,
			N: 1, Goal: report.AtMost(0, 0), Conditions: where},
		report.Figure{What: "200 idle Node instances over 10 s: Hearth's own CPU", Value: r.Over("node", hearth, record.Value("ownCPU")), Unit: report.Core,
			N: 1, Goal: report.AtMost(0.01, 0.002), Conditions: where})
	t := report.Table{Head: []string{"function", "instances", "stem cells", "processes", "PSS MB in all", "RSS MB in all", "Hearth's own PSS MB"}}
	for _, of := range r.Cases() {
		number := func(name string, u report.Unit) string { return u.Spread(r.Over(of, hearth, record.Value(name))) }
		t.Add(of, number("instances", report.Count), number("cells", report.Count), number("processes", report.Count),
			number("pss", report.Megabytes), number("rss", report.Megabytes), number("server", report.Megabytes))
	}
	s.Tables = append(s.Tables, t)
	return s
}

// sum adds up a number of Hearth's over the rounds.
func sum(r *record.Record, of, name string) (total float64) {
	for _, s := range r.Of(of, hearth) {
		total += s.Values[name]
	}
	return total
}
