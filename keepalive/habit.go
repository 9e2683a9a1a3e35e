package keepalive

import (
	"math"
	"time"
)

// bins are the upper bounds of idle times that habits are learnt in, in seconds.
// Beyond the last nothing is expected.
var bins = [...]float64{2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 450, 600, 900, 1200, 1800, 2700, 3600,
	5400, 7200, 10800, 14400, 21600, 28800, 43200, 86400, 172800}

const (
	// memorable is how many calls after idle time a habit holds before it forgets
	// half, so that it follows a function that changes.
	memorable = 64
	// rateSpan is over how long the rate of calls is averaged.
	rateSpan = 2 * 24 * time.Hour
)

// habit is what Default remembers of a function, about 400 bytes whatever the
// number of calls: how likely a call comes when the function has been idle for so
// long, how often it is called at all, and its beat.
type habit struct {
	born    time.Time
	arrived time.Time
	rested  time.Time          // zero while calls are in flight
	calls   float64            // that came, the older ones by less: by 1/e for each rateSpan
	came    [len(bins)]float32 // calls that ended an idle time in the bin
	exposed [len(bins)]float32 // seconds idle in the bin
	seen    float32
	beat    beat
}

// Arrived implements History.
func (h *habit) Arrived(now time.Time) {
	if h.born.IsZero() {
		h.born = now
	} else {
		h.calls *= math.Exp(-float64(now.Sub(h.arrived)) / float64(rateSpan))
	}
	h.calls++
	h.arrived = now
	if h.rested.IsZero() {
		return
	}
	idle := now.Sub(h.rested).Seconds()
	h.rested = time.Time{}
	onBeat := h.beat.arrived(now.Sub(h.born).Seconds(), idle)
	low := 0.0
	for i, high := range bins {
		if idle < high {
			h.exposed[i] += float32(idle - low)
			if !onBeat {
				h.came[i]++
			}
			break
		}
		h.exposed[i] += float32(high - low)
		low = high
	}
	if h.seen++; h.seen >= memorable {
		h.seen /= 2
		for i := range bins {
			h.came[i] /= 2
			h.exposed[i] /= 2
		}
	}
}

// rate is how many calls come per second. A young function is taken to be an hour
// old at least.
func (h *habit) rate() float64 {
	age := float64(max(h.arrived.Sub(h.born), time.Hour)) / float64(rateSpan)
	return h.calls / (rateSpan.Seconds() * (1 - math.Exp(-age)))
}

// Rested implements History.
func (h *habit) Rested(now time.Time) { h.rested = now }

// The hazard of a function of which nothing is known falls with the time idle,
// and what is learnt outweighs it when it rests on more.
const (
	priorWeight = .5  // calls in each bin
	priorHazard = .25 // times 1/idle: how many calls come while the time idle doubles, about
)

// hazard is how many calls per second come in a bin, from low on.
func (h *habit) hazard(i int, low float64) float64 {
	middle := (low + bins[i]) / 2
	exposure := priorWeight * middle / priorHazard
	return (float64(h.came[i]) + priorWeight) / (float64(h.exposed[i]) + exposure)
}

// prospect is the best that an instance has to expect from staying: the most calls
// per second idle that any time from age on gives, at most to an age that is the
// end, and how long that time is.
func (h *habit) prospect(age, end float64) (best, until float64) {
	low, alive, calls, idle := 0.0, 1.0, 0.0, 0.0
	for i, high := range bins {
		if age >= high {
			low = high
			continue
		}
		from := max(low, age)
		if from >= end {
			break
		}
		high = min(high, end)
		rate := h.hazard(i, low)
		expected := rate * (high - from)
		// A call ends the idle time: 1/(1+x) for exp(-x), which is near enough.
		dies := alive * expected / (1 + expected)
		calls += dies
		idle += dies / rate
		alive -= dies
		if ratio := calls / idle; ratio >= best {
			best, until = ratio, high
		}
		low = high
	}
	return best, until
}
