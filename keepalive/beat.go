package keepalive

import "math"

// A beat is a regular time at which a function is called: a timer's. Other calls
// may come between. Times are seconds since the habit began.
type beat struct {
	period float64 // 0 where there is none
	last   float64 // the last call on the beat
	spread float64 // mean distance of calls from where they were expected
	hits   int8
	missed int8
	length int8
	recent [beatMemory]float32 // ends of idle times, the newest first
}

const (
	beatMemory   = 12
	beatQuiet    = 5.0  // idle seconds that a call must end to be looked at
	beatShortest = 12.0 // seconds; quicker functions are never idle for long
	beatSlack    = 2.5  // seconds that a call may be off, and
	beatDrift    = .002 // of the period
	beatSure     = 3    // calls on the beat from which on it is believed
	beatOver     = .01  // seconds before its end at which a beat counts as missed
	beatPatience = 3    // missed calls after which it is forgotten
)

func slack(period float64) float64 { return min(beatSlack+beatDrift*period, period/8) }

// arrived notes a call that ended an idle time, and reports whether it was one
// that a believed beat foretold.
func (b *beat) arrived(now, idle float64) (foretold bool) {
	if idle < beatQuiet {
		return false
	}
	if b.period > 0 {
		foretold = b.follow(now)
	}
	if b.period == 0 {
		b.search(now)
	}
	copy(b.recent[1:], b.recent[:])
	b.recent[0] = float32(now)
	b.length = min(beatMemory, b.length+1)
	return foretold
}

// follow holds a call against the beat.
func (b *beat) follow(now float64) bool {
	steps := math.Round((now - b.last) / b.period)
	if steps < 1 {
		return false
	}
	off := now - (b.last + steps*b.period)
	if math.Abs(off) > slack(b.period) {
		if (now-b.last)/b.period > beatPatience+1 {
			*b = beat{length: b.length, recent: b.recent}
		}
		return false
	}
	sure := b.sure()
	if steps > 1 {
		b.hits = max(0, b.hits-int8(min(steps-1, 8)))
	}
	b.hits = min(16, b.hits+1)
	b.spread += (math.Abs(off) - b.spread) / 4
	b.last += steps*b.period + off/2
	b.period += off / steps / 8
	return sure
}

// search looks for two equal times between calls that ended idle times: now and
// one before, and that one and another.
func (b *beat) search(now float64) {
	for i := range int(b.length) {
		period := now - float64(b.recent[i])
		if period < beatShortest {
			continue
		}
		before := float64(b.recent[i]) - period
		for j := i + 1; j < int(b.length); j++ {
			if off := math.Abs(float64(b.recent[j]) - before); off <= slack(period) {
				b.period, b.last, b.spread, b.hits = period, now, off/2, 1
				return
			}
		}
	}
}

func (b *beat) sure() bool { return b.period > 0 && b.hits >= beatSure }

// next returns when the next call on the beat is expected, and how far off it
// may be; 0 where there is no beat, or it fell silent.
func (b *beat) next(now float64) (at, off float64) {
	if !b.sure() {
		return 0, 0
	}
	off = min(slack(b.period), .5+4*b.spread)
	steps := max(1, math.Ceil((now-off-b.last)/b.period))
	if b.last+steps*b.period+off-now < beatOver {
		steps++
	}
	if steps > beatPatience {
		return 0, 0
	}
	return b.last + steps*b.period, off
}
