package code

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hearth/engine"
	"hearth/faas"
)

// memory is an engine.Blobs without a disk.
type memory struct {
	mu      sync.Mutex
	content map[string][]byte
	opened  int
	gate    chan struct{} // Open waits for it where it is not nil
	putErr  error
}

func newMemory() *memory { return &memory{content: map[string][]byte{}} }

func (m *memory) Put(_ context.Context, digest string, r io.Reader) error {
	b, err := io.ReadAll(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.putErr != nil {
		return m.putErr
	}
	m.content[digest] = b
	return err
}

func (m *memory) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	m.mu.Lock()
	b, ok := m.content[digest]
	m.opened++
	gate := m.gate
	m.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if !ok {
		return nil, engine.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (m *memory) Size(_ context.Context, digest string) (int64, error) {
	return 0, errors.ErrUnsupported
}

func (m *memory) Delete(_ context.Context, digest string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.content, digest)
	return nil
}

func (m *memory) List(context.Context, func(string, int64) error) error { return errors.ErrUnsupported }

func (m *memory) has(digest string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.content[digest]
	return ok
}

func open(t *testing.T, o Options) *Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Blobs == nil {
		o.Blobs = newMemory()
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func ingest(t *testing.T, s *Store, content string) faas.Code {
	t.Helper()
	code, err := s.Ingest(t.Context(), rawZip(raw{name: "a", content: content}))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func acquire(t *testing.T, s *Store, code faas.Code) *Dir {
	t.Helper()
	d, err := s.Acquire(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestIngestReadAcquire(t *testing.T) {
	s := open(t, Options{})
	zip := rawZip(raw{name: "a", content: "x"})
	code, err := s.Ingest(t.Context(), zip)
	if err != nil {
		t.Fatal(err)
	}
	if code.Size != int64(len(zip)) {
		t.Errorf("size %d of %d bytes", code.Size, len(zip))
	}
	back, err := s.Read(t.Context(), code)
	if err != nil || !bytes.Equal(back, zip) {
		t.Fatalf("read back %d bytes, %v", len(back), err)
	}
	if err := s.Prepare(t.Context(), code); err != nil {
		t.Fatal(err)
	}
	d := acquire(t, s, code)
	defer d.Release()
	if got := listing(t, d.Path()); got != "a 0644 x" {
		t.Fatalf("unpacked %q", got)
	}
	for _, dir := range []string{s.dir, filepath.Dir(d.Path())} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o711 {
			t.Errorf("%s: mode %v, %v", dir, info.Mode(), err)
		}
	}
}

func TestRefusals(t *testing.T) {
	blobs := newMemory()
	s := open(t, Options{Blobs: blobs, CacheBytes: 20 << 10, Limits: Limits{Zipped: 1 << 20}})
	if _, err := s.Ingest(t.Context(), []byte("no")); !faas.IsCode(err, faas.CodeInvalidZip) {
		t.Errorf("no zip: %v", err)
	}
	for _, digest := range []string{"", "../../etc", strings.Repeat("A", 64), strings.Repeat("a", 63)} {
		if _, err := s.Acquire(t.Context(), faas.Code{SHA256: digest}); !faas.IsCode(err, faas.CodeInvalid) {
			t.Errorf("digest %q: %v", digest, err)
		}
	}
	missing := faas.Code{SHA256: strings.Repeat("a", 64)}
	if _, err := s.Acquire(t.Context(), missing); !faas.IsCode(err, faas.CodeNotFound) {
		t.Errorf("missing: %v", err)
	}
	big := ingest(t, s, strings.Repeat("x", 30<<10))
	if _, err := s.Acquire(t.Context(), big); !faas.IsCode(err, faas.CodeNoCapacity) {
		t.Errorf("over the cache: %v", err)
	}
	blobs.putErr = engine.ErrFull
	if _, err := s.Ingest(t.Context(), rawZip(raw{name: "f"})); !faas.IsCode(err, faas.CodeDiskFull) {
		t.Errorf("full: %v", err)
	}
	other := ingestDamaged(blobs)
	if _, err := s.Acquire(t.Context(), other); err == nil {
		t.Error("a blob with other content was unpacked")
	}
	if left, _ := os.ReadDir(s.tmp()); len(left) != 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

func ingestDamaged(m *memory) faas.Code {
	m.mu.Lock()
	defer m.mu.Unlock()
	digest := strings.Repeat("b", 64)
	m.content[digest] = rawZip(raw{name: "evil"})
	return faas.Code{SHA256: digest}
}

func TestOneUnpackingForAll(t *testing.T) {
	blobs := newMemory()
	s := open(t, Options{Blobs: blobs})
	code := ingest(t, s, "x")
	blobs.gate = make(chan struct{})

	// A caller who leaves neither stops the unpacking nor keeps the directory.
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := s.Acquire(ctx, code)
		left <- err
	}()
	var wg sync.WaitGroup
	dirs := make([]*Dir, 20)
	for i := range dirs {
		wg.Go(func() { dirs[i], _ = s.Acquire(t.Context(), code) })
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatalf("left with %v", err)
	}
	close(blobs.gate)
	wg.Wait()
	if blobs.opened != 1 {
		t.Errorf("unpacked %d times", blobs.opened)
	}
	for _, d := range dirs {
		d.Release()
		d.Release() // harmless
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refs := s.entries[code.SHA256].refs; refs != 0 {
		t.Errorf("%d refs left", refs)
	}
}

func TestCacheBound(t *testing.T) {
	s := open(t, Options{CacheBytes: 25 << 10})
	a, b, c := ingest(t, s, strings.Repeat("a", 8000)), ingest(t, s, strings.Repeat("b", 8000)), ingest(t, s, strings.Repeat("c", 8000))
	da := acquire(t, s, a)
	db := acquire(t, s, b)
	if _, err := s.Acquire(t.Context(), c); !faas.IsCode(err, faas.CodeNoCapacity) {
		t.Fatalf("third of two: %v", err)
	}
	if !exists(da.Path()) || !exists(db.Path()) {
		t.Fatal("a used directory was removed")
	}
	db.Release()
	dc := acquire(t, s, c)
	if exists(db.Path()) || !exists(da.Path()) || !exists(dc.Path()) {
		t.Fatal("not the unused directory was removed")
	}
	da.Release()
	acquire(t, s, b).Release() // comes back from its blob
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blobs := newMemory()
		s := open(t, Options{Blobs: blobs, Grace: time.Minute})
		code := ingest(t, s, "x")
		d := acquire(t, s, code)
		if err := s.Forget(t.Context(), code); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if !exists(d.Path()) || !blobs.has(code.SHA256) {
			t.Fatal("removed while in use")
		}
		d.Release()
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if !exists(d.Path()) {
			t.Fatal("removed before its grace time")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if exists(d.Path()) || blobs.has(code.SHA256) || exists(s.tomb(code.SHA256)) {
			t.Fatal("something is left after the grace time")
		}
		s.Close()
	})
}

func TestForgetTakenBack(t *testing.T) {
	for name, again := range map[string]func(*testing.T, *Store, faas.Code) error{
		"ingest":  func(t *testing.T, s *Store, _ faas.Code) error { ingest(t, s, "x"); return nil },
		"prepare": func(t *testing.T, s *Store, c faas.Code) error { return s.Prepare(t.Context(), c) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				blobs := newMemory()
				s := open(t, Options{Blobs: blobs})
				code := ingest(t, s, "x")
				if err := s.Forget(t.Context(), code); err != nil {
					t.Fatal(err)
				}
				if err := again(t, s, code); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if !blobs.has(code.SHA256) || exists(s.tomb(code.SHA256)) {
					t.Fatal("deleted although it was asked for again")
				}
				s.Close()
			})
		})
	}
}

func TestRestart(t *testing.T) {
	blobs := newMemory()
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, Blobs: blobs})
	whole, torn, gone := ingest(t, s, "whole"), ingest(t, s, "torn"), ingest(t, s, "gone")
	wholeDir, tornDir := acquire(t, s, whole), acquire(t, s, torn)
	if err := s.Forget(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	s.Close()
	// What kill -9 leaves: a directory without marker, something in tmp.
	if err := os.Remove(filepath.Join(filepath.Dir(tornDir.Path()), markerName)); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, tmpName, "half", "content")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}

	s = open(t, Options{Dir: dir, Blobs: blobs, Grace: time.Millisecond})
	if exists(half) || exists(tornDir.Path()) {
		t.Error("something half-done is left")
	}
	opened := blobs.opened
	if d := acquire(t, s, whole); d.Path() != wholeDir.Path() || blobs.opened != opened {
		t.Error("the whole directory was unpacked again")
	}
	acquire(t, s, torn)
	await(t, func() bool { return !blobs.has(gone.SHA256) && !exists(s.tomb(gone.SHA256)) })
	s.Close()

	// Another boot may have torn anything.
	other := reopen(t, dir, blobs, "another boot")
	if exists(wholeDir.Path()) || len(other.entries) != 0 {
		t.Error("another boot's directory was kept")
	}
}

// reopen recovers a directory as after another boot, without the collector.
func reopen(t *testing.T, dir string, blobs engine.Blobs, boot string) *Store {
	t.Helper()
	fresh := open(t, Options{Blobs: blobs})
	fresh.Close()
	fresh.dir, fresh.boot = dir, boot
	if err := fresh.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return fresh
}

// await polls for what another goroutine does to the disk.
func await(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not happen")
		}
	}
}

func TestClosed(t *testing.T) {
	s := open(t, Options{})
	code := ingest(t, s, "x")
	s.Close()
	s.Close()
	if _, err := s.Acquire(t.Context(), code); err == nil {
		t.Error("acquired from a closed store")
	}
	if err := s.Forget(t.Context(), code); err == nil {
		t.Error("forgot in a closed store")
	}
}

func BenchmarkAcquireCached(b *testing.B) {
	s, err := Open(b.Context(), Options{Dir: b.TempDir(), Blobs: newMemory()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	code, err := s.Ingest(b.Context(), rawZip(raw{name: "a"}))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		d, err := s.Acquire(b.Context(), code)
		if err != nil {
			b.Fatal(err)
		}
		d.Release()
	}
}
