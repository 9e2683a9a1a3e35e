package pool

import (
	"crypto/rand"
	"encoding/hex"
	"sync/atomic"
	"time"

	"hearth/faas"
	"hearth/quota"
)

// instance is one execution environment of one revision.
type instance struct {
	id   string
	pool *pool

	// Guarded by pool.mu.
	state     state
	lease     quota.InstanceLease // held while it starts or is busy
	rested    quota.InstanceLease // the last one held, to be renewed
	mark      quota.Lease         // held while it is a provisioned one; in place of lease
	idleSince time.Time           // when it became idle
	reaped    bool                // somebody kills it, or has
	runtime   Runtime             // nil until it was started
	parts     faas.Timeline       // of its start; complete once Ready
	cold      faas.ColdReason     // of the calls that waited for it
	began     time.Time           // when its start, or the one before that it replaces, did
	readyAt   time.Time
	bill      bill // of its invocations, where it may hold several
	promised  int  // slots that it is trusted to get

	peak     atomic.Int64 // bytes, the highest memory use that was read
	peakRead atomic.Int64 // when that was: nanoseconds after readyAt; 0 for never

	cpuMu cpuLock // held while its processes are frozen, thawed or killed

	// In the pool's room, while it is busy and may hold more.
	room       int // which list; 0 is none
	prev, next *instance

	stopped chan struct{} // closed when life is Stopped
}

// newID makes an instance's id: 32 hexadecimal digits, as in Lambda's log streams.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// must reports a move that the state machine refused: a fault of this package
// that is worth an alarm and never a crash of every function on the machine.
func (i *instance) must(err error) {
	if err != nil {
		i.pool.pools.log.Error("illegal move of an instance", "instance", i.id, "version", i.pool.version.ID.String(), "err", err)
		i.pool.pools.illegal.Add(1)
	}
}

// reap kills the instance and gives back what it held. Called once per instance,
// by whoever set reaped, without the pool's lock.
func (i *instance) reap() {
	p := i.pool
	p.mu.Lock()
	runtime, cause := i.runtime, i.state.cause
	p.mu.Unlock()
	if runtime != nil {
		i.cpuMu.Lock() // a freeze under way is over first, and none begins any more
		err := runtime.Kill(string(cause), p.pools.grace(cause))
		i.cpuMu.Unlock()
		if err != nil {
			p.pools.log.Warn("an instance could not be killed in time", "instance", i.id,
				"version", p.version.ID.String(), "cause", string(cause), "err", err)
		}
	}
	p.mu.Lock()
	i.must(i.state.move(Stopped))
	delete(p.all, i)
	p.draining--
	close(i.stopped)
	p.stepLocked()
	p.mu.Unlock()
	p.pools.governor.gone(p.version.ID.Function, p.version.Config.MemoryMB)
}

// watch takes the instance out of service when its runtime ends by itself. Until
// then it follows the slots of the runtime, where some are missing.
func (i *instance) watch(missing bool, more <-chan struct{}) {
	var grace <-chan time.Time
	if missing {
		timer := time.NewTimer(slotGrace)
		defer timer.Stop()
		grace = timer.C
	}
	for {
		select {
		case <-i.runtime.Done():
			i.ended()
			return
		case <-i.stopped:
			return
		case <-more:
			var slots int
			slots, more = i.pool.slotsOf(i.runtime)
			i.pool.grow(i, slots)
		case <-grace:
			i.pool.graceOver(i)
		}
	}
}

// ended takes the instance out of service whose runtime has ended by itself.
func (i *instance) ended() {
	p := i.pool
	p.mu.Lock()
	reap := i.state.life == Ready && p.condemnLocked(i, CauseExit)
	p.stepLocked()
	p.mu.Unlock()
	if reap {
		i.reap()
	}
}
