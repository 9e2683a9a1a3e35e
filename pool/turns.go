package pool

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// turnLimit bounds how long a start keeps its turn. What takes longer waits for
// something else than the CPU, most of the time: a package that is unpacked, or
// what the function's init asks of others.
const turnLimit = 100 * time.Millisecond

// turns lets starts begin in the order in which they came, a few at a time. Three
// hundred that begin together share the CPU, and each is as slow as all of them; in
// turns the first is done at once and the last no later.
type turns struct {
	all   chan struct{}
	ahead chan struct{} // those that no call waits for have a part of them only
}

func newTurns(n int) turns {
	if n <= 0 {
		n = 4 * runtime.GOMAXPROCS(0)
	}
	return turns{all: make(chan struct{}, n), ahead: make(chan struct{}, max(1, n/4))}
}

// take waits for a turn, until ctx ends. The turn is over when leave is called, and
// no later than turnLimit from now.
func (t turns) take(ctx context.Context, ahead bool) (leave func(), err error) {
	if ahead {
		if err := enter(ctx, t.ahead); err != nil {
			return nil, err
		}
	}
	if err := enter(ctx, t.all); err != nil {
		if ahead {
			<-t.ahead
		}
		return nil, err
	}
	over := sync.OnceFunc(func() {
		<-t.all
		if ahead {
			<-t.ahead
		}
	})
	timer := time.AfterFunc(turnLimit, over)
	return func() {
		timer.Stop()
		over()
	}, nil
}

func enter(ctx context.Context, gate chan struct{}) error {
	select {
	case gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
