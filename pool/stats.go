package pool

import (
	"slices"
	"strings"

	"hearth/faas"
)

// Counts are the instances of one or more revisions and the calls on them.
type Counts struct {
	Starting int `json:"starting"` // being started or initialised
	Idle     int `json:"idle"`     // ready and holding no invocation
	Frozen   int `json:"frozen"`   // those of Idle of which no process runs
	Busy     int `json:"busy"`     // ready and holding some
	// Provisioned are those of Idle and Busy that are provisioned instances.
	Provisioned int `json:"provisioned"`
	Draining    int `json:"draining"` // taking no more invocations
	InFlight    int `json:"inFlight"` // invocations held
	Waiting     int `json:"waiting"`  // invocations waiting for an instance
}

func (c Counts) plus(o Counts) Counts {
	return Counts{c.Starting + o.Starting, c.Idle + o.Idle, c.Frozen + o.Frozen, c.Busy + o.Busy, c.Provisioned + o.Provisioned,
		c.Draining + o.Draining, c.InFlight + o.InFlight, c.Waiting + o.Waiting}
}

// RevisionCounts are the counts of one revision's pool.
type RevisionCounts struct {
	Version  faas.VersionID `json:"version"`
	Revision string         `json:"revision"`
	Retiring bool           `json:"retiring"` // it was replaced or deleted
	Counts
}

// Stats returns the counts of every pool, sorted by version.
func (ps *Pools) Stats() []RevisionCounts {
	var all []RevisionCounts
	for _, p := range ps.list() {
		all = append(all, p.stats())
	}
	slices.SortFunc(all, func(a, b RevisionCounts) int {
		if c := strings.Compare(a.Version.String(), b.Version.String()); c != 0 {
			return c
		}
		return strings.Compare(a.Revision, b.Revision)
	})
	return all
}

// Function returns the counts of one function, all its versions together.
func (ps *Pools) Function(id faas.FunctionID) Counts {
	var sum Counts
	for _, p := range ps.of(id) {
		sum = sum.plus(p.stats().Counts)
	}
	return sum
}

func (p *pool) stats() RevisionCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := len(p.idle) + len(p.marks.idle)
	c := Counts{Idle: idle, Frozen: p.frozen, Busy: p.ready - idle, Provisioned: p.marks.ready, InFlight: p.held, Waiting: p.waiters.len}
	for inst := range p.all {
		switch inst.state.life {
		case Starting, Initializing:
			c.Starting++
		case Draining:
			c.Draining++
		}
	}
	// A start that waits for room has no instance yet.
	c.Starting = max(c.Starting, p.starting+p.marks.preparing)
	return RevisionCounts{Version: p.version.ID, Revision: p.version.Revision, Retiring: p.retiring, Counts: c}
}
