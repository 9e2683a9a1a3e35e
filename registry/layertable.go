package registry

import (
	"cmp"
	"slices"

	"hearth/engine"
	"hearth/faas"
)

// layerState is the in-memory copy of a layer. It is guarded by table.mu.
type layerState struct {
	counter  uint64 // revision of the counter's key, 0 for none
	last     int64
	versions map[int64]storedLayer
}

// storedLayer is a version's key as it is known. Of one that was deleted the revision
// is kept until the watcher is past it: something older could bring it back.
type storedLayer struct {
	revision uint64
	version  *faas.LayerVersion // nil: deleted
}

func (t *table) layerLocked(id faas.LayerID) *layerState {
	s := t.layers[id]
	if s == nil {
		s = &layerState{versions: make(map[int64]storedLayer)}
		t.layers[id] = s
	}
	return s
}

// putLayerCounter makes last the highest number given, unless what is known is as new.
func (t *table) putLayerCounter(id faas.LayerID, revision uint64, last int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.layerLocked(id); revision > s.counter {
		s.counter, s.last = revision, last
	}
}

func (t *table) layerCounter(id faas.LayerID) (revision uint64, last int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.layers[id]; s != nil {
		return s.counter, s.last
	}
	return 0, 0
}

// putLayer makes v the state of a version's key (nil: it was deleted), unless what is
// known is as new. It returns the packages that nobody uses any more.
func (t *table) putLayer(id faas.LayerID, number int64, revision uint64, v *faas.LayerVersion) (unused []faas.Code) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.layerLocked(id)
	old := s.versions[number]
	if revision <= old.revision {
		return nil
	}
	s.versions[number] = storedLayer{revision, v}
	scope := layerScope(id)
	if v != nil {
		t.uses[v.Code.SHA256]++
		t.layerBytes[scope] += v.Code.Size
	}
	if old.version != nil {
		unused = t.unuseLocked(old.version.Code, nil)
		if t.layerBytes[scope] -= old.version.Code.Size; t.layerBytes[scope] == 0 {
			delete(t.layerBytes, scope)
		}
	}
	return unused
}

// sawLayerDeletion forgets that a version was deleted, once the watcher is past it.
func (t *table) sawLayerDeletion(id faas.LayerID, number int64, revision uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.layerLocked(id)
	if stored := s.versions[number]; stored.version == nil && stored.revision <= revision {
		delete(s.versions, number)
	}
}

// layerScope is where a layer's bytes are counted: namespaces share layers.
func layerScope(id faas.LayerID) faas.Scope {
	return faas.Scope{Account: id.Account, Region: id.Region}
}

// layer returns a version and the revision of its key; nil where there is none.
func (t *table) layer(id faas.LayerID, number int64) (*faas.LayerVersion, uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.layers[id]; s != nil {
		stored := s.versions[number]
		return stored.version, stored.revision
	}
	return nil, 0
}

// layerVersions returns a layer's versions, the newest first.
func (t *table) layerVersions(id faas.LayerID) []*faas.LayerVersion {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*faas.LayerVersion
	if s := t.layers[id]; s != nil {
		for _, stored := range s.versions {
			if stored.version != nil {
				all = append(all, stored.version)
			}
		}
	}
	slices.SortFunc(all, func(a, b *faas.LayerVersion) int { return cmp.Compare(b.Number, a.Number) })
	return all
}

// layerNames returns the layers of an account and region that have versions, sorted.
func (t *table) layerNames(scope faas.Scope) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for id, s := range t.layers {
		if id.Account != scope.Account || id.Region != scope.Region {
			continue
		}
		for _, stored := range s.versions {
			if stored.version != nil {
				names = append(names, id.Name)
				break
			}
		}
	}
	slices.Sort(names)
	return names
}

// layerRevisions returns the revision of every key of layers that is known.
func (t *table) layerRevisions() map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[string]uint64)
	for id, s := range t.layers {
		if s.counter > 0 {
			all[layerCounterKey(id)] = s.counter
		}
		for number, stored := range s.versions {
			all[layerVersionKey(id, number)] = stored.revision
		}
	}
	return all
}

// applyLayer brings the in-memory copy up to one change of a layer's key.
func (r *Registry) applyLayer(c engine.Change) error {
	id, number, err := parseLayerKey(c.Key)
	if err != nil {
		return err
	}
	switch {
	case number == 0 && c.Deleted: // never: the numbers are not given again
	case number == 0:
		var counter layerCounter
		if err := decodeStored(c.Key, c.Value, &counter, &counter.Format); err != nil {
			return err
		}
		r.table.putLayerCounter(id, c.Revision, counter.Last)
	case c.Deleted:
		r.dropUnused(r.table.putLayer(id, number, c.Revision, nil))
		r.table.sawLayerDeletion(id, number, c.Revision)
	default:
		v, err := decodeLayer(c.Key, c.Value)
		if err != nil {
			return err
		}
		r.dropUnused(r.table.putLayer(id, number, c.Revision, v))
	}
	return nil
}
