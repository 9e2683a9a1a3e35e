// Package deadline has a context that ends at a time and at no other. Its timer is
// made when somebody waits for the end: who bounds reads and writes by the time
// itself (Of) needs none, and a context of package context makes and stops one
// for each call.
package deadline

import (
	"context"
	"sync"
	"time"
)

// Context ends at its time, with context.DeadlineExceeded. The zero value has
// ended. Safe for concurrent use.
type Context struct {
	at time.Time

	mu    sync.Mutex
	done  chan struct{} // nil until Done was called
	ended bool          // done, if there is one, is closed
	timer *time.Timer   // closes done; nil where nobody waits
}

var _ context.Context = (*Context)(nil)

// New returns a context that ends at a time. Stop must be called when it is no
// longer needed.
func New(at time.Time) *Context { return &Context{at: at} }

// Of reports whether ctx ends at its deadline and at no other time.
func Of(ctx context.Context) (time.Time, bool) {
	c, ok := ctx.(*Context)
	if !ok {
		return time.Time{}, false
	}
	return c.at, true
}

// Deadline implements context.Context.
func (c *Context) Deadline() (time.Time, bool) { return c.at, true }

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.ended {
			close(c.done)
		} else {
			c.timer = time.AfterFunc(time.Until(c.at), c.end)
		}
	}
	return c.done
}

func (c *Context) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked()
}

func (c *Context) endLocked() {
	if !c.ended && c.done != nil {
		close(c.done)
	}
	c.ended = true
}

// Err implements context.Context.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended && time.Now().Before(c.at) {
		return nil
	}
	c.endLocked()
	return context.DeadlineExceeded
}

// Value implements context.Context: there are none.
func (c *Context) Value(any) any { return nil }

// AfterFunc runs f in a goroutine of its own when the context ends, unless stop is
// called before. Package context asks for it where it derives contexts.
func (c *Context) AfterFunc(f func()) (stop func() bool) {
	return time.AfterFunc(time.Until(c.at), f).Stop
}

// Stop lets go of the timer. The context does not end by itself after it.
func (c *Context) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
}
