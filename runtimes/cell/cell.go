package cell

import (
	"slices"
	"time"
)

// Cell is one cell. It belongs to the pool until it is claimed, then to whoever
// claimed it.
type Cell[B Body] struct {
	pool *Pool[B]
	of   *class[B]
	body B
	born time.Time     // when it was parked
	left chan struct{} // closed when it is parked no more

	state State // guarded by Pool.mu
}

// Body is what the cell holds.
func (c *Cell[B]) Body() B { return c.body }

// Discard kills a claimed cell of which no instance came, and returns when nothing
// of it is left.
func (c *Cell[B]) Discard(cause string) {
	p := c.pool
	p.mu.Lock()
	p.must(c.state.move(Dead))
	c.of.counts.Failed++
	p.mu.Unlock()
	p.kill(c, cause)
}

// parkLocked adds a booted cell; false where the pool is closed.
func (p *Pool[B]) parkLocked(cell *Cell[B]) bool {
	if p.closed {
		return false
	}
	p.must(cell.state.move(Parked))
	cell.born = time.Now()
	cell.of.parked = append(cell.of.parked, cell)
	p.work.Go(func() { p.watch(cell) })
	return true
}

// leaveLocked takes a parked cell out, as a claimed or a dead one.
func (p *Pool[B]) leaveLocked(cell *Cell[B], to State) {
	p.must(cell.state.move(to))
	i := slices.Index(cell.of.parked, cell)
	cell.of.parked = slices.Delete(cell.of.parked, i, i+1)
	close(cell.left)
	p.o.Room.GiveSpare()
}

// watch sees the death of a parked cell.
func (p *Pool[B]) watch(cell *Cell[B]) {
	select {
	case <-cell.left:
		return
	case <-cell.body.Done():
	}
	p.mu.Lock()
	if cell.state == Parked {
		p.loseLocked(cell)
	}
	p.mu.Unlock()
	p.signal()
}

// shortLife is the life of a parked cell from which on its death says nothing of
// the next one's.
const shortLife = time.Minute

// loseLocked buries a cell that died while it was parked.
func (p *Pool[B]) loseLocked(cell *Cell[B]) {
	p.leaveLocked(cell, Dead)
	cell.of.counts.Died++
	if time.Since(cell.born) < shortLife {
		cell.of.failing.record(time.Now())
	}
	p.o.Logger.Warn("a stem cell died while it waited", "runtime", cell.of.Runtime, "memory", cell.of.MemoryMB)
	p.work.Go(func() { p.kill(cell, "died") })
}

func (p *Pool[B]) kill(cell *Cell[B], cause string) {
	if err := cell.body.Kill(cause); err != nil {
		p.o.Logger.Warn("a stem cell could not be killed in time", "runtime", cell.of.Runtime, "cause", cause, "err", err)
	}
}

// must reports a move that the states refuse: a fault of this package, which
// costs no call.
func (p *Pool[B]) must(err error) {
	if err != nil {
		p.illegal++
		p.o.Logger.Error("illegal move of a stem cell", "err", err)
	}
}

// backoff spaces the boots of a class whose boots fail.
type backoff struct {
	delay time.Duration
	until time.Time
}

const (
	leastDelay = time.Second
	mostDelay  = 5 * time.Minute
)

func (b *backoff) record(now time.Time) {
	b.delay = min(max(2*b.delay, leastDelay), mostDelay)
	b.until = now.Add(b.delay)
}
