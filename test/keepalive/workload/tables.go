package workload

import (
	"math"
	"slices"
)

// The numbers in this file are published: Shahrad et al., "Serverless in the
// Wild" (USENIX ATC'20) and the notes of its dataset, mostly read off figures;
// cold starts: the Huawei Cloud trace of EuroSys'25. Where a number is ours, it
// says so.

// point is one point of an inverse distribution function.
type point struct{ u, v float64 }

// quantiles is an inverse distribution function, linear between its points.
type quantiles []point

func (q quantiles) at(u float64) float64 {
	i, _ := slices.BinarySearchFunc(q, u, func(p point, u float64) int {
		if p.u < u {
			return -1
		}
		return 1
	})
	switch {
	case i == 0:
		return q[0].v
	case i == len(q):
		return q[len(q)-1].v
	}
	a, b := q[i-1], q[i]
	return a.v + (b.v-a.v)*(u-a.u)/(b.u-a.u)
}

// logarithms is an inverse distribution function, linear in the logarithm of its
// values.
func logarithms(points ...point) quantiles {
	for i := range points {
		points[i].v = math.Log(points[i].v)
	}
	return points
}

// An atom is a jump of the apps' rates: timers.
type atom struct {
	from, to float64
	rate     float64 // calls per day
}

// atoms are placed where the table reaches their rate; the last begins a little
// below it, so that 81 % of apps have at most one call a minute.
var atoms = []atom{{.1775, .2225, 1}, {.444, .454, 24}, {.634, .684, 288}, {.785, .815, 1440}}

// appRates is calls per day over apps. The first point is one call in 14 days;
// from .99 on it is linear in log(1-u).
var appRates = logarithms(
	point{0, .0714}, point{.05, .14}, point{.10, .29}, point{.1775, 1}, point{.2225, 1}, point{.25, 1.7},
	point{.30, 3.1}, point{.40, 12}, point{.444, 24}, point{.454, 24}, point{.50, 49}, point{.60, 180},
	point{.634, 288}, point{.684, 288}, point{.70, 400}, point{.75, 600}, point{.785, 1440}, point{.815, 1440},
	point{.85, 1800}, point{.90, 4200}, point{.95, 20e3}, point{.97, 55e3}, point{.99, 300e3})

// topRates is over -log10(1-u), from .99 on.
var topRates = logarithms(point{2, 300e3}, point{3, 3.6e6}, point{4, 2e7}, point{5, 8e7}, point{5.32, 1.65e8})

// appRate returns calls per day at a quantile, and whether it is a timer's.
func appRate(u float64) (rate float64, timer bool) {
	for _, a := range atoms {
		if u >= a.from && u < a.to {
			return a.rate, true
		}
	}
	if u > .99 {
		return math.Exp(topRates.at(-math.Log10(1 - u))), false
	}
	return math.Exp(appRates.at(u)), false
}

// Trigger is what calls a function.
type Trigger byte

// The triggers of the published tables.
const (
	HTTP Trigger = iota
	Queue
	Event
	Orchestration
	Timer
	Storage
	Other
	triggers // how many
)

var triggerNames = [triggers]string{"HTTP", "queue", "event", "orchestration", "timer", "storage", "other"}

func (t Trigger) String() string { return triggerNames[t] }

// callShares is the share of all calls that each trigger has.
var callShares = [triggers]float64{HTTP: .359, Queue: .335, Event: .247, Orchestration: .023, Timer: .020, Storage: .007, Other: .010}

// functionShares is the share of all functions that each trigger has.
var functionShares = [triggers]float64{HTTP: .550, Queue: .152, Event: .022, Orchestration: .069, Timer: .156, Storage: .028, Other: .022}

// combination is the triggers that an app has, and the share of such apps in %.
type combination struct {
	triggers []Trigger
	share    float64
}

func (c combination) has(t Trigger) bool { return slices.Contains(c.triggers, t) }

// combinations without the apps of timers only, which are the atoms. The last
// fourteen are ours: the 9.6 % that are published without being listed, chosen so
// that the share of apps that have each trigger comes out as published.
var combinations = []combination{
	{[]Trigger{HTTP}, 43.27}, {[]Trigger{Queue}, 9.47}, {[]Trigger{HTTP, Timer}, 4.59}, {[]Trigger{HTTP, Queue}, 4.22},
	{[]Trigger{Event}, 3.01}, {[]Trigger{Storage}, 2.80}, {[]Trigger{Timer, Queue}, 2.57},
	{[]Trigger{HTTP, Timer, Queue}, 2.48}, {[]Trigger{HTTP, Other}, 1.69}, {[]Trigger{HTTP, Storage}, 1.05},
	{[]Trigger{HTTP, Orchestration}, 1.03}, {[]Trigger{HTTP, Timer, Other}, .84},

	{[]Trigger{HTTP, Timer, Queue, Orchestration}, 1}, {[]Trigger{HTTP, Queue, Orchestration}, .5},
	{[]Trigger{Timer, Orchestration}, .57}, {[]Trigger{HTTP, Timer, Event, Other}, .8}, {[]Trigger{HTTP, Queue, Event}, .7},
	{[]Trigger{Timer, Queue, Event}, .6}, {[]Trigger{Timer, Event}, .69}, {[]Trigger{HTTP, Timer, Storage, Other}, .6},
	{[]Trigger{HTTP, Queue, Storage}, .6}, {[]Trigger{Timer, Queue, Storage}, .6}, {[]Trigger{Queue, Storage, Other}, .6},
	{[]Trigger{Timer, Storage, Other}, .55}, {[]Trigger{Queue, Other}, .5}, {[]Trigger{Other}, 1.29},
}

// moreFunctions is the number of functions of an app that has more than one.
var moreFunctions = conditional(.54, quantiles{{.54, 1}, {.71, 2}, {.80, 3}, {.85, 4}, {.88, 5}, {.905, 6}, {.934, 8},
	{.954, 10}, {.976, 15}, {.985, 20}, {.995, 30}, {1, 60}})

// singles is the share of one-function apps among those with one kind of trigger:
// 54 % of all apps have one function, 74 % one kind.
const singles = .73

func conditional(from float64, q quantiles) quantiles {
	for i := range q {
		q[i].u = (q[i].u - from) / (1 - from)
	}
	return q
}

// timerPeriods is minutes and weight, those without a clean period left out;
// days are ours, from the apps' atom at one call a day.
var timerPeriods = []point{{.25, 2}, {.5, 6}, {1, 7}, {2, 3}, {3, 3}, {4, 1}, {5, 17}, {10, 6}, {15, 5}, {30, 2}, {60, 9}, {1440, 15}}

// gapCVs are the coefficients of variation of an app's gaps, beyond .90
// continued at the same slope of the logarithm.
var (
	withoutTimer = quantiles{{0, 0}, {.10, 0}, {.20, .35}, {.30, .81}, {.40, 1.25}, {.50, 1.74}, {.60, 2.35}, {.70, 3.2},
		{.75, 3.8}, {.80, 4.7}, {.85, 6.2}, {.90, 9}, {.95, 13}, {1, 19}}
	withTimer = quantiles{{0, 0}, {.20, 0}, {.30, .01}, {.40, .08}, {.50, .20}, {.60, .42}, {.70, .78}, {.75, .96},
		{.80, 1.28}, {.85, 1.8}, {.90, 2.9}, {.95, 4.7}, {1, 7.5}}
)

// durations is the average execution time over functions, in seconds.
var durations = logarithms(point{0, .01}, point{.05, .027}, point{.10, .058}, point{.25, .21}, point{.50, .93}, point{.75, 4.4},
	point{.90, 23}, point{.95, 63}, point{.99, 290}, point{1, 600})

// durationFactors scale it by trigger; durationNorm brings the median back.
var durationFactors = [triggers]float64{HTTP: .5, Queue: 1.2, Event: .4, Orchestration: .2, Timer: 1.2, Storage: 1.2, Other: 1.2}

const durationNorm = 1.4

// durationSigmas is the spread of one function's calls, in logarithms.
var durationSigmas = quantiles{{0, .1}, {.25, .24}, {.50, .51}, {.75, 1.05}, {.90, 1.9}, {1, 2.2}}

const maxDuration = 600 // seconds

// memory is the Burr XII distribution of an app's average memory, in MB.
func memory(u float64) float64 {
	const c, k, lambda = 11.652, .221, 107.083
	return lambda * math.Pow(math.Pow(1-u, -1/k)-1, 1/c)
}

const medianMemory = 140

// The log-normal cold start, in seconds.
const (
	coldMu, coldSigma = .296, 1.326
	minCold, maxCold  = .1, 60
)
