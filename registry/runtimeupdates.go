package registry

import (
	"context"

	"hearth/faas"
)

// RuntimeUpdates is what was set for one version about the updates of its runtime.
// It is kept and changes nothing: a runtime is the machine's own, and is updated
// with it.
type RuntimeUpdates struct {
	On string `json:"on"` // Auto, Manual or FunctionUpdate
	// Pinned is the build that Manual names, in the words of who set it.
	Pinned string `json:"pinned,omitempty"`
}

// PutRuntimeUpdates keeps a setting of the version that the qualifier names, and
// returns that version; an alias is its primary one.
func (r *Registry) PutRuntimeUpdates(ctx context.Context, id faas.FunctionID, qualifier string, set RuntimeUpdates) (*faas.Version, error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	var of *faas.Version
	err = r.change(ctx, id, func(_ context.Context, s *snapshot) (*record, error) {
		if of = s.find(qualifier); of == nil {
			return nil, noQualifier(id, qualifier)
		}
		next := s.record.clone()
		if next.RuntimeUpdates == nil {
			next.RuntimeUpdates = make(map[string]RuntimeUpdates)
		}
		next.RuntimeUpdates[of.ID.Number] = set
		return next, nil
	})
	return of, err
}

// RuntimeUpdates returns what was set, or Auto, with the version that it is of.
func (r *Registry) RuntimeUpdates(_ context.Context, id faas.FunctionID, qualifier string) (RuntimeUpdates, *faas.Version, error) {
	s := r.table.load(id)
	if s == nil {
		return RuntimeUpdates{}, nil, noFunction(id, qualifier)
	}
	of := s.find(qualifier)
	if of == nil {
		return RuntimeUpdates{}, nil, noQualifier(id, qualifier)
	}
	if set, ok := s.record.RuntimeUpdates[of.ID.Number]; ok {
		return set, of, nil
	}
	return RuntimeUpdates{On: "Auto"}, of, nil
}
