package pool

import "time"

// slotGrace is how long a Ready instance that has not all its slots yet is
// trusted to get them: runtimes that poll in parallel park their polls one by one,
// and a second instance is not to start for that.
const slotGrace = 250 * time.Millisecond

// room is the busy instances that may hold more invocations, by how many they
// hold: lists through instance.prev and next, the newest in a list first. Guarded
// by the pool's lock.
type room struct {
	by     []*instance // by[n] holds n each; by[0] is not used
	fewest int         // no list below it has an instance
}

// place puts an instance where its state says, after any change of it.
func (r *room) place(inst *instance) {
	if inst.room > 0 {
		r.unlink(inst)
	}
	n := inst.state.n
	if inst.state.life != Ready || n == 0 || n >= inst.state.limit {
		return
	}
	for len(r.by) <= n {
		r.by = append(r.by, nil)
	}
	inst.room, inst.next = n, r.by[n]
	if inst.next != nil {
		inst.next.prev = inst
	}
	r.by[n] = inst
	r.fewest = min(r.fewest, n)
}

func (r *room) unlink(inst *instance) {
	if inst.prev != nil {
		inst.prev.next = inst.next
	} else {
		r.by[inst.room] = inst.next
	}
	if inst.next != nil {
		inst.next.prev = inst.prev
	}
	inst.room, inst.prev, inst.next = 0, nil, nil
}

// first returns one of the instances with the fewest invocations, or nil.
func (r *room) first() *instance {
	for ; r.fewest < len(r.by); r.fewest++ {
		if inst := r.by[r.fewest]; inst != nil {
			return inst
		}
	}
	return nil
}

// promiseLocked notes how many slots an instance is still trusted to get.
func (p *pool) promiseLocked(inst *instance, slots int) {
	p.promised += slots - inst.promised
	inst.promised = slots
}

// slotsOf is how many invocations the runtime can hold now, within bounds.
func (p *pool) slotsOf(runtime Runtime) (n int, more <-chan struct{}) {
	n, more = runtime.Slots()
	return min(max(1, n), p.limit), more
}

// grow gives an instance the slots that its runtime has got meanwhile, and the
// calls that wait the room.
func (p *pool) grow(inst *instance, slots int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if inst.state.life != Ready || slots <= inst.state.limit {
		return
	}
	if inst.promised > 0 {
		p.promiseLocked(inst, p.limit-slots)
	}
	inst.state.limit = slots
	p.room.place(inst)
	p.fillLocked(inst, false)
	p.stepLocked()
}

// fillLocked gives the room of a busy instance, or of one that was just started,
// to the calls that wait. Those that waited before it was Ready are cold; first
// says that nobody has held it yet.
func (p *pool) fillLocked(inst *instance, first bool) {
	if inst.state.idle() && inst.lease == nil && inst.mark == nil {
		return // whoever takes it asks the quota
	}
	for inst.state.n < inst.state.limit && p.waiters.head != nil {
		w := p.waiters.head
		g := grantLocked(inst)
		if !w.since.After(inst.readyAt) {
			g.cold, g.first = inst.cold, first
		}
		first = false
		p.holdLocked(inst)
		p.serveLocked(w, g)
	}
}

// graceOver ends the trust in an instance's missing slots: the calls that counted
// on them get a start.
func (p *pool) graceOver(inst *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.promiseLocked(inst, 0)
	p.stepLocked()
}
