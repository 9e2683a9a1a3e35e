package workload

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Load is what was generated, or read.
type Load struct {
	Params Params
	Span   time.Duration
	Apps   []App
}

// App is what is loaded and unloaded as one.
type App struct {
	ID        int
	Functions []Function
	Rate      float64 // calls per day that were drawn, before thinning
	CV        float64 // of the gaps of the calls that no timer makes
	MemoryMB  float64 // average
	PeakMB    float64
	Cold      time.Duration // what a cold start takes
	Calls     []Call        // sorted by time

	tide tide
}

// Function is one function of an app.
type Function struct {
	Trigger Trigger
	Share   float64 // of the app's calls
	Mean    float64 // seconds
	Sigma   float64
	period  time.Duration // of a timer
}

// Call is one invocation.
type Call struct {
	At       time.Duration // since the start
	Took     int32         // microseconds
	Function uint16
}

// Duration is how long the call runs.
func (c Call) Duration() time.Duration { return time.Duration(c.Took) * time.Microsecond }

const day = 24 * time.Hour

// Generate makes the load. Rates and triggers are spread over the apps in strata,
// so they depend on the number of apps; everything else of an app depends on
// the seed and its index alone.
func Generate(p Params) *Load {
	l := &Load{Params: p, Span: time.Duration(p.Days) * day, Apps: plan(p)}
	bursts := fleetBursts(p)
	for i := range l.Apps {
		a := &l.Apps[i]
		a.describe(p)
		a.tide = newTide(p, i, bursts)
		a.arrive(p)
	}
	if p.Shift > 0 {
		l.shift(p.Shift)
	}
	return l
}

// describe draws memory, cold start and durations.
func (a *App) describe(p Params) {
	r := stream(p.Seed, a.ID, forApp)
	a.MemoryMB = memory(r.Float64())
	if p.ConstantMemory {
		a.MemoryMB = medianMemory
	}
	a.PeakMB = a.MemoryMB * math.Max(1, math.Exp(math.Log(1.2)+.3*r.NormFloat64()))
	cold := math.Exp(coldMu + coldSigma*r.NormFloat64())
	a.Cold = seconds(p.ColdScale * min(maxCold, max(minCold, cold)))
	// Spearman's -.3 between rate and duration by a normal copula.
	const tie = -.313
	popularity := normalQuantile(min(.9999, max(.0001, rateRank(a.Rate))))
	r = stream(p.Seed, a.ID, forFunctions)
	for i := range a.Functions {
		f := &a.Functions[i]
		u := normalCDF(tie*popularity + math.Sqrt(1-tie*tie)*r.NormFloat64())
		f.Mean = min(maxDuration, math.Exp(durations.at(u))*durationFactors[f.Trigger]*durationNorm)
		f.Sigma = durationSigmas.at(r.Float64())
	}
}

// rateRank is about the quantile that a rate has among apps.
func rateRank(rate float64) float64 {
	v := math.Log(rate)
	for i, p := range appRates {
		if p.v >= v {
			if i == 0 {
				return p.u
			}
			q := appRates[i-1]
			if p.v == q.v {
				return p.u
			}
			return q.u + (p.u-q.u)*(v-q.v)/(p.v-q.v)
		}
	}
	return .995
}

// arrive makes the app's calls.
func (a *App) arrive(p Params) {
	span := time.Duration(p.Days) * day
	thin := 1.0
	if p.Thin > 0 && a.Rate > p.Thin {
		thin = p.Thin / a.Rate
	}
	timed := stream(p.Seed, a.ID, forTimers)
	var free []float64 // cumulative shares of the functions that are no timers
	sum := 0.0
	for i, f := range a.Functions {
		if f.Trigger == Timer {
			a.timer(timed, uint16(i), time.Duration(float64(f.period)/thin), p.Aligned, span)
		} else {
			sum += f.Share
		}
		free = append(free, sum)
	}
	if sum > 0 {
		r := stream(p.Seed, a.ID, forArrivals)
		rate := a.Rate * sum * thin
		a.CV = drawCV(r, p, a, rate/thin)
		a.others(r, p, rate, free)
	}
	slices.SortFunc(a.Calls, func(x, y Call) int { return cmp.Compare(x.At, y.At) })
	if len(a.Calls) == 0 { // published apps were called at least once
		at := time.Duration(stream(p.Seed, a.ID, forTide).Float64() * float64(span))
		a.Calls = []Call{{At: at}}
	}
	r := stream(p.Seed, a.ID, forCalls)
	for i := range a.Calls {
		f := a.Functions[a.Calls[i].Function]
		took := f.Mean * math.Exp(f.Sigma*r.NormFloat64()-f.Sigma*f.Sigma/2)
		a.Calls[i].Took = int32(1e6 * min(maxDuration, max(.001, took)))
	}
}

// timer adds the calls of one timer: a fixed period, a phase, and jitter of 2 %
// of the period, at most a second.
func (a *App) timer(r *rand.Rand, function uint16, period time.Duration, aligned float64, span time.Duration) {
	phase := time.Duration(r.Float64() * float64(period))
	if r.Float64() < aligned {
		phase = phase.Truncate(time.Minute)
	}
	sigma := min(.02*float64(period), float64(time.Second))
	for at := phase; at < span; at += period {
		jittered := at + time.Duration(math.Abs(r.NormFloat64())*sigma)
		if jittered < span {
			a.Calls = append(a.Calls, Call{At: jittered, Function: function})
		}
	}
}

// drawCV draws the spread of the gaps.
func drawCV(r *rand.Rand, p Params, a *App, rate float64) float64 {
	table := withoutTimer
	if slices.ContainsFunc(a.Functions, func(f Function) bool { return f.Trigger == Timer }) {
		table = withTimer
	}
	u := r.Float64()
	switch {
	case p.CV != TiedCV:
		return table.at(u)
	case rate <= 288:
		return max(1, table.at(.35+.65*u))
	}
	return table.at(.85 * u)
}

// others adds the calls that no timer makes, in warped time.
func (a *App) others(r *rand.Rand, p Params, rate float64, free []float64) {
	span := float64(p.Days)
	warp := a.tide.warp()
	add := func(at float64) { // days of volume
		if at >= 0 && at < span {
			u := r.Float64() * free[len(free)-1]
			f, _ := slices.BinarySearch(free, u)
			for a.Functions[f].Trigger == Timer || a.Functions[f].Share == 0 {
				f++
			}
			a.Calls = append(a.Calls, Call{At: warp(at), Function: uint16(f)})
		}
	}
	gap := 1 / rate
	switch {
	case a.CV < .1:
		for at := r.Float64() * gap; at < span; at += gap * max(.1, 1+a.CV*r.NormFloat64()) {
			add(at)
		}
	case p.CV == LogNormalCV:
		sigma := math.Sqrt(math.Log(1 + a.CV*a.CV))
		for at := r.Float64() * gap; at < span; at += gap * math.Exp(sigma*r.NormFloat64()-sigma*sigma/2) {
			add(at)
		}
	case a.CV <= 1:
		shape := 1 / (a.CV * a.CV)
		for at := r.Float64() * gap; at < span; at += gap * gamma(r, shape) {
			add(at)
		}
	default: // clusters
		// At least one cluster: an app without calls would not be in the published
		// population.
		size := (a.CV*a.CV + 1) / 2
		inside := min(1./1440, gap/4)
		first := r.ExpFloat64() * gap * size
		if first >= span {
			first = r.Float64() * span
		}
		for start := first; start < span; start += r.ExpFloat64() * gap * size {
			at := start
			add(at)
			for n := geometric(r, size); n > 1; n-- {
				at += r.ExpFloat64() * inside
				add(at)
			}
		}
	}
}

// shift gives every app, from some time on, the calls of the next one: what was
// learnt before is wrong then.
func (l *Load) shift(from time.Duration) {
	second := make([][]Call, len(l.Apps))
	for i, a := range l.Apps {
		cut, _ := slices.BinarySearchFunc(a.Calls, from, func(c Call, t time.Duration) int {
			if c.At < t {
				return -1
			}
			return 1
		})
		second[i] = slices.Clone(a.Calls[cut:])
		l.Apps[i].Calls = a.Calls[:cut]
	}
	for i := range l.Apps {
		a := &l.Apps[i]
		for _, c := range second[(i+1)%len(second)] {
			c.Function = 0
			a.Calls = append(a.Calls, c)
		}
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Pointers returns the apps as they are passed on.
func (l *Load) Pointers() []*App {
	apps := make([]*App, len(l.Apps))
	for i := range l.Apps {
		apps[i] = &l.Apps[i]
	}
	return apps
}
