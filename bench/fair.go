package bench

import (
	"context"
	"fmt"
	"time"

	"hearth/bench/load"
	"hearth/bench/record"
	"hearth/bench/report"
	"hearth/bench/stage"
)

// The cases of this row, and what it is about.
const (
	warmGuest    = "single events of a warm function"
	coldGuest    = "single events of functions that have not run"
	aloneGuest   = "single events of a warm function, nothing else to do"
	warmAnswered = warmGuest + ", until answered"
	coldAnswered = coldGuest + ", until answered"
	crowd        = "crowd"     // the function with the backlog
	guest        = "guest"     // the one that the single events are of
	hostRegion   = "eu-west-1" // of the crowd
	guestRegion  = "eu-west-2" // of the guests, which is another account to the dispatcher
	crowdAtOnce  = 50
	guestPause   = 40 * time.Millisecond
	coldShare    = 5 // one cold guest for so many warm ones
)

// measureFair drains a large backlog of one function, and meanwhile sends single
// events of others.
func measureFair(ctx context.Context, m *measurement) error {
	l, err := m.static()
	if err != nil {
		return err
	}
	return m.roundsOf(ctx, 1, func(round int) error {
		h, err := m.stage.Hearth(ctx, "--region", hostRegion, "--regions", hostRegion+","+guestRegion)
		if err != nil {
			return err
		}
		slow := l.Function
		slow.Environment = map[string]string{"TAKES": "10ms"}
		if err := h.Deploy(ctx, crowd, slow, memoryMB); err != nil {
			return err
		}
		guests := h.In(guestRegion)
		names := []string{guest}
		for i := range max(1, m.Plan.Guests/coldShare) {
			names = append(names, fmt.Sprint(guest, i))
		}
		for _, name := range names {
			if err := guests.Deploy(ctx, name, l.Function, memoryMB); err != nil {
				return err
			}
		}
		if err := h.Hold(ctx, crowd); err != nil {
			return err
		}
		if _, err := load.Count(ctx, h.EventTarget(crowd), min(fillers, m.Plan.Backlog), m.Plan.Backlog); err != nil {
			return err
		}
		if err := m.alone(ctx, guests, round); err != nil {
			return err
		}
		return m.beset(ctx, h, guests, names[1:], round)
	})
}

// alone sends single events while nothing else happens.
func (m *measurement) alone(ctx context.Context, guests *stage.Hearth, round int) error {
	s := record.Series{Case: aloneGuest, Side: hearth, Round: round}
	return m.singles(ctx, guests, guest, s, max(1, m.Plan.Guests/4), guestPause)
}

// beset lets the backlog run and sends single events meanwhile, most of one function
// and some of functions that have no instance. Their records are read when all has
// been sent: reading them is load of its own.
func (m *measurement) beset(ctx context.Context, h, guests *stage.Hearth, cold []string, round int) error {
	began := time.Now()
	if err := h.Reserve(ctx, crowd, crowdAtOnce); err != nil {
		return err
	}
	var warmIDs, coldIDs []string
	for i := range m.Plan.Guests {
		if err := stage.Pause(ctx, guestPause); err != nil {
			return err
		}
		id, err := guests.Accept(ctx, guest)
		if err != nil {
			return err
		}
		warmIDs = append(warmIDs, id)
		if i%coldShare == coldShare-1 {
			if id, err = guests.Accept(ctx, cold[i/coldShare]); err != nil {
				return err
			}
			coldIDs = append(coldIDs, id)
		}
	}
	left, _, err := h.Queued(ctx)
	if err != nil {
		return err
	}
	elapsed := time.Since(began)
	m.say("    %d of %d events of the backlog were left after %v", left, m.Plan.Backlog, elapsed.Round(time.Millisecond))
	if left == 0 && !m.Plan.Short {
		return fmt.Errorf("the backlog of %d was gone before the last single event came", m.Plan.Backlog)
	}
	for _, of := range []struct {
		ids                []string
		started, completed string
	}{{warmIDs, warmGuest, warmAnswered}, {coldIDs, coldGuest, coldAnswered}} {
		start := record.Series{Case: of.started, Side: hearth, Round: round, Elapsed: elapsed,
			Values: map[string]float64{"crowd": float64(m.Plan.Backlog-left) / elapsed.Seconds()}}
		end := record.Series{Case: of.completed, Side: hearth, Round: round, Elapsed: elapsed}
		for _, id := range of.ids {
			r, err := guests.Outcome(ctx, id)
			if err != nil {
				return err
			}
			start.Samples = append(start.Samples, record.Lasting(r.Attempts[0].Began.Sub(r.Accepted)))
			end.Samples = append(end.Samples, record.Lasting(r.Attempts[0].Ended.Sub(r.Accepted)))
		}
		m.keep(start)
		m.keep(end)
	}
	return h.Stop() // the rest of the backlog stays
}

func fairSection(r *record.Record) report.Section {
	s := report.Section{Title: "Fairness between accounts", Text: `A backlog of 100,000 events of a function that waits 10 ms, 50 of them at once, is drained; meanwhile single events come of
functions in another region, whose quotas and turns are as another account's. *To start* is from an event's acceptance until its attempt began, by Hearth's record; *until answered* adds whatever the
attempt waited for (an instance to thaw, or a cold start) and the handler, which takes no time. All share two processors.`}
	where := eventConditions(r, "")
	for _, f := range []struct {
		of, what string
		q, must  float64
	}{
		{aloneGuest, "p50 to start", 0.5, 0}, {aloneGuest, "p99 to start", 0.99, 0},
		{warmGuest, "p50 to start", 0.5, 0}, {warmGuest, "p99 to start", 0.99, 0.05},
		{warmAnswered, "p50", 0.5, 0}, {warmAnswered, "p99", 0.99, 0},
		{coldGuest, "p99 to start", 0.99, 0.05},
		{coldAnswered, "p50", 0.5, 0}, {coldAnswered, "p99", 0.99, 0},
	} {
		figure := report.Figure{What: f.of + ": " + f.what, Value: r.Over(f.of, hearth, record.P(f.q)), Unit: report.Milli, N: r.N(f.of, hearth), Conditions: where}
		if f.must > 0 {
			figure.Goal = report.AtMost(f.must, report.None)
		}
		s.Figures = append(s.Figures, figure)
	}
	s.Figures = append(s.Figures, report.Figure{What: "the backlog meanwhile, 50 at once", Value: r.Over(warmGuest, hearth, record.Value("crowd")), Unit: report.PerSecond, N: 1, Conditions: where})
	return s
}
