package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"hearth/bench/load"
)

// Options configure a run.
type Options struct {
	Hearth    string // the binary
	Source    string // the directory of this package
	Out       string // gets RESULTS.md, the plot and raw/
	Isolation string // process or none
	Plan      Plan
	Progress  io.Writer // a line for each step; nil discards
}

// side is one of the two servers that a row compares.
type side int

const (
	bareServer side = iota
	hearth
	sides
)

func (s side) String() string { return [...]string{"bare", "hearth"}[s] }

// running is a language while it is measured.
type running struct {
	language
	warm    string // its function that stays warm
	bare    *child
	targets [sides]load.Target
}

// session is one run in progress. Everything happens in the goroutine of Run: what
// is measured must not compete with what measures.
type session struct {
	Options
	server    *server
	languages []*running
	raw       *rawWriter
	report    *Report
}

// Run measures the plan and writes the results. It starts servers on loopback and
// stops all of them before it returns, also when ctx ends.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	s := &session{Options: o, report: &Report{Started: time.Now().UTC(), Plan: o.Plan,
		Machine: machine(runtime.NumCPU()), Isolation: o.Isolation}}
	if s.raw, err = newRaw(filepath.Join(o.Out, "raw", s.report.Started.Format("20060102T150405Z"))); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.raw.close()) }()
	work, err := os.MkdirTemp("", "hearth-bench-build-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.start(ctx, work); err != nil {
		return nil, err
	}
	for round := 1; round <= o.Plan.Rounds; round++ {
		if err := s.round(ctx, round); err != nil {
			return nil, fmt.Errorf("round %d: %w", round, err)
		}
	}
	return s.report, errors.Join(s.raw.report(s.report), s.report.write(o.Out))
}

func (s *session) say(format string, args ...any) { fmt.Fprintf(s.Progress, format+"\n", args...) }

// start starts the servers and deploys the functions that stay warm.
func (s *session) start(ctx context.Context, work string) (err error) {
	s.say("starting %s", s.Hearth)
	if s.server, err = startServer(ctx, s.Hearth, s.Isolation); err != nil {
		return err
	}
	status, err := s.server.status(ctx)
	if err != nil {
		return err
	}
	s.report.Version, s.report.Isolation = status.Version, status.Isolation
	languages, err := prepare(ctx, s.server, s.Source, work)
	if err != nil {
		return err
	}
	for _, l := range languages {
		r := &running{language: l, warm: "warm-" + l.name}
		if r.bare, r.targets[bareServer], err = l.startBare(ctx); err != nil {
			return err
		}
		s.languages = append(s.languages, r)
		if err := s.server.deploy(ctx, r.warm, l.function); err != nil {
			return err
		}
		r.targets[hearth] = s.server.warmTarget(r.warm)
		s.report.Runtimes = append(s.report.Runtimes, Runtime{Name: l.name, Version: l.version})
	}
	return nil
}

// stop ends what start started.
func (s *session) stop() (err error) {
	for _, l := range s.languages {
		err = errors.Join(err, l.bare.kill()) // it has nothing to finish
	}
	if s.server != nil {
		err = errors.Join(err, s.server.stop())
	}
	return err
}

// round measures every row once.
func (s *session) round(ctx context.Context, round int) error {
	load := loadAverage()
	busy, err := busyShare(ctx, s.Plan.Probe)
	if err != nil {
		return err
	}
	s.report.Loads, s.report.Busy = append(s.report.Loads, load), append(s.report.Busy, busy)
	s.say("round %d of %d: load average %s, processors busy at rest %.0f %%", round, s.Plan.Rounds, load, 100*busy)
	for _, l := range s.languages {
		for i, shape := range s.Plan.Shapes {
			pair, err := s.warmPair(ctx, l, shape, round, side((round+i)%2))
			if err != nil {
				return fmt.Errorf("%s, %s: %w", l.name, shape, err)
			}
			row := s.report.row(l.name, shape)
			row.Pairs = append(row.Pairs, pair)
			s.say("  %-6s %-36s bare p50 %v, Hearth p50 %v", l.name, shape, pair[bareServer].Latency.P50, pair[hearth].Latency.P50)
		}
	}
	for _, l := range s.languages {
		if err := s.coldRound(ctx, l, round); err != nil {
			return fmt.Errorf("%s, cold: %w", l.name, err)
		}
	}
	return nil
}
