// Package fake is the engine in memory, for the tests of packages that stand on
// it. It passes the same contract (package enginetest) as the real one, keeps
// nothing after the process, and can be told to refuse writes.
//
// It owns a few maps; it must not know what it stores. Time is package time's, so
// that it works in a testing/synctest bubble.
package fake

import (
	"sync"

	"hearth/engine"
)

// Engine is a Meta, a Blobs, a Queue and a History in memory. Safe for concurrent use.
type Engine struct {
	meta  meta
	blobs blobs
	queue queue
}

// New returns an empty engine.
func New() *Engine {
	e := &Engine{}
	e.meta.entries = make(map[string]record)
	e.meta.changed = make(chan struct{})
	e.blobs.content = make(map[string][]byte)
	e.queue.init()
	return e
}

// Meta returns the metadata store.
func (e *Engine) Meta() engine.Meta { return &e.meta }

// Blobs returns the blob store.
func (e *Engine) Blobs() engine.Blobs { return &e.blobs }

// Queue returns the queues.
func (e *Engine) Queue() engine.Queue { return &e.queue }

// History returns the record of what the queues settled.
func (e *Engine) History() engine.History { return (*history)(&e.queue) }

// Refuse makes every later Create, Update, Put, Append and Schedule fail with err, for instance
// with engine.ErrFull, until it is called with nil. Reads and deletions go on.
func (e *Engine) Refuse(err error) {
	e.meta.gate.refuse(err)
	e.blobs.gate.refuse(err)
	e.queue.gate.refuse(err)
}

// Close makes every later operation fail with engine.ErrClosed and ends the
// watches and the timers.
func (e *Engine) Close() {
	e.meta.gate.close()
	e.blobs.gate.close()
	e.queue.close()
	e.meta.mu.Lock()
	defer e.meta.mu.Unlock()
	e.meta.announceLocked()
}

// gate is what stands before every operation.
type gate struct {
	mu      sync.Mutex
	closed  bool
	refusal error
}

func (g *gate) refuse(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refusal = err
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

func (g *gate) read(subject string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return engine.Closed(subject)
	}
	return nil
}

func (g *gate) write(subject string) error {
	if err := g.read(subject); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusal
}
