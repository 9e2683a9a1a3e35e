package registry

import (
	"context"
	"maps"
	"slices"
	"strings"

	"hearth/faas"
	"hearth/internal/uuid"
)

// CreateAlias adds an alias to a function. Its versions must exist.
func (r *Registry) CreateAlias(ctx context.Context, alias faas.Alias) (*faas.Alias, error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	alias = alias.Clone()
	if err := alias.Validate(r.limits); err != nil {
		return nil, err
	}
	id := alias.Function
	err = r.change(ctx, id, func(ctx context.Context, s *snapshot) (*record, error) {
		if s.aliases[alias.Name] != nil {
			arn := faas.FunctionARN(id, alias.Name)
			return nil, faas.Errorf(faas.CodeConflict, arn, "Alias already exists: %s", arn)
		}
		if err := s.checkTargets(alias); err != nil {
			return nil, err
		}
		// An alias of that name may have left its provisioned concurrency behind.
		if err := r.sweepFunction(ctx, id); err != nil {
			return nil, err
		}
		alias.RevisionID = uuid.New()
		next := s.record.clone()
		at, _ := findAlias(next.Aliases, alias.Name)
		next.Aliases = slices.Insert(next.Aliases, at, alias)
		return next, nil
	})
	if err != nil {
		return nil, err
	}
	return copyAlias(&alias), nil
}

// UpdateAlias changes the fields that the patch has. An alias with provisioned
// concurrency moves only where that fits: see PutProvisioned.
func (r *Registry) UpdateAlias(ctx context.Context, id faas.FunctionID, name string, patch AliasPatch) (*faas.Alias, error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	var alias faas.Alias
	err = r.change(ctx, id, func(_ context.Context, s *snapshot) (*record, error) {
		old := s.aliases[name]
		if old == nil {
			return nil, noAlias(id, name)
		}
		if patch.RevisionID != "" && patch.RevisionID != old.RevisionID {
			return nil, stale(faas.FunctionARN(id, name))
		}
		alias = patch.apply(old.Clone())
		if err := alias.Validate(r.limits); err != nil {
			return nil, err
		}
		if err := s.checkTargets(alias); err != nil {
			return nil, err
		}
		alias.RevisionID = uuid.New()
		next := s.record.clone()
		at, _ := findAlias(next.Aliases, name)
		next.Aliases[at] = alias
		return next, r.checkMove(id, s, next, name)
	})
	if err != nil {
		return nil, err
	}
	return copyAlias(&alias), nil
}

func (p AliasPatch) apply(a faas.Alias) faas.Alias {
	patchField(&a.Version, p.Version)
	patchField(&a.Description, p.Description)
	if p.Weights != nil {
		a.Weights = maps.Clone(*p.Weights)
	}
	return a
}

// GetAlias returns an alias; a copy, which the caller may change.
func (r *Registry) GetAlias(_ context.Context, id faas.FunctionID, name string) (*faas.Alias, error) {
	s := r.table.load(id)
	if s == nil {
		return nil, noFunction(id, "")
	}
	a := s.aliases[name]
	if a == nil {
		return nil, noAlias(id, name)
	}
	return copyAlias(a), nil
}

// DeleteAlias removes an alias and what was configured for it. One that is not there is faas.CodeNotFound.
func (r *Registry) DeleteAlias(ctx context.Context, id faas.FunctionID, name string) error {
	leave, err := r.enter()
	if err != nil {
		return err
	}
	defer leave()
	err = r.change(ctx, id, func(_ context.Context, s *snapshot) (*record, error) {
		next := s.record.clone()
		at, found := findAlias(next.Aliases, name)
		if !found {
			return nil, noAlias(id, name)
		}
		next.Aliases = slices.Delete(next.Aliases, at, at+1)
		next.dropQualifier(name)
		return next, nil
	})
	if err == nil {
		r.sweepQuota(ctx, id)
	}
	return err
}

// checkTargets returns an error where a version that the alias names does not exist.
func (s *snapshot) checkTargets(a faas.Alias) error {
	for version := range a.Targets() {
		if version != faas.Latest && s.versions[version] == nil {
			return noQualifier(a.Function, version)
		}
	}
	return nil
}

func findAlias(aliases []faas.Alias, name string) (at int, found bool) {
	return slices.BinarySearchFunc(aliases, name, func(a faas.Alias, name string) int { return strings.Compare(a.Name, name) })
}

func copyAlias(a *faas.Alias) *faas.Alias {
	c := a.Clone()
	return &c
}
