package keepalive

import (
	"math"
	"time"
)

// Hybrid is the hybrid histogram policy of Shahrad et al., "Serverless in the
// Wild" (USENIX ATC'20): a histogram of idle times for each function says when
// to unload, when to start ahead and how long to keep; a forecast takes over
// where most idle times are out of its range. What the paper leaves open is a
// field here.
type Hybrid struct {
	Range   int     // minutes that the histogram covers; at most 240
	Samples int     // idle times that a histogram must have to be used
	Outside float64 // share of idle times out of range from which on the forecast is used
}

// DefaultHybrid has the published range and the openings filled in advance.
var DefaultHybrid = Hybrid{Range: 240, Samples: 10, Outside: .5}

const (
	hybridMinutes = 240
	hybridHead    = .05 // start ahead at this quantile of idle times
	hybridTail    = .99 // keep to this one
	hybridMargin  = .10
	hybridSpread  = 2.0 // coefficient of variation of the bins from which on they say something
	hybridAround  = .15 // of the forecast
	hybridSeries  = 64  // idle times that the forecast is fitted to
)

// hybridHistory is the histogram, 1,500 bytes: 960 for the counters, the rest for
// the forecast.
type hybridHistory struct {
	minutes       int // in range
	bins          [hybridMinutes]uint32
	inside        int
	outside       int
	squares       float64 // sum of the squares of the bins
	rested        time.Time
	series        [hybridSeries]float64 // the latest idle times in minutes, a ring
	length, first int
}

// NewHistory implements Policy.
func (h Hybrid) NewHistory() History { return &hybridHistory{minutes: h.Range} }

// Arrived implements History.
func (h *hybridHistory) Arrived(now time.Time) {
	if h.rested.IsZero() {
		return
	}
	idle := now.Sub(h.rested).Minutes()
	h.rested = time.Time{}
	if bin := int(idle); bin < h.minutes {
		h.squares += 2*float64(h.bins[bin]) + 1
		h.bins[bin]++
		h.inside++
	} else {
		h.outside++
	}
	if h.length < hybridSeries {
		h.series[h.length] = idle
		h.length++
		return
	}
	h.series[h.first] = idle
	h.first = (h.first + 1) % hybridSeries
}

// Rested implements History.
func (h *hybridHistory) Rested(now time.Time) { h.rested = now }

// window returns from when to when after the last call an instance is to be
// there.
func (p Hybrid) window(h *hybridHistory) (from, to time.Duration) {
	all := time.Duration(p.Range) * time.Minute
	total := h.inside + h.outside
	switch {
	case total < p.Samples:
		return 0, all
	case float64(h.outside) > p.Outside*float64(total):
		next := forecast(h.latest())
		return minutes(next * (1 - hybridAround)), minutes(next * (1 + hybridAround))
	case h.variation() < hybridSpread:
		return 0, all
	}
	head := float64(h.quantile(hybridHead)) * (1 - hybridMargin)
	tail := float64(h.quantile(hybridTail)+1) * (1 + hybridMargin)
	return minutes(head), min(minutes(tail), all)
}

// variation is the coefficient of variation of the bins.
func (h *hybridHistory) variation() float64 {
	mean := float64(h.inside) / float64(h.minutes)
	if mean == 0 {
		return 0
	}
	return math.Sqrt(max(0, h.squares/float64(h.minutes)-mean*mean)) / mean
}

// quantile returns the bin that holds this share of the idle times in range.
func (h *hybridHistory) quantile(q float64) int {
	left := q * float64(h.inside)
	for bin := range h.minutes {
		if left -= float64(h.bins[bin]); left <= 0 {
			return bin
		}
	}
	return h.minutes - 1
}

func (h *hybridHistory) latest() []float64 {
	series := make([]float64, 0, hybridSeries)
	for i := range h.length {
		series = append(series, h.series[(h.first+i)%hybridSeries])
	}
	return series
}

// Decide implements Policy.
func (p Hybrid) Decide(o Observation, now time.Time) Decision {
	h := o.History.(*hybridHistory)
	last := h.rested
	if last.IsZero() { // other instances hold calls
		last = o.IdleSince
	}
	from, to := p.window(h)
	end := last.Add(to)
	switch {
	case !now.Before(end):
		return Decision{Stop: true}
	case from > 0 && now.Before(last.Add(from)):
		return Decision{Stop: true, Prewarm: last.Add(from)}
	}
	return Decision{Again: end}
}

// Worth implements Policy: the longest idle goes first. The paper has no order.
func (p Hybrid) Worth(o Observation, now time.Time) float64 {
	return Fixed(0).Worth(o, now)
}

func minutes(m float64) time.Duration { return time.Duration(m * float64(time.Minute)) }
