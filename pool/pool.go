package pool

import (
	"slices"
	"sync/atomic"
	"time"

	"hearth/faas"
	"hearth/quota"
)

// pool is the instances of one revision and the calls that wait for them.
//
// Invariants, whenever the lock is free:
//   - a call waits only while no instance has room for it, or its quota refuses
//     the idle one;
//   - starts in progress × limit and the slots that instances are trusted to get
//     cover the calls that wait;
//   - starting, held and the state of every instance add up.
//
// Every change ends in stepLocked, which restores the second. An instance that
// got room is handed to the first waiter under the lock that found it.
type pool struct {
	pools   *Pools
	version *faas.Version
	limit   int           // invocations that one instance may hold
	seen    *faas.Version // under which it is in Pools.byVersion; guarded by Pools.mu

	mu          lock
	all         map[*instance]struct{} // every instance that is not Stopped
	idle        []*instance            // Ready, ordinary and holding none; the newest idle last
	room        room                   // Ready, holding some, and with room for more
	waiters     queue
	marks       marks // the provisioned ones
	starting    int   // starts in progress, but for those of provisioned instances
	ready       int   // instances that are Ready
	draining    int   // instances that are Draining
	frozen      int   // instances that are idle and Frozen
	promised    int   // slots that instances are trusted to get soon
	held        int   // holds that were not released
	starts      uint64
	failing     backoff
	history     history
	habit       *remembered
	due         time.Time     // when the policy is asked next; zero where nothing is idle
	ahead       time.Time     // when an instance is to be started ahead; zero for never
	tired       time.Time     // when idle instances are frozen next; zero where none is to be
	coldCost    time.Duration // of the last start
	resident    atomic.Int64  // bytes that an instance was last seen to use; 0 where that is not known
	unfreezable bool          // the sandboxes cannot be frozen
	retiring    bool          // its revision was replaced or deleted
	retired     time.Time     // when
	closing     bool          // Hearth is stopping: no new calls
	killed      bool          // Hearth is stopping: nothing starts any more
	gone        bool          // not to be found any more; look it up again
	empty       chan struct{}
}

func newPool(pools *Pools, version *faas.Version, origin faas.ColdReason) *pool {
	p := &pool{
		pools:    pools,
		version:  version,
		limit:    max(1, version.Config.InstanceConcurrency),
		all:      make(map[*instance]struct{}),
		history:  history{origin: origin},
		coldCost: leastCold,
	}
	p.mu.pool, p.mu.series = p, pools.metrics.Version(version.ID)
	return p
}

// takeLocked finds room on an instance that is there: the newest idle one, of the
// provisioned ones first; above one call per instance the newest that runs, else the
// one with the fewest calls, else one that is frozen. Nil where there is none.
func (p *pool) takeLocked() (*instance, error) {
	if p.limit == 1 {
		return p.takeIdleLocked(false)
	}
	if inst, _ := p.takeIdleLocked(true); inst != nil {
		return inst, nil
	}
	if inst := p.room.first(); inst != nil {
		p.holdLocked(inst)
		return inst, nil
	}
	return p.takeIdleLocked(false)
}

// takeIdleLocked takes the newest idle instance, or only one that is awake.
func (p *pool) takeIdleLocked(awake bool) (*instance, error) {
	inst := newest(p.marks.idle, awake)
	if inst == nil {
		if inst = newest(p.idle, awake); inst == nil {
			return nil, nil
		}
		if err := p.occupyLocked(inst); err != nil {
			return nil, err
		}
	}
	p.unrestLocked(inst)
	p.holdLocked(inst)
	return inst, nil
}

// newest returns the newest of an idle stack, which is awake if any of it is.
func newest(stack []*instance, awake bool) *instance {
	last := len(stack) - 1
	if last < 0 || awake && stack[last].state.cpu != Running {
		return nil
	}
	return stack[last]
}

// grantLocked is the grant of an instance that holds the invocation.
func grantLocked(inst *instance) grant {
	return grant{inst: inst, asleep: inst.state.cpu != Running}
}

func (p *pool) holdLocked(inst *instance) {
	inst.must(inst.state.hold())
	p.held++
	if p.limit > 1 {
		p.room.place(inst)
	}
}

// ask takes room on an instance, or a place among those who wait for one: then the
// waiter is not nil. It returns at once.
func (p *pool) ask() (grant, *waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.gone:
		return grant{}, nil, errGone
	case p.closing:
		return grant{}, nil, shuttingDown()
	}
	p.ahead = time.Time{}
	if p.waiters.len == 0 { // else those that came first are served first
		inst, err := p.takeLocked()
		if inst != nil || err != nil && p.hopeLocked() == 0 {
			g := grant{}
			if inst != nil {
				g = grantLocked(inst)
			}
			return g, nil, err
		}
	}
	w := &waiter{ready: make(chan grant, 1), since: time.Now()}
	p.waiters.push(w)
	p.stepLocked()
	if !w.served {
		return grant{}, w, nil
	}
	g := <-w.ready // refused, or given an instance meanwhile
	return g, nil, g.err
}

// serveLocked gives a waiter its grant.
func (p *pool) serveLocked(w *waiter, g grant) {
	p.waiters.remove(w)
	w.serve(g)
	p.emptyLocked()
}

// coverLocked is how many of the calls that wait will have room without another
// start.
func (p *pool) coverLocked() int { return p.starting*p.limit + p.promised }

// hopeLocked is how many of them may have room at last: provisioned instances that
// are on their way may take long, so a call counts on them only if it must.
func (p *pool) hopeLocked() int { return p.coverLocked() + p.marks.preparing*p.limit }

// stepLocked begins starts until they cover the calls that wait, and refuses the
// calls for which none may begin, the newest first. Then it sees to the
// provisioned instances.
func (p *pool) stepLocked() {
	if p.waiters.len > 0 {
		p.serveAllLocked()
	}
	if p.marks.count() < p.marks.target {
		p.provideLocked()
	}
}

// serveAllLocked sees to it that every call that waits has room, a start, or an
// answer.
func (p *pool) serveAllLocked() {
	p.matchLocked()
	for p.coverLocked() < p.waiters.len {
		lease, err := p.mayStartLocked(quota.ForCall)
		if err == nil {
			p.startLocked(lease, p.waiters.unsponsored(), false)
			continue
		}
		for p.hopeLocked() < p.waiters.len {
			p.serveLocked(p.waiters.tail, grant{err: err})
		}
		p.waiters.hoping(err)
		return
	}
}

// matchLocked gives the calls that wait the room that there is: that of an idle
// instance whose quota had refused it.
func (p *pool) matchLocked() {
	for p.waiters.head != nil {
		inst, _ := p.takeLocked() // refused still: the call waits for its start
		if inst == nil {
			return
		}
		p.serveLocked(p.waiters.head, grantLocked(inst))
	}
}

// release gives back one invocation's place on an instance. A failed instance is
// dead when it returns.
func (p *pool) release(inst *instance, failed bool) {
	p.mu.Lock()
	if failed { // it was seized for this hold when its start failed
		p.held--
		p.emptyLocked()
		p.mu.Unlock()
		inst.reap()
		return
	}
	inst.must(inst.state.release())
	p.held--
	if p.limit > 1 {
		p.room.place(inst)
	}
	reap := p.freedLocked(inst)
	p.stepLocked()
	p.emptyLocked()
	p.mu.Unlock()
	if reap {
		p.pools.spawn(inst.reap)
	}
}

// freedLocked finds a use for an instance that got room: the first waiter, else
// the idle stack. It reports whether the instance is to be killed instead.
func (p *pool) freedLocked(inst *instance) (reap bool) {
	if inst.state.life != Ready {
		return inst.state.n == 0 && p.seizeLocked(inst)
	}
	if w := p.waiters.head; w != nil && inst.state.n < inst.state.limit {
		p.holdLocked(inst)
		p.serveLocked(w, grantLocked(inst))
		return false
	}
	if inst.state.n > 0 {
		return false
	}
	return p.restLocked(inst)
}

// restLocked lets an instance without calls rest on the idle stack, or condemns
// it where its pool has no future.
func (p *pool) restLocked(inst *instance) (reap bool) {
	switch {
	case p.closing:
		return p.condemnLocked(inst, CauseShutdown)
	case p.retiring:
		return p.condemnLocked(inst, CauseDeploy)
	}
	if inst.state.cpu == Running { // else nobody has used it since
		inst.idleSince = time.Now()
	}
	p.restingLocked(inst)
	p.tireLocked(inst)
	p.endLeaseLocked(inst)
	return false
}

// restingLocked puts an idle instance on the stack that is its own, in order.
func (p *pool) restingLocked(inst *instance) {
	if inst.state.cpu == Frozen {
		p.frozen++
	}
	if inst.mark != nil {
		p.marks.idle = byAge(p.marks.idle, inst)
		return
	}
	p.idle = byAge(p.idle, inst)
	p.pools.idle.Add(1)
	p.lookAtLocked(inst.idleSince.Add(p.pools.linger))
}

// unrestLocked takes an idle instance from its stack, if it is there.
func (p *pool) unrestLocked(inst *instance) {
	before := len(p.idle) + len(p.marks.idle)
	if inst.mark != nil {
		p.marks.idle = without(p.marks.idle, inst)
	} else {
		ordinary := len(p.idle)
		p.idle = without(p.idle, inst)
		p.pools.idle.Add(int64(len(p.idle) - ordinary))
	}
	if len(p.idle)+len(p.marks.idle) < before && inst.state.cpu == Frozen {
		p.frozen--
	}
}

// condemnLocked takes an instance out of service. It reports whether the caller
// has to reap it now, because it holds nothing.
func (p *pool) condemnLocked(inst *instance, cause Cause) (reap bool) {
	if inst.state.life >= Draining {
		return false
	}
	ready, idle := inst.state.life == Ready, inst.state.idle()
	inst.must(inst.state.drain(cause))
	p.draining++
	p.history.lost(cause)
	if ready {
		p.ready--
		p.promiseLocked(inst, 0)
		p.room.place(inst)
	}
	// The governor knows of an idle instance that it leaves before nobody finds it
	// idle any more: a start that wants its room sees one or the other.
	reap = inst.state.n == 0 && p.seizeLocked(inst)
	if idle {
		p.unrestLocked(inst)
	}
	if inst.mark != nil {
		p.loseMarkLocked(inst)
	}
	return reap
}

// seizeLocked makes the caller the one who reaps the instance; false where there
// is one already.
func (p *pool) seizeLocked(inst *instance) bool {
	if inst.reaped {
		return false
	}
	inst.reaped = true
	p.pools.governor.leave(p.version.ID.Function, p.version.Config.MemoryMB)
	p.endLeaseLocked(inst)
	return true
}

// endLeaseLocked gives back what a busy instance was charged. The gauges say first
// that it is not busy: whoever gets its place counts it anew.
func (p *pool) endLeaseLocked(inst *instance) {
	if inst.lease != nil {
		p.mu.show()
		inst.lease.Release()
		inst.lease, inst.rested = nil, inst.lease
	}
}

// occupyLocked charges an idle instance as a busy one.
func (p *pool) occupyLocked(inst *instance) (err error) {
	lease := inst.rested
	if lease != nil {
		err = lease.Renew()
	} else {
		lease, err = p.pools.quota.Occupy(p.version)
	}
	if err == nil {
		inst.lease, inst.rested = lease, nil
	}
	return err
}

// emptyLocked tells whoever waits for the pool to hold no call that it does.
func (p *pool) emptyLocked() {
	if p.empty != nil && p.held == 0 && p.waiters.len == 0 {
		close(p.empty)
		p.empty = nil
	}
}

func (p *pool) initTimeout() time.Duration {
	if d := p.version.Config.InitTimeout(); d > 0 {
		return d
	}
	return defaultInitTimeout
}

// byAge adds an instance to an idle stack, which has the newest idle last.
func byAge(list []*instance, inst *instance) []*instance {
	i := len(list)
	for i > 0 && list[i-1].idleSince.After(inst.idleSince) {
		i--
	}
	if i == len(list) {
		return append(list, inst)
	}
	return slices.Insert(list, i, inst)
}

// without removes one instance, keeping the order. The newest are looked at first.
func without(list []*instance, inst *instance) []*instance {
	if last := len(list) - 1; last >= 0 && list[last] == inst {
		list[last] = nil
		return list[:last]
	}
	if i := slices.Index(list, inst); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}
