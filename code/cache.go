package code

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hearth/faas"
)

// cached is one unpacked package, or one that is being unpacked.
type cached struct {
	digest   string
	done     chan struct{} // closed when err and home are final
	deriving chan struct{} // a lock, see lockDerive

	// Guarded by Store.mu; err and home may be read without it once done is closed.
	err      error
	home     string // absolute; holds content and marker
	refs     int
	bytes    int64     // on disk; 0 until known
	lastUsed time.Time // when refs last became 0
	parts    []*cached // the packages that it was merged from, each held by a ref
}

func newCached(digest string) *cached {
	return &cached{digest: digest, done: make(chan struct{}), deriving: make(chan struct{}, 1)}
}

// Dir is a use of an unpacked package.
type Dir struct {
	entry   *cached
	path    string
	release func()
}

// Path is the absolute path of the package's content. Nothing in it changes.
func (d *Dir) Path() string { return d.path }

// Release ends the use; the directory may be removed after. Further calls do nothing.
func (d *Dir) Release() { d.release() }

// Prepare unpacks the package on this machine, and what its layers make together,
// so that the first start need not. It also takes back an earlier Forget of any.
func (s *Store) Prepare(ctx context.Context, code faas.Code, layers ...faas.Code) error {
	for _, c := range append([]faas.Code{code}, layers...) {
		if err := checkDigest(c.SHA256); err != nil {
			return err
		}
		if err := s.remember(ctx, c.SHA256); err != nil {
			return storageError(err)
		}
	}
	d, err := s.Acquire(ctx, code)
	if err != nil {
		return err
	}
	defer d.Release()
	if len(layers) == 0 {
		return nil
	}
	opt, err := s.AcquireMerged(ctx, layers)
	if err == nil {
		opt.Release()
	}
	return err
}

// Acquire returns the package's directory, unpacked now where it is not yet.
// Callers of one digest share one unpacking, which goes on when a caller leaves.
func (s *Store) Acquire(ctx context.Context, code faas.Code) (*Dir, error) {
	if err := checkDigest(code.SHA256); err != nil {
		return nil, err
	}
	return s.acquire(ctx, code.SHA256, func(ctx context.Context, e *cached) (home string, err error) {
		if err := s.acquireSlot(ctx); err != nil {
			return "", err
		}
		defer s.releaseSlot()
		return s.install(ctx, e, code)
	})
}

// acquire returns the directory of an entry, which install makes where there is none.
func (s *Store) acquire(ctx context.Context, digest string, install func(context.Context, *cached) (home string, err error)) (*Dir, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, errClosed
	}
	e := s.entries[digest]
	if e == nil {
		e = newCached(digest)
		s.entries[e.digest] = e
		s.tasks.Add(1)
		go s.fill(e, install)
	}
	e.refs++
	s.mu.Unlock()

	select {
	case <-e.done:
	case <-ctx.Done():
		s.release(e)
		return nil, context.Cause(ctx)
	}
	if e.err != nil {
		s.release(e)
		return nil, e.err
	}
	once := sync.OnceFunc(func() { s.release(e) })
	return &Dir{entry: e, path: filepath.Join(e.home, contentName), release: once}, nil
}

func (s *Store) release(e *cached) {
	now := time.Now()
	s.mu.Lock()
	e.refs--
	idle := e.refs == 0
	if idle {
		e.lastUsed = now
	}
	_, forgotten := s.forgottenLocked(e)
	home, ok := e.home, isClosed(e.done) && e.err == nil
	s.mu.Unlock()
	if !idle || !ok {
		return
	}
	// The next run sorts by this; where it fails the order is merely worse.
	_ = os.Chtimes(filepath.Join(home, markerName), now, now)
	if forgotten {
		s.poke()
	}
}

// fill installs an entry and publishes the result to everybody who waits for it.
func (s *Store) fill(e *cached, install func(context.Context, *cached) (home string, err error)) {
	defer s.tasks.Done()
	ctx, cancel := context.WithTimeoutCause(s.ctx, unpackTimeout,
		fmt.Errorf("code: unpacking %s took longer than %v", e.digest, unpackTimeout))
	defer cancel()
	home, err := install(ctx, e)
	s.mu.Lock()
	e.home, e.err = home, storageError(err)
	if err != nil {
		delete(s.entries, e.digest)
		s.bytes -= e.bytes
		e.bytes = 0
	}
	s.mu.Unlock()
	close(e.done)
}

// install unpacks below tmp and renames the whole into place, which it returns.
func (s *Store) install(ctx context.Context, e *cached, code faas.Code) (home string, err error) {
	began := time.Now()
	zip, err := s.Read(ctx, code)
	if err != nil {
		return "", err
	}
	if sum := sha256.Sum256(zip); hex.EncodeToString(sum[:]) != code.SHA256 {
		return "", fmt.Errorf("code: the stored package %s has other content", code.SHA256)
	}
	a, err := parse(zip, s.limits)
	if err != nil {
		return "", err
	}
	if err := s.reserve(e, a.diskBytes()); err != nil {
		return "", err
	}
	staging, err := os.MkdirTemp(s.tmp(), code.SHA256+".")
	if err != nil {
		return "", err
	}
	home = filepath.Join(s.dir, filepath.Base(staging))
	err = s.stage(ctx, staging, a, code)
	if err == nil {
		err = os.Rename(staging, home)
	}
	if err != nil {
		s.removeAll(staging)
		return "", err
	}
	s.log.Debug("unpacked a package", "digest", code.SHA256, "bytes", a.bytes, "files", a.files,
		"took", time.Since(began))
	return home, nil
}

// stage makes what will stand under the digest: content first, marker last.
func (s *Store) stage(ctx context.Context, staging string, a *archive, code faas.Code) error {
	content := filepath.Join(staging, contentName)
	if err := os.Mkdir(content, modeDir); err != nil {
		return err
	}
	if err := a.unpack(ctx, content); err != nil {
		return err
	}
	if err := s.writeMarker(filepath.Join(staging, markerName), code.SHA256, a.diskBytes(), nil); err != nil {
		return err
	}
	return os.Chmod(staging, 0o711)
}

func (s *Store) writeMarker(path, digest string, bytes int64, merged []string) error {
	raw, err := json.Marshal(marker{Format: markerFormat, Digest: digest, Boot: s.boot, Bytes: bytes, Merged: merged})
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

// reserve books disk space for an entry, removing unused packages for it.
func (s *Store) reserve(e *cached, bytes int64) error {
	s.mu.Lock()
	victims := s.victimsLocked(time.Now(), bytes)
	if s.bytes+bytes > s.cache {
		used := s.bytes
		s.mu.Unlock()
		s.discard(victims)
		return faas.Errorf(faas.CodeNoCapacity, subject,
			"the unpacked package needs %d bytes, and %d of the %d bytes for packages on this machine are in use; "+
				"raise the size of the package cache", bytes, used, s.cache)
	}
	e.bytes = bytes
	s.bytes += bytes
	s.mu.Unlock()
	s.discard(victims)
	return nil
}

const (
	contentName  = "content"
	markerName   = "complete"
	tmpName      = "tmp"
	forgotName   = "forgotten"
	markerFormat = 1
)

// marker says that a package's directory is whole. It lies outside the content.
type marker struct {
	Format int    `json:"format"`
	Digest string `json:"digest"`
	Boot   string `json:"boot"` // see "The cache on disk"
	Bytes  int64  `json:"bytes"`
	// Merged are the packages, in their order, that it is the union of.
	Merged []string `json:"merged,omitempty"`
}

func (s *Store) tmp() string               { return filepath.Join(s.dir, tmpName) }
func (s *Store) tomb(digest string) string { return filepath.Join(s.dir, forgotName, digest) }

// recover takes over what an earlier run left.
func (s *Store) recover(ctx context.Context) error {
	if err := os.MkdirAll(s.dir, 0o711); err != nil {
		return err
	}
	// MkdirAll is subject to the umask, and an older directory may be tighter.
	if err := os.Chmod(s.dir, 0o711); err != nil {
		return err
	}
	if err := os.RemoveAll(s.tmp()); err != nil {
		return err
	}
	for _, name := range []string{tmpName, forgotName} {
		if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	found, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	merged := map[*cached][]string{}
	for _, f := range found {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if digest, _, ok := strings.Cut(f.Name(), "."); ok && checkDigest(digest) == nil {
			s.adopt(digest, filepath.Join(s.dir, f.Name()), merged)
		}
	}
	for e, digests := range merged {
		if !s.adoptMerged(e, digests) {
			delete(s.entries, e.digest)
			s.bytes -= e.bytes
			s.discard([]string{e.home})
		}
	}
	tombs, err := os.ReadDir(filepath.Join(s.dir, forgotName))
	if err != nil {
		return err
	}
	for _, f := range tombs {
		if checkDigest(f.Name()) == nil {
			s.forgotten[f.Name()] = time.Now()
		}
	}
	return nil
}

// adopt keeps a directory whose marker can be trusted and removes any other. What
// was merged of which packages goes to merged.
func (s *Store) adopt(digest, home string, merged map[*cached][]string) {
	path := filepath.Join(home, markerName)
	raw, err := os.ReadFile(path)
	var m marker
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	trusted := err == nil && m.Format == markerFormat && m.Digest == digest && m.Bytes >= 0 &&
		m.Boot == s.boot && s.boot != ""
	if !trusted || s.entries[digest] != nil {
		s.discard([]string{home})
		return
	}
	e := newCached(digest)
	e.home, e.bytes, e.lastUsed = home, m.Bytes, time.Now()
	if info, err := os.Stat(path); err == nil {
		e.lastUsed = info.ModTime()
	}
	close(e.done)
	s.entries[digest] = e
	s.bytes += e.bytes
	if len(m.Merged) > 0 {
		merged[e] = m.Merged
	}
}

// discard removes the homes of entries that are no longer in the map. The
// rename comes first: a half-removed package never stands with its marker.
func (s *Store) discard(homes []string) {
	for _, home := range homes {
		grave := filepath.Join(s.tmp(), filepath.Base(home)+".gone")
		if err := os.Rename(home, grave); err != nil {
			s.log.Warn("could not set an unpacked package aside", "path", home, "error", err)
			continue
		}
		s.removeAll(grave)
	}
}
