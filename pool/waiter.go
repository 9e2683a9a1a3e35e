package pool

import (
	"context"
	"time"

	"hearth/faas"
)

// grant is what a waiter is given: an instance that holds its invocation, or an
// error.
type grant struct {
	inst   *instance
	cold   faas.ColdReason // "" where the instance had been started for others
	first  bool            // the first invocation of the instance: the start's parts are its own
	failed *Failure        // init failed; inst is only there to be settled and killed
	asleep bool            // the instance does not run yet
	waited time.Duration   // 0 where there was room at once
	thawed time.Duration   // what thawing took; 0 where the instance ran
	err    error
}

// waiter is a call that waits for an instance. Everything but ready is guarded
// by the lock of its pool.
type waiter struct {
	ready      chan grant // buffered for the one grant
	since      time.Time  // when it began to wait
	served     bool       // a grant was sent; the waiter is in no list any more
	refused    error      // why no start was begun for it; it hopes for a provisioned instance
	sponsored  *start     // the start that was begun for it, nil once it ended
	prev, next *waiter
}

// serve gives the waiter its grant. It has left its queue before.
func (w *waiter) serve(g grant) {
	w.served = true
	if w.sponsored != nil {
		w.sponsored.sponsor = nil
		w.sponsored = nil
	}
	w.ready <- g
}

// queue is the waiters of a pool, first come first served.
type queue struct {
	head, tail *waiter
	len        int
}

func (q *queue) push(w *waiter) {
	w.prev = q.tail
	if q.tail == nil {
		q.head = w
	} else {
		q.tail.next = w
	}
	q.tail = w
	q.len++
}

func (q *queue) remove(w *waiter) {
	if w.prev == nil {
		q.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	q.len--
}

// hoping notes why no start was begun for the waiters that have none.
func (q *queue) hoping(refused error) {
	for w := q.head; w != nil; w = w.next {
		if w.sponsored == nil {
			w.refused = refused
		}
	}
}

// unsponsored returns the first waiter for which no start was begun, or nil.
func (q *queue) unsponsored() *waiter {
	for w := q.head; w != nil; w = w.next {
		if w.sponsored == nil {
			return w
		}
	}
	return nil
}

// wait waits for a grant, at most as long as one init and one invocation may take.
// The sponsor of a start waits for its end, which its own limits bound: making
// and killing sandboxes comes on top of them.
func (p *pool) wait(ctx context.Context, w *waiter) (grant, error) {
	timer := time.NewTimer(p.initTimeout() + p.version.Config.Timeout())
	defer timer.Stop()
	for patient := true; ; patient = false {
		select {
		case g := <-w.ready:
			return g, g.err
		case <-ctx.Done():
			return p.leave(w, canceled(ctx, p.version))
		case <-timer.C:
			if !patient || !p.sponsors(w) {
				return p.overdue(w)
			}
			timer.Reset(sponsorSlack)
		}
	}
}

func (p *pool) sponsors(w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.sponsored != nil
}

// leave takes a waiter away. What it was given meanwhile goes to the next.
func (p *pool) leave(w *waiter, why error) (grant, error) {
	p.mu.Lock()
	served := w.served
	if !served {
		p.withdrawLocked(w)
	}
	p.mu.Unlock()
	if served {
		if g := <-w.ready; g.inst != nil {
			p.release(g.inst, g.failed != nil)
		}
	}
	return grant{}, why
}

// overdue answers a waiter whose time is up: the starts that it waited for did not
// end in time. That is the function's own fault, unless none of them has gone on
// for as long as init may take. Every waiter is covered by one.
func (p *pool) overdue(w *waiter) (grant, error) {
	p.mu.Lock()
	served, refused, slow := w.served, w.refused, p.slowLocked(time.Now())
	if !served {
		p.withdrawLocked(w)
	}
	p.mu.Unlock()
	if served {
		g := <-w.ready
		return g, g.err
	}
	if refused != nil {
		return grant{}, refused
	}
	if !slow {
		return grant{}, noTurn(p.version, p.pools.turns.count)
	}
	return grant{}, initFailing(p.version, &Failure{Kind: FailedTimeout})
}

// slowLocked says whether a start goes on that began as long ago as init may take.
func (p *pool) slowLocked(now time.Time) bool {
	for inst := range p.all {
		if inst.state.life < Ready && now.Sub(inst.began) >= p.initTimeout() {
			return true
		}
	}
	return false
}

func (p *pool) withdrawLocked(w *waiter) {
	p.waiters.remove(w)
	if w.sponsored != nil {
		w.sponsored.sponsor = nil
	}
	p.emptyLocked()
}
