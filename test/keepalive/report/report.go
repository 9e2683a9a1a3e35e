package report

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"hearth/keepalive"
	"hearth/test/keepalive/sim"
	"hearth/test/keepalive/workload"
)

// seeds derives seeds that nobody chose.
func seeds(from string, n int) []uint64 {
	var all []uint64
	for i := range n {
		sum := sha256.Sum256([]byte(from + " " + strconv.Itoa(i)))
		all = append(all, uint64(binary.BigEndian.Uint16(sum[:])))
	}
	return all
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', 4, 64) }

// Row is one candidate over all seeds: medians, waste relative to fixed ten
// minutes on the same load.
type Row struct {
	Family, Name string
	sim.Summary  // median of each
	Relative     float64
	RelativeEven float64
	Held75       float64 // p75 over the apps that are held out
	HeldRelative float64
	// Against fixed ten minutes, seed by seed: mean difference of p75 and of the
	// relative waste, and the 95 % bootstrap interval of each.
	Gain, GainLow, GainHigh    float64
	Spare, SpareLow, SpareHigh float64
}

// Report is everything that was measured.
type Report struct {
	Protocol  Protocol
	Rejected  []uint64 // seeds
	Marginals workload.Marginals
	Digests   []string
	Scores    map[string][][]Score // by section, seed and candidate
	Took      time.Duration
}

// New starts a report: it draws the seeds.
func New(p Protocol) (*Report, error) {
	r := &Report{Protocol: p, Scores: map[string][][]Score{}}
	return r, r.accept()
}

// ErrMore says that there is more to run than the time given was enough for.
var ErrMore = errors.New("report: there is more to run")

// Run runs what is missing, at most for about the budget; ErrMore says that it is
// to be called again. Progress gets a line for each step.
func (r *Report) Run(budget time.Duration, progress io.Writer) error {
	began := time.Now()
	defer func() { r.Took += time.Since(began) }()
	for _, s := range sections(r.Protocol) {
		for n, seed := range s.seeds {
			if n < len(r.Scores[s.name]) {
				continue
			}
			if time.Since(began) > budget {
				return ErrMore
			}
			fmt.Fprintln(progress, s.name, "seed", seed)
			scores, err := s.score(r.Protocol, seed)
			if err != nil {
				return err
			}
			r.Scores[s.name] = append(r.Scores[s.name], scores)
		}
	}
	return nil
}

// section is one load with its candidates.
type section struct {
	name       string
	group      group
	seeds      []uint64
	vary       func(*workload.Params)
	candidates []candidate
	cap        float64 // share of the peak of never unloading; 0 for none
}

type group int

const (
	main group = iota
	loads
	caps
	trace
)

func sections(p Protocol) []section {
	asPublished := func(*workload.Params) {}
	few4 := p.Seeds[:min(4, len(p.Seeds))]
	all := []section{{"published", main, p.Seeds, asPublished, curve(), 0}}
	if p.Trace {
		all = append(all, section{"the real trace", trace, p.Seeds[:1], nil, curve(), 0})
	}
	for _, v := range variations {
		all = append(all, section{v.Name, loads, few4, v.Vary, few(), 0})
	}
	for _, share := range []float64{.3, .5} {
		name := fmt.Sprintf("memory for %.0f %% of what never unloading takes", 100*share)
		all = append(all, section{name, caps, few4, asPublished, capped(), share})
	}
	return all
}

// score runs the section's candidates on one seed.
func (s section) score(p Protocol, seed uint64) ([]Score, error) {
	var l *workload.Load
	if s.group == trace {
		var err error
		if l, err = workload.Azure2019(seed); err != nil {
			return nil, err
		}
		p = Protocol{} // too short to warm on: all of it is scored
	} else {
		params := workload.Published(seed, p.Apps, p.Days)
		s.vary(&params)
		l = workload.Generate(params)
	}
	bound := 0.0
	if s.cap > 0 {
		never := candidate{Make: func() keepalive.Policy { return sim.Never }}
		bound = s.cap * p.run(l.Pointers(), l.Span, never, 0).Summary(nil).PeakMB
	}
	base := newScore(p.run(l.Pointers(), l.Span, reference, 0), seed)
	var scores []Score
	for _, c := range s.candidates {
		scores = append(scores, newScore(p.run(l.Pointers(), l.Span, c, bound), seed).against(base))
	}
	return scores, nil
}

// Section is the rows of one section.
type Section struct {
	Name string
	Rows []Row
}

// of returns the sections of a group.
func (r *Report) of(g group) []Section {
	var all []Section
	for _, s := range sections(r.Protocol) {
		if s.group == g && len(r.Scores[s.name]) > 0 {
			all = append(all, Section{s.name, s.rows(r.Scores[s.name])})
		}
	}
	return all
}

// rows are the candidates over the seeds.
func (s section) rows(bySeed [][]Score) []Row {
	var rows []Row
	for i, c := range s.candidates {
		var scores []Score
		for _, of := range bySeed {
			scores = append(scores, of[i])
		}
		rows = append(rows, row(c, scores))
	}
	return rows
}

// Curve, Variations, Caps and Real are what the text shows.
func (r *Report) Curve() []Row          { return first(r.of(main)) }
func (r *Report) Variations() []Section { return r.of(loads) }
func (r *Report) Caps() []Section       { return r.of(caps) }
func (r *Report) Real() []Row           { return first(r.of(trace)) }

func first(s []Section) []Row {
	if len(s) == 0 {
		return nil
	}
	return s[0].Rows
}

// accept leaves out the seeds whose load is not as published.
func (r *Report) accept() error {
	var kept []uint64
	for _, seed := range r.Protocol.Seeds {
		l := workload.Generate(workload.Published(seed, r.Protocol.Apps, r.Protocol.Days))
		m := l.Measure()
		if len(kept) == r.Protocol.Want {
			break
		}
		if r.Protocol.Apps >= Test.Apps && m.Check() != nil {
			r.Rejected = append(r.Rejected, seed)
			continue
		}
		if len(kept) == 0 {
			r.Marginals = m
		}
		kept = append(kept, seed)
		r.Digests = append(r.Digests, l.Digest())
	}
	if len(kept) == 0 {
		return fmt.Errorf("report: no seed of %v gives the published load", r.Protocol.Seeds)
	}
	r.Protocol.Seeds = kept
	return nil
}

// Score is one run of one seed. What is relative is so to fixed ten minutes on the
// same load.
type Score struct {
	All, Held                    sim.Summary
	Relative, Even, HeldRelative float64
	Gain, Spare                  float64
}

func newScore(r *sim.Result, seed uint64) Score {
	return Score{All: r.Summary(nil), Held: r.Summary(func(a *workload.App) bool { return workload.HeldOut(seed, a.ID) })}
}

func (s Score) against(base Score) Score {
	s.Relative = ratio(s.All.Waste, base.All.Waste)
	s.Even = ratio(s.All.Even, base.All.Even)
	s.HeldRelative = ratio(s.Held.Waste, base.Held.Waste)
	s.Gain = base.All.P75 - s.All.P75
	s.Spare = 1 - s.Relative
	return s
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func row(c candidate, scores []Score) Row {
	median := func(of func(Score) float64) float64 {
		var v []float64
		for _, s := range scores {
			v = append(v, of(s))
		}
		slices.Sort(v)
		return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	}
	r := Row{Family: c.Family, Name: c.Name}
	for _, f := range []struct {
		to *float64
		of func(sim.Summary) float64
	}{
		{&r.P50, func(s sim.Summary) float64 { return s.P50 }}, {&r.P75, func(s sim.Summary) float64 { return s.P75 }},
		{&r.P90, func(s sim.Summary) float64 { return s.P90 }}, {&r.AlwaysCold, func(s sim.Summary) float64 { return s.AlwaysCold }},
		{&r.Repeat75, func(s sim.Summary) float64 { return s.Repeat75 }}, {&r.RepeatAlways, func(s sim.Summary) float64 { return s.RepeatAlways }},
		{&r.Idle75, func(s sim.Summary) float64 { return s.Idle75 }}, {&r.Fleet, func(s sim.Summary) float64 { return s.Fleet }},
		{&r.FleetScaled, func(s sim.Summary) float64 { return s.FleetScaled }}, {&r.Refused, func(s sim.Summary) float64 { return s.Refused }},
		{&r.WaitMean, func(s sim.Summary) float64 { return s.WaitMean }}, {&r.WaitP99, func(s sim.Summary) float64 { return s.WaitP99 }},
		{&r.PeakMB, func(s sim.Summary) float64 { return s.PeakMB }}, {&r.LoadsPerMinute, func(s sim.Summary) float64 { return s.LoadsPerMinute }},
		{&r.NSPerDecision, func(s sim.Summary) float64 { return s.NSPerDecision }},
	} {
		*f.to = median(func(s Score) float64 { return f.of(s.All) })
	}
	r.Evictions = int(median(func(s Score) float64 { return float64(s.All.Evictions) }))
	r.Ahead = int(median(func(s Score) float64 { return float64(s.All.Ahead) }))
	r.Vain = int(median(func(s Score) float64 { return float64(s.All.Vain) }))
	r.Relative = median(func(s Score) float64 { return s.Relative })
	r.RelativeEven = median(func(s Score) float64 { return s.Even })
	r.Held75 = median(func(s Score) float64 { return s.Held.P75 })
	r.HeldRelative = median(func(s Score) float64 { return s.HeldRelative })
	var gains, spares []float64
	for _, s := range scores {
		gains, spares = append(gains, s.Gain), append(spares, s.Spare)
	}
	r.Gain, r.GainLow, r.GainHigh = bootstrap(gains)
	r.Spare, r.SpareLow, r.SpareHigh = bootstrap(spares)
	return r
}

// bootstrap returns the mean and the 95 % interval of resampled means.
func bootstrap(v []float64) (mean, low, high float64) {
	rng := rand.New(rand.NewPCG(1, uint64(len(v))))
	var means []float64
	for range 2000 {
		sum := 0.0
		for range v {
			sum += v[rng.IntN(len(v))]
		}
		means = append(means, sum/float64(len(v)))
	}
	for _, x := range v {
		mean += x / float64(len(v))
	}
	slices.Sort(means)
	return mean, means[len(means)/40], means[len(means)-1-len(means)/40]
}
