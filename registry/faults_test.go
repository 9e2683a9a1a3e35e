package registry_test

import (
	"context"
	"errors"
	"sync"

	"hearth/engine"
)

var errPower = errors.New("the power is gone")

// faulty is a Meta that fails at one write and at everything after it, as a
// machine that loses its power: until it is healed.
type faulty struct {
	engine.Meta

	mu     sync.Mutex
	writes int // so far
	failAt int // the write that fails, from 1; 0 is none
	// applied says that the failing write is done all the same, and only its
	// acknowledgement lost.
	applied bool
	dead    bool
}

func (f *faulty) arm(at int, applied bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes, f.failAt, f.applied, f.dead = 0, at, applied, false
}

// tripped reports whether the write that was to fail was reached.
func (f *faulty) tripped() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead
}

func (f *faulty) write(do func() (uint64, error)) (uint64, error) {
	f.mu.Lock()
	if f.dead {
		f.mu.Unlock()
		return 0, errPower
	}
	f.writes++
	fails := f.writes == f.failAt
	f.dead = fails
	applied := f.applied
	f.mu.Unlock()
	if !fails {
		return do()
	}
	if applied {
		_, _ = do()
	}
	return 0, errPower
}

func (f *faulty) read() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return errPower
	}
	return nil
}

func (f *faulty) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return f.write(func() (uint64, error) { return f.Meta.Create(ctx, key, value) })
}

func (f *faulty) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	return f.write(func() (uint64, error) { return f.Meta.Update(ctx, key, value, last) })
}

func (f *faulty) Delete(ctx context.Context, key string, last uint64) (uint64, error) {
	return f.write(func() (uint64, error) { return f.Meta.Delete(ctx, key, last) })
}

func (f *faulty) Get(ctx context.Context, key string) (engine.Entry, error) {
	if err := f.read(); err != nil {
		return engine.Entry{}, err
	}
	return f.Meta.Get(ctx, key)
}
