package nats

import (
	"context"
	"sync"

	"hearth/engine"
)

// gate counts the operations under way and lets none in after it was closed.
type gate struct {
	closing context.Context // ends when the gate closes; watches hang on it
	shut    context.CancelFunc

	mu     sync.Mutex
	closed bool
	inside int
	empty  chan struct{} // closed when the gate is closed and nobody is inside
}

func newGate() *gate {
	g := &gate{empty: make(chan struct{})}
	g.closing, g.shut = context.WithCancel(context.Background())
	return g
}

// enter lets one operation in; it calls done once when it has ended.
func (g *gate) enter(subject string) (done func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, engine.Closed(subject)
	}
	g.inside++
	return g.leave, nil
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	g.checkLocked()
}

// close reports whether this was the call that closed the gate.
func (g *gate) close() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.closed = true
	g.shut()
	g.checkLocked()
	return true
}

// drain waits until nobody is inside or ctx ends.
func (g *gate) drain(ctx context.Context) {
	select {
	case <-g.empty:
	case <-ctx.Done():
	}
}

func (g *gate) checkLocked() {
	if g.closed && g.inside == 0 {
		close(g.empty)
	}
}
