package code

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"hearth/engine"
	"hearth/faas"
)

// Options configure a Store. Dir and Blobs are needed; the zero value of any
// other field is its default.
type Options struct {
	Dir    string       // of the unpacked cache; made where it is missing
	Blobs  engine.Blobs // where packages are stored as they were uploaded
	Limits Limits
	// CacheBytes bounds what the unpacked packages take on disk; default 10 GiB.
	// Unused ones are removed, oldest first, to stay below it; where all are in
	// use, preparing another is refused with faas.CodeNoCapacity.
	CacheBytes int64
	// Grace is how long an unused package that was forgotten is kept; default 1 min.
	Grace  time.Duration
	Logger *slog.Logger // nil discards
}

const (
	defaultCacheBytes = 10 << 30
	defaultGrace      = time.Minute
	// unpackers bounds how many packages are verified or unpacked at once: each
	// holds a whole archive in memory.
	unpackers = 2
	// unpackTimeout bounds one unpacking, reading the blob included.
	unpackTimeout = 5 * time.Minute
)

// Store keeps the deployment packages of this machine. Safe for concurrent use.
type Store struct {
	dir    string
	blobs  engine.Blobs
	limits Limits
	cache  int64
	grace  time.Duration
	log    *slog.Logger
	boot   string

	slots  chan struct{} // unpackers tokens
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup // unpackings and the collector
	wake   chan struct{}  // 1-buffered: the collector has something to look at
	intent chan struct{}  // a lock, see lockIntent; taken before mu

	mu        sync.Mutex // never held over I/O
	closed    bool
	entries   map[string]*cached   // by digest
	forgotten map[string]time.Time // when Forget was called, by digest
	ingesting map[string]int       // Ingest calls that are storing, by digest
	bytes     int64                // what the entries take on disk, or will
}

var errClosed = errors.New("code: store is closed")

// Open makes the cache directory usable: what an earlier run left half done is
// removed, what it left whole is kept.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Dir == "" || o.Blobs == nil {
		return nil, errors.New("code: Options.Dir and Options.Blobs are needed")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, blobs: o.Blobs, limits: o.Limits.withDefaults(),
		cache: o.CacheBytes, grace: o.Grace, log: o.Logger, boot: bootID(),
		slots: make(chan struct{}, unpackers), wake: make(chan struct{}, 1), intent: make(chan struct{}, 1),
		entries: map[string]*cached{}, forgotten: map[string]time.Time{}, ingesting: map[string]int{},
	}
	if s.cache <= 0 {
		s.cache = defaultCacheBytes
	}
	if s.grace <= 0 {
		s.grace = defaultGrace
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.recover(ctx); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.tasks.Add(1)
	go s.collect()
	s.poke()
	return s, nil
}

// Close stops the store's work and waits for it. Directories that are still
// acquired stay where they are.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.tasks.Wait()
	return nil
}

// Ingest verifies a zip and stores it durably under its content's digest.
// faas.CodeInvalidZip names the entry that is wrong, faas.CodeTooLarge the
// limit and the size, faas.CodeDiskFull means that nothing was stored.
func (s *Store) Ingest(ctx context.Context, zip []byte) (faas.Code, error) {
	if err := s.acquireSlot(ctx); err != nil {
		return faas.Code{}, err
	}
	err := verify(zip, s.limits)
	s.releaseSlot()
	if err != nil {
		return faas.Code{}, err
	}
	sum := sha256.Sum256(zip)
	code := faas.Code{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(zip))}
	if err := s.put(ctx, code.SHA256, zip); err != nil {
		return faas.Code{}, storageError(err)
	}
	return code, nil
}

// verify checks everything that can be wrong with an archive.
func verify(zip []byte, limits Limits) error {
	a, err := parse(zip, limits)
	if err != nil {
		return err
	}
	return a.check()
}

// Read returns the zip as it was uploaded.
func (s *Store) Read(ctx context.Context, code faas.Code) ([]byte, error) {
	if err := checkDigest(code.SHA256); err != nil {
		return nil, err
	}
	r, err := s.blobs.Open(ctx, code.SHA256)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, faas.Errorf(faas.CodeNotFound, subject, "the package %s is not stored", code.SHA256)
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var zip bytes.Buffer
	if code.Size > 0 && code.Size <= s.limits.Zipped {
		zip.Grow(int(code.Size) + bytes.MinRead)
	}
	if _, err := zip.ReadFrom(io.LimitReader(r, s.limits.Zipped+1)); err != nil {
		return nil, err
	}
	if int64(zip.Len()) > s.limits.Zipped {
		return nil, tooLarge("zipped package", code.Size, s.limits.Zipped)
	}
	return zip.Bytes(), nil
}

func (s *Store) acquireSlot(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Store) releaseSlot() { <-s.slots }

// checkDigest keeps anything but a digest out of paths.
func checkDigest(digest string) error {
	if b, err := hex.DecodeString(digest); err != nil || len(b) != sha256.Size || hex.EncodeToString(b) != digest {
		return faas.Errorf(faas.CodeInvalid, subject, "%q is not a sha256 digest in lower-case hex", digest)
	}
	return nil
}

// storageError gives a full disk the code that its caller must see.
func storageError(err error) error {
	if errors.Is(err, engine.ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &faas.Error{Code: faas.CodeDiskFull, Subject: subject, Cause: err,
			Message: "the data directory has no room for the package; free disk space or delete functions"}
	}
	return err
}

// removeAll deletes a tree of the cache, logging what could not be: the rest is
// removed at the next start.
func (s *Store) removeAll(path string) {
	if err := os.RemoveAll(path); err != nil {
		s.log.Warn("could not remove an unpacked package", "path", path, "error", err)
	}
}
