package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"hearth/bench/load"
	"hearth/bench/record"
	"hearth/bench/report"
	"hearth/bench/stage"
)

// The sides and cases of this row.
const (
	few         = "Hearth, 10 functions"
	many        = "Hearth, 10,000 functions"
	afterStop   = "start after SIGTERM"
	afterKill   = "start after SIGKILL"
	fewDeployed = 10
	// deployers is how many functions are deployed at once.
	deployers = 16
)

// measureScale calls a function of a server with few and of one with many others,
// and starts the latter again.
func measureScale(ctx context.Context, m *measurement) error {
	sides := map[string][]contender{}
	var last *stage.Hearth
	for _, side := range []struct {
		name string
		n    int
	}{{few, fewDeployed}, {many, m.Plan.Many}} {
		h, err := m.stage.Hearth(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		if err := deployMany(ctx, h, smallest(m.languages).Function, side.n-len(m.languages)); err != nil {
			return err
		}
		m.say("    %d functions deployed in %v", side.n, time.Since(began).Round(time.Millisecond))
		for _, l := range m.languages {
			c, err := deploy(ctx, h, side.name, "warm-"+l.Name, l.Function, memoryMB)
			if err != nil {
				return err
			}
			sides[l.Name] = append(sides[l.Name], c)
		}
		last = h
	}
	shape := Shape{Connections: 1}
	err := m.rounds(ctx, func(round int) error {
		for _, l := range m.languages {
			if err := m.beside(ctx, warmCase(l.Name, shape), shape, sides[l.Name], round, round); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return m.restarts(ctx, last)
}

// smallest is the language with the smallest package.
func smallest(languages []*stage.Language) *stage.Language {
	return slices.MinFunc(languages, func(a, b *stage.Language) int { return len(a.Function.Zip) - len(b.Function.Zip) })
}

// deployMany creates functions, several at a time.
func deployMany(ctx context.Context, h *stage.Hearth, f stage.Function, n int) error {
	return atATime(n, func(i int) error { return h.Deploy(ctx, manyName(i), f, memoryMB) })
}

func manyName(i int) string { return fmt.Sprintf("one-of-many-%d", i) }

// atATime does something for each of 1..n, several at a time, until one fails.
func atATime(n int, do func(i int) error) error {
	var next atomic.Int64
	failures := make(chan error, deployers)
	for range deployers {
		go func() {
			for {
				i := int(next.Add(1))
				if i > n {
					failures <- nil
					return
				}
				if err := do(i); err != nil {
					next.Store(int64(n)) // the others need not go on
					failures <- err
					return
				}
			}
		}()
	}
	var err error
	for range deployers {
		err = errors.Join(err, <-failures)
	}
	return err
}

// restarts ends the server in both ways and starts it again, each time calling a
// function: it has to be there.
func (m *measurement) restarts(ctx context.Context, h *stage.Hearth) error {
	for round := 1; round <= min(3, m.Plan.Rounds); round++ {
		for _, of := range []string{afterStop, afterKill} {
			end := h.Stop
			if of == afterKill {
				end = h.Kill
			}
			if err := end(); err != nil {
				return err
			}
			if err := h.Start(ctx); err != nil {
				return fmt.Errorf("%s: %w", of, err)
			}
			if _, err := load.Count(ctx, h.Target("warm-"+m.languages[0].Name), 1, 1); err != nil {
				return fmt.Errorf("%s: %w", of, err)
			}
			m.keep(record.Series{Case: of, Side: many, Round: round, Samples: []record.Sample{record.Lasting(h.Ready)}})
		}
	}
	return nil
}

func scaleSection(r *record.Record) report.Section {
	s := report.Section{Title: "Many functions", Text: `The same function on a server with 10 functions and on one with 10,000. A start is from the fork to the line that says that the server
takes requests; a call of a function has to succeed right after it.`}
	where := under(r, "")
	for _, language := range []string{"node", "python", "go"} {
		of := warmCase(language, Shape{Connections: 1})
		s.Figures = append(s.Figures, report.Figure{What: titles[language] + ": warm p50 with 10,000 functions as a multiple of that with 10",
			Value: r.Compare(of, many, few, record.P(0.5), record.Ratio), Unit: report.Times, N: r.N(of, many), Goal: report.AtMost(1.5, 1.1), Conditions: where})
	}
	stored := where
	stored.Durability, stored.Payload = "functions synced to disk", "10,000 functions"
	for _, of := range []string{afterStop, afterKill} {
		s.Figures = append(s.Figures, report.Figure{What: "10,000 functions stored: " + of, Value: r.Over(of, many, record.P(0.5)), Unit: report.Seconds,
			N: r.N(of, many), Goal: report.AtMost(3, 1), Conditions: stored})
	}
	s.Tables = append(s.Tables, loadTable(r))
	return s
}
