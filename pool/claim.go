package pool

import (
	"context"
	"time"

	"hearth/faas"
)

// Claim is one call's place in the order in which the calls of a revision get their
// instances. Wait is called on it once.
type Claim struct {
	pool   *pool
	grant  grant
	waiter *waiter // nil where the grant is there
}

// Ask is the first half of Acquire: it takes the next place in the order of the
// version's calls, or refuses, and returns at once. Who asks from one goroutine is
// served in the order of asking.
func (ps *Pools) Ask(version *faas.Version) (Claim, error) {
	for {
		p := ps.pool(version)
		p.habit.arrived(p, time.Now())
		g, w, err := p.ask()
		if err == nil {
			return Claim{p, g, w}, nil
		}
		p.habit.left()
		if err != errGone {
			return Claim{}, err
		}
	}
}

// Wait is the second half of Acquire. An instance that cannot be thawed is lost, and
// the place in the order with it: the call asks again.
func (c *Claim) Wait(ctx context.Context) (*Hold, error) {
	for {
		g, err := c.granted(ctx)
		if err == nil && g.wake() {
			return &Hold{grant: g}, nil
		}
		c.pool.habit.left()
		if err != nil {
			return nil, err
		}
		again, err := c.pool.pools.Ask(c.pool.version) // each time there is one less that can fail
		if err != nil {
			return nil, err
		}
		*c = again
	}
}

func (c *Claim) granted(ctx context.Context) (grant, error) {
	if c.waiter == nil {
		return c.grant, nil
	}
	g, err := c.pool.wait(ctx, c.waiter)
	g.waited = time.Since(c.waiter.since)
	return g, err
}
