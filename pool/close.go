package pool

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// stragglers is how long Close waits for invocations to return whose instances
// are dead.
const stragglers = 5 * time.Second

// Close refuses new calls with faas.CodeShuttingDown, waits for those in flight
// until ctx ends or KillNow is called, then kills every instance and waits until
// all are gone. Calls that were cut off get faas.CodeShuttingDown. It returns an
// error where ctx ended before the calls did. Call it once.
func (ps *Pools) Close(ctx context.Context) error {
	pools := ps.refuse()
	err := ps.drain(ctx, pools)
	ps.kill()
	for _, p := range pools {
		select {
		case <-p.emptied():
		case <-time.After(stragglers):
			err = errors.Join(err, fmt.Errorf("pool: invocations of %s did not return after their instances were killed", p.version.ID))
		}
	}
	ps.work.Wait()
	return err
}

// KillNow makes Close wait no longer for the calls in flight.
func (ps *Pools) KillNow() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if !ps.hurried {
		ps.hurried = true
		close(ps.hurry)
	}
}

// refuse lets no new call in and returns all the pools that there are.
func (ps *Pools) refuse() []*pool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.closing = true
	pools := ps.list()
	for _, p := range pools {
		p.mu.Lock()
		p.closing = true
		p.clearIdleLocked(CauseShutdown)
		p.mu.Unlock()
	}
	return pools
}

// drain waits for the calls in flight.
func (ps *Pools) drain(ctx context.Context, pools []*pool) error {
	for _, p := range pools {
		select {
		case <-p.emptied():
		case <-ps.hurry:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("pool: calls in flight were cut off: %w", context.Cause(ctx))
		}
	}
	return nil
}

// emptied returns a channel that is closed once the pool holds no call. No call
// may come in any more.
func (p *pool) emptied() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.empty == nil {
		p.empty = make(chan struct{})
	}
	empty := p.empty
	p.emptyLocked()
	return empty
}

// kill ends every instance and every start, whatever they hold.
func (ps *Pools) kill() {
	ps.mu.Lock()
	ps.cancel(errKilled)
	pools := ps.list()
	ps.mu.Unlock()
	for _, p := range pools {
		p.kill()
	}
}

func (p *pool) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	for inst := range p.all {
		if inst.state.life < Ready {
			continue // its start kills it: the context has ended
		}
		if p.condemnLocked(inst, CauseShutdown) || p.seizeLocked(inst) {
			p.pools.spawn(inst.reap)
		}
	}
	for p.waiters.head != nil {
		p.serveLocked(p.waiters.head, grant{err: shuttingDown()})
	}
}
