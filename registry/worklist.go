package registry

import (
	"context"
	"sync"
)

// worklist is a queue of things to do, each in it at most once, so that it is
// bounded by the number of things there are. A key that is added while it is
// worked on is worked on again afterwards, never at the same time.
type worklist[K comparable] struct {
	signal chan struct{} // 1-buffered: there may be something to take

	mu     sync.Mutex
	queue  []K
	status map[K]workStatus
}

type workStatus int

const (
	workQueued workStatus = iota + 1
	workRunning
	workRunningAgain // and to be queued when done
)

func newWorklist[K comparable]() *worklist[K] {
	return &worklist[K]{signal: make(chan struct{}, 1), status: make(map[K]workStatus)}
}

func (w *worklist[K]) add(k K) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.status[k] {
	case 0:
		w.enqueueLocked(k)
	case workRunning:
		w.status[k] = workRunningAgain
	}
}

func (w *worklist[K]) enqueueLocked(k K) {
	w.status[k] = workQueued
	w.queue = append(w.queue, k)
	w.wake()
}

func (w *worklist[K]) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

func (w *worklist[K]) take() (k K, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return k, false
	}
	k, w.queue = w.queue[0], w.queue[1:]
	w.status[k] = workRunning
	if len(w.queue) > 0 {
		w.wake() // one signal stands for any number of additions
	}
	return k, true
}

func (w *worklist[K]) done(k K) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status[k] == workRunningAgain {
		w.enqueueLocked(k)
		return
	}
	delete(w.status, k)
}

// run works until ctx ends. Any number of goroutines may run one list.
func (w *worklist[K]) run(ctx context.Context, work func(context.Context, K)) {
	for ctx.Err() == nil {
		k, ok := w.take()
		if ok {
			work(ctx, k)
			w.done(k)
			continue
		}
		select {
		case <-w.signal:
		case <-ctx.Done():
		}
	}
}
