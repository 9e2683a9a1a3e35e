package cell

import (
	"math"
	"time"
)

// remembered is for how many seconds back demand is known.
const remembered = 300

// demand is how many cells were asked for in each of the last seconds.
type demand struct {
	newest int64 // the second of the last entry, since the epoch
	counts [remembered]uint16
}

// add notes one request.
func (d *demand) add(now time.Time) {
	d.advance(now)
	if c := &d.counts[d.newest%remembered]; *c < math.MaxUint16 {
		*c++
	}
}

// advance forgets what is too old. A clock that was set back adds to the newest
// second.
func (d *demand) advance(now time.Time) {
	second := now.Unix()
	if second-d.newest >= remembered {
		d.counts = [remembered]uint16{}
		d.newest = second
	}
	for d.newest < second {
		d.newest++
		d.counts[d.newest%remembered] = 0
	}
}

// stock is how many cells would have served all the requests that are remembered,
// if refill were the time in which one is made.
func (d *demand) stock(refill time.Duration, now time.Time) int {
	d.advance(now)
	// Half of the time, because others are refilled too.
	made := min(math.MaxUint16, 0.5/max(refill, time.Millisecond).Seconds())
	missing, most := 0.0, 0.0
	for i := int64(1); i <= remembered; i++ {
		// All requests of a second may come at its beginning.
		missing += float64(d.counts[(d.newest+i)%remembered])
		most = max(most, missing)
		missing = max(0, missing-made)
	}
	return int(math.Ceil(most))
}
