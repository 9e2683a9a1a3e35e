package cell

import (
	"cmp"
	"slices"
	"time"
)

// Counts are what happened with the cells of one class since the pool was made.
type Counts struct {
	Wanted      int           // cells that there should be, now
	Hits        uint64        // claims that found one
	Misses      uint64        // claims that found none
	Failed      uint64        // claimed ones that died before an instance came of them
	Boots       uint64        // cells made
	BootsFailed uint64        // boots that failed
	BootTime    time.Duration // what the boots took
	BootCPU     time.Duration // of CPU, what the boots cost
	Died        uint64        // while they were parked
	Evicted     uint64        // to make room for instances
	Shrunk      uint64        // because fewer were wanted
}

// Stat is one class as it is now.
type Stat struct {
	Class
	Counts
	Parked  int
	Booting int
}

// Stats are all the classes that are known, ordered by runtime, size and egress.
func (p *Pool[B]) Stats() []Stat {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Stat, 0, len(p.order))
	for _, c := range p.order {
		out = append(out, Stat{Class: c.Class, Counts: c.counts, Parked: len(c.parked), Booting: c.booting})
	}
	slices.SortFunc(out, func(a, b Stat) int {
		return cmp.Or(cmp.Compare(a.Runtime, b.Runtime), cmp.Compare(a.MemoryMB, b.MemoryMB),
			cmp.Compare(a.Egress, b.Egress), cmp.Compare(a.Build, b.Build))
	})
	return out
}
