package pool

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"
)

// purpose is why a pool is to be looked at.
type purpose uint8

const (
	forIdle   purpose = iota // the policy decides about idle instances
	forAhead                 // an instance is started ahead of a call
	forForget                // a retired pool may be removed
	forFreeze                // idle instances are frozen
)

// appointment is one pool to be looked at at one time.
type appointment struct {
	at      time.Time
	pool    *pool
	purpose purpose
}

// agenda is when which pools are to be looked at: a heap, so that many functions
// cost no more than those that are due. An appointment is never removed; whoever
// keeps it looks whether it still stands. Its lock is taken last.
type agenda struct {
	sooner chan struct{} // 1-buffered: the first appointment changed

	mu     sync.Mutex
	list   appointments
	looked *pool // of the appointment that due returned last; nil where it was none
}

func newAgenda() *agenda { return &agenda{sooner: make(chan struct{}, 1)} }

func (a *agenda) add(p *pool, why purpose, at time.Time) {
	a.mu.Lock()
	first := len(a.list) == 0 || at.Before(a.list[0].at)
	heap.Push(&a.list, appointment{at, p, why})
	a.mu.Unlock()
	if !first {
		return
	}
	select {
	case a.sooner <- struct{}{}:
	default:
	}
}

// due takes the first appointment whose time has come; else it returns how long
// to wait for the next, at most for the bound. It has one caller, which keeps an
// appointment before it asks for the next.
func (a *agenda) due(now time.Time, bound time.Duration) (appointment, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looked = nil
	if len(a.list) == 0 {
		return appointment{}, bound
	}
	if wait := a.list[0].at.Sub(now); wait > 0 {
		return appointment{}, min(wait, bound)
	}
	x := heap.Pop(&a.list).(appointment)
	a.looked = x.pool
	return x, 0
}

// some returns pools that may have idle instances: all of them, or of more than n
// so many drawn at random. The one that is being looked at is always there: its
// appointment was taken, and whether it gets another is not decided yet.
func (a *agenda) some(n int) []*pool {
	a.mu.Lock()
	defer a.mu.Unlock()
	var pools []*pool
	if a.looked != nil {
		pools = append(pools, a.looked)
	}
	if len(a.list) <= n {
		for _, x := range a.list {
			pools = append(pools, x.pool)
		}
		return pools
	}
	for range n {
		pools = append(pools, a.list[rand.IntN(len(a.list))].pool)
	}
	return pools
}

// appointments is a heap, the first on top.
type appointments []appointment

func (l appointments) Len() int           { return len(l) }
func (l appointments) Less(i, j int) bool { return l[i].at.Before(l[j].at) }
func (l appointments) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *appointments) Push(x any)        { *l = append(*l, x.(appointment)) }
func (l *appointments) Pop() any {
	last := len(*l) - 1
	x := (*l)[last]
	(*l)[last] = appointment{}
	*l = (*l)[:last]
	return x
}
