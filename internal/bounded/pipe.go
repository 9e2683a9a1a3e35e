// Package bounded has a pipe of bytes that holds no more than it was told: whoever
// writes faster than is read waits, or is told that there is no room.
package bounded

import (
	"context"
	"io"
	"sync"
)

// Pipe is a buffer between one writer and one reader. What the writer hands over in
// small parts the reader gets in as large ones as there are. Safe for concurrent use.
type Pipe struct {
	limit int
	room  chan struct{} // a value when there may be room again
	some  chan struct{} // a value when there is something to read, or the end

	mu      sync.Mutex
	held    []byte
	ended   bool // nothing more is written
	dropped bool // nobody reads any more
}

// New returns a pipe that holds so many bytes at most.
func New(limit int) *Pipe {
	return &Pipe{limit: limit, room: make(chan struct{}, 1), some: make(chan struct{}, 1)}
}

// Write hands over all of p, which it does not keep, and waits for room until ctx
// ends: the error is its cause. After End or Drop it takes everything and keeps
// nothing.
func (p *Pipe) Write(ctx context.Context, b []byte) error {
	for {
		n := p.take(b)
		if b = b[n:]; len(b) == 0 {
			return nil
		}
		select {
		case <-p.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (p *Pipe) take(b []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.dropped {
		return len(b)
	}
	n := min(len(b), p.limit-len(p.held))
	p.held = append(p.held, b[:n]...)
	if n > 0 {
		signal(p.some)
	}
	return n
}

// Put hands over all of b at once; false, and nothing of it, where there is no room.
func (p *Pipe) Put(b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.dropped {
		return true
	}
	if len(b) > p.limit-len(p.held) {
		return false
	}
	p.held = append(p.held, b...)
	signal(p.some)
	return true
}

// Next returns all that the pipe holds, and waits where that is nothing. Its memory
// is the caller's; that of spare is the pipe's from now on. io.EOF is the end; the
// cause of ctx is why it waited no longer.
func (p *Pipe) Next(ctx context.Context, spare []byte) ([]byte, error) {
	for {
		p.mu.Lock()
		if held := p.held; len(held) > 0 {
			p.held = spare[:0]
			p.mu.Unlock()
			signal(p.room)
			return held, nil
		}
		ended := p.ended
		p.mu.Unlock()
		if ended {
			return nil, io.EOF
		}
		select {
		case <-p.some:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// End says that nothing more is written. What is held is still read.
func (p *Pipe) End() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	signal(p.some)
	signal(p.room)
}

// Ended reports whether End was called.
func (p *Pipe) Ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// Drop says that nobody reads any more: the writer waits no longer.
func (p *Pipe) Drop() {
	p.mu.Lock()
	p.dropped, p.held = true, nil
	p.mu.Unlock()
	signal(p.room)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
