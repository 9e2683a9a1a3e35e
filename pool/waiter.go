package pool

import "hearth/faas"

// grant is what a waiter is given: an instance that holds its invocation, or an
// error.
type grant struct {
	inst   *instance
	cold   faas.ColdReason // "" where the instance had been started for others
	first  bool            // the first invocation of the instance: the start's parts are its own
	failed *Failure        // init failed; inst is only there to be settled and killed
	err    error
}

// waiter is a call that waits for an instance. Everything but ready is guarded
// by the lock of its pool.
type waiter struct {
	ready      chan grant // buffered for the one grant
	served     bool       // a grant was sent; the waiter is in no list any more
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

// unsponsored returns the first waiter for which no start was begun, or nil.
func (q *queue) unsponsored() *waiter {
	for w := q.head; w != nil; w = w.next {
		if w.sponsored == nil {
			return w
		}
	}
	return nil
}
