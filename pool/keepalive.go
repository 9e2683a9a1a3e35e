package pool

import "time"

// KeepAlive decides how long idle instances are kept. Implementations are pure:
// the same observation and time give the same decision.
type KeepAlive interface {
	KeepAlive(o Observation, now time.Time) Decision
}

// Observation is what a decision about one idle instance rests on.
type Observation struct {
	IdleSince time.Time
	Idle      int // idle instances of its revision, itself included
}

// Decision is what becomes of an idle instance.
type Decision struct {
	Stop  bool
	Again time.Time // when to decide anew, where it is kept
}

// DefaultKeepAlive is how long an idle instance is kept unless told otherwise.
const DefaultKeepAlive = FixedKeepAlive(10 * time.Minute)

// FixedKeepAlive keeps every instance idle for so long.
type FixedKeepAlive time.Duration

// KeepAlive implements KeepAlive.
func (f FixedKeepAlive) KeepAlive(o Observation, now time.Time) Decision {
	end := o.IdleSince.Add(time.Duration(f))
	return Decision{Stop: !now.Before(end), Again: end}
}

// The reclaim loop looks at least so often, and at most so often.
const (
	maxReclaimPause = 10 * time.Second
	minReclaimPause = 10 * time.Millisecond
)

// reclaim stops idle instances as the policy decides, until the pools are closed.
func (ps *Pools) reclaim() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ps.ctx.Done():
			return
		case <-timer.C:
		}
		now := time.Now()
		next := now.Add(maxReclaimPause)
		for _, p := range ps.list() {
			if again := p.reclaim(ps.keepAlive, now); !again.IsZero() && again.Before(next) {
				next = again
			}
			ps.forget(p, now)
		}
		timer.Reset(max(minReclaimPause, time.Until(next)))
	}
}

// reclaim applies the policy to the pool's idle instances and returns when the
// first of the kept is to be looked at again; zero where there is none.
func (p *pool) reclaim(policy KeepAlive, now time.Time) (again time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var stop []*instance
	for _, inst := range p.idle {
		d := policy.KeepAlive(Observation{IdleSince: inst.idleSince, Idle: len(p.idle) - len(stop)}, now)
		switch {
		case d.Stop:
			stop = append(stop, inst)
		case again.IsZero() || d.Again.Before(again):
			again = d.Again
		}
	}
	for _, inst := range stop {
		if p.condemnLocked(inst, CauseIdle) {
			p.pools.spawn(inst.reap)
		}
	}
	return again
}
