package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync"

	"hearth/engine"
	"hearth/faas"
)

// shelf knows which packages may exist as blobs, and keeps a package from being
// forgotten while a request that will use it is under way.
type shelf struct {
	mu sync.Mutex
	// known holds the package keys, by digest.
	known map[string]packageEntry
	pins  map[string]int
	// leaving holds the packages that are being forgotten; closed when gone.
	leaving map[string]chan struct{}
	// claimed is code storage that commits under way will take, by account and region.
	claimed map[faas.Scope]int64
}

type packageEntry struct {
	code     faas.Code
	revision uint64
}

func newShelf() *shelf {
	return &shelf{
		known:   make(map[string]packageEntry),
		pins:    make(map[string]int),
		leaving: make(map[string]chan struct{}),
		claimed: make(map[faas.Scope]int64),
	}
}

// pin waits until the package is not being forgotten, and then keeps it.
func (s *shelf) pin(ctx context.Context, digest string) error {
	for {
		s.mu.Lock()
		gone := s.leaving[digest]
		if gone == nil {
			s.pins[digest]++
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		select {
		case <-gone:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *shelf) unpin(digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pins[digest]--; s.pins[digest] == 0 {
		delete(s.pins, digest)
	}
}

// leave begins to forget a package, unless it is kept or not there. A commit
// applies before it unpins, so what has no pin and is not used will not be used.
func (s *shelf) leave(digest string, used func(string) bool) (e packageEntry, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, known := s.known[digest]
	if !known || s.pins[digest] > 0 || s.leaving[digest] != nil || used(digest) {
		return e, false
	}
	s.leaving[digest] = make(chan struct{})
	return e, true
}

func (s *shelf) left(digest string, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.leaving[digest])
	delete(s.leaving, digest)
	if gone {
		delete(s.known, digest)
	}
}

func (s *shelf) isKnown(digest string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.known[digest]
	return ok
}

func (s *shelf) know(code faas.Code, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[code.SHA256] = packageEntry{code, revision}
}

func (s *shelf) digests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for d := range s.known {
		all = append(all, d)
	}
	return all
}

// ingest stores a zip and keeps it until release, which must be called once:
// after the commit that uses it was applied, or failed. keep says that the
// commit's outcome is unknown: the package then stays until the next New.
func (r *Registry) ingest(ctx context.Context, zip []byte) (code faas.Code, release func(keep bool), err error) {
	sum := sha256.Sum256(zip)
	code = faas.Code{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(zip))}
	if err := r.shelf.pin(ctx, code.SHA256); err != nil {
		return code, nil, engineError("store package", err)
	}
	release = func(keep bool) {
		if keep {
			return
		}
		r.shelf.unpin(code.SHA256)
		r.collection.add(code.SHA256)
	}
	if err := r.announce(ctx, code); err != nil {
		release(false)
		return code, nil, err
	}
	got, err := r.packages.Ingest(ctx, zip)
	if err == nil && got != code {
		err = internal("store package", errors.New("registry: the package was stored under another digest"))
	}
	if err != nil {
		release(false)
		return code, nil, engineError("store package", err)
	}
	return code, release, nil
}

// announce writes the package key before there is a blob, so that no crash
// leaves a blob that nobody knows of.
func (r *Registry) announce(ctx context.Context, code faas.Code) error {
	if r.shelf.isKnown(code.SHA256) {
		return nil
	}
	value, err := json.Marshal(code)
	if err != nil {
		return internal("store package", err)
	}
	revision, err := r.write(ctx, packageKey(code.SHA256), value, 0)
	if errors.Is(err, errChanged) {
		return internal("store package", err)
	}
	if err != nil {
		return engineError("store package", err)
	}
	r.shelf.know(code, revision)
	return nil
}

// collect forgets a package that nobody uses.
func (r *Registry) collect(ctx context.Context, digest string) {
	e, ok := r.shelf.leave(digest, r.table.used)
	if !ok {
		return
	}
	gone := false
	defer func() { r.shelf.left(digest, gone) }()
	err := r.packages.Forget(ctx, e.code)
	if err == nil {
		_, err = r.meta.Delete(ctx, packageKey(digest), e.revision)
	}
	if gone = err == nil || errors.Is(err, engine.ErrNotFound); !gone && ctx.Err() == nil {
		r.log.Error("an unused package cannot be forgotten; the next start tries again", "sha256", digest, "error", err)
	}
}

func (r *Registry) dropUnused(codes []faas.Code) {
	for _, c := range codes {
		r.collection.add(c.SHA256)
	}
}

// loadPackages finds out which packages may exist and drops the unused.
func (r *Registry) loadPackages(ctx context.Context) error {
	entries, err := r.meta.List(ctx, packagePrefix)
	if err != nil {
		return engineError("load packages", err)
	}
	for _, e := range entries {
		var code faas.Code
		if err := json.Unmarshal(e.Value, &code); err != nil || packageKey(code.SHA256) != e.Key {
			return internal("load packages", errors.New("registry: key "+e.Key+" holds no package"))
		}
		r.shelf.know(code, e.Revision)
	}
	for _, digest := range r.shelf.digests() {
		if !r.table.used(digest) {
			r.collection.add(digest)
		}
	}
	return nil
}

// claim takes code storage of the function's account and region, so that
// requests at the same time cannot pass the limit together. release gives it
// back, after the commit that counts instead was applied or failed.
func (r *Registry) claim(scope faas.Scope, bytes int64) (release func(), err error) {
	scope.Namespace = ""
	bytes = max(bytes, 0)
	r.shelf.mu.Lock()
	defer r.shelf.mu.Unlock()
	usage := r.table.usageOf(scope)
	used := usage.CodeBytes + usage.LayerBytes + r.shelf.claimed[scope]
	if bytes > 0 && used+bytes > r.limits.MaxCodeBytes {
		return nil, faas.Errorf(faas.CodeStorageLimit, "code storage",
			"Code storage limit exceeded. %d of %d bytes are used; delete functions, layers or versions.", used, r.limits.MaxCodeBytes)
	}
	r.shelf.claimed[scope] += bytes
	return func() {
		r.shelf.mu.Lock()
		defer r.shelf.mu.Unlock()
		if r.shelf.claimed[scope] -= bytes; r.shelf.claimed[scope] == 0 {
			delete(r.shelf.claimed, scope)
		}
	}, nil
}
