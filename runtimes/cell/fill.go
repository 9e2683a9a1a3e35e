package cell

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	// lookEvery is how often the filler looks at what only time changes.
	lookEvery = time.Second
	// bootLimit bounds one boot.
	bootLimit = 10 * time.Second
	// pause is how long after the last claim a boot begins: the call that claimed
	// is to have the CPUs for its first moments.
	pause = 15 * time.Millisecond
	// A boot waits at most so long for calls that wait for their starts, and for
	// CPUs without time to spare: there may always be some.
	busyMost      = 250 * time.Millisecond
	saturatedMost = 2 * time.Second
	poll          = 5 * time.Millisecond
	// A class is light whose boots took less CPU time than this, on the average.
	lightBoot = 5 * time.Millisecond
)

// fill makes and ends cells until the pool is closed. It does one thing at a time:
// what is made in the background must not take more than one CPU.
func (p *Pool[B]) fill() {
	for p.ctx.Err() == nil {
		do, c := p.decide()
		switch do {
		case end:
			p.endOne(c)
		case boot:
			if !p.awaitQuiet(c) || !p.bootOne(c) {
				p.rest()
			}
		case nothing:
			p.rest()
		}
	}
}

// rest waits until something may have changed.
func (p *Pool[B]) rest() {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	select {
	case <-p.wake:
	case <-timer.C:
	case <-p.ctx.Done():
	}
}

// decide observes all classes and says what to do next.
func (p *Pool[B]) decide() (action, *class[B]) {
	pressure := p.o.Pressure()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.forgetLocked(now)
	all := make([]observation, len(p.order))
	for i, c := range p.order {
		all[i] = observation{deployed: c.deployed, used: c.used, stock: c.demand.stock(c.refill, now),
			parked: len(c.parked), booting: c.booting, retry: c.failing.until}
	}
	want := targets(all, p.o.Policy, pressure, now)
	for i, c := range p.order {
		c.counts.Wanted = want[i]
	}
	do, i := next(all, want, now)
	if do == nothing {
		return nothing, nil
	}
	return do, p.order[i]
}

// forgetLocked drops classes that nothing uses and of which nothing is left.
func (p *Pool[B]) forgetLocked(now time.Time) {
	p.order = slices.DeleteFunc(p.order, func(c *class[B]) bool {
		gone := c.deployed == 0 && len(c.parked)+c.booting == 0 && now.Sub(c.used) >= remembered*time.Second
		if gone {
			delete(p.classes, c.Class)
		}
		return gone
	})
}

// awaitQuiet waits until a boot of the class disturbs nobody, within bounds; false
// where the pool is closed meanwhile.
func (p *Pool[B]) awaitQuiet(c *class[B]) bool {
	began := time.Now()
	for {
		p.mu.Lock()
		recent, light := time.Since(p.asked) < pause, c.lightLocked()
		p.mu.Unlock()
		waited := time.Since(began)
		disturbs := waited < busyMost && (recent || p.o.Busy()) || waited < saturatedMost && p.o.Saturated()
		if light {
			disturbs = waited < pause && recent
		}
		if !disturbs {
			return p.ctx.Err() == nil
		}
		timer := time.NewTimer(poll)
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// lightLocked reports whether its boots have cost hardly any CPU time, as those of
// prepared sandboxes do: a start that finds none does the same work itself.
func (c *class[B]) lightLocked() bool {
	return c.counts.Boots > 0 && c.counts.BootCPU/time.Duration(c.counts.Boots) < lightBoot
}

// bootOne makes one cell; false where it could not.
func (p *Pool[B]) bootOne(c *class[B]) bool {
	if !p.o.Room.TakeSpare() {
		return false
	}
	ctx, cancel := context.WithTimeout(p.ctx, bootLimit)
	defer cancel()
	under := &attempt{cancel: cancel, over: make(chan struct{})}
	defer close(under.over)
	p.mu.Lock()
	c.booting++
	p.boot = under
	p.mu.Unlock()
	began := time.Now()
	body, err := p.o.Boot(ctx, c.Class)
	took := time.Since(began)

	p.mu.Lock()
	c.booting--
	p.boot = nil
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // else it gave way, or the pool is closed
			p.failedLocked(c, err)
		}
		p.mu.Unlock()
		p.o.Room.GiveSpare()
		return false
	}
	c.refill = (3*c.refill + took) / 4
	c.counts.Boots++
	c.counts.BootTime += took
	c.counts.BootCPU += body.Cost()
	cell := &Cell[B]{pool: p, of: c, body: body, left: make(chan struct{})}
	parked := p.parkLocked(cell)
	under.parked = parked
	if !parked {
		p.must(cell.state.move(Dead))
	}
	p.mu.Unlock()
	if !parked {
		p.kill(cell, "shutdown")
		p.o.Room.GiveSpare()
	}
	return parked
}

func (p *Pool[B]) failedLocked(c *class[B], err error) {
	c.counts.BootsFailed++
	first := c.failing.delay == 0
	c.failing.record(time.Now())
	if first {
		p.o.Logger.Warn("a stem cell could not be booted; its functions start without", "runtime", c.Runtime,
			"memory", c.MemoryMB, "egress", c.Egress, "err", err)
	}
}

// endOne ends the oldest cell of a class that has too many.
func (p *Pool[B]) endOne(c *class[B]) {
	p.mu.Lock()
	if len(c.parked) == 0 { // claimed meanwhile
		p.mu.Unlock()
		return
	}
	cell := c.parked[0]
	p.leaveLocked(cell, Dead)
	c.counts.Shrunk++
	p.mu.Unlock()
	p.kill(cell, "not needed")
}
