package keepalive

import (
	"math"
	"time"
)

// Default keeps an idle instance while what it may save outweighs what it holds:
// the calls that are to be expected from now on per second of idleness, times
// what a cold start costs, over the memory. It learns each function's habit of
// idle times, and the beat of its timers: between two beats nothing is held, and
// an instance is started just ahead of the next. It is greedy-dual's frequency ×
// cost / size, with the frequency at this age of idleness in place of the whole.
type Default struct {
	// Price is how many calls per hour of idleness an instance of the reference
	// function (140 MB, 1.35 s, one call an hour) must promise to be kept.
	Price float64
	// Fair is how much a call of a rare function counts more than one of a busy:
	// 0 not at all, 1 so that every function counts the same.
	Fair float64
	// Dear is how much a long cold start counts more: 0 not at all, 1 in
	// proportion.
	Dear float64
	// Surplus is by how much the promise shrinks with each instance that a call
	// would take before.
	Surplus float64
	// Least is how long an instance stays that others would be taken before, while
	// memory is not short: bursts come in rows, and each instance of the next that
	// is missing is a start, all at once.
	Least time.Duration
}

// Auto is Default as it was tuned (docs/keep-alive): on the load that it was tuned
// on it has fewer cold starts than fixed ten minutes, over functions and over
// calls, at less waste.
var Auto = Default{Price: .5, Fair: .25, Dear: .5, Surplus: .6, Least: time.Minute}

// The reference function.
const (
	referenceMB   = 140
	referenceCold = 1.35
	referenceRate = 1. / 3600
)

// NewHistory implements Policy.
func (Default) NewHistory() History { return &habit{} }

// value is what a call that is saved a cold start is worth, per MB.
func (p Default) value(o Observation, h *habit) float64 {
	v := referenceMB / max(1, o.MemoryMB)
	if p.Dear > 0 {
		v *= math.Pow(max(.001, o.Cold.Seconds())/referenceCold, p.Dear)
	}
	if p.Fair > 0 {
		v *= math.Pow(referenceRate/max(1e-9, h.rate()), p.Fair)
	}
	for range min(o.Rank, 64) {
		v *= p.Surplus
	}
	return v
}

// age is how long the instance is idle; for the one that the next call takes, how
// long its function is.
func age(o Observation, h *habit, now time.Time) float64 {
	since := o.IdleSince
	if o.Rank == 0 && !h.rested.IsZero() && h.rested.Before(since) {
		since = h.rested // it was started ahead
	}
	return max(0, now.Sub(since).Seconds())
}

// Decide implements Policy.
func (p Default) Decide(o Observation, now time.Time) Decision {
	h := o.History.(*habit)
	at := now.Sub(h.born).Seconds()
	next, off := h.beat.next(at)
	lead := off + 1.25*o.Cold.Seconds()
	if o.Rank == 0 && next > 0 && at >= next-lead && at < next+off {
		return Decision{Again: after(now, next+off-at)}
	}
	idle := age(o, h, now)
	// Nothing is to be expected beyond the next beat: one is started ahead of it.
	end := math.Inf(1)
	if next > 0 && o.Rank == 0 {
		end = idle + next - lead - at
	}
	promise, until := h.prospect(idle, end)
	if promise*3600*p.value(o, h) >= p.Price*scarcity(o.Pressure) {
		return Decision{Again: after(now, max(.1, until-idle))}
	}
	if least := o.IdleSince.Add(p.Least); o.Rank > 0 && o.Pressure < tight && now.Before(least) {
		return Decision{Again: least}
	}
	d := Decision{Stop: true}
	if next > 0 {
		d.Prewarm = after(now, max(0, next-lead-at))
	}
	return d
}

// Worth implements Policy: the promise per MB.
func (p Default) Worth(o Observation, now time.Time) float64 {
	h := o.History.(*habit)
	promise, _ := h.prospect(age(o, h, now), math.Inf(1))
	at := now.Sub(h.born).Seconds()
	if next, off := h.beat.next(at); next > 0 && o.Rank == 0 {
		promise = max(promise, 1/max(1, next+off-at))
	}
	return promise * p.value(o, h)
}

// tight is the pressure from which on memory is short.
const tight = .8

// scarcity is by how much the price rises when memory gets short, fourfold when all
// is in use: a little room in advance spares starts the wait for an eviction.
func scarcity(pressure float64) float64 {
	return 1 + 15*max(0, min(1, pressure)-tight)
}

func after(now time.Time, seconds float64) time.Time {
	return now.Add(time.Duration(seconds * float64(time.Second)))
}
