package pool

import (
	"context"
	"strconv"
	"sync"

	"hearth/faas"
)

// governor keeps the instances of all pools within the machine's bounds. Unlike
// quotas it counts every instance, idle or not, from before its sandbox is made
// until nothing of it runs. Its lock is taken last and it calls nothing under it.
type governor struct {
	maxInstances int // 0 is no bound
	maxMemoryMB  int // 0 is no bound

	mu        sync.Mutex
	instances int
	memoryMB  int
	leaving   size          // what instances on their way out will give back
	wanted    size          // what starts wait for
	freed     chan struct{} // closed and replaced when something was given back
}

// size is what instances take of the machine.
type size struct{ instances, memoryMB int }

func (s size) plus(o size) size { return size{s.instances + o.instances, s.memoryMB + o.memoryMB} }
func (s size) minus(o size) size {
	return size{s.instances - o.instances, s.memoryMB - o.memoryMB}
}

func newGovernor(maxInstances, maxMemoryMB int) *governor {
	return &governor{maxInstances: maxInstances, maxMemoryMB: maxMemoryMB, freed: make(chan struct{})}
}

// take makes room for one instance. While there is none it calls evict, which
// takes an idle instance out of service and returns nil where there is none. It
// waits for what is on its way out, at most until ctx ends, and returns
// faas.CodeNoCapacity where nothing is.
func (g *governor) take(ctx context.Context, memoryMB int, evict func() <-chan struct{}) error {
	need := size{1, memoryMB}
	if g.enter(need) {
		return nil
	}
	for {
		v := g.attempt(need)
		switch {
		case v.taken:
			return nil
		case !v.enough && evict() != nil:
			continue
		case !v.enough && !v.leaving:
			g.giveUp(need)
			return g.noCapacity()
		}
		select {
		case <-v.freed:
		case <-ctx.Done():
			g.giveUp(need)
			return g.noCapacity()
		}
	}
}

func (g *governor) noCapacity() error {
	return faas.Errorf(faas.CodeNoCapacity, "machine",
		"The machine has no room for another instance now, and no idle one to reclaim. Try again later, or raise its bounds (%s instances, %s MB of memory).",
		bound(g.maxInstances), bound(g.maxMemoryMB))
}

func bound(n int) string {
	if n == 0 {
		return "any number of"
	}
	return strconv.Itoa(n)
}

// enter takes the room, or notes that it is wanted.
func (g *governor) enter(need size) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.takeLocked(need) {
		return true
	}
	g.wanted = g.wanted.plus(need)
	return false
}

// giveUp says that the room is not wanted any more.
func (g *governor) giveUp(need size) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wanted = g.wanted.minus(need)
}

func (g *governor) takeLocked(need size) bool {
	used := size{g.instances, g.memoryMB}.plus(need)
	if !g.fits(used) {
		return false
	}
	g.instances, g.memoryMB = used.instances, used.memoryMB
	return true
}

func (g *governor) fits(s size) bool {
	return (g.maxInstances == 0 || s.instances <= g.maxInstances) &&
		(g.maxMemoryMB == 0 || s.memoryMB <= g.maxMemoryMB)
}

// view is what a start that wants room sees.
type view struct {
	taken   bool            // it has it
	enough  bool            // all that is wanted will fit once everything on its way out is gone
	leaving bool            // something is on its way out
	freed   <-chan struct{} // closed when something was given back
}

// attempt takes room that was noted as wanted, if there is.
func (g *governor) attempt(need size) view {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.takeLocked(need) {
		g.wanted = g.wanted.minus(need)
		return view{taken: true}
	}
	later := size{g.instances, g.memoryMB}.minus(g.leaving).plus(g.wanted)
	return view{enough: g.fits(later), leaving: g.leaving.instances > 0, freed: g.freed}
}

// leave says that an instance is on its way out.
func (g *governor) leave(memoryMB int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaving = g.leaving.plus(size{1, memoryMB})
}

// gone says that nothing of an instance that left runs any more.
func (g *governor) gone(memoryMB int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := size{1, memoryMB}
	g.leaving = g.leaving.minus(s)
	g.instances -= s.instances
	g.memoryMB -= s.memoryMB
	close(g.freed)
	g.freed = make(chan struct{})
}
