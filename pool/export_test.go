package pool

import (
	"fmt"

	"hearth/faas"
	"hearth/metric"
	"hearth/quota"
)

// Check returns what is wrong with the pools' bookkeeping, or nil. Quiet says
// that nothing is in flight: every counter must be at rest.
func (ps *Pools) Check(quiet bool) error {
	if n := ps.illegal.Load(); n > 0 {
		return fmt.Errorf("%d illegal moves", n)
	}
	if err := ps.checkPointers(); err != nil {
		return err
	}
	instances, idle := 0, 0
	for _, p := range ps.list() {
		if err := p.check(quiet); err != nil {
			return fmt.Errorf("%s %s: %w", p.version.ID, p.version.Revision, err)
		}
		p.mu.Lock()
		instances += len(p.all)
		idle += len(p.idle)
		p.mu.Unlock()
	}
	if n := ps.idle.Load(); n != int64(idle) {
		return fmt.Errorf("idle is %d, counted %d", n, idle)
	}
	ps.governor.mu.Lock()
	defer ps.governor.mu.Unlock()
	machine := ps.governor.machine
	if quiet && (machine.used.instances != instances || machine.leaving != size{} || machine.wanted != size{}) {
		return fmt.Errorf("governor counts %+v, there are %d instances", machine, instances)
	}
	var sum size
	for id, own := range ps.governor.functions {
		sum = sum.plus(own.used)
		if (*own == budget{}) || quiet && (own.leaving != size{} || own.wanted != size{}) {
			return fmt.Errorf("governor keeps %+v of %s", *own, id)
		}
	}
	if sum != machine.used {
		return fmt.Errorf("governor counts %v of the machine and %v of its functions", machine.used, sum)
	}
	return nil
}

// checkPointers says whether every pool that is found by a pointer is the one that
// is found by name.
func (ps *Pools) checkPointers() (err error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.byVersion.Range(func(version, found any) bool {
		p := found.(*pool)
		if named, _ := ps.byRevision.Load(keyOf(version.(*faas.Version))); named != p || p.seen != version {
			err = fmt.Errorf("a pointer to %s leads to another pool", p.version.ID)
		}
		return err == nil
	})
	return err
}

// CheckTurns returns what is wrong with the turns, of which there are so many, while
// nothing starts.
func (ps *Pools) CheckTurns(n int) error {
	t := ps.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free != n || t.ahead != max(1, n/4) || len(t.lines) > 0 {
		return fmt.Errorf("%d of %d turns are free, %d for starts ahead; starts wait in %d lines", t.free, n, t.ahead, len(t.lines))
	}
	return nil
}

// CheckMetrics returns where the series of the versions, their functions and their
// accounts say anything else than a count of the pools' instances and calls.
func (ps *Pools) CheckMetrics() error {
	want := map[metric.Key]metric.Values{}
	for _, s := range ps.Stats() {
		id := s.Version.Function
		account := faas.FunctionID{Scope: faas.Scope{Account: id.Account, Region: id.Region}}
		for _, k := range []metric.Key{{Function: id, Version: s.Version.Number}, {Function: id}, {Function: account}} {
			v := want[k]
			for state, n := range map[metric.State]int{metric.Starting: s.Starting, metric.Idle: s.Idle - s.Frozen, metric.Frozen: s.Frozen, metric.Busy: s.Busy,
				metric.Draining: s.Draining, metric.Provisioned: s.Provisioned, metric.InFlight: s.InFlight, metric.Waiting: s.Waiting} {
				v[state] += n
			}
			want[k] = v
		}
	}
	for _, r := range ps.metrics.Read() {
		for state, n := range want[r.Key] {
			if got := r.Levels[state].Now; got != n {
				return fmt.Errorf("%v of %+v is %d, counted %d", metric.State(state), r.Key, got, n)
			}
		}
		delete(want, r.Key)
	}
	if len(want) > 0 {
		return fmt.Errorf("there is no series of %v", want)
	}
	return nil
}

func (p *pool) check(quiet bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ready, held, room, promised, listed, marked, frozen := 0, 0, 0, 0, 0, 0, 0
	for inst := range p.all {
		switch {
		case inst.state.n > p.limit:
			return fmt.Errorf("instance holds %d of %d", inst.state.n, p.limit)
		case inst.state.life == Stopped:
			return fmt.Errorf("a stopped instance is listed")
		case inst.state.life == Ready:
			ready++
			if _, free := p.pools.quota.(quota.Unlimited); free || inst.state.n > 0 || inst.mark != nil {
				room += inst.state.limit - inst.state.n
			}
			if inst.mark != nil {
				marked++
			}
			if inst.state.idle() && inst.state.cpu == Frozen {
				frozen++
			}
			if (inst.lease != nil) != (inst.state.n > 0 && inst.mark == nil) {
				return fmt.Errorf("instance with n=%d, mark %v has lease %v", inst.state.n, inst.mark, inst.lease)
			}
		}
		held += inst.state.n
		promised += inst.promised
		if inst.room > 0 {
			listed++
		}
		if roomy := p.limit > 1 && inst.state.life == Ready && inst.state.n > 0 && inst.state.n < inst.state.limit; roomy != (inst.room > 0) || roomy && inst.room != inst.state.n {
			return fmt.Errorf("%s instance with n=%d of %d is in room %d", inst.state.life, inst.state.n, inst.state.limit, inst.room)
		}
	}
	for _, stack := range [][]*instance{p.idle, p.marks.idle} {
		if err := checkStack(stack); err != nil {
			return err
		}
	}
	idle := len(p.idle) + len(p.marks.idle)
	switch {
	case marked != p.marks.ready || p.marks.count() > p.marks.target || len(p.marks.starts) > p.marks.preparing:
		return fmt.Errorf("%d provisioned instances are Ready, counted %d; %d starts of %d, target %d",
			p.marks.ready, marked, len(p.marks.starts), p.marks.preparing, p.marks.target)
	case frozen != p.frozen:
		return fmt.Errorf("frozen is %d, counted %d", p.frozen, frozen)
	case ready != p.ready:
		return fmt.Errorf("ready is %d, counted %d", p.ready, ready)
	case held > p.held:
		return fmt.Errorf("held is %d, instances hold %d", p.held, held)
	case p.waiters.len > 0 && room > 0:
		return fmt.Errorf("%d wait while there is room for %d", p.waiters.len, room)
	case promised != p.promised:
		return fmt.Errorf("%d slots are promised, counted %d", p.promised, promised)
	case p.waiters.len > p.hopeLocked():
		return fmt.Errorf("%d wait for %d starts and %d slots", p.waiters.len, p.starting, p.promised)
	case (p.retiring || p.closing) && idle > 0:
		return fmt.Errorf("%d idle instances without a future", idle)
	case quiet && (p.held != 0 || p.starting != 0 || p.waiters.len != 0 || p.room.first() != nil || listed != 0 || len(p.all) != idle || p.marks.preparing != 0):
		return fmt.Errorf("at rest: held %d, starting %d, waiting %d, busy %d, all %d, idle %d",
			p.held, p.starting, p.waiters.len, listed, len(p.all), idle)
	}
	return nil
}

func checkStack(idle []*instance) error {
	for i, inst := range idle {
		if !inst.state.idle() {
			return fmt.Errorf("%s/%d on an idle stack", inst.state.life, inst.state.n)
		}
		if i > 0 && inst.idleSince.Before(idle[i-1].idleSince) {
			return fmt.Errorf("an idle stack is not newest last")
		}
		if i > 0 && inst.state.cpu != Running && idle[i-1].state.cpu == Running {
			return fmt.Errorf("an idle instance that runs is below one that is %s", inst.state.cpu)
		}
	}
	return nil
}

// NewestIdle returns the id of the instance that the next call of the version is
// to get, "" where none is idle.
func (ps *Pools) NewestIdle(v *faas.Version) string {
	found, ok := ps.byRevision.Load(keyOf(v))
	if !ok {
		return ""
	}
	p := found.(*pool)
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.marks.idle) - 1; last >= 0 {
		return p.marks.idle[last].id
	}
	if len(p.idle) == 0 {
		return ""
	}
	return p.idle[len(p.idle)-1].id
}

// Freezes returns how many appointments there are to freeze idle instances.
func (ps *Pools) Freezes() (n int) {
	ps.agenda.mu.Lock()
	defer ps.agenda.mu.Unlock()
	for _, a := range ps.agenda.list {
		if a.purpose == forFreeze {
			n++
		}
	}
	return n
}
