package registry

import (
	"context"
	"errors"
	"slices"

	"hearth/engine"
	"hearth/faas"
)

// Delete removes a function with its versions and aliases, or the one version
// that the qualifier names, and what was configured for them. Calls in flight end as they would
// have. A version that an alias points at is faas.CodeConflict.
func (r *Registry) Delete(ctx context.Context, id faas.FunctionID, qualifier string) error {
	leave, err := r.enter()
	if err != nil {
		return err
	}
	defer leave()
	if qualifier != "" {
		err = r.deleteVersion(ctx, id, qualifier)
	} else {
		err = r.deleteFunction(ctx, id)
	}
	if err == nil {
		r.sweepQuota(ctx, id)
	}
	return err
}

func (r *Registry) deleteVersion(ctx context.Context, id faas.FunctionID, qualifier string) error {
	number, ok := faas.ParseVersionNumber(qualifier)
	if qualifier == faas.Latest {
		return faas.Errorf(faas.CodeInvalid, "qualifier", "$LATEST version cannot be deleted without deleting the function.")
	}
	if !ok {
		return faas.Errorf(faas.CodeInvalid, "qualifier", "Deletion of functions is by version number; %q is none. Aliases have a request of their own.", qualifier)
	}
	var gone *faas.Version
	err := r.change(ctx, id, func(_ context.Context, s *snapshot) (*record, error) {
		next := s.record.clone()
		at, found := next.publishedAt(number)
		if !found {
			return nil, noQualifier(id, qualifier)
		}
		for _, a := range next.Aliases {
			for target := range a.Targets() {
				if target == qualifier {
					return nil, faas.Errorf(faas.CodeConflict, faas.FunctionARN(id, qualifier),
						"Version %s cannot be deleted because the alias %s points at it. Move or delete the alias first.", qualifier, a.Name)
				}
			}
		}
		gone = s.versions[qualifier]
		next.Published = slices.Delete(next.Published, at, at+1)
		next.dropQualifier(qualifier)
		return next, nil
	})
	if err != nil {
		return err
	}
	if gone != nil {
		r.deployer.Retire(gone)
	}
	r.sweep(ctx, versionRef{id, number, r.table.versionRevision(id, number)})
	return nil
}

func (r *Registry) deleteFunction(ctx context.Context, id faas.FunctionID) error {
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
		err := r.commitDelete(ctx, id, s)
		if errors.Is(err, errChanged) {
			if err := r.refresh(ctx, id); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		s.revisions(r.deployer.Retire)
		r.sweep(ctx, r.table.contentsOf(id)...)
		return nil
	}
	return engineError("delete function", errChanged)
}

// commitDelete is the commit point of a deletion. Where versions were published
// their last number stays behind.
func (r *Registry) commitDelete(ctx context.Context, id faas.FunctionID, s *snapshot) error {
	if s.record.LastNumber > 0 {
		return r.commit(ctx, id, &record{Deleted: true, LastNumber: s.record.LastNumber}, s.revision)
	}
	revision, err := r.remove(ctx, recordKey(id), s.revision)
	if errors.Is(err, errChanged) {
		return err
	}
	if err != nil {
		return engineError("delete function", err)
	}
	r.deleteRecord(id, revision)
	return nil
}

// remove deletes a key that has the revision last, and settles an uncertain
// outcome by looking. Where it only sees that the key is gone, the revision of
// the deletion is at least the one after last.
func (r *Registry) remove(ctx context.Context, key string, last uint64) (uint64, error) {
	revision, err := r.meta.Delete(ctx, key, last)
	if err == nil {
		return revision, nil
	}
	if errors.Is(err, engine.ErrFull) || errors.Is(err, engine.ErrClosed) {
		return 0, err
	}
	_, readErr := r.meta.Get(ctx, key)
	switch {
	case errors.Is(readErr, engine.ErrNotFound):
		return last + 1, nil
	case errors.Is(err, engine.ErrConflict):
		return 0, errChanged
	default:
		return 0, errors.Join(errUnknown, err, readErr)
	}
}

// sweep deletes the contents of versions that are no more. The deletion is
// acknowledged already: what fails here, the next New does.
func (r *Registry) sweep(ctx context.Context, versions ...versionRef) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	for _, v := range versions {
		if err := r.dropVersion(ctx, v); err != nil {
			r.log.Warn("a deleted version's content stays until the next start", "function", v.id.String(), "number", v.number, "error", err)
			return
		}
	}
}

func (r *Registry) dropVersion(ctx context.Context, v versionRef) error {
	revision, err := r.meta.Delete(ctx, versionKey(v.id, v.number), v.revision)
	if errors.Is(err, engine.ErrNotFound) {
		revision, err = v.revision+1, nil
	}
	if err == nil {
		r.table.deleteVersion(v.id, v.number, revision)
	}
	return err
}

// refreshContent reads a version's key that is not as it was thought to be.
func (r *Registry) refreshContent(ctx context.Context, id faas.FunctionID, n int64) error {
	key := versionKey(id, n)
	e, err := r.meta.Get(ctx, key)
	if errors.Is(err, engine.ErrNotFound) {
		r.table.deleteVersion(id, n, r.table.versionRevision(id, n)+1)
		return nil
	}
	if err != nil {
		return engineError("read version", err)
	}
	content, err := decodeVersion(key, e.Value)
	if err != nil {
		return internal("read version", err)
	}
	r.table.putVersion(id, n, e.Revision, content)
	return nil
}
