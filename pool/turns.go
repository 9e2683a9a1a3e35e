package pool

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// A start keeps its turn for at most setupTurn, and once its runtime was started for
// at most initTurn more. What takes longer waits for something else than the CPU,
// most of the time: a package that is unpacked, or what init asks of others.
const (
	setupTurn = time.Second
	initTurn  = 100 * time.Millisecond
)

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

// turn is one start's turn. It is over when end is called, or its time is up.
type turn struct {
	over  func()
	timer *time.Timer
}

// take waits for a turn, until ctx ends. The caller ends it.
func (t turns) take(ctx context.Context, ahead bool) (*turn, error) {
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
	return &turn{over, time.AfterFunc(setupTurn, over)}, nil
}

// started says that the runtime was started and init has begun.
func (t *turn) started() {
	if t.timer.Stop() {
		t.timer.Reset(initTurn)
	}
}

func (t *turn) end() {
	t.timer.Stop()
	t.over()
}

func enter(ctx context.Context, gate chan struct{}) error {
	select {
	case gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
