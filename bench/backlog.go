package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"hearth/bench/load"
	"hearth/bench/record"
	"hearth/bench/report"
	"hearth/bench/stage"
)

// The cases of this row.
const (
	deep     = "1,000,000 queued events of one function"
	wide     = "5,000 functions with a backlog"
	wideEach = 4 // events of each of the functions
	// wideRegions is in how many regions they are: all quotas of one are in one
	// record, so that 5,000 of them take minutes to be set one by one.
	wideRegions = 10
)

// measureBacklog kills servers with a large backlog and starts them again.
func measureBacklog(ctx context.Context, m *measurement) error {
	return m.roundsOf(ctx, 1, func(round int) error {
		return errors.Join(m.deepCell(ctx, round), m.wideCell(ctx, round))
	})
}

func (m *measurement) deepCell(ctx context.Context, round int) error {
	h, err := m.eventServer(ctx)
	if err != nil {
		return err
	}
	if _, err := load.Count(ctx, h.EventTarget(held), min(fillers, m.Plan.Queue), m.Plan.Queue); err != nil {
		return err
	}
	return m.afterKill(ctx, h, []string{""}, deep, round, m.Plan.Queue, 1)
}

func (m *measurement) wideCell(ctx context.Context, round int) error {
	regions := make([]string, wideRegions)
	for i := range regions {
		regions[i] = fmt.Sprintf("eu-west-%d", i+1)
	}
	h, err := m.stage.Hearth(ctx, "--region", regions[0], "--regions", strings.Join(regions, ","))
	if err != nil {
		return err
	}
	n, small := m.Plan.Many/2, smallest(m.languages).Function
	err = atATime(n, func(i int) error {
		h, name := h.In(regions[i%wideRegions]), manyName(i)
		if err := errors.Join(h.Deploy(ctx, name, small, memoryMB), h.Hold(ctx, name)); err != nil {
			return err
		}
		for range wideEach {
			if _, err := h.Accept(ctx, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return m.afterKill(ctx, h, regions, wide, round, n*wideEach, n)
}

// afterKill kills a server, starts it again and looks at its memory. All events
// have to be there.
func (m *measurement) afterKill(ctx context.Context, h *stage.Hearth, regions []string, of string, round, events, functions int) error {
	if err := h.Kill(); err != nil {
		return err
	}
	if err := h.Start(ctx); err != nil {
		return err
	}
	memory, err := stage.MemoryOf([]int{h.Child.PID()})
	if err != nil {
		return err
	}
	gotEvents, gotFunctions := 0, 0
	for _, region := range regions {
		e, f, err := h.In(region).Queued(ctx)
		if err != nil {
			return err
		}
		gotEvents, gotFunctions = gotEvents+e, gotFunctions+f
	}
	if gotEvents != events || gotFunctions != functions {
		return fmt.Errorf("%s: after a kill %d events of %d functions are queued, not %d of %d", of, gotEvents, gotFunctions, events, functions)
	}
	m.say("    %s: ready after %v, RSS %.0f MB", of, h.Ready, float64(memory.RSS)/1e6)
	m.keep(record.Series{Case: of, Side: hearth, Round: round, Samples: []record.Sample{record.Lasting(h.Ready)},
		Values: map[string]float64{"rss": float64(memory.RSS), "events": float64(events)}})
	return h.Stop()
}

func backlogSection(r *record.Record) report.Section {
	s := report.Section{Title: "A backlog and a kill", Text: `Events of 256 B of functions that are switched off; the server is killed with SIGKILL and started again on its data. Ready is
from the fork to the line that says that it takes requests; RSS is its resident memory right then. That every accepted event is there again is checked, and the row fails if not.`}
	where := eventConditions(r, "")
	for _, c := range []struct {
		of   string
		must float64
	}{{deep, 3}, {wide, 6}} {
		s.Figures = append(s.Figures,
			report.Figure{What: c.of + ": ready after SIGKILL", Value: r.Over(c.of, hearth, record.P(0.5)), Unit: report.Seconds, N: r.N(c.of, hearth), Goal: report.AtMost(c.must, report.None), Conditions: where},
			report.Figure{What: c.of + ": RSS", Value: r.Over(c.of, hearth, record.Value("rss")), Unit: report.Megabytes, N: r.N(c.of, hearth), Goal: report.AtMost(600e6, report.None), Conditions: where})
	}
	return s
}
