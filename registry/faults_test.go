package registry_test

import (
	"context"
	"errors"
	"sync"

	"hearth/engine"
)

var errPower = errors.New("the power is gone")

// fault is one write that fails.
type fault struct {
	at int // from 1; 0 is none
	// applied says that the write is done all the same, and only its
	// acknowledgement lost.
	applied bool
	// dies says that everything after it fails too, as where the power is gone.
	dies bool
}

// faulty is a Meta that fails as it is told to.
type faulty struct {
	engine.Meta

	mu     sync.Mutex
	fault  fault
	writes int // since it was armed
}

func (f *faulty) arm(at fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes, f.fault = 0, at
}

// tripped reports whether the write that was to fail was reached.
func (f *faulty) tripped() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fault.at > 0 && f.writes >= f.fault.at
}

func (f *faulty) write(do func() (uint64, error)) (uint64, error) {
	f.mu.Lock()
	f.writes++
	fault, n := f.fault, f.writes
	f.mu.Unlock()
	switch {
	case fault.at == 0 || n < fault.at || n > fault.at && !fault.dies:
		return do()
	case n == fault.at && fault.applied:
		_, _ = do()
	}
	return 0, errPower
}

func (f *faulty) read() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault.dies && f.writes >= f.fault.at {
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
