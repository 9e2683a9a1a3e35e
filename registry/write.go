package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"hearth/engine"
	"hearth/faas"
	"hearth/quota"
)

const (
	// turnCount spreads the turns; functions that share one wait for each other's writes.
	turnCount = 256
	// writeTimeout bounds one change of the engine.
	writeTimeout = 15 * time.Second
	// changeAttempts bounds how often a change is tried again because another
	// node was faster.
	changeAttempts = 8
)

// turn waits until nobody else on this node changes the function, nor, where
// the function has quotas, what the account's sums are made of. What it returns
// is the context of the change, and what ends the turn.
func (r *Registry) turn(ctx context.Context, id faas.FunctionID) (context.Context, func(), error) {
	release, err := r.waitFunction(ctx, id)
	if err == nil && r.quotas.has(id) { // the holder alone can give it an entry
		release, err = r.waitAccountToo(ctx, id, release)
	}
	return begin(ctx, release, err)
}

// quotaTurn is turn for a change of the function's quotas.
func (r *Registry) quotaTurn(ctx context.Context, id faas.FunctionID) (context.Context, func(), error) {
	release, err := r.waitFunction(ctx, id)
	if err == nil {
		release, err = r.waitAccountToo(ctx, id, release)
	}
	return begin(ctx, release, err)
}

// begin makes the context of a change whose turn has come: it is seen through
// even if the caller leaves.
func begin(ctx context.Context, release func(), err error) (context.Context, func(), error) {
	if err != nil {
		return ctx, nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	return ctx, func() { cancel(); release() }, nil
}

func (r *Registry) waitFunction(ctx context.Context, id faas.FunctionID) (release func(), err error) {
	return take(ctx, r.turns[maphash.Comparable(r.table.seed, id)%turnCount])
}

// waitAccountToo adds the account's turn to a function's, or gives up both.
func (r *Registry) waitAccountToo(ctx context.Context, id faas.FunctionID, function func()) (release func(), err error) {
	account, err := r.waitAccount(ctx, quota.AccountOf(id.Scope))
	if err != nil {
		function()
		return nil, err
	}
	return func() { account(); function() }, nil
}

func take(ctx context.Context, t chan struct{}) (release func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, engineError("wait for other changes", context.Cause(ctx))
	}
}

// edit makes the next record out of the current one, and notes the answer to
// its caller: by the time that the change is committed, others may have gone on
// from it. A nil record changes nothing. It may run several times.
type edit func(ctx context.Context, s *snapshot) (*record, error)

// change runs edit on a function that exists and commits what it returns.
func (r *Registry) change(ctx context.Context, id faas.FunctionID, edit edit) error {
	ctx, done, err := r.turn(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	for range changeAttempts {
		s := r.table.load(id)
		if s == nil {
			return noFunction(id, "")
		}
		next, err := edit(ctx, s)
		if err != nil || next == nil {
			return err
		}
		if err = r.commit(ctx, id, next, s.revision); !errors.Is(err, errChanged) {
			return err
		}
		if err := r.refresh(ctx, id); err != nil {
			return err
		}
	}
	return engineError("change function", errChanged)
}

// commit writes a record over the revision last (0: there is none) and applies
// it. Once it returned nil the change is durable and visible on this node.
func (r *Registry) commit(ctx context.Context, id faas.FunctionID, rec *record, last uint64) error {
	rec.Format = recordFormat
	value, err := rec.encode()
	if err != nil {
		return err
	}
	revision, err := r.write(ctx, recordKey(id), value, last)
	if errors.Is(err, errChanged) {
		return errChanged
	}
	if err != nil {
		return engineError("write function", err)
	}
	r.putRecord(id, revision, rec)
	if rec.pending() {
		r.activations.add(id)
	}
	return nil
}

// putRecord applies a function's record, and tells those who depend on it.
func (r *Registry) putRecord(id faas.FunctionID, revision uint64, rec *record) {
	unused, changed := r.table.putRecord(id, revision, rec)
	r.dropUnused(unused)
	if changed {
		r.functionChanged(id)
	}
}

// deleteRecord is putRecord for a key that was deleted.
func (r *Registry) deleteRecord(id faas.FunctionID, revision uint64) {
	unused, changed := r.table.deleteRecord(id, revision)
	r.dropUnused(unused)
	if changed {
		r.functionChanged(id)
	}
}

// write puts a key that has the revision last (0: that does not exist). Where
// the engine reports a failure it reads back whether it wrote after all: an
// acknowledgement that was lost makes a conflict out of the engine's own retry.
func (r *Registry) write(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	var revision uint64
	var err error
	if last == 0 {
		revision, err = r.meta.Create(ctx, key, value)
	} else {
		revision, err = r.meta.Update(ctx, key, value, last)
	}
	if err == nil {
		return revision, nil
	}
	if errors.Is(err, engine.ErrFull) || errors.Is(err, engine.ErrClosed) {
		return 0, err
	}
	e, readErr := r.meta.Get(ctx, key)
	switch {
	case readErr == nil && bytes.Equal(e.Value, value):
		return e.Revision, nil
	case errors.Is(err, engine.ErrConflict):
		return 0, errChanged
	default:
		return 0, fmt.Errorf("%w: key %s: %w", errUnknown, key, errors.Join(err, readErr))
	}
}

// refresh reads a function from the engine: another node changed it, and the
// watch has not told us yet.
func (r *Registry) refresh(ctx context.Context, id faas.FunctionID) error {
	// The record is read before the contents that it lists, and applied after:
	// whatever it lists is there by then.
	rec, err := r.meta.Get(ctx, recordKey(id))
	if errors.Is(err, engine.ErrNotFound) {
		if s := r.table.load(id); s != nil {
			r.deleteRecord(id, s.revision+1)
		}
		return nil
	}
	if err != nil {
		return engineError("read function", err)
	}
	contents, err := r.meta.List(ctx, functionKey(id)+"/version")
	if err != nil {
		return engineError("read versions", err)
	}
	for _, e := range append(contents, rec) {
		if err := r.apply(engine.Change{Entry: e}); err != nil {
			return internal("read function", err)
		}
	}
	return nil
}
