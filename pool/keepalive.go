package pool

import (
	"time"

	"hearth/keepalive"
	"hearth/quota"
)

const (
	// linger is how long an instance is idle before the policy is asked: a function
	// under load does not ask at every call.
	linger = time.Second
	// sampling is how often the machine's memory is looked at.
	sampling = time.Second
	// habitsSweep is how often habits are looked through for those of functions
	// that are gone.
	habitsSweep = time.Hour
	// leastCold is what a cold start is taken to cost at least, and before the first:
	// what it takes of the others' CPU is not in its time.
	leastCold = 250 * time.Millisecond
	// leastMB is what an idle instance is taken to hold at least.
	leastMB = 16
	// short is the pressure from which on idle instances go though no start needs
	// their room; of them one in so many at each look.
	short      = .95
	shortShare = 8
	// candidates is how many pools are compared for the instance that is worth
	// least. Of more, so many are drawn: the least of 256 is among the cheapest
	// hundredth with 92 % probability, at a cost that does not grow.
	candidates = 256
)

// lingerOf is when the policy is first asked about an idle instance.
func lingerOf(policy keepalive.Policy) time.Duration {
	if f, ok := policy.(keepalive.Fixed); ok {
		return min(linger, max(0, time.Duration(f)))
	}
	return linger
}

// keepHouse stops idle instances and starts others ahead as the policy decides,
// until the pools are closed. It is the one goroutine that asks the policy for
// decisions.
func (ps *Pools) keepHouse() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var sampled, swept time.Time
	for {
		select {
		case <-ps.ctx.Done():
			return
		case <-timer.C:
		case <-ps.agenda.sooner:
		}
		now := time.Now()
		bound := habitsSweep
		if ps.sample != nil && ps.idle.Load() > 0 {
			bound = sampling
			if now.Sub(sampled) >= sampling {
				sampled = now
				ps.relieve()
			}
		}
		if now.Sub(swept) >= habitsSweep {
			swept = now
			ps.forgetHabits(now)
		}
		for {
			a, wait := ps.agenda.due(now, bound)
			if a.pool == nil {
				timer.Reset(wait)
				break
			}
			ps.keep(a, now)
		}
	}
}

// keep does what an appointment was made for, where it still stands.
func (ps *Pools) keep(a appointment, now time.Time) {
	switch a.purpose {
	case forIdle:
		a.pool.look(a.at, now)
	case forAhead:
		a.pool.anticipate(a.at)
	case forFreeze:
		a.pool.nod(a.at, now)
	case forForget:
		if !ps.forget(a.pool, now) {
			ps.agenda.add(a.pool, forForget, now.Add(retiredGrace))
		}
	}
}

// relieve reads the pressure and, where memory is short, stops some of the idle
// instances that are worth least.
func (ps *Pools) relieve() {
	pressure := ps.sample()
	ps.machine.Store(&pressure)
	if pressure < short {
		return
	}
	for range ps.idle.Load()/shortShare + 1 {
		if ps.evictAny() == nil {
			return
		}
	}
}

// pressure is how much of the machine's room for instances is taken, 0..1: of its
// bounds or of its memory, whichever is shorter.
func (ps *Pools) pressure() float64 {
	most := ps.governor.pressure()
	if p := ps.machine.Load(); p != nil {
		most = max(most, *p)
	}
	return most
}

// lookAtLocked has the policy asked about the idle instances at that time, or
// before.
func (p *pool) lookAtLocked(at time.Time) {
	if p.due.IsZero() || at.Before(p.due) {
		p.due = at
		p.pools.agenda.add(p, forIdle, at)
	}
}

// observeLocked is what the policy is told of the n-th idle instance. The history
// is guarded by p.habit.mu, which the caller holds.
func (p *pool) observeLocked(n int, pressure float64) keepalive.Observation {
	o := keepalive.Observation{
		History:   p.habit.history,
		IdleSince: p.idle[n].idleSince,
		Rank:      len(p.idle) - 1 - n + len(p.marks.idle),
		Busy:      p.ready - len(p.idle) - len(p.marks.idle),
		MemoryMB:  p.residentMB(),
		Cold:      p.coldCost,
		Pressure:  pressure,
	}
	if p.habit.latest != p {
		o.Rank++ // calls go to another version
	}
	return o
}

// residentMB is about what an idle instance of the pool holds: what the last one
// was seen to use, which is far less than it may.
func (p *pool) residentMB() float64 {
	if bytes := p.resident.Load(); bytes > 0 {
		return max(leastMB, float64(bytes)/(1<<20))
	}
	return float64(p.version.Config.MemoryMB)
}

// look has the policy decide about the idle instances, the longest idle first.
func (p *pool) look(at, now time.Time) {
	pressure := p.pools.pressure()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.due.Equal(at) {
		return
	}
	p.due = time.Time{}
	var ahead time.Time
	for n := 0; n < len(p.idle); {
		if first := p.idle[n].idleSince.Add(p.pools.linger); now.Before(first) {
			p.lookAtLocked(first)
			n++
			continue
		}
		p.habit.mu.Lock()
		d := p.pools.keepAlive.Decide(p.observeLocked(n, pressure), now)
		current := p.habit.latest == p
		p.habit.mu.Unlock()
		if current && !d.Prewarm.IsZero() {
			ahead = d.Prewarm
		}
		if !d.Stop {
			p.lookAtLocked(later(d.Again, now.Add(time.Millisecond)))
			n++
			continue
		}
		inst := p.idle[n]
		if p.condemnLocked(inst, CauseIdle) {
			p.pools.spawn(inst.reap)
		}
	}
	if !ahead.IsZero() {
		p.expectLocked(later(ahead, now.Add(time.Millisecond)))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// expectLocked has an instance started ahead at that time, unless a call comes
// before.
func (p *pool) expectLocked(at time.Time) {
	if !p.ahead.Equal(at) {
		p.ahead = at
		p.pools.agenda.add(p, forAhead, at)
	}
}

// succeed makes next the pool that calls are expected at, in place of the one that
// it replaces.
func (p *pool) succeed(old *pool) {
	old.mu.Lock()
	ahead := old.ahead
	old.ahead = time.Time{}
	old.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.habit.mu.Lock()
	if p.habit.latest == old {
		p.habit.latest = p
	}
	p.habit.mu.Unlock()
	if !ahead.IsZero() {
		p.expectLocked(ahead)
	}
}

// anticipate starts an instance ahead of the call that is expected, where there is
// none and its place is free.
func (p *pool) anticipate(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ahead.Equal(at) {
		return // a call came, or another time was set
	}
	p.ahead = time.Time{}
	p.habit.mu.Lock()
	current := p.habit.latest == p
	p.habit.mu.Unlock()
	if !current || p.closing || p.retiring || p.ready+p.starting+p.marks.preparing > 0 {
		return
	}
	// Refused is no loss: the call itself asks again.
	if lease, err := p.mayStartLocked(quota.Ahead); err == nil {
		p.beginLocked(&start{lease: lease, modest: true})
	}
}

// worthLocked is what the pool's longest idle instance is worth.
func (p *pool) worthLocked(pressure float64, now time.Time) float64 {
	p.habit.mu.Lock()
	defer p.habit.mu.Unlock()
	return p.pools.keepAlive.Worth(p.observeLocked(0, pressure), now)
}
