package bench

import (
	"context"
	"fmt"

	"hearth/bench/record"
	"hearth/bench/report"
	"hearth/bench/stage"
)

// The sides of rows about a setting.
const (
	with    = "with"
	without = "without"
)

// large is a function whose init is what its cold start takes.
type large struct {
	name  string
	title string
	f     func(m *measurement) (stage.Function, error)
	n     int // cold starts of each side in a round
	goal  *report.Goal
}

// threeTimes is what compiling ahead is to bring.
var threeTimes = report.AtLeast(report.None, 3)

var largeOnes = []large{
	{"node 0.1 MB", "Node package of 0.1 MB", nodeOf(100 << 10), 4, threeTimes},
	{"node 10 MB", "Node package of 10 MB", nodeOf(10 << 20), 2, threeTimes},
	{"node 50 MB", "Node package of 50 MB", nodeOf(50 << 20), 1, threeTimes},
	{"python heavy", "Python with heavy imports (200 modules of its own, 14 of the library)", pythonHeavy, 2, threeTimes},
}

func nodeOf(size int) func(*measurement) (stage.Function, error) {
	return func(m *measurement) (stage.Function, error) { return m.stage.LargeNode(m.language("node"), size) }
}

func pythonHeavy(m *measurement) (stage.Function, error) {
	return m.stage.HeavyPython(m.language("python"))
}

// measureCompiled has cold starts of large packages on a server that compiles them
// at deployment and on one that does not.
func measureCompiled(ctx context.Context, m *measurement) error {
	if m.language("node") == nil || m.language("python") == nil {
		return fmt.Errorf("the row %s is about Node and Python, and -languages leaves one out", m.record.Row)
	}
	servers := map[string]*stage.Hearth{}
	for side, value := range map[string]string{with: "on", without: "off"} {
		h, err := m.stage.Hearth(ctx, append([]string{"--compile", value}, soon...)...)
		if err != nil {
			return err
		}
		servers[side] = h
	}
	starters := map[string]map[string]*starter{}
	for i, one := range largeOnes {
		f, err := one.f(m)
		if err != nil {
			return err
		}
		starters[one.name] = map[string]*starter{}
		for side, h := range servers {
			if starters[one.name][side], err = m.starter(ctx, h, fmt.Sprintf("large-%d", i), f, 1); err != nil {
				return fmt.Errorf("%s: %w", one.name, err)
			}
		}
	}
	return m.rounds(ctx, func(round int) error {
		for _, one := range largeOnes {
			sides := []string{with, without}
			for _, i := range inTurn(len(sides), round) {
				c := starters[one.name][sides[i]]
				if err := c.coldCell(ctx, one.name, sides[i], round, min(one.n, m.Plan.Slow), anyWay, c.atLevel); err != nil {
					return fmt.Errorf("%s, %s: %w", one.name, sides[i], err)
				}
			}
		}
		return nil
	})
}

func compiledSection(r *record.Record) report.Section {
	s := report.Section{Title: "Cold starts of large packages", Text: `Cold starts of functions with generated packages (` + "`stage/large.go`" + `), on a server that compiles them when they are
deployed (V8's code cache, Python's byte code) and on one that does not (` + "`--compile off`" + `). The source counts, not the zip. Hearth has no zygotes: what a fork would need is in docs/design.`}
	where := under(r, "")
	for _, one := range largeOnes {
		s.Figures = append(s.Figures, report.Figure{What: one.title + ": cold p50 without as a multiple of that with", Value: r.Compare(one.name, without, with, record.P(0.5), record.Ratio),
			Unit: report.Times, N: r.N(one.name, with), Goal: one.goal, Conditions: where})
	}
	t := report.Table{Head: []string{"package", "compiled at deployment", "p50 ms", "starts"}}
	for _, of := range r.Cases() {
		for _, side := range r.Sides(of) {
			t.Add(of, side, report.Milli.Spread(r.Pooled(of, side, 0.5)), fmt.Sprint(r.N(of, side)))
		}
	}
	s.Tables = append(s.Tables, t, partsTable(r))
	return s
}
