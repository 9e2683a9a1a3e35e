package nats_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hearth/engine"
	"hearth/engine/enginetest"
	"hearth/faas"
)

// long asks for the exhaustive forms of the tests; the short ones take seconds.
var long = os.Getenv("HEARTH_LONG") != ""

// contents is everything that a store holds.
type contents struct {
	entries map[string]string
	blobs   map[string][]byte
}

// fill writes entries over several blocks of the store, with updates and
// deletions among them, and blobs of several sizes.
func fill(t *testing.T, e *opened) contents {
	t.Helper()
	ctx := t.Context()
	c := contents{entries: make(map[string]string), blobs: make(map[string][]byte)}
	for i := range 100 {
		key := fmt.Sprintf("a/%d/fn", i)
		value, _ := enginetest.Content(uint64(i), 100+i%7*1000)
		rev, err := e.Meta().Create(ctx, key, value)
		if err == nil && i%3 == 0 {
			value = append(value, "updated"...)
			rev, err = e.Meta().Update(ctx, key, value, rev)
		}
		c.entries[key] = string(value)
		if err == nil && i%10 == 0 {
			_, err = e.Meta().Delete(ctx, key, rev)
			delete(c.entries, key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, size := range []int{0, 10, 600 << 10, 1200 << 10} {
		content, digest := enginetest.Content(uint64(i), size)
		if err := e.Blobs().Put(ctx, digest, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		c.blobs[digest] = content
	}
	return c
}

// TestDamage flips a bit of, cuts and deletes every file of a data directory, one
// at a time. The engine must come up with everything, or say that it is damaged;
// never with less.
func TestDamage(t *testing.T) {
	for _, state := range []string{"Stopped", "Killed"} {
		t.Run(state, func(t *testing.T) {
			path := t.TempDir()
			e := start(t, path)
			want := fill(t, e)
			if state == "Stopped" {
				e.stop()
			}
			master := filepath.Join(t.TempDir(), "master")
			if err := os.CopyFS(master, os.DirFS(path)); err != nil {
				t.Fatal(err)
			}
			e.stop()
			whole := 0
			for _, file := range files(t, master) {
				if ofQueues(file) {
					continue // TestQueueDamage has those
				}
				if state == "Killed" && !long && filepath.Ext(file) != ".blk" {
					continue // the others are the same files as when it was stopped
				}
				for name, harm := range harms(t, filepath.Join(master, file)) {
					t.Run(file+"/"+name, func(t *testing.T) {
						victim := filepath.Join(t.TempDir(), "victim")
						if err := os.CopyFS(victim, os.DirFS(master)); err != nil {
							t.Fatal(err)
						}
						harm(t, filepath.Join(victim, file))
						if wantWholeOrDamaged(t, victim, want) {
							whole++
						}
					})
				}
			}
			if whole == 0 {
				t.Error("every damage kept the engine from starting: the test proves nothing about the others")
			}
		})
	}
}

// ofQueues reports whether a file belongs to the queues and their history.
func ofQueues(file string) bool {
	return strings.Contains(file, "QUEUE_") || strings.Contains(file, "EVENTS_")
}

func files(t *testing.T, root string) []string {
	var found []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// harms returns the ways to damage a file.
func harms(t *testing.T, file string) map[string]func(*testing.T, string) {
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	harms := map[string]func(*testing.T, string){
		"delete": func(t *testing.T, path string) { check(t, os.Remove(path)) },
	}
	size := info.Size()
	if size == 0 {
		return harms
	}
	cuts, flips := []int64{size / 2}, []int64{4, size / 2}
	if long {
		cuts = append(cuts, 0, size/4, size-1)
		flips = append(flips, 0, size/5, size/3, size*2/3, size*9/10, size-1)
	}
	for _, to := range cuts {
		harms[fmt.Sprintf("cut to %d", to)] = func(t *testing.T, path string) { check(t, os.Truncate(path, to)) }
	}
	for _, at := range flips {
		if at < size {
			harms[fmt.Sprintf("flip at %d", at)] = func(t *testing.T, path string) { flip(t, path, at) }
		}
	}
	return harms
}

func flip(t *testing.T, path string, at int64) {
	b, err := os.ReadFile(path)
	check(t, err)
	b[at] ^= 0x10
	check(t, os.WriteFile(path, b, 0o600))
}

// wantWholeOrDamaged reports whether the engine came up.
func wantWholeOrDamaged(t *testing.T, path string, want contents) (up bool) {
	t.Helper()
	e, err := open(t, path, 0)
	if errors.Is(err, engine.ErrDamaged) || faas.IsCode(err, faas.CodeInvalid) {
		t.Log(err)
		return false
	}
	if err != nil {
		t.Fatalf("Open: %v; want success or ErrDamaged", err)
	}
	defer e.stop()
	wantEntries(t, e, want.entries)
	listed := 0
	check(t, e.Blobs().List(t.Context(), func(string, int64) error { listed++; return nil }))
	if listed != len(want.blobs) {
		t.Errorf("%d blobs listed, want %d", listed, len(want.blobs))
	}
	damaged := e.Check(t.Context())
	for digest, content := range want.blobs {
		err := read(t.Context(), e.Blobs(), digest, content)
		if err == nil {
			continue
		}
		if !errors.Is(err, engine.ErrDamaged) {
			t.Errorf("blob of %d bytes: %v; want it whole or ErrDamaged", len(content), err)
		}
		if !errors.Is(damaged, engine.ErrDamaged) {
			t.Errorf("Check with a damaged blob: %v", damaged)
		}
		check(t, e.Blobs().Put(t.Context(), digest, bytes.NewReader(content)))
		check(t, read(t.Context(), e.Blobs(), digest, content))
	}
	check(t, e.Check(t.Context()))
	return true
}

func wantEntries(t *testing.T, e *opened, want map[string]string) {
	t.Helper()
	entries, err := e.Meta().List(t.Context(), "")
	check(t, err)
	got := make(map[string]string)
	for _, e := range entries {
		got[e.Key] = string(e.Value)
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d entries came back, other than the %d that were written", len(got), len(want))
	}
}

// read returns nil where the blob has exactly this content.
func read(ctx context.Context, b engine.Blobs, digest string, content []byte) error {
	r, err := b.Open(ctx, digest)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(got, content) {
		return fmt.Errorf("%d bytes, other than the %d that were put", len(got), len(content))
	}
	return err
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
