package quota

import (
	"math"
	"time"
)

const (
	// drainTime is in how long the events that wait for a function are to be begun.
	drainTime = 10 * time.Second
	// leastDrain is what is left of it for a head that has waited for it already.
	leastDrain = time.Second
	// assumedDuration is that of a function of which no recent one is known.
	assumedDuration = time.Second
)

// Demand is the asynchronous events that wait for one function.
type Demand struct {
	Backlog     int           // events that wait
	HeadAge     time.Duration // how long the oldest has waited
	Duration    time.Duration // of a recent invocation; 0 where none is known
	Instances   int           // that work on the function's events now
	Concurrency int           // invocations that one instance may hold; at least 1
	Cap         int           // the most instances that the quotas allow
}

// Wanted is how many instances are to work on the events of a function: enough
// to begin them all within 10 s, no more than the events could fill, and at most
// the cap. The longer the oldest has waited, the less of the 10 s is left; past
// it the number that was not enough is doubled, whatever Duration says.
func Wanted(d Demand) int {
	if d.Backlog <= 0 || d.Cap <= 0 {
		return 0
	}
	duration := d.Duration
	if duration <= 0 {
		duration = assumedDuration
	}
	left := min(max(drainTime-max(0, d.HeadAge), leastDrain), drainTime)
	concurrency := max(1, d.Concurrency)
	// In floating point: the product of two counts can be too large for an int.
	backlog := min(d.Backlog, most)
	slots := math.Ceil(float64(backlog) * float64(duration) / float64(left))
	wanted := ceilDiv(int(min(slots, float64(backlog))), concurrency)
	if d.HeadAge >= drainTime {
		wanted = max(wanted, times(2, d.Instances))
	}
	return max(1, min(wanted, ceilDiv(backlog, concurrency), d.Cap))
}

// ceilDiv divides two numbers above 0, rounding up.
func ceilDiv(x, y int) int { return 1 + (x-1)/y }
