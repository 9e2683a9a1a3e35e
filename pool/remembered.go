package pool

import (
	"sync"
	"time"

	"hearth/faas"
	"hearth/keepalive"
)

// remembrance is how long the habits of a function are kept that has no pool any
// more.
const remembrance = 48 * time.Hour

// remembered is what keep-alive knows of one function, over all its versions.
// Its lock is taken last.
type remembered struct {
	mu       sync.Mutex
	history  keepalive.History
	inFlight int       // calls, those that wait included
	latest   *pool     // which the last call named
	seen     time.Time // when
}

// rememberedLocked returns what is known of a function, under Pools.mu.
func (ps *Pools) rememberedLocked(id faas.FunctionID) *remembered {
	r := ps.habits[id]
	if r == nil {
		r = &remembered{history: ps.keepAlive.NewHistory()}
		ps.habits[id] = r
	}
	return r
}

// arrived notes a call of the function to one of its pools.
func (r *remembered) arrived(p *pool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight++
	r.latest, r.seen = p, now
	r.history.Arrived(now)
}

// left notes that a call ended, whatever became of it.
func (r *remembered) left() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inFlight--; r.inFlight == 0 {
		r.history.Rested(time.Now())
	}
}

// forgetHabits removes what is known of functions that were not called for long
// and have no pool.
func (ps *Pools) forgetHabits(now time.Time) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for id, r := range ps.habits {
		if len(ps.byFunction[id]) > 0 {
			continue
		}
		r.mu.Lock()
		old := now.Sub(r.seen) > remembrance
		r.latest = nil
		r.mu.Unlock()
		if old {
			delete(ps.habits, id)
		}
	}
}
