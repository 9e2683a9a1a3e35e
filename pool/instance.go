package pool

import (
	"crypto/rand"
	"encoding/hex"
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
	lease     quota.Lease   // held while it starts or is busy
	idleSince time.Time     // when it became idle
	reaped    bool          // somebody kills it, or has
	runtime   Runtime       // nil until it was started
	parts     faas.Timeline // of its start; complete once Ready

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
		if err := runtime.Kill(string(cause), p.pools.grace(cause)); err != nil {
			p.pools.log.Error("an instance could not be killed in time", "instance", i.id,
				"version", p.version.ID.String(), "cause", string(cause), "err", err)
		}
	}
	p.mu.Lock()
	i.must(i.state.move(Stopped))
	delete(p.all, i)
	close(i.stopped)
	p.stepLocked()
	p.mu.Unlock()
	p.pools.governor.gone(p.version.ID.Function, p.version.Config.MemoryMB)
}

// watch takes the instance out of service when its runtime ends by itself.
func (i *instance) watch() {
	select {
	case <-i.runtime.Done():
	case <-i.stopped:
		return
	}
	p := i.pool
	p.mu.Lock()
	reap := i.state.life == Ready && p.condemnLocked(i, CauseExit)
	p.stepLocked()
	p.mu.Unlock()
	if reap {
		i.reap()
	}
}
