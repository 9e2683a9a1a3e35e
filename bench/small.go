package bench

import (
	"context"
	"fmt"

	"hearth/bench/load"
	"hearth/bench/record"
	"hearth/bench/report"
)

// smallMB is the memory of the functions of this row: 7 % of a CPU.
const smallMB = 128

var smallShapes = []Shape{{Connections: 1}, {Connections: 1, Rate: 100}}

// measureSmall compares small functions with bare servers in a control group with
// the very quota of the functions' instances.
func measureSmall(ctx context.Context, m *measurement) error {
	h, err := m.stage.Hearth(ctx)
	if err != nil {
		return err
	}
	sides := map[string][]contender{}
	for _, l := range m.languages {
		ours, err := deploy(ctx, h, hearth, "small-"+l.Name, l.Function, smallMB)
		if err != nil {
			return err
		}
		if _, err := load.Count(ctx, ours.target, 1, 1); err != nil {
			return err
		}
		group, err := m.stage.GroupLike(h)
		if err != nil {
			return err
		}
		m.record.Software["CPU quota of both sides at 128 MB"] = group.Quota.String()
		plain, err := m.bareContender(ctx, l, group)
		if err != nil {
			return err
		}
		sides[l.Name] = []contender{plain, ours}
	}
	return m.rounds(ctx, func(round int) error {
		for _, l := range m.languages {
			for i, shape := range smallShapes {
				if err := m.beside(ctx, warmCase(l.Name, shape), shape, sides[l.Name], round, round+i); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func smallSection(r *record.Record) report.Section {
	s := report.Section{Title: "Warm calls of a 128 MB function", Text: `128 MB come with 7 % of a CPU. The bare server runs in a control group with the quota,
the period and the burst that were read from the function's own, at the same place of the same hierarchy. A closed loop uses up the quota, so its p99 is the wait for the next
period on both sides; the open loop stays below it.`}
	where := under(r, "bare: none, the same CPU quota")
	for _, language := range []string{"node", "python", "go"} {
		one := warmCase(language, smallShapes[0])
		s.Figures = append(s.Figures, report.Figure{What: fmt.Sprintf("%s at 128 MB: added to the bare server's p50, 1 connection", titles[language]),
			Value: r.Compare(one, hearth, bare, record.P(0.5), record.Minus), Unit: report.Micro, N: r.N(one, hearth),
			Goal: added[language][0], Conditions: where})
		for i, q := range []float64{0.99, 0.999} {
			s.Figures = append(s.Figures, report.Figure{What: fmt.Sprintf("%s at 128 MB: %s as a multiple of the bare server's, 1 connection", titles[language], [...]string{"p99", "p99.9"}[i]),
				Value: r.Compare(one, hearth, bare, record.P(q), record.Ratio), Unit: report.Times, N: r.N(one, hearth),
				Goal: report.AtMost(1.5, 1.1), Conditions: where})
		}
	}
	s.Tables = append(s.Tables, loadTable(r), accountTable(r))
	s.Plots = []report.Plot{latencyPlot(r, "plots/small.svg", "Warm calls at 128 MB: p50 (bar) and p99 (line), µs")}
	return s
}
