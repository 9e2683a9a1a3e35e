package http1

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// requestContext ends when the request is answered, or when its client hangs up.
// Whether it did is looked for from the first call of Done on, and not before all
// of the body has arrived: a handler that does not wait pays nothing for it.
type requestContext struct {
	conn *conn

	mu       sync.Mutex
	done     chan struct{} // nil until Done was called
	err      error         // why it ended; nil before
	arriving bool          // a part of the body is to come
	watch    chan struct{} // closed when the watcher has ended; nil where there is none
}

var _ context.Context = (*requestContext)(nil)

func (x *requestContext) Deadline() (time.Time, bool) { return time.Time{}, false }

func (x *requestContext) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.err != nil {
			close(x.done)
		}
		x.watchLocked()
	}
	return x.done
}

func (x *requestContext) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

func (x *requestContext) Value(key any) any {
	switch key {
	case http.ServerContextKey:
		return x.conn.server.Rest
	case http.LocalAddrContextKey:
		return x.conn.net.LocalAddr()
	}
	return nil
}

// watchLocked starts the watcher, where there is reason to.
func (x *requestContext) watchLocked() {
	if x.done == nil || x.err != nil || x.arriving || x.watch != nil {
		return
	}
	x.watch = make(chan struct{})
	x.conn.untimed()
	go func() {
		defer close(x.watch)
		// A byte is the begin of the next request: who sends it is still there.
		n, err := x.conn.net.Read(x.conn.early[:])
		x.conn.hasEarly = n > 0
		if n == 0 && err != nil {
			x.end(context.Canceled)
		}
	}()
}

// arrived says that the whole body was read.
func (x *requestContext) arrived() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.arriving = false
	x.watchLocked()
}

// end ends the context, once.
func (x *requestContext) end(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return
	}
	x.err = err
	if x.done != nil {
		close(x.done)
	}
}

// finish ends the context and waits for the watcher: the connection is the
// caller's again.
func (x *requestContext) finish() {
	x.end(context.Canceled)
	if x.watch != nil { // no other is started after the end
		x.conn.interrupt()
		<-x.watch
	}
}
