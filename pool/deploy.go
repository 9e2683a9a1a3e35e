package pool

import (
	"context"
	"slices"
	"time"

	"hearth/faas"
	"hearth/quota"
)

// retiredGrace is how long an empty pool of a retired revision is kept, for calls
// that resolved the revision before and have not arrived yet.
const retiredGrace = time.Minute

// Prepare is called before next takes over from old: where old has instances,
// one of next is started and initialised, so that the switch costs no caller a
// cold start. A failure of that start is no error: the callers will see it. The
// error is that of ctx; the start goes on. Where the switch does not happen
// after all, the caller retires next.
func (ps *Pools) Prepare(ctx context.Context, old, next *faas.Version) error {
	before, ok := ps.byRevision.Load(keyOf(old))
	if !ok || !before.(*pool).hasRun() {
		return nil
	}
	ps.mu.Lock()
	p := ps.makeLocked(next, faas.ColdDeploy)
	ps.mu.Unlock()
	p.succeed(before.(*pool))
	if !before.(*pool).alive() {
		return nil
	}
	s := p.startAhead()
	if s == nil {
		return nil
	}
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return &faas.Error{Code: faas.CodeCanceled, Subject: next.ID.String(),
			Message: "the instance that was started ahead of the deployment is not ready yet", Cause: context.Cause(ctx)}
	}
}

// alive reports whether the pool has instances that are or will be Ready.
func (p *pool) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready+p.starting+p.marks.preparing > 0
}

// startAhead begins a start that no call waits for; nil where there is an
// instance already, or none may start.
func (p *pool) startAhead() *start {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing || p.retiring || p.ready+p.starting+p.marks.preparing > 0 {
		return nil
	}
	lease, err := p.mayStartLocked(quota.Ahead)
	if err != nil {
		p.pools.log.Info("no instance is started ahead of a deployment", "version", p.version.ID.String(), "err", err)
		return nil
	}
	return p.startLocked(lease, nil, false)
}

// Retire is called after a revision was replaced or deleted: idle instances stop
// at once, busy ones after their invocations, started ones when nobody waits for
// them. Calls that resolved the revision before are served.
func (ps *Pools) Retire(old *faas.Version) {
	found, ok := ps.byRevision.Load(keyOf(old))
	if !ok {
		return
	}
	p := found.(*pool)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retiring {
		return
	}
	p.retiring, p.retired = true, time.Now()
	p.pools.agenda.add(p, forForget, p.retired.Add(retiredGrace))
	p.targetLocked(0)
	p.clearIdleLocked(CauseDeploy)
}

func (p *pool) clearIdleLocked(cause Cause) {
	for _, inst := range slices.Concat(p.idle, p.marks.idle) {
		if p.condemnLocked(inst, cause) {
			p.pools.spawn(inst.reap)
		}
	}
}

// forget removes the pool of a retired revision if it is empty and old enough,
// and reports whether it is gone.
func (ps *Pools) forget(p *pool, now time.Time) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := len(p.all)+p.starting+p.marks.preparing+p.held+p.waiters.len == 0
	if p.retiring && idle && now.Sub(p.retired) >= retiredGrace {
		p.gone = true
		p.mu.leave()
		ps.byRevision.Delete(keyOf(p.version))
		if p.seen != nil {
			ps.byVersion.Delete(p.seen)
		}
		id := p.version.ID.Function
		ps.byFunction[id] = slices.DeleteFunc(ps.byFunction[id], func(other *pool) bool { return other == p })
		if len(ps.byFunction[id]) == 0 {
			delete(ps.byFunction, id)
		}
	}
	return p.gone
}
