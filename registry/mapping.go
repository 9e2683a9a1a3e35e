package registry

import (
	"context"
	"encoding/json"
	"errors"
	"maps"

	"hearth/engine"
	"hearth/faas"
	"hearth/internal/uuid"
	"hearth/quota"
)

// MappingPatch changes the fields that are not nil, and in Settings those that are
// not nil.
type MappingPatch struct {
	Function  *faas.FunctionID // with Qualifier
	Qualifier string
	Settings  faas.MappingSettings
	Enabled   *bool
}

// MappingFilter picks mappings of an account in a region; empty is all of them.
type MappingFilter struct {
	Scope       faas.Scope
	SourceARN   string
	FunctionARN string // exactly what the mapping invokes, with its qualifier
}

// CreateMapping stores an event source mapping. UUID and Modified are given, and
// the defaults of its kind of source filled in. Errors are faas.CodeInvalid for
// what cannot be, also a function that is not there, and faas.CodeConflict for a
// second one of the same function and source.
//
// A mapping belongs to nothing: it outlives its function, as on Lambda, and a
// function that gets the name later is invoked by it.
func (r *Registry) CreateMapping(ctx context.Context, m faas.EventSourceMapping) (*faas.EventSourceMapping, error) {
	m.UUID = uuid.New()
	m.Tags = maps.Clone(m.Tags)
	if err := m.Validate(); err != nil { // before the defaults: they are of its kind
		return nil, err
	}
	if err := faas.ValidateTags(m.Tags, r.limits.MaxTags); err != nil {
		return nil, err
	}
	m.Settings = m.Settings.WithDefaults(m.Source.Kind, m.UUID)
	err := r.changeMapping(ctx, mappingIDOf(&m), func(storedMapping) (*faas.EventSourceMapping, error) {
		m.Modified = r.clock().UTC().Round(0)
		return &m, r.checkMapping(&m)
	})
	if err != nil {
		return nil, err
	}
	return copyMapping(&m), nil
}

// UpdateMapping changes a mapping; CreateMapping's rules hold.
func (r *Registry) UpdateMapping(ctx context.Context, scope faas.Scope, uuid string, patch MappingPatch) (*faas.EventSourceMapping, error) {
	var made *faas.EventSourceMapping
	err := r.editMapping(ctx, scope, uuid, func(next *faas.EventSourceMapping) error {
		if err := patch.Settings.Over(next.Settings).Validate(next.Source); err != nil {
			return err
		}
		next.Settings = patch.Settings.Over(next.Settings)
		if f := patch.Function; f != nil {
			if f.Account != scope.Account || f.Region != scope.Region {
				return faas.Errorf(faas.CodeInvalid, "functionName", "The function must be of account %s and region %s, as the mapping is.", scope.Account, scope.Region)
			}
			next.Function, next.Qualifier = *patch.Function, patch.Qualifier
		}
		if patch.Enabled != nil {
			next.Enabled = *patch.Enabled
		}
		next.Modified = r.clock().UTC().Round(0)
		made = next
		if patch.Function == nil { // one whose function is gone can still be switched off
			return nil
		}
		return r.checkMapping(next)
	})
	if err != nil {
		return nil, err
	}
	return copyMapping(made), nil
}

// DeleteMapping removes a mapping and returns what it was.
func (r *Registry) DeleteMapping(ctx context.Context, scope faas.Scope, uuid string) (*faas.EventSourceMapping, error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, done, err := r.accountTurn(ctx, quota.AccountOf(scope))
	if err != nil {
		return nil, err
	}
	defer done()
	id := mappingID{scope.Account, scope.Region, uuid}
	for range changeAttempts {
		s, found := r.mappings.load(id)
		if !found {
			return nil, noMapping(id)
		}
		revision, err := r.remove(ctx, mappingKey(id), s.revision)
		if errors.Is(err, errChanged) {
			if err := r.refreshMapping(ctx, id); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, engineError("delete event source mapping", err)
		}
		r.mappings.put(id, storedMapping{revision: revision})
		return copyMapping(s.mapping), nil
	}
	return nil, engineError("delete event source mapping", errChanged)
}

// GetMapping returns a mapping; a copy. faas.CodeNotFound where there is none.
func (r *Registry) GetMapping(_ context.Context, scope faas.Scope, uuid string) (*faas.EventSourceMapping, error) {
	id := mappingID{scope.Account, scope.Region, uuid}
	s, found := r.mappings.load(id)
	if !found {
		return nil, noMapping(id)
	}
	return copyMapping(s.mapping), nil
}

// ListMappings returns a page of mappings, sorted by UUID.
func (r *Registry) ListMappings(_ context.Context, filter MappingFilter, marker string, max int) (Page[*faas.EventSourceMapping], error) {
	from, err := parseMarker(marker)
	if err != nil {
		return Page[*faas.EventSourceMapping]{}, err
	}
	page := newPage[*faas.EventSourceMapping](max)
	for _, m := range r.mappings.of(filter.Scope.Account, filter.Scope.Region) {
		switch {
		case m.UUID < from.name,
			filter.SourceARN != "" && m.Source.ARN != filter.SourceARN,
			filter.FunctionARN != "" && m.FunctionARN() != filter.FunctionARN:
			continue
		}
		if !page.add(copyMapping(m), position{name: m.UUID}) {
			break
		}
	}
	return page.Page, nil
}

// TagMapping adds tags to a mapping, or replaces their values.
func (r *Registry) TagMapping(ctx context.Context, scope faas.Scope, uuid string, tags map[string]string) error {
	return r.editMapping(ctx, scope, uuid, func(next *faas.EventSourceMapping) error {
		if next.Tags == nil {
			next.Tags = make(map[string]string, len(tags))
		}
		maps.Copy(next.Tags, tags)
		return faas.ValidateTags(next.Tags, r.limits.MaxTags)
	})
}

// UntagMapping removes tags; keys that are not there are no error.
func (r *Registry) UntagMapping(ctx context.Context, scope faas.Scope, uuid string, keys []string) error {
	return r.editMapping(ctx, scope, uuid, func(next *faas.EventSourceMapping) error {
		for _, k := range keys {
			delete(next.Tags, k)
		}
		return nil
	})
}

// checkMapping returns why a mapping cannot be among those that there are, or nil.
func (r *Registry) checkMapping(m *faas.EventSourceMapping) error {
	if s := r.table.load(m.Function); s == nil || s.find(m.Qualifier) == nil {
		return faas.Errorf(faas.CodeInvalid, "functionName", "Function does not exist")
	}
	for _, other := range r.mappings.of(m.Function.Account, m.Function.Region) {
		if other.UUID == m.UUID || !m.Duplicates(other) {
			continue
		}
		const rest = "Please update or delete the existing mapping with UUID %s"
		switch {
		case m.Source.Kind == faas.SourceQueue:
			return faas.Errorf(faas.CodeConflict, other.UUID, `An event source mapping with SQS arn (" %s ") and function (" %s ") already exists. `+rest,
				m.Source.ARN, m.Function.Name, other.UUID)
		case m.Source.Kind == faas.SourceKafka:
			return faas.Errorf(faas.CodeConflict, other.UUID, `An event source mapping with event source ("%s"), function ("%s"), topics ("%s") already exists. `+rest,
				m.Source.Endpoints[0], m.FunctionARN(), m.Source.Topics[0], other.UUID)
		default:
			return faas.Errorf(faas.CodeConflict, other.UUID, `The event source arn (" %s ") and function (" %s ") provided mapping already exists. `+rest,
				m.Source.ARN, m.Function.Name, other.UUID)
		}
	}
	return nil
}

// editMapping commits what edit makes of a copy of a mapping.
func (r *Registry) editMapping(ctx context.Context, scope faas.Scope, uuid string, edit func(next *faas.EventSourceMapping) error) error {
	id := mappingID{scope.Account, scope.Region, uuid}
	return r.changeMapping(ctx, id, func(s storedMapping) (*faas.EventSourceMapping, error) {
		if s.mapping == nil {
			return nil, noMapping(id)
		}
		next := copyMapping(s.mapping)
		return next, edit(next)
	})
}

// changeMapping commits what edit makes of a mapping, which is not there yet where
// it is to be created. Changes of an account's mappings take turns, so that on this
// node no two are made of one source and function.
func (r *Registry) changeMapping(ctx context.Context, id mappingID, edit func(storedMapping) (*faas.EventSourceMapping, error)) error {
	leave, err := r.enter()
	if err != nil {
		return err
	}
	defer leave()
	ctx, done, err := r.accountTurn(ctx, quota.Account{ID: id.account, Region: id.region})
	if err != nil {
		return err
	}
	defer done()
	for range changeAttempts {
		s, found := r.mappings.load(id)
		next, err := edit(s)
		if err != nil {
			return err
		}
		if !found {
			s.revision = 0
		}
		if err = r.commitMapping(ctx, id, next, s.revision); !errors.Is(err, errChanged) {
			return err
		}
		if err := r.refreshMapping(ctx, id); err != nil {
			return err
		}
	}
	return engineError("change event source mapping", errChanged)
}

// commitMapping writes a mapping over the revision last (0: there is none) and
// applies it.
func (r *Registry) commitMapping(ctx context.Context, id mappingID, m *faas.EventSourceMapping, last uint64) error {
	value, err := json.Marshal(&mappingRecord{Format: mappingFormat, Mapping: m})
	if err != nil {
		return internal("encode event source mapping", err)
	}
	if len(value) > maxRecord {
		return faas.Errorf(faas.CodeInvalid, "filterCriteria", "The event source mapping is too large to be stored (%d of %d bytes). Shorten its filters.", len(value), maxRecord)
	}
	revision, err := r.write(ctx, mappingKey(id), value, last)
	if errors.Is(err, errChanged) {
		return errChanged
	}
	if err != nil {
		return engineError("write event source mapping", err)
	}
	r.mappings.put(id, storedMapping{revision, m})
	return nil
}

// refreshMapping reads a mapping from the engine: another node changed it.
func (r *Registry) refreshMapping(ctx context.Context, id mappingID) error {
	e, err := r.meta.Get(ctx, mappingKey(id))
	c := engine.Change{Entry: e}
	if errors.Is(err, engine.ErrNotFound) {
		s, _ := r.mappings.load(id)
		c = engine.Change{Entry: engine.Entry{Key: mappingKey(id), Revision: s.revision + 1}, Deleted: true}
	} else if err != nil {
		return engineError("read event source mapping", err)
	}
	if err := r.applyMapping(c); err != nil {
		return internal("read event source mapping", err)
	}
	return nil
}

// applyMapping brings the in-memory copy up to one change of a mapping.
func (r *Registry) applyMapping(c engine.Change) error {
	id, err := parseMappingKey(c.Key)
	if err != nil {
		return err
	}
	now := storedMapping{revision: c.Revision}
	if !c.Deleted {
		if now.mapping, err = decodeMapping(c.Key, c.Value); err != nil {
			return err
		}
	}
	r.mappings.put(id, now)
	if c.Deleted {
		r.mappings.sawDeletion(id, c.Revision)
	}
	return nil
}

func noMapping(id mappingID) error {
	return &faas.Error{Code: faas.CodeNotFound, Subject: id.uuid, Message: "The resource you requested does not exist.", Cause: faas.ErrNoMapping}
}
