package code

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
)

func ingestAll(t *testing.T, s *Store, archives ...[]raw) []faas.Code {
	t.Helper()
	var codes []faas.Code
	for _, entries := range archives {
		code, err := s.Ingest(t.Context(), rawZip(entries...))
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, code)
	}
	return codes
}

func merged(t *testing.T, s *Store, codes ...faas.Code) *Dir {
	t.Helper()
	d, err := s.AcquireMerged(t.Context(), codes)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func file(name, content string) raw { return raw{name: name, content: content} }
func link(name, target string) raw {
	return raw{name: name, content: target, mode: unixLink | 0o777}
}

func TestMergedLaterOverEarlier(t *testing.T) {
	s := open(t, Options{})
	codes := ingestAll(t, s,
		[]raw{file("a", "1"), file("both/one", "1"), file("same", "1"), file("file-then-dir", "1"), file("dir-then-file/x", "1"),
			file("dir-then-link/x", "1"), link("link-then-dir", "both"), {name: "bin/tool", content: "1", mode: unixFile | 0o755}},
		[]raw{file("both/two", "2"), file("same", "2"), file("file-then-dir/y", "2"), file("dir-then-file", "2"),
			link("dir-then-link", "both"), file("link-then-dir/z", "2"), link("link", "same")})
	d := merged(t, s, codes...)
	defer d.Release()
	const want = "a 0644 1\nbin/\nbin/tool 0755 1\nboth/\nboth/one 0644 1\nboth/two 0644 2\ndir-then-file 0644 2\ndir-then-link -> both\n" +
		"file-then-dir/\nfile-then-dir/y 0644 2\nlink -> same\nlink-then-dir/\nlink-then-dir/z 0644 2\nsame 0644 2"
	if got := listing(t, d.Path()); got != want {
		t.Errorf("merged\n%s\nwant\n%s", got, want)
	}
	other := merged(t, s, codes[1], codes[0])
	defer other.Release()
	if b, err := os.ReadFile(filepath.Join(other.Path(), "same")); err != nil || string(b) != "1" {
		t.Errorf("in the other order: %q, %v", b, err)
	}
	// The packages' own files are what they were, and shared.
	first := acquire(t, s, codes[0])
	defer first.Release()
	shared := func(a, b string) bool {
		x, err := os.Stat(a)
		y, err2 := os.Stat(b)
		return err == nil && err2 == nil && os.SameFile(x, y)
	}
	if !shared(filepath.Join(first.Path(), "bin/tool"), filepath.Join(d.Path(), "bin/tool")) {
		t.Error("a merged file is a copy")
	}
	if !exists(filepath.Join(first.Path(), "dir-then-file/x")) || !exists(filepath.Join(first.Path(), "both/one")) {
		t.Error("merging changed a package")
	}
	again, alone := merged(t, s, codes...), merged(t, s, codes[0])
	defer again.Release()
	defer alone.Release()
	if again.Path() != d.Path() || alone.Path() != first.Path() {
		t.Error("what is there was made again")
	}
}

func TestMergedSurvivesARestart(t *testing.T) {
	o := Options{Dir: t.TempDir(), Blobs: newMemory()}
	s := open(t, o)
	codes := ingestAll(t, s, []raw{file("a", "1")}, []raw{file("b", "2")}, []raw{file("c", "3")})
	kept, lost := merged(t, s, codes[:2]...), merged(t, s, codes[1:]...)
	kept.Release()
	lost.Release()
	d := acquire(t, s, codes[2])
	d.Release()
	s.Close()
	if err := os.RemoveAll(filepath.Dir(d.Path())); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	again := merged(t, s, codes[:2]...)
	defer again.Release()
	if again.Path() != kept.Path() {
		t.Error("a merged directory was made again")
	}
	if exists(lost.Path()) {
		t.Error("a merged directory without all its packages was kept")
	}
	for _, code := range codes[:2] {
		if e := s.entries[code.SHA256]; e.refs != 1 {
			t.Errorf("a part has %d uses, want the merged directory's", e.refs)
		}
	}
}

// A package that was forgotten goes when what was merged of it is used no more.
func TestMergedGoesWithItsPackages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blobs := newMemory()
		s := open(t, Options{Blobs: blobs})
		codes := ingestAll(t, s, []raw{file("a", "1")}, []raw{file("b", "2")})
		d := merged(t, s, codes...)
		if err := s.Forget(t.Context(), codes[0]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if !exists(d.Path()) || !blobs.has(codes[0].SHA256) {
			t.Fatal("a directory in use, or a package of it, was removed")
		}
		d.Release()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if exists(d.Path()) || blobs.has(codes[0].SHA256) {
			t.Error("what nobody wants is still there")
		}
		if !blobs.has(codes[1].SHA256) || s.entries[codes[1].SHA256].refs != 0 {
			t.Error("the other package went too, or is still held")
		}
		s.Close()
	})
}

// What was merged makes room like a package, and then so do its packages.
func TestMergedMakesRoom(t *testing.T) {
	s := open(t, Options{CacheBytes: 12 * block})
	codes := ingestAll(t, s, []raw{file("a", "1")}, []raw{file("b", "2")})
	d := merged(t, s, codes...)
	used := s.bytes
	d.Release()
	s.mu.Lock()
	victims := s.victimsLocked(time.Now(), 12*block)
	left := s.bytes
	s.mu.Unlock()
	if len(victims) != 3 || left != 0 || used <= 2*block {
		t.Errorf("%d of 3 directories make room, %d of %d bytes left", len(victims), left, used)
	}
	s.discard(victims)
}

func TestInspect(t *testing.T) {
	s := open(t, Options{})
	codes := ingestAll(t, s, []raw{file("nodejs/node_modules/x/index.js", "12345"), file("library", "1")}, []raw{file("lib/x.so", "1"), file("extensions/e", "22")})
	for i, want := range []faas.Contents{{Bytes: 6}, {Bytes: 3, Libraries: true, Extensions: true}} {
		if got, err := s.Inspect(t.Context(), codes[i]); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
}
