package sim

import (
	"math"
	"slices"
	"time"

	"hearth/test/keepalive/workload"
)

// AppScore is what one app got.
type AppScore struct {
	App     *workload.App
	Calls   int
	Cold    int           // after idle, or the first
	Scaled  int           // cold because all instances were busy
	Refused int           // no room could be made
	Idle    time.Duration // instances loaded and not executing
	Loads   int
	Ahead   int // loads ahead of a call
	Vain    int // of these, those that no call used
	Evicted int
}

// Rate is the app's share of cold calls.
func (s AppScore) Rate() float64 {
	return float64(s.Cold+s.Scaled+s.Refused) / float64(s.Calls)
}

// Waste is memory times idle time, in MB·s.
func (s AppScore) Waste() float64 { return s.App.MemoryMB * s.Idle.Seconds() }

// Totals are sums over all apps.
type Totals struct {
	Decisions int
	Deciding  time.Duration // spent in every 64th, the two readings of the clock included
	setup     Setup
	waits     [waitBins]int
	waiting   time.Duration
	calls     int
	minutes   []float64 // change of resident memory in each minute
}

// waitBins are logarithmic, 20 to a factor of ten, from 1 ms on.
const waitBins = 140

func newTotals(s Setup) Totals {
	return Totals{setup: s, minutes: make([]float64, int(s.To/time.Minute)+3)}
}

func (t *Totals) waited(wait int64, scored bool) {
	if !scored {
		return
	}
	t.calls++
	t.waiting += time.Duration(wait)
	bin := 0
	if ms := float64(wait) / 1e6; ms > 1 {
		bin = min(waitBins-1, 1+int(20*math.Log10(ms)))
	}
	t.waits[bin]++
}

func (t *Totals) resident(from, to int64, mb float64) {
	const minute = int64(time.Minute)
	t.minutes[(from+minute-1)/minute] += mb // whole minutes at which it is there
	t.minutes[to/minute+1] -= mb
}

// Result is what came of a run.
type Result struct {
	Totals
	Apps []AppScore
}

// Summary is a result in numbers. Rates are over the apps that were called in
// the scored time.
type Summary struct {
	P50, P75, P90 float64 // cold rate over apps
	AlwaysCold    float64 // share of apps
	// The same without apps that have a single call.
	Repeat50, Repeat75, Repeat90, RepeatAlways float64
	Idle75                                     float64 // cold rate after idle alone
	Fleet                                      float64 // share of all calls that were cold
	FleetScaled                                float64 // and because all instances were busy
	Refused                                    float64 // share of all calls
	WaitMean, WaitP99                          float64 // added latency of all calls, seconds
	Waste                                      float64 // MB·s
	Even                                       float64 // s: the waste, were every app of 1 MB
	PeakMB                                     float64 // looked at each minute
	LoadsPerMinute                             float64
	Ahead, Vain, Evictions                     int
	NSPerDecision                              float64
}

// Summary sums the result up over the apps that the filter keeps; nil keeps all.
// Waits, peak and decisions are of all apps.
func (r *Result) Summary(keep func(*workload.App) bool) Summary {
	var s Summary
	var all, repeated, idle []float64
	always, repeatAlways := 0, 0
	calls, loads := 0, 0
	for _, a := range r.Apps {
		if keep != nil && !keep(a.App) {
			continue
		}
		s.Waste += a.Waste()
		s.Even += a.Idle.Seconds()
		loads += a.Loads
		s.Ahead += a.Ahead
		s.Vain += a.Vain
		s.Evictions += a.Evicted
		if a.Calls == 0 {
			continue
		}
		calls += a.Calls
		s.Fleet += float64(a.Cold + a.Scaled + a.Refused)
		s.FleetScaled += float64(a.Scaled)
		s.Refused += float64(a.Refused)
		rate := a.Rate()
		all = append(all, rate)
		idle = append(idle, float64(a.Cold)/float64(a.Calls))
		if rate == 1 {
			always++
		}
		if a.Calls > 1 {
			repeated = append(repeated, rate)
			if rate == 1 {
				repeatAlways++
			}
		}
	}
	s.P50, s.P75, s.P90 = quantile(all, .5), quantile(all, .75), quantile(all, .9)
	s.Repeat50, s.Repeat75, s.Repeat90 = quantile(repeated, .5), quantile(repeated, .75), quantile(repeated, .9)
	s.Idle75 = quantile(idle, .75)
	s.AlwaysCold = share(always, len(all))
	s.RepeatAlways = share(repeatAlways, len(repeated))
	if calls > 0 {
		s.Fleet /= float64(calls)
		s.FleetScaled /= float64(calls)
		s.Refused /= float64(calls)
	}
	s.LoadsPerMinute = float64(loads) / (r.setup.To - r.setup.From).Minutes()
	r.Totals.fill(&s)
	return s
}

func (t *Totals) fill(s *Summary) {
	if t.calls > 0 {
		s.WaitMean = t.waiting.Seconds() / float64(t.calls)
		left := .99 * float64(t.calls)
		for bin, n := range t.waits {
			if left -= float64(n); left <= 0 {
				if bin > 0 {
					s.WaitP99 = math.Pow(10, float64(bin)/20) / 1e3
				}
				break
			}
		}
	}
	level := 0.0
	for minute, change := range t.minutes {
		level += change
		if time.Duration(minute)*time.Minute >= t.setup.From {
			s.PeakMB = max(s.PeakMB, level)
		}
	}
	if t.Decisions >= timed {
		s.NSPerDecision = float64(t.Deciding) / float64(t.Decisions/timed)
	}
}

func share(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// quantile sorts the values; 0 where there are none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	at := q * float64(len(values)-1)
	i := int(at)
	if i+1 == len(values) {
		return values[i]
	}
	return values[i] + (at-float64(i))*(values[i+1]-values[i])
}
