package report

import (
	"crypto/sha256"
	"encoding/binary"
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
	Protocol   Protocol
	Rejected   []uint64 // seeds
	Marginals  workload.Marginals
	Digests    []string
	Curve      []Row
	Variations []Section
	Caps       []Section
	Real       []Row
	Took       time.Duration
}

// Section is one variation.
type Section struct {
	Name string
	Rows []Row
}

// Part is one of the runs that make a report; each takes minutes.
type Part string

// The parts. The first makes the report that the others add to.
const (
	Curve Part = "curve"
	Loads Part = "loads"
	Caps  Part = "caps"
)

// New starts a report: it draws the seeds.
func New(p Protocol) (*Report, error) {
	r := &Report{Protocol: p}
	return r, r.accept()
}

// Run runs one part; progress gets a line for each step.
func (r *Report) Run(part Part, progress io.Writer) (err error) {
	began := time.Now()
	p := r.Protocol
	asPublished := func(*workload.Params) {}
	switch part {
	case Curve:
		r.Curve = p.over(progress, "published", asPublished, curve(), 0)
		r.Real, err = realTrace(p.Seeds[0])
	case Loads:
		r.Variations = nil
		for _, v := range variations {
			r.Variations = append(r.Variations, Section{v.Name, p.fewer(4).over(progress, v.Name, v.Vary, few(), 0)})
		}
	case Caps:
		r.Caps = nil
		for _, share := range []float64{.3, .5} {
			name := fmt.Sprintf("memory for %.0f %% of what never unloading takes", 100*share)
			r.Caps = append(r.Caps, Section{name, p.fewer(4).over(progress, name, asPublished, capped(), share)})
		}
	default:
		return fmt.Errorf("report: %q is no part; there are %s, %s and %s", part, Curve, Loads, Caps)
	}
	r.Took += time.Since(began)
	return err
}

// fewer is the protocol on its first n seeds.
func (p Protocol) fewer(n int) Protocol {
	p.Seeds = p.Seeds[:min(n, len(p.Seeds))]
	return p
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

// over runs candidates over the seeds. A cap is a share of the peak of never
// unloading.
func (p Protocol) over(progress io.Writer, name string, vary func(*workload.Params), candidates []candidate, capShare float64) []Row {
	var scores [][]score // by candidate, then seed
	scores = make([][]score, len(candidates))
	for _, seed := range p.Seeds {
		fmt.Fprintln(progress, name, "seed", seed)
		params := workload.Published(seed, p.Apps, p.Days)
		vary(&params)
		l := workload.Generate(params)
		bound := 0.0
		if capShare > 0 {
			never := candidate{Make: func() keepalive.Policy { return sim.Never }}
			bound = capShare * p.run(l.Pointers(), l.Span, never, 0).Summary(nil).PeakMB
		}
		base := newScore(p.run(l.Pointers(), l.Span, reference, 0), seed)
		for i, c := range candidates {
			scores[i] = append(scores[i], newScore(p.run(l.Pointers(), l.Span, c, bound), seed).against(base))
		}
	}
	var rows []Row
	for i, c := range candidates {
		rows = append(rows, row(c, scores[i]))
	}
	return rows
}

// realTrace runs the candidates over the real trace, which is too short to warm
// them: all of it is scored.
func realTrace(seed uint64) ([]Row, error) {
	l, err := workload.Azure2019(seed)
	if err != nil {
		return nil, err
	}
	p := Protocol{}
	base := newScore(p.run(l.Pointers(), l.Span, reference, 0), seed)
	var rows []Row
	for _, c := range curve() {
		rows = append(rows, row(c, []score{newScore(p.run(l.Pointers(), l.Span, c, 0), seed).against(base)}))
	}
	return rows, nil
}

// score is one run of one seed.
type score struct {
	all, held                    sim.Summary
	relative, even, heldRelative float64
	gain, spare                  float64
}

func newScore(r *sim.Result, seed uint64) score {
	return score{all: r.Summary(nil), held: r.Summary(func(a *workload.App) bool { return workload.HeldOut(seed, a.ID) })}
}

func (s score) against(base score) score {
	s.relative = ratio(s.all.Waste, base.all.Waste)
	s.even = ratio(s.all.Even, base.all.Even)
	s.heldRelative = ratio(s.held.Waste, base.held.Waste)
	s.gain = base.all.P75 - s.all.P75
	s.spare = 1 - s.relative
	return s
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func row(c candidate, scores []score) Row {
	median := func(of func(score) float64) float64 {
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
		*f.to = median(func(s score) float64 { return f.of(s.all) })
	}
	r.Evictions = int(median(func(s score) float64 { return float64(s.all.Evictions) }))
	r.Ahead = int(median(func(s score) float64 { return float64(s.all.Ahead) }))
	r.Vain = int(median(func(s score) float64 { return float64(s.all.Vain) }))
	r.Relative = median(func(s score) float64 { return s.relative })
	r.RelativeEven = median(func(s score) float64 { return s.even })
	r.Held75 = median(func(s score) float64 { return s.held.P75 })
	r.HeldRelative = median(func(s score) float64 { return s.heldRelative })
	var gains, spares []float64
	for _, s := range scores {
		gains, spares = append(gains, s.gain), append(spares, s.spare)
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
