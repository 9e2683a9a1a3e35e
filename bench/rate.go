package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hearth/bench/load"
	"hearth/bench/record"
	"hearth/bench/report"
	"hearth/bench/stage"
)

// rateCallers is how many functions are started at once, again and again: twice as
// many as the processors of the machine that the goals are for.
const rateCallers = 4

// measureRate calls functions whose instances are not kept, so that every call is a
// cold start and every instance ends, and counts until all stock is at its level.
func measureRate(ctx context.Context, m *measurement) error {
	return m.roundsOf(ctx, 1, func(round int) error {
		for _, l := range m.languages {
			if l.Name == "python" {
				continue
			}
			if err := m.rateCell(ctx, l, round); err != nil {
				return fmt.Errorf("%s: %w", l.Name, err)
			}
		}
		return nil
	})
}

func (m *measurement) rateCell(ctx context.Context, l *stage.Language, round int) error {
	h, err := m.stage.Hearth(ctx, "--keep-alive", "0s")
	if err != nil {
		return err
	}
	c, err := m.starter(ctx, h, "rate", l.Function, rateCallers)
	if err != nil {
		return err
	}
	if _, _, err := c.together(ctx, c.names); err != nil { // the first of all find nothing in stock
		return err
	}
	if err := c.atLevel(ctx); err != nil {
		return err
	}
	before, _, err := h.Counts(ctx)
	if err != nil {
		return err
	}
	tree, began := stage.TreeOf(h.Child.PID()), time.Now()
	results, err := m.startAgain(ctx, h, c.names)
	if err != nil {
		return err
	}
	if err := c.back(ctx); err != nil {
		return err
	}
	elapsed := time.Since(began)
	cold, calls, err := h.Counts(ctx)
	if err != nil {
		return err
	}
	s := record.Series{Case: l.Name, Side: hearth, Round: round, Elapsed: elapsed, Values: map[string]float64{
		"starts": float64(cold - before), "calls": float64(calls), "elapsed": elapsed.Seconds(),
		"cpu": (stage.TreeOf(h.Child.PID()).Root - tree.Root).Seconds(),
	}}
	for _, r := range results {
		s.Samples = append(s.Samples, record.Samples(r.Samples)...)
	}
	m.say("    %s: %.0f starts in %v, %d calls", l.Name, s.Values["starts"], elapsed, len(s.Samples))
	m.keep(s)
	if err := h.Stop(); err != nil {
		return err
	}
	return m.bootCost(ctx, l, round)
}

// startAgain has each function called by a caller of its own, one call after the
// other, for a little less than the span, in which the stock is to be filled up too.
func (m *measurement) startAgain(ctx context.Context, h *stage.Hearth, names []string) ([]*load.Result, error) {
	type ended struct {
		r   *load.Result
		err error
	}
	all := make(chan ended, len(names))
	for _, name := range names {
		go func() {
			r, err := load.Closed(ctx, h.Target(name), 1, m.Plan.Span*9/10)
			all <- ended{r, err}
		}()
	}
	var results []*load.Result
	var err error
	for range names {
		e := <-all
		if err = errors.Join(err, e.err); e.r != nil {
			results = append(results, e.r)
		}
	}
	return results, err
}

// bootCost starts the bare server as often at once, for as long: what the runtime
// alone costs on this machine.
func (m *measurement) bootCost(ctx context.Context, l *stage.Language, round int) error {
	s := record.Series{Case: l.Name, Side: bare, Round: round}
	began := time.Now()
	type ended struct {
		took []record.Sample
		err  error
	}
	all := make(chan ended, rateCallers)
	for range rateCallers {
		go func() {
			var e ended
			for e.err == nil && time.Since(began) < m.Plan.Span/2 {
				var c *stage.Child
				if c, e.err = stage.Spawn(ctx, stage.Command{Path: l.Bare[0], Args: l.Bare[1:]}); e.err == nil {
					e.took, e.err = append(e.took, record.Lasting(time.Since(c.Began))), c.Kill()
				}
			}
			all <- e
		}()
	}
	var err error
	for range rateCallers {
		e := <-all
		s.Samples, err = append(s.Samples, e.took...), errors.Join(err, e.err)
	}
	if err != nil {
		return err
	}
	s.Elapsed = time.Since(began)
	s.Values = map[string]float64{"starts": float64(len(s.Samples)), "elapsed": s.Elapsed.Seconds()}
	m.keep(s)
	return nil
}

// startsPerSecond counts cold starts over the whole time, the filling up included.
func startsPerSecond(s *record.Series) float64 {
	return record.Ratio(s.Values["starts"], s.Values["elapsed"])
}

func rateSection(r *record.Record) report.Section {
	s := report.Section{Title: "Starts per second", Text: `4 functions whose instances are not kept (` + "`--keep-alive 0s`" + `), each called again and again for nine seconds: every call is a cold start
and every instance ends, with its sandbox. The time counts until all stem cells stand by again and no instance is left, so what a pool hit saves is
paid for. *Bare* is the bare server started and killed by 4 callers, with no sandbox: what the machine can do.`}
	where := under(r, "bare: none")
	s.Figures = append(s.Figures,
		report.Figure{What: "sandboxed starts, HTTP in to HTTP out, per second over 10 s: static", Value: r.Over("go", hearth, startsPerSecond), Unit: report.PerSecond,
			N: int(sum(r, "go", "starts")), Goal: report.AtLeast(300, 600), Conditions: where},
		report.Figure{What: "the same: Node", Value: r.Over("node", hearth, startsPerSecond), Unit: report.PerSecond, N: int(sum(r, "node", "starts")), Conditions: where},
		report.Figure{What: "the same: Node, as a share of bare Node's starts", Value: r.Compare("node", hearth, bare, startsPerSecond, record.Ratio), Unit: report.Percent,
			N: int(sum(r, "node", "starts")), Conditions: where})
	t := report.Table{Head: []string{"function", "side", "starts", "calls", "until all stock was back, s", "starts/s", "p50 ms", "p99 ms"}}
	for _, of := range r.Cases() {
		for _, side := range r.Sides(of) {
			number := func(name string, u report.Unit) string { return u.Spread(r.Over(of, side, record.Value(name))) }
			t.Add(of, side, number("starts", report.Count), fmt.Sprint(r.N(of, side)), number("elapsed", report.Seconds), report.PerSecond.Spread(r.Over(of, side, startsPerSecond)),
				report.Milli.Spread(r.Over(of, side, record.P(0.5))), report.Milli.Spread(r.Over(of, side, record.P(0.99))))
		}
	}
	s.Tables = append(s.Tables, t)
	return s
}
