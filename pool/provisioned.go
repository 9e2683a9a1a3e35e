package pool

import (
	"slices"
	"time"

	"hearth/faas"
	"hearth/quota"
)

const (
	// provisionedInitTimeout is the least limit of init of provisioned instances:
	// nobody waits for them.
	provisionedInitTimeout = 15 * time.Minute
	// maxInitFailures in a row, and no more provisioned instances are tried.
	maxInitFailures = 5
	// The first pause after a refused start of a provisioned instance, and the
	// longest; after so many refusals in a row they count as a failure.
	minRetry      = time.Second
	maxRetry      = 10 * time.Second
	manyRefusals  = 3
	maxRetryShift = 4
)

// marks are the provisioned instances of a pool. A mark makes an instance, or a
// start that is in progress, a provisioned one: its place is charged with what was
// configured, keep-alive and evictions pass it by. Guarded by the pool's lock.
//
// Invariant: the marks are at most target.
type marks struct {
	target    int
	starts    []*start    // in progress and marked
	ready     int         // Ready and marked
	idle      []*instance // of these, those that hold none; the newest idle last
	preparing int         // starts that were begun for provisioned instances, marked still or not
	failed    int         // rounds of failed inits in a row
	refused   int         // refusals of starts in a row
	paused    bool        // a goroutine will look again
	pauses    uint64      // which pause it is
	failure   error       // why instances are missing
}

func (m *marks) count() int { return len(m.starts) + m.ready }

// Provision sets how many provisioned instances the revision has: instances that
// are started and initialised in advance, kept, and replaced when they die. Idle
// instances become provisioned ones first, the rest is started. What is above the
// number becomes ordinary again; nothing is killed. It returns at once. The quota
// knows the number already where it rises, and learns it afterwards where it falls.
func (ps *Pools) Provision(version *faas.Version, instances int) {
	for {
		_, found := ps.byRevision.Load(keyOf(version))
		if !found && instances <= 0 || ps.pool(version).provision(max(0, instances)) {
			return
		}
	}
}

// Provisioned returns how many provisioned instances the revision has.
func (ps *Pools) Provisioned(version *faas.Version) faas.ProvisionedCounts {
	found, ok := ps.byRevision.Load(keyOf(version))
	if !ok {
		return faas.ProvisionedCounts{}
	}
	p := found.(*pool)
	p.mu.Lock()
	defer p.mu.Unlock()
	m := &p.marks
	return faas.ProvisionedCounts{Target: m.target, Allocated: m.count(), Ready: m.ready, Failure: m.failure}
}

// provision sets the target; false where the pool was removed meanwhile.
func (p *pool) provision(target int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.gone:
		return false
	case p.retiring || target == p.marks.target || p.closing && target > p.marks.target:
		return true
	}
	p.targetLocked(target)
	p.stepLocked()
	return true
}

func (p *pool) targetLocked(target int) {
	m := &p.marks
	m.target, m.failed, m.refused, m.failure = target, 0, 0, nil
	m.paused = false
	m.pauses++
	for m.count() > target {
		p.unmarkLocked()
	}
}

// provideLocked marks idle instances and begins starts until the marks are as many
// as are wanted. While inits fail, one is tried at a time.
func (p *pool) provideLocked() {
	m := &p.marks
	for m.count() < m.target && !m.paused && !p.retiring && !p.closing && !p.killed {
		last := len(p.idle) - 1
		switch {
		case last >= 0:
			lease, err := p.pools.quota.Start(p.version, quota.Adopt)
			if err != nil {
				p.pauseLocked(err)
				return
			}
			inst := p.idle[last]
			p.unrestLocked(inst)
			p.markLocked(inst, lease)
			p.restingLocked(inst)
			p.matchLocked()
			continue
		case m.failed >= maxInitFailures:
			m.failure = initFailing(p.version, p.failing.failure)
			return
		case m.failed > 0 && len(m.starts) > 0:
			return
		}
		lease, err := p.mayStartLocked(quota.ForProvisioned)
		if err != nil {
			p.pauseLocked(err)
			return
		}
		s := p.startLocked(lease, nil, true)
		m.starts = append(m.starts, s)
	}
}

// markLocked makes a Ready instance a provisioned one.
func (p *pool) markLocked(inst *instance, lease quota.Lease) {
	m := &p.marks
	inst.mark = lease
	m.ready++
	m.failed, m.refused, m.failure = 0, 0, nil
}

// unmarkLocked makes one provisioned instance an ordinary one: one that is not
// Ready yet, else the one that has been idle for longest, else a busy one.
func (p *pool) unmarkLocked() {
	m := &p.marks
	if last := len(m.starts) - 1; last >= 0 {
		s := m.starts[last]
		p.unmarkStartLocked(s)
		s.lease.Release()
		s.lease = assumed{p.pools.quota.Assume(p.version)}
		return
	}
	if len(m.idle) > 0 {
		inst := m.idle[0]
		p.unrestLocked(inst)
		mark := inst.mark
		inst.mark = nil
		p.restingLocked(inst)
		p.endMarkLocked(mark)
		return
	}
	for inst := range p.all {
		if inst.mark != nil {
			p.loseMarkLocked(inst)
			return
		}
	}
}

// unmarkStartLocked takes a start off the list of those that are marked.
func (p *pool) unmarkStartLocked(s *start) {
	m := &p.marks
	i := slices.Index(m.starts, s)
	if i < 0 {
		return
	}
	m.starts = slices.Delete(m.starts, i, i+1)
}

// loseMarkLocked takes the mark of a Ready instance that is in no idle stack. While
// it holds invocations it is charged as an ordinary one, whatever the quota has left.
func (p *pool) loseMarkLocked(inst *instance) {
	mark := inst.mark
	inst.mark = nil
	p.endMarkLocked(mark)
	if inst.state.n > 0 {
		inst.lease = p.pools.quota.Assume(p.version)
	}
}

// endMarkLocked gives back what the mark of an instance was charged, which is where
// it is counted from now on. The gauges say it first: whoever gets its place counts
// it anew.
func (p *pool) endMarkLocked(mark quota.Lease) {
	p.marks.ready--
	p.mu.show()
	mark.Release()
}

// endedLocked takes note of the end of a start that was begun for a provisioned
// instance, and reports whether it was marked to its end.
func (p *pool) endedLocked(s *start) (marked bool) {
	p.marks.preparing--
	marked = slices.Contains(p.marks.starts, s)
	p.unmarkStartLocked(s)
	return marked
}

// pauseLocked has provisioned instances tried again later.
func (p *pool) pauseLocked(why error) {
	m := &p.marks
	if m.paused || m.target == 0 {
		return
	}
	pause := time.Until(p.failing.until)
	if !faas.IsCode(why, faas.CodeInitFailing) {
		pause = min(maxRetry, minRetry<<min(m.refused, maxRetryShift))
		m.refused++
		if m.refused >= manyRefusals {
			m.failure = why
		}
	}
	m.paused = true
	m.pauses++
	number := m.pauses
	p.pools.spawn(func() { p.resume(number, pause) })
}

func (p *pool) resume(number uint64, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.pools.ctx.Done():
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.marks.pauses == number {
		p.marks.paused = false
		p.stepLocked()
	}
}

// assumed is the lease of a start that has ceased to be one of a provisioned
// instance. No call waits for it, so it is not made again.
type assumed struct{ quota.InstanceLease }

func (a assumed) Void() { a.Release() }

func (assumed) Again() error { return errNotAgain }
