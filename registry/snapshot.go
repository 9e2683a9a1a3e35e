package registry

import (
	"math/rand/v2"

	"hearth/faas"
)

// snapshot is one function at one revision of its record, made for reading.
// It is immutable, and so is everything that it points to.
type snapshot struct {
	revision uint64 // of the record in the engine
	record   *record
	serving  *faas.Version // where calls of $LATEST go
	numbers  []int64       // of the published versions, ascending
	versions map[string]*faas.Version
	contents map[int64]*versionRecord
	aliases  map[string]*faas.Alias
	missing  []int64 // published versions whose content is not there
	// The largest of head, serving and versions: what quotas are counted with.
	memoryMB    int
	concurrency int
}

// newSnapshot joins a record with the contents of its versions. Contents of
// another incarnation are leftovers, not versions.
func newSnapshot(id faas.FunctionID, revision uint64, rec *record, contents map[int64]storedVersion) *snapshot {
	s := &snapshot{
		revision: revision,
		record:   rec,
		serving:  rec.Serving,
		versions: make(map[string]*faas.Version, len(rec.Published)),
		contents: make(map[int64]*versionRecord, len(rec.Published)),
		aliases:  make(map[string]*faas.Alias, len(rec.Aliases)),
	}
	if s.serving == nil {
		s.serving = rec.Head
	}
	for _, p := range rec.Published {
		stored, ok := contents[p.Number]
		if !ok || stored.content.Incarnation != rec.Incarnation {
			s.missing = append(s.missing, p.Number)
			continue
		}
		s.numbers = append(s.numbers, p.Number)
		s.contents[p.Number] = stored.content
		s.versions[faas.VersionNumber(p.Number)] = p.apply(stored.content.Version)
	}
	for i := range rec.Aliases {
		a := rec.Aliases[i]
		a.Function = id
		s.aliases[a.Name] = &a
	}
	s.revisions(func(v *faas.Version) {
		s.memoryMB = max(s.memoryMB, v.Config.MemoryMB)
		s.concurrency = max(s.concurrency, v.Config.InstanceConcurrency)
	})
	return s
}

// with returns what the snapshot would be with another record of the same versions.
func (s *snapshot) with(id faas.FunctionID, rec *record) *snapshot {
	contents := make(map[int64]storedVersion, len(s.contents))
	for n, c := range s.contents {
		contents[n] = storedVersion{content: c}
	}
	return newSnapshot(id, s.revision, rec, contents)
}

// has reports whether a qualifier names a published version or an alias.
func (s *snapshot) has(qualifier string) bool {
	if n, ok := faas.ParseVersionNumber(qualifier); ok {
		_, found := s.record.publishedAt(n)
		return found
	}
	return s.aliases[qualifier] != nil
}

// targets returns the versions that calls with a qualifier can go to, as far as
// they are there: one, or two of a weighted alias.
func (s *snapshot) targets(qualifier string) []*faas.Version {
	if v := s.versions[qualifier]; v != nil {
		return []*faas.Version{v}
	}
	a := s.aliases[qualifier]
	if a == nil {
		return nil
	}
	var targets []*faas.Version
	for number := range a.Targets() {
		if number == faas.Latest {
			targets = append(targets, s.serving)
		} else if v := s.versions[number]; v != nil {
			targets = append(targets, v)
		}
	}
	return targets
}

// apply returns the version in the state that the record says.
func (p published) apply(v *faas.Version) *faas.Version {
	if !p.Pending && p.Failure == nil {
		return v
	}
	c := *v
	c.Update = faas.UpdateNone
	c.State, c.StateCode, c.StateReason = faas.StatePending, codeCreating, reasonCreating
	if p.Failure != nil {
		c.State, c.StateCode, c.StateReason = faas.StateFailed, p.Failure.Code, p.Failure.Reason
	}
	return &c
}

// find returns the version that a qualifier names, an alias's primary version
// included. Head is what users see of $LATEST; Resolve has its own.
func (s *snapshot) find(qualifier string) *faas.Version {
	if qualifier == "" || qualifier == faas.Latest {
		return s.record.Head
	}
	if v := s.versions[qualifier]; v != nil {
		return v
	}
	if a := s.aliases[qualifier]; a != nil {
		return s.find(a.Version)
	}
	return nil
}

// route returns the version that the next call goes to.
func (s *snapshot) route(qualifier string) *faas.Version {
	if qualifier == "" || qualifier == faas.Latest {
		return s.serving
	}
	if v := s.versions[qualifier]; v != nil {
		return v
	}
	a := s.aliases[qualifier]
	if a == nil {
		return nil
	}
	target := a.Version
	if len(a.Weights) > 0 {
		target = a.Route(rand.Float64())
	}
	if target == faas.Latest {
		return s.serving
	}
	return s.versions[target]
}

// digests calls visit with the code and the layers of every version, once each;
// those that calls still go to while Head takes over included.
func (s *snapshot) digests(visit func(code faas.Code)) {
	s.revisions(func(v *faas.Version) {
		visit(v.Code)
		for _, l := range v.Config.Layers {
			visit(l.Code)
		}
	})
}

// stored is what the function adds to its scope's code storage, in bytes.
func (s *snapshot) stored() int64 {
	size := s.record.Head.Code.Size
	for _, v := range s.versions {
		size += v.Code.Size
	}
	return size
}

// revisions calls visit for every version that may have instances.
func (s *snapshot) revisions(visit func(*faas.Version)) {
	visit(s.record.Head)
	if s.record.Serving != nil {
		visit(s.record.Serving)
	}
	for _, v := range s.versions {
		visit(v)
	}
}
