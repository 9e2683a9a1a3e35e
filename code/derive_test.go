package code

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"hearth/faas"
)

// write makes one file of so many bytes.
func write(bytes int) func(context.Context, string, string) error {
	return func(_ context.Context, _, dir string) error {
		return os.WriteFile(filepath.Join(dir, "made"), make([]byte, bytes), 0o644)
	}
}

func bytesOf(s *Store) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

func TestDerive(t *testing.T) {
	s := open(t, Options{})
	d := acquire(t, s, ingest(t, s, "x"))
	defer d.Release()
	if _, ok := d.Derived("x"); ok {
		t.Fatal("something is derived already")
	}
	before := bytesOf(s)
	var content string
	err := s.Derive(t.Context(), d, "x", func(ctx context.Context, path, dir string) error {
		content = path
		if _, ok := d.Derived("x"); ok {
			t.Error("what is being made can be seen")
		}
		return write(10_000)(ctx, path, dir)
	})
	if err != nil {
		t.Fatal(err)
	}
	path, ok := d.Derived("x")
	if !ok || content != d.Path() {
		t.Fatalf("derived %v from %q, want from %q", ok, content, d.Path())
	}
	if info, err := os.Stat(filepath.Join(path, "made")); err != nil || info.Size() != 10_000 {
		t.Errorf("what was made: %v, %v", info, err)
	}
	if grown := bytesOf(s) - before; grown < 10_000 || grown > 30_000 {
		t.Errorf("the cache grew by %d", grown)
	}
	again := func(context.Context, string, string) error { t.Error("made a second time"); return nil }
	if err := s.Derive(t.Context(), d, "x", again); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"", "../x", "a/b", "A", string(make([]byte, 65))} {
		if err := s.Derive(t.Context(), d, name, again); !faas.IsCode(err, faas.CodeInvalid) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestDeriveFailsWhole(t *testing.T) {
	s := open(t, Options{})
	d := acquire(t, s, ingest(t, s, "x"))
	defer d.Release()
	before := bytesOf(s)
	broken := errors.New("broken")
	err := s.Derive(t.Context(), d, "x", func(ctx context.Context, content, dir string) error {
		return errors.Join(write(10)(ctx, content, dir), broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if _, ok := d.Derived("x"); ok || bytesOf(s) != before {
		t.Errorf("visible %v, %d bytes more", ok, bytesOf(s)-before)
	}
	if left, err := os.ReadDir(s.tmp()); err != nil || len(left) != 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}

func TestDeriveThatDoesNotFit(t *testing.T) {
	s := open(t, Options{CacheBytes: 100_000})
	d := acquire(t, s, ingest(t, s, "x"))
	defer d.Release()
	before := bytesOf(s)
	if err := s.Derive(t.Context(), d, "x", write(200_000)); !faas.IsCode(err, faas.CodeNoCapacity) {
		t.Errorf("error %v", err)
	}
	if _, ok := d.Derived("x"); ok || bytesOf(s) != before {
		t.Errorf("visible %v, %d bytes more", ok, bytesOf(s)-before)
	}
}

// What was derived survives a restart, is counted again, and goes with its package.
func TestDerivedLivesAsLongAsItsPackage(t *testing.T) {
	blobs, dir := newMemory(), t.TempDir()
	s := open(t, Options{Dir: dir, Blobs: blobs})
	d := acquire(t, s, ingest(t, s, "x"))
	if err := s.Derive(t.Context(), d, "x", write(50_000)); err != nil {
		t.Fatal(err)
	}
	path, _ := d.Derived("x")
	d.Release()
	bytes := bytesOf(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	next := open(t, Options{Dir: dir, Blobs: blobs, CacheBytes: bytes + 1000})
	if bytesOf(next) != bytes {
		t.Errorf("%d bytes after the restart, want %d", bytesOf(next), bytes)
	}
	acquire(t, next, ingest(t, next, "other")).Release() // there is room for one of the two
	if exists(path) {
		t.Error("what was derived outlived its package")
	}
}

func TestDeriveByOneAtATime(t *testing.T) {
	s := open(t, Options{})
	d := acquire(t, s, ingest(t, s, "x"))
	defer d.Release()
	var made atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			err := s.Derive(t.Context(), d, "x", func(ctx context.Context, content, dir string) error {
				made.Add(1)
				return write(1)(ctx, content, dir)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
}
