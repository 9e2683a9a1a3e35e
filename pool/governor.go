package pool

import (
	"cmp"
	"context"
	"strconv"
	"sync"

	"hearth/faas"
)

// governor keeps the instances of all pools within the machine's bounds, and
// those of each function within its ceiling. Unlike quotas it counts every
// instance, idle or not, from before its sandbox is made until nothing of it
// runs. Its lock is taken last and it calls nothing under it.
type governor struct {
	bound size // of the machine

	mu        sync.Mutex
	machine   budget
	spares    int                         // what of machine.used is no instances
	functions map[faas.FunctionID]*budget // of those that take or want something
	freed     chan struct{}               // closed and replaced when something was given back
}

// size is what instances take. As a bound, 0 is none.
type size struct{ instances, memoryMB int }

func (s size) plus(o size) size { return size{s.instances + o.instances, s.memoryMB + o.memoryMB} }
func (s size) minus(o size) size {
	return size{s.instances - o.instances, s.memoryMB - o.memoryMB}
}

func (s size) within(bound size) bool {
	return (bound.instances == 0 || s.instances <= bound.instances) &&
		(bound.memoryMB == 0 || s.memoryMB <= bound.memoryMB)
}

// budget is what is taken of one bound.
type budget struct {
	used    size
	leaving size // what instances that are being killed will give back
	wanted  size // what starts wait for
}

// enough reports whether all that is wanted will fit once everything on its way
// out is gone.
func (b *budget) enough(bound size) bool {
	return b.used.minus(b.leaving).plus(b.wanted).within(bound)
}

func newGovernor(maxInstances, maxMemoryMB int) *governor {
	return &governor{bound: size{maxInstances, maxMemoryMB},
		functions: make(map[faas.FunctionID]*budget), freed: make(chan struct{})}
}

// claim is a start that wants room.
type claim struct {
	function faas.FunctionID
	need     size
	ceiling  size // of the function, by its quota
	// evictOwn takes an idle instance of the function out of service, evict one of
	// any function. They report whether there was one.
	evictOwn, evict func() bool
}

// take makes room for one instance. While there is none it takes idle instances
// out of service and waits until they are gone, at most until ctx ends. It returns
// faas.CodeNoCapacity where the machine's bound allows no more; the ceiling of a
// function refuses nobody: where none of its instances is idle, it is passed.
func (g *governor) take(ctx context.Context, c claim) error {
	if g.enter(c) {
		return nil
	}
	own, vain := false, false // which bound was in the way, and that nothing was idle below it
	for {
		v := g.attempt(c)
		if v.own != own {
			own, vain = v.own, false
		}
		switch {
		case v.taken:
			return nil
		case !v.enough && !vain:
			// Look again after a search in vain: another start may just have taken
			// what was idle, and then it is on its way out.
			vain = !c.evictFor(own)
			continue
		case !v.enough && !v.leaving && own:
			c.ceiling = size{}
			continue
		case !v.enough && !v.leaving:
			return g.giveUp(c)
		}
		vain = false
		select {
		case <-v.freed:
		case <-ctx.Done():
			return g.giveUp(c)
		}
	}
}

func (c *claim) evictFor(own bool) bool {
	if own {
		return c.evictOwn()
	}
	return c.evict()
}

// enter takes the room, or notes that it is wanted.
func (g *governor) enter(c claim) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.functions[c.function]
	if own == nil {
		own = new(budget)
		g.functions[c.function] = own
	}
	if own.used.plus(c.need).within(c.ceiling) && g.machine.used.plus(c.need).within(g.bound) {
		g.takeLocked(own, c)
		return true
	}
	own.wanted = own.wanted.plus(c.need)
	g.machine.wanted = g.machine.wanted.plus(c.need)
	return false
}

func (g *governor) takeLocked(own *budget, c claim) {
	own.used = own.used.plus(c.need)
	g.machine.used = g.machine.used.plus(c.need)
}

func (g *governor) unwantLocked(own *budget, c claim) {
	own.wanted = own.wanted.minus(c.need)
	g.machine.wanted = g.machine.wanted.minus(c.need)
}

// view is what a start that wants room sees.
type view struct {
	taken   bool            // it has it
	own     bool            // the ceiling of its function is in the way, else the machine's bound
	enough  bool            // all that is wanted will fit once everything on its way out is gone
	leaving bool            // something is on its way out
	freed   <-chan struct{} // closed when something was given back
}

// attempt takes room that was noted as wanted, if there is.
func (g *governor) attempt(c claim) view {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.functions[c.function]
	tight, bound := own, c.ceiling
	if own.used.plus(c.need).within(c.ceiling) {
		tight, bound = &g.machine, g.bound
		if g.machine.used.plus(c.need).within(g.bound) {
			g.unwantLocked(own, c)
			g.takeLocked(own, c)
			return view{taken: true}
		}
	}
	return view{own: tight == own, enough: tight.enough(bound), leaving: tight.leaving.instances > 0, freed: g.freed}
}

// giveUp says that the room is not wanted any more, and returns why.
func (g *governor) giveUp(c claim) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.functions[c.function]
	g.unwantLocked(own, c)
	g.tidyLocked(c.function, own)
	refusal := machineRefusal(faas.UnitInstances, g.bound.instances, g.machine.used.instances)
	if used := g.machine.used.plus(c.need).memoryMB; g.bound.memoryMB > 0 && used > g.bound.memoryMB {
		refusal = machineRefusal(faas.UnitMemoryMB, g.bound.memoryMB, g.machine.used.memoryMB)
	}
	return noCapacity(refusal)
}

// leave says that an instance is being killed.
func (g *governor) leave(function faas.FunctionID, memoryMB int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := size{1, memoryMB}
	own := g.functions[function]
	own.leaving = own.leaving.plus(s)
	g.machine.leaving = g.machine.leaving.plus(s)
}

// gone says that nothing of an instance that left runs any more.
func (g *governor) gone(function faas.FunctionID, memoryMB int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := size{1, memoryMB}
	own := g.functions[function]
	for _, b := range []*budget{own, &g.machine} {
		b.leaving = b.leaving.minus(s)
		b.used = b.used.minus(s)
	}
	g.tidyLocked(function, own)
	close(g.freed)
	g.freed = make(chan struct{})
}

func (g *governor) tidyLocked(function faas.FunctionID, own *budget) {
	if *own == (budget{}) {
		delete(g.functions, function)
	}
}

// takeSpare takes the room of what stands by and is no instance; false where there
// is none, or instances want it.
func (g *governor) takeSpare(s size) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.machine.used.plus(g.machine.wanted).plus(s).within(g.bound) {
		return false
	}
	g.machine.used = g.machine.used.plus(s)
	g.spares++
	return true
}

// giveSpare gives it back.
func (g *governor) giveSpare(s size) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.machine.used = g.machine.used.minus(s)
	g.spares--
	close(g.freed)
	g.freed = make(chan struct{})
}

// pressure is how much of the bounds is taken, 0..1.
func (g *governor) pressure() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	most := 0.0
	for _, b := range []struct{ used, bound int }{
		{g.machine.used.instances, g.bound.instances}, {g.machine.used.memoryMB, g.bound.memoryMB}} {
		if b.bound > 0 {
			most = max(most, float64(b.used)/float64(b.bound))
		}
	}
	return most
}

// instances is how many there are on this machine.
func (g *governor) instances() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.machine.used.instances - g.spares
}

// machineRefusal says which bound of the machine refused; without a bound, what is
// in use is all that it holds.
func machineRefusal(unit faas.Unit, bound, use int) *faas.Refusal {
	raise := "Start Hearth with a higher --max-instances, on a machine that can hold them."
	if unit == faas.UnitMemoryMB {
		raise = "Give this machine more memory for instances."
	}
	return &faas.Refusal{Limit: faas.LimitMachine, Unit: unit, Value: cmp.Or(bound, use), Use: use, Subject: "this machine", Raise: raise}
}

func noCapacity(r *faas.Refusal) error {
	return &faas.Error{Code: faas.CodeNoCapacity, Subject: string(faas.LimitMachine), Cause: r,
		Message: "The machine has no room for another instance now, and no idle one to reclaim: " +
			strconv.Itoa(r.Use) + " of " + strconv.Itoa(r.Value) + " " + string(r.Unit) + " are in use. Try again later. " + r.Raise}
}
