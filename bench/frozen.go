package bench

import (
	"context"
	"time"

	"hearth/bench/load"
	"hearth/bench/record"
	"hearth/bench/report"
	"hearth/bench/stage"
)

// The sides of this row.
const (
	frozen = "Hearth, frozen instance"
	awake  = "Hearth, awake instance"
)

// frozenPause is between two calls of this row: after it the one instance is frozen,
// the other one merely idle.
const frozenPause = 30 * time.Millisecond

// measureFrozen calls a function on a server that freezes idle instances and the
// same one on a server that never does, after the same pause.
func measureFrozen(ctx context.Context, m *measurement) error {
	sides := map[string]*stage.Hearth{}
	for side, after := range map[string]string{frozen: "1ms", awake: "off"} {
		h, err := m.stage.Hearth(ctx, "--freeze-after", after)
		if err != nil {
			return err
		}
		for _, l := range m.languages {
			c, err := deploy(ctx, h, side, l.Name, l.Function, memoryMB)
			if err != nil {
				return err
			}
			if _, err := load.Count(ctx, c.target, 1, m.Plan.WarmUp); err != nil {
				return err
			}
		}
		sides[side] = h
	}
	names := []string{frozen, awake}
	return m.rounds(ctx, func(round int) error {
		for _, l := range m.languages {
			for _, i := range inTurn(len(names), round) {
				if err := m.frozenCell(ctx, sides[names[i]], l.Name, names[i], round); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// frozenCell makes calls with pauses. A call whose instance was not in the state
// that its side is about does not count.
func (m *measurement) frozenCell(ctx context.Context, h *stage.Hearth, function, side string, round int) error {
	counted := record.Series{Case: function, Side: side, Round: round}
	other := record.Series{Case: function, Side: side + ", but it was not", Round: round}
	for range m.Plan.Colds / 2 {
		if err := stage.Pause(ctx, frozenPause); err != nil {
			return err
		}
		r, err := load.Count(ctx, h.Target(function), 1, 1)
		if err != nil {
			return err
		}
		d, err := h.Describe(ctx, function)
		if err != nil {
			return err
		}
		if len(d.Recent) == 0 || d.Recent[0].IsCold() {
			return errCold
		}
		s, t := &counted, d.Recent[0].Timeline
		if (t.Thaw > 0) != (side == frozen) {
			s = &other
		}
		s.Samples, s.Timelines = append(s.Samples, record.Lasting(r.Samples[0].Latency())), append(s.Timelines, t)
	}
	for _, s := range []record.Series{counted, other} {
		if len(s.Samples) > 0 {
			m.keep(s)
		}
	}
	return nil
}

func frozenSection(r *record.Record) report.Section {
	s := report.Section{Title: "Warm calls of frozen instances", Text: `The same function on a server that freezes an instance 1 ms after its last call, and on one that never does
(` + "`--freeze-after`" + `); a call each 30 ms, so that the pause is the same. Hearth's report of a call says whether its instance was thawed for it.`}
	where := under(r, "")
	for _, language := range []string{"node", "python", "go"} {
		s.Figures = append(s.Figures, report.Figure{What: titles[language] + ": p50 on a frozen instance minus on an awake one",
			Value: r.Compare(language, frozen, awake, record.P(0.5), record.Minus), Unit: report.Micro, N: r.N(language, frozen),
			Goal: report.AtMost(300e-6, 150e-6), Conditions: where})
	}
	t := loadTable(r)
	s.Tables = append(s.Tables, t)
	return s
}
