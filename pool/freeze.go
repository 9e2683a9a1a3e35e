package pool

import (
	"errors"
	"sync"
	"time"
)

// ErrCannotFreeze is what Freeze of a Runtime returns whose sandbox has no such
// thing. It says so of all instances of its version.
var ErrCannotFreeze = errors.New("pool: the sandbox cannot be frozen")

// maxFreezing bounds the instances that are being frozen at once. One takes tens of
// microseconds where control groups are of version 2; version 1 waits for it.
const maxFreezing = 4

// freezer freezes idle instances off the path of calls, a few at a time. It has no
// goroutine while it has nothing to do. Its lock is taken last.
type freezer struct {
	after time.Duration  // how long an instance is idle before; negative is never
	spawn func(f func()) // a goroutine that Close waits for

	mu      sync.Mutex
	queue   []*instance // first come, first frozen
	working int         // goroutines
}

// add has an instance frozen whose cpu is Freezing.
func (f *freezer) add(inst *instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, inst)
	if f.working < maxFreezing {
		f.working++
		f.spawn(f.work)
	}
}

func (f *freezer) work() {
	for {
		f.mu.Lock()
		if len(f.queue) == 0 {
			f.queue = nil
			f.working--
			f.mu.Unlock()
			return
		}
		inst := f.queue[0]
		f.queue = f.queue[1:]
		f.mu.Unlock()
		inst.freeze()
	}
}

// cpuLock orders what is done to the CPU of one instance: it is held around each
// call of the Runtime's Freeze and Thaw, and while it is killed. It is taken before
// the pool's. A channel, not a Mutex: who waits for it waits for the kernel, which a
// test in fake time must be able to see.
type cpuLock chan struct{}

func newCPULock() cpuLock { return make(cpuLock, 1) }

func (l cpuLock) Lock()   { l <- struct{}{} }
func (l cpuLock) Unlock() { <-l }

// freezesLocked says whether idle instances of the pool are frozen.
func (p *pool) freezesLocked() bool { return p.pools.freezer.after >= 0 && !p.unfreezable }

// tireLocked has an instance frozen that has just become idle, unless a call comes
// first. A pool under load makes one appointment for each time that it may be frozen
// after, not one for each call.
func (p *pool) tireLocked(inst *instance) {
	if p.tired.IsZero() && inst.state.cpu == Running && p.freezesLocked() {
		p.tireAtLocked(inst.idleSince.Add(p.pools.freezer.after))
	}
}

func (p *pool) tireAtLocked(at time.Time) {
	p.tired = at
	p.pools.agenda.add(p, forFreeze, at)
}

// nod begins to freeze the instances that have been idle for long enough, the oldest
// first. So of two idle instances of a pool the one that does not run has been idle for
// longer, and the newest of a stack runs if any does.
func (p *pool) nod(at, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.tired.Equal(at) {
		return
	}
	p.tired = time.Time{}
	if !p.freezesLocked() {
		return
	}
	var next time.Time
	for _, stack := range [2][]*instance{p.idle, p.marks.idle} {
		for _, inst := range stack[firstAwake(stack):] {
			if due := inst.idleSince.Add(p.pools.freezer.after); due.After(now) {
				if next.IsZero() || due.Before(next) {
					next = due
				}
				break
			}
			inst.must(inst.state.setCPU(Freezing))
			p.pools.freezer.add(inst)
		}
	}
	if !next.IsZero() {
		p.tireAtLocked(next)
	}
}

// firstAwake returns where in an idle stack those begin that run.
func firstAwake(stack []*instance) int {
	i := len(stack)
	for i > 0 && stack[i-1].state.cpu == Running {
		i--
	}
	return i
}

// freeze freezes an instance that is Freezing and idle still. Where a call came
// while the kernel was told, it is thawed again: the call waits for cpuMu. An
// instance that can be neither frozen nor thawed is taken out of service.
func (i *instance) freeze() {
	i.cpuMu.Lock()
	defer i.cpuMu.Unlock()
	p := i.pool
	if !i.freezing() {
		return
	}
	err := i.runtime.Freeze()
	p.mu.Lock()
	if err == nil && i.state.idle() {
		i.must(i.state.setCPU(Frozen))
		p.frozen++
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	if errors.Is(err, ErrCannotFreeze) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.unfreezable = true
		i.must(i.state.setCPU(Running))
		return
	}
	i.runs(errors.Join(err, i.runtime.Thaw()))
}

// freezing says whether the instance is to be frozen still. It runs on where a call
// or its end came before.
func (i *instance) freezing() bool {
	i.pool.mu.Lock()
	defer i.pool.mu.Unlock()
	if i.state.cpu != Freezing {
		return false
	}
	if !i.state.idle() {
		i.must(i.state.setCPU(Running))
		return false
	}
	return true
}

// runs says that the instance has been thawed, or that it could not be frozen or
// thawed. It reports whether calls may be delivered to it.
func (i *instance) runs(err error) bool {
	p := i.pool
	p.mu.Lock()
	i.must(i.state.setCPU(Running))
	reap := err != nil && p.condemnLocked(i, CauseFreeze)
	ready := i.state.life == Ready
	if err != nil {
		p.stepLocked()
	}
	p.mu.Unlock()
	if err != nil {
		p.pools.log.Error("an instance could not be frozen or thawed and is taken out of service",
			"instance", i.id, "version", p.version.ID.String(), "err", err)
	}
	if reap {
		p.pools.spawn(i.reap)
	}
	return ready
}

// thaw has an instance run that holds the caller's invocation and was seen not to.
// False where it is out of service: the call needs another.
func (i *instance) thaw() bool {
	i.cpuMu.Lock()
	defer i.cpuMu.Unlock()
	p := i.pool
	p.mu.Lock()
	before, ready := i.state.cpu, i.state.life == Ready
	switch {
	case !ready:
	case before == Freezing: // it waits for its turn to be frozen, and runs
		i.must(i.state.setCPU(Running))
	case before == Frozen:
		i.must(i.state.setCPU(Thawing))
	}
	p.mu.Unlock()
	if !ready || before != Frozen {
		return ready
	}
	p.mu.series.Thawed()
	return i.runs(i.runtime.Thaw())
}

// wake thaws the instance of a grant where it does not run. Where that fails the
// grant's place is given back, and another must be found.
func (g *grant) wake() bool {
	if !g.asleep {
		return true
	}
	began := time.Now()
	if !g.inst.thaw() {
		g.inst.pool.release(g.inst, false)
		return false
	}
	g.thawed = time.Since(began)
	return true
}
