package bench

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"hearth/bench/load"
	"hearth/bench/record"
	"hearth/bench/report"
	"hearth/bench/stage"
)

// The sides and cases of the rows about asynchronous invocations.
const (
	echo         = "bare HTTP echo"
	ownInterface = "the queue's own interface, 256 callers"
	toStart      = "accept to start"
	drain        = "drain of a backlog"
	held         = "held" // a function whose events wait
	warmEvents   = "warm" // one that runs them
	fillers      = 256    // callers that fill a backlog
	startPause   = 10 * time.Millisecond
)

var acceptShapes = []Shape{{Connections: 1}, {Connections: 256}}

// static is the language of a static binary, which runs the events.
func (m *measurement) static() (*stage.Language, error) {
	if l := m.language("go"); l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("the row %s is about a static binary, which -languages leaves out", m.record.Row)
}

// eventServer starts a server with a function whose events wait, and one whose
// events run.
func (m *measurement) eventServer(ctx context.Context) (*stage.Hearth, error) {
	l, err := m.static()
	if err != nil {
		return nil, err
	}
	h, err := m.stage.Hearth(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{held, warmEvents} {
		if err := h.Deploy(ctx, name, l.Function, memoryMB); err != nil {
			return nil, err
		}
	}
	return h, h.Hold(ctx, held)
}

func measureEvents(ctx context.Context, m *measurement) error {
	h, err := m.eventServer(ctx)
	if err != nil {
		return err
	}
	plain, err := m.stage.Echo(ctx)
	if err != nil {
		return err
	}
	sides := []contender{{side: echo, target: plain.Target, pid: plain.Child.PID()},
		{side: hearth, target: h.EventTarget(held), pid: h.Child.PID()}}
	err = m.rounds(ctx, func(round int) error {
		for i, shape := range acceptShapes {
			if err := m.beside(ctx, shape.String(), shape, sides, round, round+i); err != nil {
				return err
			}
		}
		m.engineCell(ctx, round)
		return m.startCell(ctx, h, round)
	})
	if err != nil {
		return err
	}
	if err := h.Stop(); err != nil { // its backlog is not to be drained
		return err
	}
	return m.drainCell(ctx)
}

// engineCell is the rate of the engine alone, by the engine's own benchmark. One
// that fails is noted: the source may be another than the binary's.
func (m *measurement) engineCell(ctx context.Context, round int) {
	numbers, err := m.stage.EngineBench(ctx, "^BenchmarkAppend$/^256$", m.Plan.Cell)
	if err != nil {
		m.note("the queue's own interface is not measured: %v", err)
		return
	}
	m.keep(record.Series{Case: ownInterface, Side: hearth, Round: round, Values: map[string]float64{"rate": numbers["msg/s"]}})
}

// startCell sends events one at a time to a function that is warm, and keeps how
// long each waited from its acceptance to its attempt, by Hearth's own record.
func (m *measurement) startCell(ctx context.Context, h *stage.Hearth, round int) error {
	s := record.Series{Case: toStart, Side: hearth, Round: round}
	syscall.Sync() // the cells before wrote hundreds of MB: the disk is not to be busy with those
	return m.singles(ctx, h, warmEvents, s, m.Plan.Colds, startPause)
}

// singles sends n events to a function one at a time, after one that makes it warm,
// and keeps in s how long each waited from its acceptance to its attempt.
func (m *measurement) singles(ctx context.Context, h *stage.Hearth, function string, s record.Series, n int, pause time.Duration) error {
	if _, err := h.Send(ctx, function); err != nil {
		return err
	}
	for range n {
		if err := stage.Pause(ctx, pause); err != nil {
			return err
		}
		r, err := h.Send(ctx, function)
		if err != nil {
			return err
		}
		s.Samples = append(s.Samples, record.Lasting(r.Attempts[0].Began.Sub(r.Accepted)))
	}
	m.keep(s)
	return nil
}

// drainCell fills a backlog behind a function that is switched off, switches it on,
// and waits until every event has its outcome on disk.
func (m *measurement) drainCell(ctx context.Context) error {
	h, err := m.eventServer(ctx)
	if err != nil {
		return err
	}
	if _, err := load.Count(ctx, h.EventTarget(held), min(fillers, m.Plan.Backlog), m.Plan.Backlog); err != nil {
		return err
	}
	before, _, err := h.Queued(ctx)
	if err != nil || before != m.Plan.Backlog {
		return fmt.Errorf("%d of %d events wait: %w", before, m.Plan.Backlog, orNil(err))
	}
	began := time.Now()
	if err := h.Free(ctx, held); err != nil {
		return err
	}
	for left := before; left > 0; {
		if err := stage.Pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d events are left: %w", left, before, err)
		}
		if left, _, err = h.Queued(ctx); err != nil {
			return err
		}
	}
	elapsed := time.Since(began)
	if failed, err := h.Unsuccessful(ctx, held); err != nil || failed {
		return fmt.Errorf("an event of the backlog did not end well: %w", orNil(err))
	}
	m.say("    %d events drained in %v", before, elapsed)
	m.keep(record.Series{Case: drain, Side: hearth, Round: 1, Elapsed: elapsed, Values: map[string]float64{"events": float64(before), "rate": float64(before) / elapsed.Seconds()}})
	return h.Stop()
}

// errCounts stands for the cause of an error that only counts.
var errCounts = fmt.Errorf("that is all that is known")

func orNil(err error) error {
	if err == nil {
		return errCounts
	}
	return err
}

// eventConditions are those of figures about asynchronous invocations.
func eventConditions(r *record.Record, others string) report.Conditions {
	c := under(r, others)
	c.Durability, c.Payload = "every event synced before its 202, every outcome before it counts", fmt.Sprintf("%d B in", len(stage.SmallEvent))
	return c
}

func eventsSection(r *record.Record) report.Section {
	s := report.Section{Title: "Asynchronous invocations", Text: `Invoke with the type Event answers 202 when the event is synced to disk. *Echo* is a bare Go HTTP server that
answers 202 at once and keeps nothing. The function of the events that are only accepted is switched off meanwhile (reserved concurrency 0). *Accept to start* is by Hearth's own record of
each event, one at a time, of a warm function. The drain counts from the moment that the function is switched on until no event is without its outcome on disk.
The queue's own interface is ` + "`go test -bench BenchmarkAppend/256 ./engine/nats`" + `.`}
	where := eventConditions(r, "echo: none, nothing kept")
	one, many := acceptShapes[0].String(), acceptShapes[1].String()
	s.Figures = append(s.Figures,
		report.Figure{What: "durable accept over HTTP, 1 caller: p50", Value: r.Over(one, hearth, record.P(0.5)), Unit: report.Micro, N: r.N(one, hearth), Goal: report.AtMost(0.001, report.None), Conditions: where},
		report.Figure{What: "durable accept over HTTP, 256 callers", Value: r.Over(many, hearth, record.Rate), Unit: report.PerSecond, N: r.N(many, hearth), Goal: report.AtLeast(10_000, 18_000), Conditions: where},
		report.Figure{What: "the same, as a share of the bare echo's", Value: r.Compare(many, hearth, echo, record.Rate, record.Ratio), Unit: report.Percent, N: r.N(many, hearth), Conditions: where},
		report.Figure{What: "durable append at the queue's own interface, 256 callers", Value: r.Over(ownInterface, hearth, record.Value("rate")), Unit: report.PerSecond, N: len(r.Of(ownInterface, hearth)), Goal: report.AtLeast(25_000, 33_000), Conditions: engineConditions(r)},
		report.Figure{What: "accept to start, warm function: p50", Value: r.Pooled(toStart, hearth, 0.5), Unit: report.Micro, N: r.N(toStart, hearth), Goal: report.AtMost(0.0015, 0.001), Conditions: where},
		report.Figure{What: "accept to start, warm function: p99", Value: r.Pooled(toStart, hearth, 0.99), Unit: report.Micro, N: r.N(toStart, hearth), Goal: report.AtMost(0.020, report.None), Conditions: where},
		report.Figure{What: "drain of a backlog of 100,000 by a static function, status and settlement durable", Value: r.Over(drain, hearth, record.Value("rate")), Unit: report.PerSecond,
			N: int(sum(r, drain, "events")), Goal: report.AtLeast(3000, 10_000), Conditions: where})
	s.Tables = append(s.Tables, loadTable(r))
	return s
}

func engineConditions(r *record.Record) report.Conditions {
	c := eventConditions(r, "")
	c.Isolation, c.Payload = "none", "1 KiB"
	return c
}
