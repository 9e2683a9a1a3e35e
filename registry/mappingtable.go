package registry

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"hearth/faas"
)

// mappingFormat is the format of the mappings that this build writes; it reads no
// newer one.
const mappingFormat = 1

const mappingPrefix = "mapping"

// mappingRecord is the durable form of an event source mapping. One that is
// decoded or committed is never changed again, nor is what it points to.
type mappingRecord struct {
	Format  int                      `json:"format"`
	Mapping *faas.EventSourceMapping `json:"mapping"`
}

// mappingID names a mapping: its UUID alone is unique, and others' are not found.
type mappingID struct{ account, region, uuid string }

func mappingKey(id mappingID) string {
	return mappingPrefix + "/" + id.account + "/" + id.region + "/" + id.uuid
}

// parseMappingKey is the inverse of mappingKey.
func parseMappingKey(key string) (mappingID, error) {
	t := strings.Split(key, "/")
	if len(t) != 4 || t[0] != mappingPrefix {
		return mappingID{}, fmt.Errorf("registry: unknown key %q", key)
	}
	return mappingID{t[1], t[2], t[3]}, nil
}

func mappingIDOf(m *faas.EventSourceMapping) mappingID {
	return mappingID{m.Function.Account, m.Function.Region, m.UUID}
}

func decodeMapping(key string, b []byte) (*faas.EventSourceMapping, error) {
	var r mappingRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("registry: key %s holds no event source mapping: %w", key, err)
	}
	if r.Format > mappingFormat {
		return nil, fmt.Errorf("registry: key %s has format %d; this build reads up to %d, use a newer Hearth", key, r.Format, mappingFormat)
	}
	if r.Mapping == nil || mappingKey(mappingIDOf(r.Mapping)) != key {
		return nil, fmt.Errorf("registry: key %s holds no event source mapping of that name", key)
	}
	return r.Mapping, nil
}

// mappingTable is the in-memory copy of the mappings. mu is a leaf.
type mappingTable struct {
	mu  sync.RWMutex
	all map[mappingID]storedMapping
}

// storedMapping is a mapping at a revision. One that was deleted has none; it is
// kept until the watcher has seen the deletion, so that nothing older brings it back.
type storedMapping struct {
	revision uint64
	mapping  *faas.EventSourceMapping
}

func newMappingTable() *mappingTable {
	return &mappingTable{all: make(map[mappingID]storedMapping)}
}

// load returns a mapping with its revision, false where there is none.
func (t *mappingTable) load(id mappingID) (storedMapping, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := t.all[id]
	return s, s.mapping != nil
}

// put makes now the mapping's state unless what is known is as new.
func (t *mappingTable) put(id mappingID, now storedMapping) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.revision > t.all[id].revision {
		t.all[id] = now
	}
}

// sawDeletion forgets a deleted mapping once the watcher is past it.
func (t *mappingTable) sawDeletion(id mappingID, revision uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.all[id]; ok && s.mapping == nil && s.revision <= revision {
		delete(t.all, id)
	}
}

// of returns the mappings of an account in a region, sorted by UUID.
func (t *mappingTable) of(account, region string) []*faas.EventSourceMapping {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var found []*faas.EventSourceMapping
	for id, s := range t.all {
		if id.account == account && id.region == region && s.mapping != nil {
			found = append(found, s.mapping)
		}
	}
	slices.SortFunc(found, func(a, b *faas.EventSourceMapping) int { return strings.Compare(a.UUID, b.UUID) })
	return found
}

// revisions returns the revision of every stored mapping by its key.
func (t *mappingTable) revisions() map[string]uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make(map[string]uint64, len(t.all))
	for id, s := range t.all {
		if s.mapping != nil {
			all[mappingKey(id)] = s.revision
		}
	}
	return all
}

// copyMapping is a copy whose tags may be changed, and to which fields may be given.
func copyMapping(m *faas.EventSourceMapping) *faas.EventSourceMapping {
	c := *m
	c.Tags = maps.Clone(m.Tags)
	return &c
}
