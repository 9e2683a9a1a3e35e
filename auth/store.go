package auth

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hearth/engine"
	"hearth/faas"
)

// Meta is where keys are kept; see engine.Meta for the rules.
type Meta interface {
	Get(ctx context.Context, key string) (engine.Entry, error)
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	Update(ctx context.Context, key string, value []byte, last uint64) (revision uint64, err error)
	Delete(ctx context.Context, key string, last uint64) (revision uint64, err error)
	List(ctx context.Context, prefix string) ([]engine.Entry, error)
	Watch(ctx context.Context, prefix string, apply func(engine.Change) error) error
}

const (
	keyPrefix = "key"
	usePrefix = "keyuse"
)

// StoreOptions are what a Store is made from; Meta and Dir are required.
type StoreOptions struct {
	Meta   Meta
	Dir    string           // has the sealing key; nobody else may read it
	Clock  func() time.Time // nil is time.Now
	Logger *slog.Logger     // nil discards
}

// Store keeps keys. Safe for concurrent use.
type Store struct {
	meta Meta
	seal *sealer
	now  func() time.Time
	log  *slog.Logger

	keys atomic.Pointer[map[string]*Key] // replaced, never changed

	mu        sync.Mutex        // guards changes of keys, and
	revisions map[string]uint64 // of what was applied last, deletions included

	stop context.CancelFunc
	done sync.WaitGroup
}

// record is a key as it is stored.
type record struct {
	Key
	Sealed sealed `json:"sealed"`
}

// Open reads the keys and follows their changes until Close.
func Open(ctx context.Context, o StoreOptions) (*Store, error) {
	if o.Meta == nil || o.Dir == "" {
		return nil, errors.New("auth.Open: Meta and Dir are required")
	}
	s := &Store{meta: o.Meta, now: o.Clock, log: o.Logger, revisions: map[string]uint64{}}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.keys.Store(&map[string]*Key{})
	var err error
	if s.seal, err = openSealer(o.Dir); err != nil {
		return nil, err
	}
	entries, err := s.meta.List(ctx, keyPrefix)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		s.apply(engine.Change{Entry: e})
	}
	if err := s.loadUse(ctx); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.done.Go(func() { s.follow(running) })
	s.done.Go(func() { s.flushUse(running) })
	return s, nil
}

// Close writes when keys were used last, and ends.
func (s *Store) Close(ctx context.Context) error {
	s.stop()
	s.done.Wait()
	return s.writeUse(ctx)
}

// Find returns the key with an id, nil where there is none. It takes no lock.
func (s *Store) Find(id string) *Key { return (*s.keys.Load())[id] }

// List returns the keys of an account, or all where it is "", sorted by account,
// name and time.
func (s *Store) List(account string) []Key {
	var all []Key
	for _, k := range *s.keys.Load() {
		if account == "" || account == k.Account {
			all = append(all, k.seen())
		}
	}
	slices.SortFunc(all, func(a, b Key) int {
		if n := strings.Compare(a.Account+"\x00"+a.Name, b.Account+"\x00"+b.Name); n != 0 {
			return n
		}
		if n := a.Created.Compare(b.Created); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all
}

// seen is a copy with the time of the last use.
func (k *Key) seen() Key {
	out := *k
	out.LastUsed = k.use.time()
	return out
}

// HasAdmin reports whether there is a key of an administrator that works.
func (s *Store) HasAdmin() bool { return s.otherAdmin("") }

// otherAdmin reports whether one works beside the key with an id.
func (s *Store) otherAdmin(id string) bool {
	for _, k := range *s.keys.Load() {
		if k.ID != id && k.Admin && !k.Disabled && k.Expires.IsZero() {
			return true
		}
	}
	return false
}

// Create makes a key pair. It is durable when Create returns; the credentials are
// told this once.
func (s *Store) Create(ctx context.Context, in NewKey) (Key, Credentials, error) {
	now := s.now().UTC()
	if err := in.check(now); err != nil {
		return Key{}, Credentials{}, err
	}
	c := newCredentials(!in.Expires.IsZero())
	r := record{Key: Key{
		ID: c.KeyID, Account: in.Account, Name: in.Name, Regions: in.Regions, Admin: in.Admin, Policy: in.Policy,
		Created: now.Truncate(time.Second), Expires: in.Expires.UTC().Truncate(time.Second),
	}}
	var err error
	if r.Sealed, err = s.seal.seal(c); err != nil {
		return Key{}, Credentials{}, err
	}
	value, err := json.Marshal(r)
	if err != nil {
		return Key{}, Credentials{}, err
	}
	revision, err := s.meta.Create(ctx, keyPrefix+"/"+c.KeyID, value)
	if err != nil {
		return Key{}, Credentials{}, err
	}
	s.apply(engine.Change{Entry: engine.Entry{Key: keyPrefix + "/" + c.KeyID, Value: value, Revision: revision}})
	return r.seenOr(s.Find(c.KeyID)), *c, nil
}

// seenOr is the key as it is known, or as it was written where another node was
// faster to remove it.
func (r *record) seenOr(k *Key) Key {
	if k == nil {
		return r.Key
	}
	return k.seen()
}

// Disable has a key work no more, or again. Calls that it began go on. The last key
// of an administrator that works cannot be disabled, nor deleted.
func (s *Store) Disable(ctx context.Context, id string, disabled bool) (Key, error) {
	if disabled {
		if err := s.checkLast(id); err != nil {
			return Key{}, err
		}
	}
	for {
		entry, r, err := s.read(ctx, id)
		if err != nil {
			return Key{}, err
		}
		if r.Disabled == disabled {
			return r.seenOr(s.Find(id)), nil
		}
		r.Disabled = disabled
		value, err := json.Marshal(r)
		if err != nil {
			return Key{}, err
		}
		entry.Revision, err = s.meta.Update(ctx, entry.Key, value, entry.Revision)
		if errors.Is(err, engine.ErrConflict) {
			continue
		}
		if err != nil {
			return Key{}, err
		}
		entry.Value = value
		s.apply(engine.Change{Entry: entry})
		return r.seenOr(s.Find(id)), nil
	}
}

// Delete removes a key for good.
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := s.checkLast(id); err != nil {
		return err
	}
	for {
		entry, _, err := s.read(ctx, id)
		if err != nil {
			return err
		}
		revision, err := s.meta.Delete(ctx, entry.Key, entry.Revision)
		if errors.Is(err, engine.ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		s.apply(engine.Change{Entry: engine.Entry{Key: entry.Key, Revision: revision}, Deleted: true})
		return s.forgetUse(ctx, id)
	}
}

func (s *Store) checkLast(id string) error {
	if k := s.Find(id); k != nil && k.Admin && !k.Disabled && !s.otherAdmin(id) {
		return faas.Errorf(faas.CodeConflict, id, "%s is the only administrator's key that works: make another one first", id)
	}
	return nil
}

func (s *Store) read(ctx context.Context, id string) (engine.Entry, record, error) {
	var r record
	if s.Find(id) == nil { // also what is no token of a key
		return engine.Entry{}, r, noKey(id)
	}
	entry, err := s.meta.Get(ctx, keyPrefix+"/"+id)
	if errors.Is(err, engine.ErrNotFound) {
		err = noKey(id)
	}
	if err == nil {
		err = json.Unmarshal(entry.Value, &r)
	}
	return entry, r, err
}

func noKey(id string) error {
	return faas.Errorf(faas.CodeNotFound, clip(id), "there is no key %s; 'hearth keys list' shows those that are", clip(id))
}

// apply takes over one change, unless a later one of that key was.
func (s *Store) apply(c engine.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := strings.TrimPrefix(c.Key, keyPrefix+"/")
	if c.Revision <= s.revisions[id] {
		return
	}
	s.revisions[id] = c.Revision
	next := maps.Clone(*s.keys.Load())
	delete(next, id)
	if !c.Deleted {
		if k := s.load(id, c.Value); k != nil {
			next[id] = k
		}
	}
	s.keys.Store(&next)
}

// load makes the key of a record; one that cannot be opened is told, and is none.
func (s *Store) load(id string, value []byte) *Key {
	var r record
	err := json.Unmarshal(value, &r)
	var c *Credentials
	if err == nil {
		c, err = s.seal.open(id, r.Sealed)
	}
	if err != nil {
		s.log.Error("a key cannot be used", "key", id, "error", err)
		return nil
	}
	k := &r.Key
	k.material, k.derived, k.use = c, new(signingKeys), new(usage)
	if before := s.Find(id); before != nil {
		k.use = before.use
	}
	return k
}
