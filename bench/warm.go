package bench

import (
	"context"
	"fmt"
	"math"
	"time"

	"hearth/bench/load"
	"hearth/bench/record"
	"hearth/bench/report"
	"hearth/bench/stage"
)

// The sides of most rows.
const (
	bare    = "bare"
	hearth  = "Hearth"
	against = "other Hearth" // Options.Against
)

// warmShapes are the cases of every language.
var warmShapes = []Shape{{Connections: 1}, {Connections: 16}, {Connections: 16, Rate: 400}}

// contender is one side that takes load.
type contender struct {
	side     string
	target   load.Target
	pid      int           // of the process whose tree does the work
	server   *stage.Hearth // nil where it is another's
	function string
}

func (m *measurement) bareContender(ctx context.Context, l *stage.Language, group *stage.Group) (c contender, err error) {
	b, err := m.stage.Bare(ctx, l, group)
	if err != nil {
		return c, err
	}
	return contender{side: bare, target: b.Target, pid: b.Child.PID()}, nil
}

// deploy makes a contender of a function on a server.
func deploy(ctx context.Context, h *stage.Hearth, side, name string, f stage.Function, memory int) (contender, error) {
	return contender{side: side, target: h.Target(name), pid: h.Child.PID(), server: h, function: name},
		h.Deploy(ctx, name, f, memory)
}

func measureWarm(ctx context.Context, m *measurement) error {
	servers, err := m.servers(ctx)
	if err != nil {
		return err
	}
	sides := map[string][]contender{}
	for _, l := range m.languages {
		c, err := m.bareContender(ctx, l, nil)
		if err != nil {
			return err
		}
		sides[l.Name] = []contender{c}
		for _, h := range servers {
			c, err := deploy(ctx, h.Hearth, h.side, "warm-"+l.Name, l.Function, memoryMB)
			if err != nil {
				return err
			}
			sides[l.Name] = append(sides[l.Name], c)
		}
		if err := m.season(ctx, sides[l.Name], warmShapes[1].Connections); err != nil {
			return err
		}
	}
	return m.rounds(ctx, func(round int) error {
		for _, l := range m.languages {
			for i, shape := range warmShapes {
				if err := m.beside(ctx, warmCase(l.Name, shape), shape, sides[l.Name], round, round+i); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// season calls each side as often as the others before anything is measured. Hearth's
// instances share the calls out among them, a bare server is one process.
func (m *measurement) season(ctx context.Context, sides []contender, connections int) error {
	for _, c := range sides {
		if _, err := load.Count(ctx, c.target, connections, connections*m.Plan.Seasoning); err != nil {
			return fmt.Errorf("%s: %w", c.side, err)
		}
	}
	return nil
}

func warmCase(language string, shape Shape) string { return language + ", " + shape.String() }

// sided is a Hearth and its side.
type sided struct {
	side string
	*stage.Hearth
}

// servers starts Hearth and, where there is one, the other Hearth.
func (m *measurement) servers(ctx context.Context, settings ...string) ([]sided, error) {
	h, err := m.stage.Hearth(ctx, settings...)
	if err != nil || m.Against == "" {
		return []sided{{hearth, h}}, err
	}
	other, err := m.stage.HearthFrom(ctx, m.Against, settings...)
	return []sided{{hearth, h}, {against, other}}, err
}

// beside measures all sides of a case one right after the other.
func (m *measurement) beside(ctx context.Context, of string, shape Shape, sides []contender, round, turn int) error {
	for _, i := range inTurn(len(sides), turn) {
		if err := m.warmCell(ctx, of, shape, sides[i], round); err != nil {
			return fmt.Errorf("%s, %s: %w", of, sides[i].side, err)
		}
	}
	return nil
}

// warmCell loads one side and keeps the samples with what they cost. A side that
// is Hearth also tells how many instances it had and where the time went.
func (m *measurement) warmCell(ctx context.Context, of string, shape Shape, c contender, round int) error {
	if _, err := load.Count(ctx, c.target, shape.Connections, shape.Connections*m.Plan.WarmUp); err != nil {
		return err
	}
	before := 0
	if c.server != nil {
		d, err := c.server.Rest(ctx, c.function)
		if err != nil {
			return err
		}
		before = d.Instances.Idle
	}
	tree := stage.TreeOf(c.pid)
	r, err := shape.run(ctx, c.target, m.Plan.Cell, uint64(round))
	if err != nil {
		return err
	}
	used := stage.TreeOf(c.pid).CPU - tree.CPU
	s := series(of, c.side, round, r)
	s.Values["cpu"] = max(0, used.Seconds()) / float64(len(r.Samples))
	if c.server != nil {
		d, err := c.server.Rest(ctx, c.function)
		if err != nil {
			return err
		}
		s.Values["instances"], s.Values["starts"] = float64(d.Instances.Idle), float64(d.Instances.Idle-before)
		s.Values["handler"], s.Values["settle"] = account(d.Recent)
	}
	m.keep(s)
	return nil
}

// account is the medians of what the reports of warm calls say, in seconds.
func account(reports []stage.Report) (handler, settle float64) {
	var handlers, settles []time.Duration
	for _, r := range reports {
		if !r.IsCold() {
			handlers, settles = append(handlers, r.Timeline.Handler), append(settles, r.Timeline.Settle)
		}
	}
	return load.Summarize(handlers).P50.Seconds(), load.Summarize(settles).P50.Seconds()
}

// titles are the languages as the report calls them.
var titles = map[string]string{"node": "Node", "python": "Python", "go": "Go (provided, aws-lambda-go)"}

// added are the goals of the latency that Hearth adds, and share those of its rate
// at 16 connections.
var (
	managedAdded = [2]*report.Goal{report.AtMost(60e-6, 25e-6), report.AtMost(400e-6, 120e-6)}
	added        = map[string][2]*report.Goal{
		"node": managedAdded, "python": managedAdded, "go": {report.AtMost(200e-6, 110e-6), report.AtMost(800e-6, 400e-6)},
	}
	share = map[string]*report.Goal{
		"node": report.AtLeast(0.5, 0.8), "python": report.AtLeast(0.5, 0.8), "go": report.AtLeast(0.15, 0.25),
	}
)

func warmSection(r *record.Record) report.Section {
	s := report.Section{Title: "Warm calls beside a bare server", Text: `Both sides run the same handler file. A closed loop
sends the next request of a connection when the last is answered; the arrivals of the open loop are those of a seeded Poisson process, the
same for all sides. A bare server is one process; Hearth may use one instance for each connection. Before the first round each side got as many
calls as all others, 2,000 for each of the 16 connections: a compiler at run time, such as Node's, is done with all instances then. *Handler* and *settle* are
Hearth's own account of its last calls: from the hand-over to the instance to its answer, and from there to the answer to the caller.`}
	where := under(r, "bare: none")
	for _, language := range []string{"node", "python", "go"} {
		one, many := warmCase(language, warmShapes[0]), warmCase(language, warmShapes[1])
		for i, q := range []float64{0.5, 0.99} {
			s.Figures = append(s.Figures, report.Figure{
				What:  fmt.Sprintf("%s: added to the bare server's %s, 1 connection", titles[language], [...]string{"p50", "p99"}[i]),
				Value: r.Compare(one, hearth, bare, record.P(q), record.Minus), Unit: report.Micro, N: r.N(one, hearth),
				Goal: added[language][i], Conditions: where})
		}
		s.Figures = append(s.Figures, report.Figure{
			What:  fmt.Sprintf("%s: calls/s of the bare server's, 16 connections", titles[language]),
			Value: r.Compare(many, hearth, bare, record.Rate, record.Ratio), Unit: report.Percent, N: r.N(many, hearth),
			Goal: share[language], Conditions: where})
	}
	s.Tables = append(s.Tables, loadTable(r), accountTable(r))
	s.Plots = []report.Plot{latencyPlot(r, "plots/warm.svg", "Warm calls: p50 (bar) and p99 (line), µs")}
	return s
}

// loadTable has all sides of all cases.
func loadTable(r *record.Record) report.Table {
	t := report.Table{Head: []string{"case", "side", "p50 µs", "p99 µs", "p99.9 µs", "calls/s", "CPU µs/call", "sent late p99 µs", "samples"}}
	for _, of := range r.Cases() {
		for _, side := range r.Sides(of) {
			t.Add(of, side, report.Micro.Spread(r.Over(of, side, record.P(0.5))), report.Micro.Spread(r.Over(of, side, record.P(0.99))),
				report.Micro.Spread(r.Over(of, side, record.P(0.999))), report.PerSecond.Spread(r.Over(of, side, record.Rate)),
				report.Micro.Spread(r.Over(of, side, record.Value("cpu"))), report.Micro.Number(r.Over(of, side, lateness).Median), fmt.Sprint(r.N(of, side)))
		}
	}
	return t
}

// lateness is how late the client sent 99 of 100 requests at most, in seconds.
func lateness(s *record.Series) float64 {
	if len(s.Samples) == 0 {
		return math.NaN()
	}
	return load.QuantileOf(s.Lateness(), 0.99).Seconds()
}

// accountTable has what Hearth says of itself.
func accountTable(r *record.Record) report.Table {
	t := report.Table{Caption: "Beside the bare server, and by Hearth's own account:",
		Head: []string{"case", "side", "adds to p50 µs", "p50 × bare", "p99 × bare", "calls/s of bare %", "handler µs", "settle µs", "instances", "started while measured"}}
	for _, of := range r.Cases() {
		for _, side := range r.Sides(of) {
			if side == bare {
				continue
			}
			compare := func(n record.Number, f func(a, b float64) float64, u report.Unit) string {
				return u.Spread(r.Compare(of, side, bare, n, f))
			}
			t.Add(of, side, compare(record.P(0.5), record.Minus, report.Micro), compare(record.P(0.5), record.Ratio, report.Times),
				compare(record.P(0.99), record.Ratio, report.Times), compare(record.Rate, record.Ratio, report.Percent),
				report.Micro.Spread(r.Over(of, side, record.Value("handler"))), report.Micro.Spread(r.Over(of, side, record.Value("settle"))),
				report.Count.Spread(r.Over(of, side, record.Value("instances"))), report.Count.Spread(r.Over(of, side, record.Value("starts"))))
		}
	}
	return t
}

// latencyPlot draws p50 and p99 of all sides, a group for each case.
func latencyPlot(r *record.Record, file, title string) report.Plot {
	p := report.Plot{File: file, Title: title, Unit: report.Micro}
	for _, of := range r.Cases() {
		g := report.Group{Title: of}
		for _, side := range r.Sides(of) {
			g.Bars = append(g.Bars, report.Bar{Label: side, Ours: side == hearth,
				Value: r.Over(of, side, record.P(0.5)).Median, Tail: r.Over(of, side, record.P(0.99)).Median})
		}
		p.Groups = append(p.Groups, g)
	}
	return p
}
