package cell

import (
	"cmp"
	"slices"
	"time"
)

// Policy bounds how many cells stand by. The zero value keeps none.
type Policy struct {
	Floor int // of a class that was asked for lately
	Most  int // of one class, whatever the demand
	Total int // of all classes together
}

const (
	// lately is for how long a class that was asked for keeps Policy.Floor cells;
	// after it one, as long as a function is deployed that could use it.
	lately = time.Hour
	// lastUse is for how long a class is kept that no deployed function could use.
	lastUse = time.Minute
	// Between these two pressures the number of cells falls to none: they go before
	// any idle instance does (package keepalive), which is worth more.
	calm, tight = 0.65, 0.8
)

// observation is what decides about one class.
type observation struct {
	deployed int       // versions that could use it
	used     time.Time // when it was asked for or deployed last
	stock    int       // what recent demand would have needed; see demand.stock
	parked   int
	booting  int
	retry    time.Time // no boot before, where the last ones failed
}

// wanted is how many cells of the class there should be, the others not regarded.
func (o observation) wanted(p Policy, now time.Time) int {
	idle := now.Sub(o.used)
	switch {
	case o.deployed == 0 && idle >= lastUse:
		return 0
	case idle >= lately:
		return min(max(1, o.stock), p.Most)
	}
	return min(max(p.Floor, o.stock), p.Most)
}

// targets is how many cells of each class there should be. Where the total does not
// suffice, the classes that were used last come first.
func targets(all []observation, p Policy, pressure float64, now time.Time) []int {
	left := p.Total
	if pressure > calm {
		left = int(float64(left) * max(0, tight-pressure) / (tight - calm))
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return all[j].used.Compare(all[i].used) })
	out := make([]int, len(all))
	for _, i := range order {
		out[i] = min(all[i].wanted(p, now), left)
		left -= out[i]
	}
	return out
}

// action is what to do next about a class.
type action int

const (
	nothing action = iota
	boot
	end
)

// next says what to do next, and about which class. Cells that are too many end
// before others are made; of the classes that lack some, the one that has the
// least of what it should have comes first, then the one that was used last.
func next(all []observation, want []int, now time.Time) (action, int) {
	for i, o := range all {
		if o.parked > 0 && o.parked+o.booting > want[i] {
			return end, i
		}
	}
	best := -1
	for i, o := range all {
		if o.parked+o.booting >= want[i] || now.Before(o.retry) {
			continue
		}
		if best < 0 || lacks(all, want, i, best) < 0 {
			best = i
		}
	}
	if best < 0 {
		return nothing, 0
	}
	return boot, best
}

// lacks orders two classes that lack cells, the one in more need first.
func lacks(all []observation, want []int, i, j int) int {
	have := func(k, other int) int { return (all[k].parked + all[k].booting) * want[other] }
	return cmp.Or(cmp.Compare(have(i, j), have(j, i)), all[j].used.Compare(all[i].used))
}
