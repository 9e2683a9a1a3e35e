package registry

import (
	"context"
	"errors"
	"time"

	"hearth/engine"
)

const (
	rewatchAfter    = 100 * time.Millisecond
	rewatchAfterMax = 5 * time.Second
)

// watched is what a registry keeps a copy of, each by a watch of its own.
var watched = [...]string{functionPrefix, quotaPrefix, mappingPrefix, layerPrefix}

// watch follows what is below the prefix until ctx ends. The first state, or why
// there is none, goes to loaded; after that it begins again whenever the engine
// fails.
func (r *Registry) watch(ctx context.Context, prefix string, loaded chan<- error) {
	pause := rewatchAfter
	for first := true; ; {
		w := &watcher{registry: r, strict: first, before: r.revisions(prefix)}
		err := r.meta.Watch(ctx, prefix, func(c engine.Change) error {
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
		r.log.Warn("a watch of the store ended; beginning again", "prefix", prefix, "error", err, "after", pause)
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

// revisions returns the revision of every record that is known, by its key.
func (r *Registry) revisions(prefix string) map[string]uint64 {
	switch prefix {
	case quotaPrefix:
		return r.quotas.revisions()
	case mappingPrefix:
		return r.mappings.revisions()
	case layerPrefix:
		return r.table.layerRevisions()
	default:
		return r.table.revisions()
	}
}

// watcher is one run of a watch.
type watcher struct {
	registry *Registry
	strict   bool              // fail on what cannot be read: the first load
	before   map[string]uint64 // records known when it began, by revision; nil after catching up
}

func (w *watcher) apply(c engine.Change) error {
	err := w.registry.apply(c)
	if err == nil {
		delete(w.before, c.Key)
	}
	if err == nil || w.strict {
		return err
	}
	w.registry.log.Error("a change in the store cannot be read; it is ignored", "error", err)
	return nil
}

// caughtUp drops the records that were deleted while nobody watched: they were
// known before and were not among what exists.
func (w *watcher) caughtUp(ctx context.Context) {
	for key, revision := range w.before {
		e, err := w.registry.meta.Get(ctx, key)
		c := engine.Change{Entry: e}
		if errors.Is(err, engine.ErrNotFound) {
			c, err = engine.Change{Entry: engine.Entry{Key: key, Revision: revision + 1}, Deleted: true}, nil
		}
		if err != nil {
			continue
		}
		if err := w.registry.apply(c); err != nil {
			w.registry.log.Error("a record cannot be read", "error", err)
		}
	}
	w.before = nil
}

// apply brings the in-memory copy up to one change. What is not newer than what
// is known has no effect, so it does not matter that the writer applied it too.
func (r *Registry) apply(c engine.Change) error {
	switch {
	case engine.Below(c.Key, quotaPrefix):
		return r.applyQuota(c)
	case engine.Below(c.Key, mappingPrefix):
		return r.applyMapping(c)
	case engine.Below(c.Key, layerPrefix):
		return r.applyLayer(c)
	}
	id, number, err := parseKey(c.Key)
	if err != nil {
		return err
	}
	switch {
	case number == 0 && c.Deleted:
		r.deleteRecord(id, c.Revision)
		r.table.sawDeletion(id, c.Revision)
	case number == 0:
		rec, err := decodeRecord(c.Key, c.Value)
		if err != nil {
			return err
		}
		r.putRecord(id, c.Revision, rec)
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
