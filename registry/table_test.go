package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"hearth/engine"
	"hearth/faas"
)

func tableID() faas.FunctionID {
	return faas.FunctionID{Scope: faas.Scope{Account: "123456789012", Region: "us-east-1", Namespace: "default"}, Name: "f"}
}

// history makes the changes of one function's record over several lives, the
// revisions being the positions from 1, with what is true after each.
func history(t *testing.T, rnd *rand.Rand, n int) (changes []engine.Change, alive []bool) {
	id := tableID()
	var number int64
	for revision := 1; revision <= n; revision++ {
		c := engine.Change{Entry: engine.Entry{Key: recordKey(id), Revision: uint64(revision)}}
		is := len(alive) > 0 && alive[len(alive)-1]
		rec := &record{Format: recordFormat, LastNumber: number}
		switch {
		case is && rnd.IntN(3) == 0 && number == 0:
			c.Deleted = true
		case is && rnd.IntN(3) == 0:
			rec.Deleted = true
		default:
			number += int64(rnd.IntN(2))
			rec.LastNumber, rec.Incarnation = number, "i"
			rec.Head = &faas.Version{ID: faas.VersionID{Function: id, Number: faas.Latest}, RevisionID: fmt.Sprint(revision)}
		}
		if !c.Deleted {
			b, err := json.Marshal(rec)
			if err != nil {
				t.Fatal(err)
			}
			c.Value = b
		}
		changes = append(changes, c)
		alive = append(alive, !c.Deleted && !rec.Deleted)
	}
	return changes, alive
}

// TestOldNewsChangesNothing delivers every change by the watch, in order, and
// some of them earlier, as the node that makes a change does: what is known
// never goes back, and the end is the last change.
func TestOldNewsChangesNothing(t *testing.T) {
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		changes, alive := history(t, rnd, 12)
		r := newRegistry(Options{})
		defer r.stop()
		newest := 0
		deliver := func(i int, watched bool) {
			if c := changes[i]; c.Deleted && !watched {
				r.table.deleteRecord(tableID(), c.Revision)
			} else if err := r.apply(changes[i]); err != nil {
				t.Fatal(err)
			}
			newest = max(newest, i)
			s := r.table.load(tableID())
			if (s != nil) != alive[newest] || s != nil && s.record.Head.RevisionID != fmt.Sprint(newest+1) {
				t.Fatalf("seed %d: after change %d with %d known: %+v, want alive=%v", seed, i+1, newest+1, s, alive[newest])
			}
		}
		for i := range changes {
			if early := i + rnd.IntN(4); early < len(changes) && early >= newest {
				deliver(early, false)
			}
			deliver(i, true)
		}
		if g, ok := r.table.graves[tableID()]; ok && !g.stored {
			t.Errorf("seed %d: a grave is left after the watch saw the deletion", seed)
		}
	}
}

func TestKeysRoundTrip(t *testing.T) {
	id := tableID()
	for number, key := range map[int64]string{0: recordKey(id), 1: versionKey(id, 1), 1234567: versionKey(id, 1234567)} {
		got, n, err := parseKey(key)
		if err != nil || got != id || n != number {
			t.Errorf("%s: %v, %d, %v", key, got, n, err)
		}
	}
	for _, key := range []string{"", "function", "function/a/b/c/d", "function/a/b/c/d/e", "function/a/b/c/d/version", "function/a/b/c/d/version/0", "package/x"} {
		if _, _, err := parseKey(key); err == nil {
			t.Errorf("%q was accepted", key)
		}
	}
}

func TestRecordsAreBounded(t *testing.T) {
	rec := &record{Incarnation: "i", Head: &faas.Version{}}
	for i := range 500 {
		rec.Aliases = append(rec.Aliases, faas.Alias{Name: fmt.Sprint("a", i), Description: strings.Repeat("\U0001F525", 256)})
	}
	if _, err := rec.encode(); !faas.IsCode(err, faas.CodeStorageLimit) {
		t.Errorf("encode: %v", err)
	}
}

// TestWorklistNeverWorksTwiceAtOnce has many workers and many additions of few keys.
func TestWorklistNeverWorksTwiceAtOnce(t *testing.T) {
	w := newWorklist[int]()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	busy, done := map[int]bool{}, map[int]int{}
	var workers, adders sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			w.run(ctx, func(_ context.Context, k int) {
				mu.Lock()
				if busy[k] {
					t.Errorf("%d is worked on twice at once", k)
				}
				busy[k] = true
				mu.Unlock()
				mu.Lock()
				busy[k] = false
				done[k]++
				mu.Unlock()
			})
		})
	}
	for range 8 {
		adders.Go(func() {
			for i := range 1000 {
				w.add(i % 5)
			}
		})
	}
	adders.Wait()
	for idle := false; !idle; {
		w.mu.Lock()
		idle = len(w.status) == 0
		w.mu.Unlock()
	}
	cancel()
	workers.Wait()
	if len(done) != 5 {
		t.Errorf("worked on %v", done)
	}
}

func FuzzMarker(f *testing.F) {
	for _, s := range []string{"", "Zg", "Zjox", position{"name", 7}.marker(), position{name: "a"}.marker(), "!!!"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseMarker(s)
		if err != nil {
			if !faas.IsCode(err, faas.CodeInvalid) {
				t.Fatal(err)
			}
			return
		}
		if s == "" {
			return
		}
		if again, err := parseMarker(p.marker()); err != nil || again != p {
			t.Fatalf("%q is %+v, whose marker is %+v, %v", s, p, again, err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"format":1,"incarnation":"i","head":{"id":{"number":"$LATEST"}},"published":[{"n":1,"pending":true}],"aliases":[{"name":"a","version":"1","weights":{"2":0.5}}]}`))
	f.Add([]byte(`{"format":1,"deleted":true,"lastNumber":3}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := decodeRecord("k", b)
		if err != nil || rec.Deleted {
			return
		}
		s := newSnapshot(tableID(), 1, rec, nil)
		for name := range s.aliases {
			s.route(name)
			s.find(name)
		}
		s.route("")
		if rec.pending() {
			rec.settle(nil)
		}
		if _, err := rec.encode(); err != nil && !faas.IsCode(err, faas.CodeStorageLimit) {
			t.Fatal(err)
		}
	})
}
