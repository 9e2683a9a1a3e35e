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

// coldPeersCase is the one case of the row.
const coldPeersCase = "node"

// measureColdPeers has the cold starts of the peers beside Hearth's own: a worker
// thread of serverless-offline, a container of runc, and the processes of the others.
func measureColdPeers(ctx context.Context, m *measurement) error {
	node, err := m.nodeOnly()
	if err != nil {
		return err
	}
	hit, empty, err := m.coldServers(ctx)
	if err != nil {
		return err
	}
	ours, err := m.starter(ctx, empty, "empty", node.Function, 1)
	if err != nil {
		return err
	}
	full, err := m.starter(ctx, hit, "hit", node.Function, 1)
	if err != nil {
		return err
	}
	functions := make([]string, m.Plan.Rounds*m.Plan.Slow)
	for i := range functions {
		functions[i] = fmt.Sprintf("cold%d", i)
	}
	launchers := m.launchers(node.Bare[0], append([]string{"warm"}, functions...))
	var emulator *stage.Peer
	if launch := launchers[serverlessOffline]; launch != nil {
		if emulator, err = launch(ctx); err == nil {
			_, err = load.Count(ctx, emulator.Target("warm"), 1, 1)
		}
		if err != nil {
			m.note("%s does not start: %v", serverlessOffline, err)
			emulator = nil
		}
	}
	runc, err := m.stage.Runc(ctx, node)
	if err != nil {
		m.note("%s is not measured: %v", runcNode, err)
	} else {
		m.record.Software["runc"] = runc.Version(ctx) + ", " + runc.Way
	}
	return m.rounds(ctx, func(round int) error {
		cells := []func() error{
			func() error { return m.coldBare(ctx, node, round) },
			func() error {
				return ours.coldCell(ctx, coldPeersCase, poolEmpty, round, m.Plan.Slow, emptyWays, ours.atLevel)
			},
		}
		if hit != empty {
			cells = append(cells, func() error {
				return full.coldCell(ctx, coldPeersCase, poolHit, round, m.Plan.Slow, hitWays, full.atLevel)
			})
		}
		if emulator != nil {
			cells = append(cells, func() error {
				next := functions[(round-1)*m.Plan.Slow:]
				return m.again(ctx, serverlessOffline, round, func() (time.Duration, error) {
					r, err := load.Count(ctx, emulator.Target(next[0]), 1, 1)
					if err != nil {
						return 0, err
					}
					next = next[1:]
					return r.Samples[0].Latency(), nil
				})
			})
		}
		if runc != nil {
			cells = append(cells, func() error {
				return m.again(ctx, runcNode, round, func() (time.Duration, error) { return runc.Once(ctx) })
			})
		}
		for _, side := range []string{workerd, functionsFramework} {
			if launch := launchers[side]; launch != nil {
				cells = append(cells, func() error {
					return m.again(ctx, side, round, func() (time.Duration, error) { return processStart(ctx, launch) })
				})
			}
		}
		for _, i := range inTurn(len(cells), round) {
			if err := cells[i](); err != nil {
				return err
			}
		}
		return nil
	})
}

// again keeps a few starts of a peer. One that fails is noted and ends the peer's
// turn: the others go on.
func (m *measurement) again(ctx context.Context, side string, round int, once func() (time.Duration, error)) error {
	s := record.Series{Case: coldPeersCase, Side: side, Round: round}
	for range m.Plan.Slow {
		took, err := once()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			m.note("%s failed in round %d: %v", side, round, err)
			break
		}
		s.Samples = append(s.Samples, record.Lasting(took))
		if err := stage.Pause(ctx, m.Plan.Pace); err != nil {
			return err
		}
	}
	if len(s.Samples) > 0 {
		m.keep(s)
	}
	return nil
}

// processStart is from the fork of a peer to its first answer.
func processStart(ctx context.Context, launch stage.Launcher) (time.Duration, error) {
	p, err := launch(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := load.Count(ctx, p.Target(""), 1, 1); err != nil {
		return 0, err
	}
	took := time.Since(p.Child.Began)
	return took, p.Child.KillAll()
}

func coldPeersSection(r *record.Record) report.Section {
	s := report.Section{Title: "Cold starts beside other platforms", Text: `The same Node handler. *Hearth*: a call of a function of which no instance runs, in a sandbox, with a stem cell
or without. *serverless-offline*: the first call of a function in the running emulator, which starts a worker thread. *runc + Node*: a new
container for the request, from the fork of ` + "`runc run`" + ` to the whole answer; its root is the host's trees, bound read-only, in the host's network: no image, no layers, no
network, no daemon, so less than any platform on containers needs. *workerd*, *functions framework* and *bare*: from the fork of the process to its first answer.`}
	where := under(r, "serverless-offline: none; runc: namespaces, cgroup, no own network")
	for _, side := range []string{poolHit, poolEmpty} {
		s.Figures = append(s.Figures,
			report.Figure{What: "cold p50: serverless-offline's as a multiple of " + side + "'s", Unit: report.Times,
				Value: r.Compare(coldPeersCase, serverlessOffline, side, record.P(0.5), record.Ratio), N: r.N(coldPeersCase, side),
				Goal: report.AtLeast(10, 20), Conditions: where},
			report.Figure{What: "cold p50: runc + Node's per request as a multiple of " + side + "'s", Unit: report.Times,
				Value: r.Compare(coldPeersCase, runcNode, side, record.P(0.5), record.Ratio), N: r.N(coldPeersCase, side),
				Goal: report.AtLeast(10, 30), Conditions: where})
	}
	t := report.Table{Head: []string{"side", "p50 ms", "p90 ms", "min–max ms", "starts"}}
	for _, side := range r.Sides(coldPeersCase) {
		l := load.Summarize(r.All(coldPeersCase, side))
		t.Add(side, report.Milli.Spread(r.Pooled(coldPeersCase, side, 0.5)), report.Milli.Duration(l.P90),
			report.Milli.Duration(l.Min)+"–"+report.Milli.Duration(l.Max), fmt.Sprint(l.N))
	}
	s.Tables = append(s.Tables, t)
	s.Plots = []report.Plot{coldPlot(r, "plots/cold-peers.svg", "Cold starts beside other platforms: p50 (bar) and p99 (line), ms")}
	return s
}
