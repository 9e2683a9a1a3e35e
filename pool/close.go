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

// Drain refuses new calls with faas.CodeShuttingDown and waits for those in
// flight. Where ctx ends first, every instance is killed, the calls that were cut
// off get faas.CodeShuttingDown, and the error says so: ending ctx is how to say
// "now". Close follows.
func (ps *Pools) Drain(ctx context.Context) error {
	for _, p := range ps.refuse() {
		select {
		case <-p.emptied():
		case <-ctx.Done():
			ps.kill()
			return fmt.Errorf("pool: calls in flight were cut off: %w", context.Cause(ctx))
		}
	}
	return nil
}

// Close drains, kills every instance and returns when nothing of the pools runs
// any more. A second call finds nothing to do.
func (ps *Pools) Close(ctx context.Context) error {
	err := ps.Drain(ctx)
	ps.kill()
	ctx, cancel := context.WithTimeout(context.Background(), stragglers)
	defer cancel()
	for _, p := range ps.list() {
		select {
		case <-p.emptied():
		case <-ctx.Done():
			err = errors.Join(err, fmt.Errorf("pool: invocations of %s did not return after their instances were killed", p.version.ID))
		}
	}
	ps.work.Wait()
	return err
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
