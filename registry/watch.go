package registry

import (
	"context"
	"errors"
	"time"

	"hearth/engine"
	"hearth/faas"
)

const (
	rewatchAfter    = 100 * time.Millisecond
	rewatchAfterMax = 5 * time.Second
)

// watch follows the engine until ctx ends. The first state, or why there is
// none, goes to loaded; after that it begins again whenever the engine fails.
func (r *Registry) watch(ctx context.Context, loaded chan<- error) {
	pause := rewatchAfter
	for first := true; ; {
		w := &watcher{registry: r, strict: first, before: r.table.revisions()}
		err := r.meta.Watch(ctx, functionPrefix, func(c engine.Change) error {
			if c.Key == "" {
				pause = rewatchAfter
				w.caughtUp(ctx)
				if first {
					first, w.strict = false, false
					loaded <- nil
				}
				return nil
			}
			return w.apply(c)
		})
		if first {
			loaded <- loadError(ctx, err)
			return
		}
		if ctx.Err() != nil || errors.Is(err, engine.ErrClosed) {
			return
		}
		r.log.Warn("the watch of functions ended; beginning again", "error", err, "after", pause)
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, rewatchAfterMax)
	}
}

func loadError(ctx context.Context, err error) error {
	if err == nil {
		err = context.Cause(ctx)
	}
	return engineError("load functions", err)
}

// sleep waits for d or the end of ctx, and reports which: true is d.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// watcher is one run of the watch.
type watcher struct {
	registry *Registry
	strict   bool                       // fail on what cannot be read: the first load
	before   map[faas.FunctionID]uint64 // functions known when it began, by revision; nil after catching up
}

func (w *watcher) apply(c engine.Change) error {
	err := w.registry.apply(c, func(id faas.FunctionID) { delete(w.before, id) })
	if err == nil || w.strict {
		return err
	}
	w.registry.log.Error("a change in the store cannot be read; it is ignored", "error", err)
	return nil
}

// caughtUp drops the functions that were deleted while nobody watched: they
// were known before and were not among what exists.
func (w *watcher) caughtUp(ctx context.Context) {
	for id, revision := range w.before {
		e, err := w.registry.meta.Get(ctx, recordKey(id))
		switch {
		case errors.Is(err, engine.ErrNotFound):
			w.registry.dropUnused(w.registry.table.deleteRecord(id, revision+1))
			w.registry.table.sawDeletion(id, revision+1) // the watch is past it
		case err == nil:
			if err := w.apply(engine.Change{Entry: e}); err != nil {
				w.registry.log.Error("a function cannot be read", "error", err)
			}
		}
	}
	w.before = nil
}

// apply brings the in-memory copy up to one change. What is not newer than what
// is known has no effect, so it does not matter that the writer applied it too.
func (r *Registry) apply(c engine.Change, seen func(faas.FunctionID)) error {
	id, number, err := parseKey(c.Key)
	if err != nil {
		return err
	}
	switch {
	case number == 0 && c.Deleted:
		r.dropUnused(r.table.deleteRecord(id, c.Revision))
		r.table.sawDeletion(id, c.Revision)
	case number == 0:
		rec, err := decodeRecord(c.Key, c.Value)
		if err != nil {
			return err
		}
		seen(id)
		r.dropUnused(r.table.putRecord(id, c.Revision, rec))
		if rec.pending() { // activate looks whether it still is
			r.activations.add(id)
		}
	case c.Deleted:
		r.table.deleteVersion(id, number, c.Revision)
	default:
		v, err := decodeVersion(c.Key, c.Value)
		if err != nil {
			return err
		}
		r.table.putVersion(id, number, c.Revision, v)
	}
	return nil
}
