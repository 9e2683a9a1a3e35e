package pool

import (
	"sync"

	"hearth/metric"
)

// lock is the lock of a pool. Whoever gives it back has the pool's series told of
// what changed under it: so no change can be forgotten, and nothing is counted
// that began and ended under the lock, such as a wait that was refused at once.
type lock struct {
	sync.Mutex
	pool   *pool
	series *metric.Series // nil counts nothing
	shown  metric.Values  // what the series was told
}

// Unlock tells the series and gives the lock back.
func (l *lock) Unlock() {
	l.show()
	l.Mutex.Unlock()
}

func (l *lock) show() {
	if l.series == nil {
		return
	}
	now := l.pool.valuesLocked()
	if now != l.shown {
		l.series.Change(l.shown, now)
		l.shown = now
	}
}

// leave gives the series back of a pool that has come to nothing.
func (l *lock) leave() {
	l.show()
	l.series.Release()
	l.series = nil
}

// valuesLocked is what the pool adds to the gauges of its version.
func (p *pool) valuesLocked() metric.Values {
	idle := len(p.idle) + len(p.marks.idle)
	return metric.Values{
		metric.Starting:    p.starting + p.marks.preparing,
		metric.Idle:        idle - p.frozen,
		metric.Frozen:      p.frozen,
		metric.Busy:        p.ready - idle,
		metric.Draining:    p.draining,
		metric.Provisioned: p.marks.ready,
		metric.InFlight:    p.held,
		metric.Waiting:     p.waiters.len,
	}
}
