package bench

import (
	"context"
	"fmt"

	"hearth/bench/load"
	"hearth/bench/record"
	"hearth/bench/report"
	"hearth/bench/stage"
)

// The peers, as sides.
const (
	serverlessOffline  = "serverless-offline"
	workerd            = "workerd"
	functionsFramework = "functions-framework"
	runcNode           = "runc + Node"
)

// peersIsolation is what stands beside the figures about peers.
const peersIsolation = "peers: none (workerd: a V8 isolate)"

var peerShapes = []Shape{{Connections: 1}, {Connections: 16}}

// launchers prepares the peers from npm. One that cannot be is noted and left out.
func (m *measurement) launchers(node string, functions []string) map[string]stage.Launcher {
	out := map[string]stage.Launcher{}
	for side, prepare := range map[string]func() (stage.Launcher, error){
		workerd:            m.stage.Workerd,
		functionsFramework: func() (stage.Launcher, error) { return m.stage.FunctionsFramework(node) },
		serverlessOffline:  func() (stage.Launcher, error) { return m.stage.ServerlessOffline(node, functions) },
	} {
		launch, err := prepare()
		if err != nil {
			m.note("%s is not measured: %v", side, err)
			continue
		}
		out[side] = launch
	}
	m.record.Software[workerd] = m.stage.Version("workerd", "workerd")
	m.record.Software[functionsFramework] = m.stage.Version("functions-framework", "@google-cloud/functions-framework")
	m.record.Software[serverlessOffline] = m.stage.Version("serverless-offline", "serverless-offline") + " on serverless " + m.stage.Version("serverless-offline", "serverless")
	return out
}

// peerOrder is the order in which peers are put up.
var peerOrder = []string{serverlessOffline, workerd, functionsFramework}

// nodeOnly is the language of the rows about peers, which all run JavaScript.
func (m *measurement) nodeOnly() (*stage.Language, error) {
	if l := m.language("node"); l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("the row %s is about Node, which -languages leaves out", m.record.Row)
}

func measurePeers(ctx context.Context, m *measurement) error {
	node, err := m.nodeOnly()
	if err != nil {
		return err
	}
	h, err := m.stage.Hearth(ctx)
	if err != nil {
		return err
	}
	ours, err := deploy(ctx, h, hearth, "warm", node.Function, memoryMB)
	if err != nil {
		return err
	}
	plain, err := m.bareContender(ctx, node, nil)
	if err != nil {
		return err
	}
	sides := []contender{plain, ours}
	launchers := m.launchers(node.Bare[0], []string{"warm"})
	for _, side := range peerOrder {
		if launchers[side] == nil {
			continue
		}
		p, err := launchers[side](ctx)
		if err == nil {
			_, err = load.Count(ctx, p.Target("warm"), 1, 1)
		}
		if err != nil {
			m.note("%s does not start: %v", side, err)
			continue
		}
		sides = append(sides, contender{side: side, target: p.Target("warm"), pid: p.Child.PID()})
	}
	return m.rounds(ctx, func(round int) error {
		for i, shape := range peerShapes {
			if err := m.beside(ctx, warmCase("node", shape), shape, sides, round, round+i); err != nil {
				return err
			}
		}
		return nil
	})
}

func peersSection(r *record.Record) report.Section {
	s := report.Section{Title: "Warm calls beside other platforms", Text: `The same Node handler in each. serverless-offline and
Hearth get the same call of Lambda's Invoke URL; workerd and Google's functions framework serve the handler at a path. None of the peers
has a sandbox for a process, a time limit that kills, or logs by invocation.`}
	where := under(r, peersIsolation)
	one, many := warmCase("node", peerShapes[0]), warmCase("node", peerShapes[1])
	s.Figures = append(s.Figures, report.Figure{What: "warm p50, 1 connection: serverless-offline's as a multiple of Hearth's",
		Value: r.Compare(one, serverlessOffline, hearth, record.P(0.5), record.Ratio), Unit: report.Times, N: r.N(one, hearth),
		Goal: report.AtLeast(10, 20), Conditions: where})
	for _, of := range []string{one, many} {
		s.Figures = append(s.Figures, report.Figure{What: "calls/s, " + of + ": Hearth's as a multiple of serverless-offline's",
			Value: r.Compare(of, hearth, serverlessOffline, record.Rate, record.Ratio), Unit: report.Times, N: r.N(of, hearth),
			Goal: report.AtLeast(10, 20), Conditions: where})
	}
	for _, peer := range []string{workerd, functionsFramework} {
		s.Figures = append(s.Figures, report.Figure{What: "warm p50, 1 connection: Hearth's as a multiple of " + peer + "'s",
			Value: r.Compare(one, hearth, peer, record.P(0.5), record.Ratio), Unit: report.Times, N: r.N(one, hearth),
			Goal: report.AtMost(1, 0.5), Conditions: where})
	}
	s.Tables = append(s.Tables, loadTable(r))
	s.Plots = []report.Plot{latencyPlot(r, "plots/peers.svg", "Warm calls beside other platforms: p50 (bar) and p99 (line), µs")}
	return s
}
