// Package enginetest is the contract of the engine's stores, as tests that every
// implementation runs: the embedded one and the fake.
//
// It owns what "the same behaviour" means; it must not know how a store works.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/engine"
	"hearth/faas"
)

// patience bounds every wait of the suites; reaching it is a failure.
const patience = time.Minute

// RunMeta runs the contract of engine.Meta. open returns an empty store that
// lives until the (sub)test ends.
func RunMeta(t *testing.T, open func(t *testing.T) engine.Meta) {
	for name, test := range map[string]func(*testing.T, context.Context, engine.Meta){
		"CreateGetUpdateDelete":   metaLife,
		"Conflicts":               metaConflicts,
		"Keys":                    metaKeys,
		"BadInput":                metaBadInput,
		"ValuesAreCopies":         metaCopies,
		"ListByWholeTokens":       metaList,
		"RevisionsGrow":           metaRevisions,
		"OnlyOneUpdateWins":       metaRace,
		"OnlyOneCreateWins":       metaCreateRace,
		"WatchSnapshotThenChange": watchOrder,
		"WatchEmptyStore":         watchEmpty,
		"WatchPrefix":             watchPrefix,
		"WatchWhileWritersRace":   watchRace,
		"WatchKeepsACopy":         watchCopy,
		"WatchEndsWithApplyError": watchError,
		"CanceledContext":         metaCanceled,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			test(t, ctx, open(t))
		})
	}
}

func metaLife(t *testing.T, ctx context.Context, m engine.Meta) {
	if _, err := m.Get(ctx, "a/b"); !errors.Is(err, engine.ErrNotFound) {
		t.Fatalf("Get before Create: %v, want ErrNotFound", err)
	}
	first := must(m.Create(ctx, "a/b", []byte("one")))(t)
	wantEntry(t, m, "a/b", "one", first)
	second := must(m.Update(ctx, "a/b", []byte("two"), first))(t)
	wantEntry(t, m, "a/b", "two", second)
	gone := must(m.Delete(ctx, "a/b", second))(t)
	if _, err := m.Get(ctx, "a/b"); !errors.Is(err, engine.ErrNotFound) {
		t.Fatalf("Get after Delete: %v, want ErrNotFound", err)
	}
	if faas.CodeOf(func() error { _, err := m.Get(ctx, "a/b"); return err }()) != faas.CodeNotFound {
		t.Error("a missing key has not the code not-found")
	}
	again := must(m.Create(ctx, "a/b", nil))(t)
	wantEntry(t, m, "a/b", "", again)
	if !slices.IsSorted([]uint64{first, second, gone, again}) || first == second || second == gone || gone == again {
		t.Errorf("revisions %d %d %d %d do not grow", first, second, gone, again)
	}
}

func metaConflicts(t *testing.T, ctx context.Context, m engine.Meta) {
	first := must(m.Create(ctx, "k", []byte("1")))(t)
	second := must(m.Update(ctx, "k", []byte("2"), first))(t)
	_, err := m.Create(ctx, "k", []byte("3"))
	wantIs(t, "Create of an existing key", err, engine.ErrConflict)
	if faas.CodeOf(err) != faas.CodeConflict {
		t.Errorf("code %s, want conflict", faas.CodeOf(err))
	}
	_, err = m.Update(ctx, "k", []byte("3"), first)
	wantIs(t, "Update from an old revision", err, engine.ErrConflict)
	_, err = m.Update(ctx, "k", []byte("3"), 0)
	wantIs(t, "Update from revision 0", err, engine.ErrConflict)
	_, err = m.Update(ctx, "k", []byte("3"), second+1000)
	wantIs(t, "Update from a future revision", err, engine.ErrConflict)
	_, err = m.Delete(ctx, "k", first)
	wantIs(t, "Delete from an old revision", err, engine.ErrConflict)
	wantEntry(t, m, "k", "2", second)
	gone := must(m.Delete(ctx, "k", second))(t)
	_, err = m.Delete(ctx, "k", gone)
	wantIs(t, "second Delete", err, engine.ErrNotFound)
	_, err = m.Update(ctx, "k", []byte("3"), gone)
	wantIs(t, "Update from the deletion", err, engine.ErrConflict)
	_, err = m.Update(ctx, "never", []byte("3"), 1)
	wantIs(t, "Update of a key that never was", err, engine.ErrConflict)
	_, err = m.Update(ctx, "never", []byte("3"), 0)
	wantIs(t, "Update of a key that never was from 0", err, engine.ErrConflict)
	_, err = m.Delete(ctx, "never", 0)
	wantIs(t, "Delete of a key that never was", err, engine.ErrNotFound)
}

// HardKeys are keys whose tokens try to break out of an encoding.
func HardKeys() []string {
	all := make([]byte, 0, 255)
	for b := range 256 {
		if b != '/' {
			all = append(all, byte(b))
		}
	}
	deep := strings.Repeat("t/", engine.MaxTokens-1) + "t"
	return []string{
		"a", "A", "a.b", "a/b", "a.b/c", "a/b.c", "*", ">", "a/*", "a/>", "$LATEST", "$KV", " ", "a b", "\t\r\n", "\x00", "-", "--", "_", "=", "%2F", "~",
		"-41", "A1", "日本語", "\xff\xfe", ".", "..", "./..", "fn/$LATEST/v", string(all), strings.Repeat("é", 127), strings.Repeat(".", engine.MaxToken), deep,
		strings.TrimSuffix(strings.Repeat(strings.Repeat("\xff", engine.MaxToken)+"/", engine.MaxTokens), "/"),
	}
}

func metaKeys(t *testing.T, ctx context.Context, m engine.Meta) {
	keys := HardKeys()
	revisions := make(map[string]uint64)
	for _, key := range keys {
		rev, err := m.Create(ctx, key, []byte(key))
		if err != nil {
			t.Fatalf("Create %.40q: %v", key, err)
		}
		revisions[key] = rev
	}
	entries := must(m.List(ctx, ""))(t)
	slices.Sort(keys)
	if len(entries) != len(keys) {
		t.Fatalf("List: %d entries, want %d", len(entries), len(keys))
	}
	for i, e := range entries {
		if e.Key != keys[i] || string(e.Value) != keys[i] || e.Revision != revisions[e.Key] {
			t.Errorf("entry %d is %.40q at %d, want %.40q at %d", i, e.Key, e.Revision, keys[i], revisions[keys[i]])
		}
	}
	for _, key := range keys {
		wantEntry(t, m, key, key, revisions[key])
	}
}

func metaBadInput(t *testing.T, ctx context.Context, m engine.Meta) {
	bad := []string{"", "/", "a/", "/a", "a//b", strings.Repeat("x", engine.MaxToken+1), strings.Repeat("t/", engine.MaxTokens) + "t"}
	for _, key := range bad {
		_, e1 := m.Get(ctx, key)
		_, e2 := m.Create(ctx, key, nil)
		_, e3 := m.Update(ctx, key, nil, 1)
		_, e4 := m.Delete(ctx, key, 1)
		errs := []error{e1, e2, e3, e4}
		if key != "" {
			_, e5 := m.List(ctx, key)
			errs = append(errs, e5, m.Watch(ctx, key, func(engine.Change) error { return nil }))
		}
		for i, err := range errs {
			if !faas.IsCode(err, faas.CodeInvalid) {
				t.Errorf("operation %d on key %.40q: %v, want code invalid", i, key, err)
			}
		}
	}
	rev := must(m.Create(ctx, "big", make([]byte, engine.MaxValue)))(t)
	if _, err := m.Update(ctx, "big", make([]byte, engine.MaxValue+1), rev); !faas.IsCode(err, faas.CodeTooLarge) {
		t.Errorf("a value over the bound: %v, want code too-large", err)
	}
	if _, err := m.Create(ctx, "bigger", make([]byte, engine.MaxValue+1)); !faas.IsCode(err, faas.CodeTooLarge) {
		t.Errorf("a value over the bound: %v, want code too-large", err)
	}
	if e := must(m.Get(ctx, "big"))(t); len(e.Value) != engine.MaxValue {
		t.Errorf("the largest value came back with %d bytes", len(e.Value))
	}
}

func metaCopies(t *testing.T, ctx context.Context, m engine.Meta) {
	value := []byte("mine")
	rev := must(m.Create(ctx, "k", value))(t)
	value[0] = 'X'
	wantEntry(t, m, "k", "mine", rev)
	must(m.Get(ctx, "k"))(t).Value[0] = 'X'
	wantEntry(t, m, "k", "mine", rev)
}

func metaList(t *testing.T, ctx context.Context, m engine.Meta) {
	for _, key := range []string{"a", "a/b", "a/b/c", "a/b/d", "ab", "ab/c", "b", "a.b/c"} {
		must(m.Create(ctx, key, []byte(key)))(t)
	}
	gone := must(m.Create(ctx, "a/gone", nil))(t)
	must(m.Delete(ctx, "a/gone", gone))(t)
	for prefix, want := range map[string][]string{
		"":     {"a", "a.b/c", "a/b", "a/b/c", "a/b/d", "ab", "ab/c", "b"},
		"a":    {"a/b", "a/b/c", "a/b/d"},
		"a/b":  {"a/b/c", "a/b/d"},
		"ab":   {"ab/c"},
		"none": nil,
		"b":    nil,
	} {
		var keys []string
		for _, e := range must(m.List(ctx, prefix))(t) {
			keys = append(keys, e.Key)
			if string(e.Value) != e.Key {
				t.Errorf("List(%q): value of %q is %q", prefix, e.Key, e.Value)
			}
		}
		if !slices.Equal(keys, want) {
			t.Errorf("List(%q) = %q, want %q", prefix, keys, want)
		}
	}
}

func metaRevisions(t *testing.T, ctx context.Context, m engine.Meta) {
	var last uint64
	for i := range 50 {
		rev := must(m.Create(ctx, fmt.Sprintf("k%d", i), nil))(t)
		if rev <= last {
			t.Fatalf("revision %d after %d", rev, last)
		}
		last = rev
	}
}

// metaRace lets writers raise a counter by compare-and-set: each must succeed
// exactly as often as it says, or the sum is wrong.
func metaRace(t *testing.T, ctx context.Context, m engine.Meta) {
	const writers, raises = 8, 10
	must(m.Create(ctx, "n", make([]byte, 1)))(t)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < raises; {
				e, err := m.Get(ctx, "n")
				if err == nil {
					_, err = m.Update(ctx, "n", []byte{e.Value[0] + 1}, e.Revision)
				}
				switch {
				case err == nil:
					done++
				case !errors.Is(err, engine.ErrConflict):
					t.Errorf("writer: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := must(m.Get(ctx, "n"))(t).Value[0]; n != writers*raises {
		t.Errorf("counter is %d, want %d", n, writers*raises)
	}
}

func metaCreateRace(t *testing.T, ctx context.Context, m engine.Meta) {
	for round := range 5 {
		key := fmt.Sprintf("k%d", round)
		wins := make(chan uint64, 8)
		var wg sync.WaitGroup
		for range cap(wins) {
			wg.Go(func() {
				rev, err := m.Create(ctx, key, nil)
				if err == nil {
					wins <- rev
				} else if !errors.Is(err, engine.ErrConflict) {
					t.Errorf("Create: %v", err)
				}
			})
		}
		wg.Wait()
		if len(wins) != 1 {
			t.Fatalf("%d creates of one key succeeded", len(wins))
		}
	}
}

func metaCanceled(t *testing.T, ctx context.Context, m engine.Meta) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	_, e1 := m.Get(ctx, "k")
	_, e2 := m.Create(ctx, "k", nil)
	_, e3 := m.List(ctx, "")
	e4 := m.Watch(ctx, "", func(engine.Change) error { return nil })
	for i, err := range []error{e1, e2, e3, e4} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("operation %d with a canceled context: %v", i, err)
		}
	}
}

func wantEntry(t *testing.T, m engine.Meta, key, value string, revision uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	e, err := m.Get(ctx, key)
	if err != nil {
		t.Fatalf("Get %.40q: %v", key, err)
	}
	if e.Key != key || !bytes.Equal(e.Value, []byte(value)) || e.Revision != revision {
		t.Fatalf("Get %.40q = %.40q %.40q at %d, want %.40q at %d", key, e.Key, e.Value, e.Revision, value, revision)
	}
	if e.Value == nil {
		t.Fatalf("Get %.40q: the value is nil; only a deletion has none", key)
	}
}

func wantIs(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}

// must lets a call with two results be used where its error ends the test.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
