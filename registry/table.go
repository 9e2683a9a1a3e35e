package registry

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"hearth/faas"
)

// shardCount spreads readers: a deploy locks one shard for the time of a map write.
const shardCount = 64

// table is the in-memory copy of everything stored. The data plane reads shards;
// the rest serves the control plane. The shards' locks are taken below mu.
type table struct {
	seed   maphash.Seed
	shards [shardCount]shard

	mu sync.Mutex
	// contents are the version keys seen, those that no record lists included:
	// a content comes before the record that lists it.
	contents map[faas.FunctionID]map[int64]storedVersion
	// graves are deleted functions. A stored one has a record with the last
	// version number; another is kept until the watcher has seen the deletion.
	graves map[faas.FunctionID]grave
	names  map[faas.Scope][]string // sorted
	usage  map[faas.Scope]Usage
	// urls leads from the ID of a function URL to its URLTarget. It is written with
	// mu and read without.
	urls sync.Map
	// uses counts the versions, of functions and layers, of each package.
	uses   map[string]int
	layers map[faas.LayerID]*layerState
	// layerBytes is what layers store, by account and region.
	layerBytes map[faas.Scope]int64
}

type shard struct {
	mu        sync.RWMutex
	functions map[faas.FunctionID]*atomic.Pointer[snapshot]
}

type storedVersion struct {
	revision uint64
	content  *versionRecord
}

type grave struct {
	revision   uint64
	lastNumber int64
	stored     bool
}

func newTable() *table {
	t := &table{
		seed:     maphash.MakeSeed(),
		contents: make(map[faas.FunctionID]map[int64]storedVersion),
		graves:   make(map[faas.FunctionID]grave),
		names:    make(map[faas.Scope][]string),
		usage:    make(map[faas.Scope]Usage),
		uses:     make(map[string]int),
		layers:   make(map[faas.LayerID]*layerState), layerBytes: make(map[faas.Scope]int64),
	}
	for i := range t.shards {
		t.shards[i].functions = make(map[faas.FunctionID]*atomic.Pointer[snapshot])
	}
	return t
}

// shard spreads by name only: it is the part that differs, and hashing all of the
// identity twice would be most of the time of Resolve.
func (t *table) shard(id faas.FunctionID) *shard {
	return &t.shards[maphash.String(t.seed, id.Name)%shardCount]
}

// load returns the function's snapshot, or nil where there is no such function.
func (t *table) load(id faas.FunctionID) *snapshot {
	s := t.shard(id)
	s.mu.RLock()
	p := s.functions[id]
	s.mu.RUnlock()
	if p == nil {
		return nil
	}
	return p.Load()
}

// each calls visit for every function of the shard.
func (s *shard) each(visit func(faas.FunctionID)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for id, p := range s.functions {
		if p.Load() != nil {
			visit(id)
		}
	}
}

// grave returns what is left of a deleted function.
func (t *table) grave(id faas.FunctionID) grave {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.graves[id]
}

// putRecord makes a record of the engine the function's state, unless what is
// known is as new. It returns the packages that no version uses any more.
func (t *table) putRecord(id faas.FunctionID, revision uint64, rec *record) (unused []faas.Code, changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.load(id)
	if (old != nil && revision <= old.revision) || revision <= t.graves[id].revision {
		return nil, false
	}
	if rec.Deleted {
		t.graves[id] = grave{revision, rec.LastNumber, true}
		return t.replaceLocked(id, old, nil), true
	}
	delete(t.graves, id)
	return t.replaceLocked(id, old, newSnapshot(id, revision, rec, t.contents[id])), true
}

// deleteRecord is putRecord for a key that was deleted.
func (t *table) deleteRecord(id faas.FunctionID, revision uint64) (unused []faas.Code, changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.load(id)
	if (old != nil && revision <= old.revision) || revision <= t.graves[id].revision {
		return nil, false
	}
	t.graves[id] = grave{revision: revision}
	return t.replaceLocked(id, old, nil), true
}

// sawDeletion forgets a grave once the watcher is past it: nothing older comes
// any more that could bring the function back.
func (t *table) sawDeletion(id faas.FunctionID, revision uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if g, ok := t.graves[id]; ok && !g.stored && g.revision <= revision {
		delete(t.graves, id)
	}
}

func (t *table) putVersion(id faas.FunctionID, number int64, revision uint64, v *versionRecord) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if revision <= t.contents[id][number].revision {
		return
	}
	if t.contents[id] == nil {
		t.contents[id] = make(map[int64]storedVersion)
	}
	t.contents[id][number] = storedVersion{revision, v}
}

// versionRevision returns the revision of a version's key, 0 where none is known.
func (t *table) versionRevision(id faas.FunctionID, number int64) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.contents[id][number].revision
}

func (t *table) deleteVersion(id faas.FunctionID, number int64, revision uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if revision <= t.contents[id][number].revision {
		return
	}
	delete(t.contents[id], number)
	if len(t.contents[id]) == 0 {
		delete(t.contents, id)
	}
}

// replaceLocked publishes the new snapshot (nil: the function is gone) and
// keeps every index in step with it.
func (t *table) replaceLocked(id faas.FunctionID, old, now *snapshot) (unused []faas.Code) {
	if now != nil {
		now.digests(func(c faas.Code) { t.uses[c.SHA256]++ })
	}
	if old != nil {
		old.digests(func(c faas.Code) { unused = t.unuseLocked(c, unused) })
	}
	t.countLocked(id, old, now)
	t.indexURLs(id, old, now)
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if now == nil {
		delete(s.functions, id)
		return unused
	}
	p := s.functions[id]
	if p == nil {
		p = new(atomic.Pointer[snapshot])
		s.functions[id] = p
	}
	p.Store(now)
	return unused
}

// unuseLocked ends a use of a package, and appends it where that was the last.
func (t *table) unuseLocked(c faas.Code, unused []faas.Code) []faas.Code {
	if t.uses[c.SHA256]--; t.uses[c.SHA256] > 0 {
		return unused
	}
	delete(t.uses, c.SHA256)
	return append(unused, c)
}

func (t *table) countLocked(id faas.FunctionID, old, now *snapshot) {
	u, names := t.usage[id.Scope], t.names[id.Scope]
	at, _ := slices.BinarySearch(names, id.Name)
	if old != nil {
		u.Functions--
		u.CodeBytes -= old.stored()
	}
	if now != nil {
		u.Functions++
		u.CodeBytes += now.stored()
	}
	switch {
	case old == nil && now != nil:
		names = slices.Insert(names, at, id.Name)
	case old != nil && now == nil:
		names = slices.Delete(names, at, at+1)
	}
	if u.Functions == 0 {
		delete(t.usage, id.Scope)
		delete(t.names, id.Scope)
		return
	}
	t.usage[id.Scope], t.names[id.Scope] = u, names
}

// namesFrom returns at most max names of a scope, sorted, from the first that is
// not below from.
func (t *table) namesFrom(scope faas.Scope, from string, max int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := t.names[scope]
	at, _ := slices.BinarySearch(names, from)
	return slices.Clone(names[at:min(len(names), at+max)])
}

// usageOf sums the usage of a scope; an empty namespace is all of them.
func (t *table) usageOf(scope faas.Scope) Usage {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := Usage{LayerBytes: t.layerBytes[faas.Scope{Account: scope.Account, Region: scope.Region}]}
	if scope.Namespace != "" {
		u := t.usage[scope]
		u.LayerBytes = sum.LayerBytes
		return u
	}
	for s, u := range t.usage {
		if s.Account == scope.Account && s.Region == scope.Region {
			sum.Functions += u.Functions
			sum.CodeBytes += u.CodeBytes
		}
	}
	return sum
}

func (t *table) used(digest string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.uses[digest] > 0
}

// ids returns every function there is.
func (t *table) ids() []faas.FunctionID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ids []faas.FunctionID
	for scope, names := range t.names {
		for _, name := range names {
			ids = append(ids, faas.FunctionID{Scope: scope, Name: name})
		}
	}
	return ids
}

// revisions returns the revision of every function's record by its key.
func (t *table) revisions() map[string]uint64 {
	all := make(map[string]uint64)
	for _, id := range t.ids() {
		if s := t.load(id); s != nil {
			all[recordKey(id)] = s.revision
		}
	}
	return all
}

// contentsOf returns the version keys of a function that is gone.
func (t *table) contentsOf(id faas.FunctionID) []versionRef {
	t.mu.Lock()
	defer t.mu.Unlock()
	var refs []versionRef
	for n, stored := range t.contents[id] {
		refs = append(refs, versionRef{id, n, stored.revision})
	}
	return refs
}

// leftovers returns the version keys that no record lists.
func (t *table) leftovers() []versionRef {
	t.mu.Lock()
	defer t.mu.Unlock()
	var refs []versionRef
	for id, numbers := range t.contents {
		s := t.load(id)
		for n, stored := range numbers {
			if s == nil || s.contents[n] == nil {
				refs = append(refs, versionRef{id, n, stored.revision})
			}
		}
	}
	return refs
}

type versionRef struct {
	id       faas.FunctionID
	number   int64
	revision uint64
}
