package fake

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"hearth/engine"
)

// record is the newest write of one key; a deletion stays as a record, so that
// watchers learn of it.
type record struct {
	value    []byte
	revision uint64
	deleted  bool
}

type meta struct {
	gate gate

	mu       sync.Mutex
	entries  map[string]record
	revision uint64
	changed  chan struct{} // closed and replaced by every write
}

func (m *meta) Get(ctx context.Context, key string) (engine.Entry, error) {
	if err := m.begin(ctx, key, m.gate.read); err != nil {
		return engine.Entry{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.entries[key]
	if !ok || r.deleted {
		return engine.Entry{}, engine.NotFound(key)
	}
	return entry(key, r), nil
}

func (m *meta) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	if err := engine.CheckValue(key, value); err != nil {
		return 0, err
	}
	if err := m.begin(ctx, key, m.gate.write); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.entries[key]; ok && !r.deleted {
		return 0, engine.Conflict(key, r.revision)
	}
	return m.setLocked(key, record{value: bytes.Clone(value)}), nil
}

func (m *meta) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	if err := engine.CheckValue(key, value); err != nil {
		return 0, err
	}
	if err := m.begin(ctx, key, m.gate.write); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.entries[key]
	if !ok || r.deleted {
		return 0, engine.Conflict(key, 0)
	}
	if r.revision != last {
		return 0, engine.Conflict(key, r.revision)
	}
	return m.setLocked(key, record{value: bytes.Clone(value)}), nil
}

func (m *meta) Delete(ctx context.Context, key string, last uint64) (uint64, error) {
	if err := m.begin(ctx, key, m.gate.read); err != nil { // deleting makes room: never refused
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.entries[key]
	if !ok || r.deleted {
		return 0, engine.NotFound(key)
	}
	if r.revision != last {
		return 0, engine.Conflict(key, r.revision)
	}
	return m.setLocked(key, record{deleted: true}), nil
}

func (m *meta) List(ctx context.Context, prefix string) ([]engine.Entry, error) {
	if err := engine.CheckPrefix(prefix); err != nil {
		return nil, err
	}
	if err := cmp.Or(ctx.Err(), m.gate.read(prefix)); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []engine.Entry
	for key, r := range m.entries {
		if !r.deleted && engine.Below(key, prefix) {
			found = append(found, entry(key, r))
		}
	}
	slices.SortFunc(found, func(a, b engine.Entry) int { return strings.Compare(a.Key, b.Key) })
	return found, nil
}

// Watch keeps no queue: each round delivers what is newer than the last
// revision delivered. So a slow watcher sees the newest of several writes to one
// key, as with the real engine, and costs no memory.
func (m *meta) Watch(ctx context.Context, prefix string, apply func(engine.Change) error) error {
	if err := engine.CheckPrefix(prefix); err != nil {
		return err
	}
	var seen uint64
	for first := true; ; first = false {
		if err := cmp.Or(ctx.Err(), m.gate.read(prefix)); err != nil {
			return err
		}
		changes, upTo, changed := m.since(seen, prefix)
		for _, c := range changes {
			if first && c.Deleted {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := apply(c); err != nil {
				return err
			}
		}
		if first {
			if err := apply(engine.Change{}); err != nil {
				return err
			}
		}
		seen = upTo
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// since returns the changes after a revision in order, the revision up to which
// they reach, and a channel that is closed by the next write.
func (m *meta) since(revision uint64, prefix string) ([]engine.Change, uint64, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var changes []engine.Change
	for key, r := range m.entries {
		if r.revision > revision && engine.Below(key, prefix) {
			changes = append(changes, engine.Change{Entry: entry(key, r), Deleted: r.deleted})
		}
	}
	slices.SortFunc(changes, func(a, b engine.Change) int { return cmp.Compare(a.Revision, b.Revision) })
	return changes, m.revision, m.changed
}

func (m *meta) begin(ctx context.Context, key string, pass func(string) error) error {
	if err := engine.CheckKey(key); err != nil {
		return err
	}
	return cmp.Or(ctx.Err(), pass(key))
}

func (m *meta) setLocked(key string, r record) uint64 {
	m.revision++
	r.revision = m.revision
	m.entries[key] = r
	m.announceLocked()
	return r.revision
}

func (m *meta) announceLocked() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// entry copies, so that a caller who changes a value changes only its own.
func entry(key string, r record) engine.Entry {
	e := engine.Entry{Key: key, Revision: r.revision}
	if !r.deleted {
		e.Value = append([]byte{}, r.value...)
	}
	return e
}
