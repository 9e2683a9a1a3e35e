package registry_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hearth/engine"
	"hearth/faas"
	"hearth/internal/seeds"
	"hearth/registry"
)

func TestTwoCreatesOneWins(t *testing.T) {
	w := newWorld()
	r := w.open(t)
	defer r.Close(context.Background())
	const callers = 8
	for round := range 50 {
		name := fmt.Sprint("f", round)
		var won atomic.Int32
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				in := createInput(name)
				in.Zip = zipOf(fmt.Sprint(name, " of ", c%2))
				switch _, err := r.Create(t.Context(), in); {
				case err == nil:
					won.Add(1)
				case !faas.IsCode(err, faas.CodeConflict):
					t.Errorf("the loser got %v", err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d creates of one name succeeded", won.Load())
		}
	}
	// Losers' packages are collected unless the winner has the same.
	until(t, "one package for each function", func() bool { return w.packages.count() == 50 })
}

func TestUpdatesMeanwhile(t *testing.T) {
	w := newWorld()
	w.stage.block = make(chan struct{})
	r := w.open(t)
	defer r.Close(context.Background())
	must(r.Create(t.Context(), createInput("f")))(t)
	until(t, "active", func() bool { return settled(r, fn("f")) })
	var won, refused atomic.Int32
	var wg sync.WaitGroup
	for c := range 16 {
		wg.Go(func() {
			_, err := r.UpdateCode(t.Context(), registry.UpdateCodeInput{Function: fn("f"), Zip: zipOf(fmt.Sprint(c))})
			switch {
			case err == nil:
				won.Add(1)
			case faas.IsCode(err, faas.CodeUpdating):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || refused.Load() != 15 {
		t.Errorf("%d won, %d refused", won.Load(), refused.Load())
	}
	close(w.stage.block)
	until(t, "updated", func() bool { return settled(r, fn("f")) })
}

// TestHammer has many callers change few functions of few packages while others
// resolve. In the end every package that is used is there, and no other.
func TestHammer(t *testing.T) {
	w := newWorld()
	r := w.open(t)
	defer r.Close(context.Background())
	hammerAll(t, r, r)
	until(t, "nothing half-done", func() bool { return checkPackages(t.Context(), w, r) == nil })
}

// TestHammerTwoNodes is the same on two registries over one store, as two nodes
// would be. In the end both say the same. (Each has its packages in a place of
// its own: what is collected on one node is not the other's.)
func TestHammerTwoNodes(t *testing.T) {
	w := newWorld()
	a := w.open(t)
	defer a.Close(context.Background())
	w.packages = newShelf()
	b := w.open(t)
	defer b.Close(context.Background())
	hammerAll(t, a, b)
	for i := range 3 {
		id := fn(fmt.Sprint("f", i))
		until(t, "both settle on the same", func() bool { return settled(a, id) && settled(b, id) && same(a, b, id) })
	}
}

func hammerAll(t *testing.T, a, b *registry.Registry) {
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() { resolveUntil(t, stop, a) })
	}
	rounds := 60
	if seeds.Long() {
		rounds *= 20
	}
	for c := range 6 {
		r := []*registry.Registry{a, b}[c%2]
		writers.Go(func() {
			for i := range rounds {
				hammer(t, r, fmt.Sprint("f", (c+i)%3), i)
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}

func resolveUntil(t *testing.T, stop chan struct{}, r *registry.Registry) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		v, err := r.Resolve(fn(fmt.Sprint("f", i%3)), "live")
		if err != nil && !faas.IsCode(err, faas.CodeNotFound) || err == nil && v.ID.Number == "" {
			t.Errorf("Resolve: %v, %v", v, err)
			return
		}
		runtime.Gosched()
	}
}

func hammer(t *testing.T, r *registry.Registry, name string, i int) {
	ctx := t.Context()
	in := createInput(name)
	in.Zip, in.Publish = zipOf(fmt.Sprint(i%3)), i%2 == 0
	var errs [5]error
	_, errs[0] = r.Create(ctx, in)
	_, errs[1] = r.UpdateCode(ctx, registry.UpdateCodeInput{Function: fn(name), Zip: zipOf(fmt.Sprint(i % 4)), Publish: i%3 == 0})
	v, err := r.Publish(ctx, registry.PublishInput{Function: fn(name)})
	if errs[2] = err; err == nil {
		_, errs[3] = r.CreateAlias(ctx, faas.Alias{Function: fn(name), Name: "live", Version: v.ID.Number})
	}
	if i%7 == 0 {
		errs[4] = r.Delete(ctx, fn(name), "")
	}
	for _, err := range errs {
		switch faas.CodeOf(err) {
		case faas.CodeConflict, faas.CodeUpdating, faas.CodeNotFound:
		default:
			if err != nil {
				t.Errorf("%s: %v (%v)", name, err, errors.Unwrap(err))
			}
		}
	}
}

func same(a, b *registry.Registry, id faas.FunctionID) bool {
	x, errX := a.ListVersions(context.Background(), id, "", 1000)
	y, errY := b.ListVersions(context.Background(), id, "", 1000)
	if errX != nil || errY != nil {
		return (errX != nil) == (errY != nil)
	}
	if len(x.Items) != len(y.Items) {
		return false
	}
	for i := range x.Items {
		if x.Items[i].RevisionID != y.Items[i].RevisionID || x.Items[i].ID != y.Items[i].ID {
			return false
		}
	}
	return true
}

// brokenWatch ends the first watch of functions as soon as it has caught up, and
// does not let another begin before it is told.
type brokenWatch struct {
	engine.Meta
	again chan struct{}
	times atomic.Int32
}

func (b *brokenWatch) Watch(ctx context.Context, prefix string, apply func(engine.Change) error) error {
	if prefix != "function" {
		return b.Meta.Watch(ctx, prefix, apply)
	}
	if b.times.Add(1) > 1 {
		select {
		case <-b.again:
		case <-ctx.Done():
			return ctx.Err()
		}
		return b.Meta.Watch(ctx, prefix, apply)
	}
	return b.Meta.Watch(ctx, prefix, func(c engine.Change) error {
		if err := apply(c); err != nil || c.Key != "" {
			return err
		}
		return errors.New("the connection broke")
	})
}

// TestWatchResumes has another node change things while a node does not see it.
func TestWatchResumes(t *testing.T) {
	w := newWorld()
	other := w.open(t)
	defer other.Close(context.Background())
	for _, name := range []string{"kept", "deleted", "plain"} {
		in := createInput(name)
		in.Publish = name == "deleted"
		must(other.Create(t.Context(), in))(t)
		until(t, "active", func() bool { return settled(other, fn(name)) })
	}
	broken := &brokenWatch{Meta: w.meta, again: make(chan struct{})}
	w.meta = broken
	r := w.open(t)
	defer r.Close(context.Background())
	until(t, "the watch broke", func() bool { return broken.times.Load() > 1 })
	for _, name := range []string{"deleted", "plain"} {
		if err := other.Delete(t.Context(), fn(name), ""); err != nil {
			t.Fatal(err)
		}
	}
	must(other.Create(t.Context(), createInput("new")))(t)
	if _, err := r.Resolve(fn("plain"), ""); err != nil {
		t.Errorf("the test is void, the node saw the deletion: %v", err)
	}
	close(broken.again)
	until(t, "the node catches up", func() bool {
		_, plain := r.Resolve(fn("plain"), "")
		_, deleted := r.Resolve(fn("deleted"), "")
		_, kept := r.Resolve(fn("kept"), "")
		_, created := r.Resolve(fn("new"), "")
		return plain != nil && deleted != nil && kept == nil && created == nil
	})
}

func TestCloseLeavesNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		w := newWorld()
		r := w.open(t)
		must(r.Create(t.Context(), createInput("f")))(t)
		r.Close(context.Background())
	}
	until(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestNewRefusesDamage(t *testing.T) {
	for key, value := range map[string]string{
		"function/123456789012/us-east-1/default/f/record":    `{"format":1}`,
		"function/123456789012/us-east-1/default/g/record":    `{"format":99}`,
		"function/123456789012/us-east-1/default/h/record":    `not json`,
		"function/123456789012/us-east-1/default/h/version/1": `{}`,
		"package/abc":                        `{}`,
		"quota/123456789012/us-east-1":       `{"format":99}`,
		"quota/123456789012/us-east-2":       `not json`,
		"quota/123456789012/us-east-3":       `{"format":1,"functions":{"default/f":null}}`,
		"quota/123456789012/us-east-4/extra": `{"format":1}`,
	} {
		w := newWorld()
		if _, err := w.meta.Create(t.Context(), key, []byte(value)); err != nil {
			t.Fatal(err)
		}
		r, err := registry.New(t.Context(), w.options())
		if err == nil {
			r.Close(context.Background())
			t.Errorf("%s with %s was accepted", key, value)
			continue
		}
		if chain := fmt.Sprint(err, errors.Unwrap(err)); !strings.Contains(chain, key) {
			t.Errorf("the error does not name %s: %s", key, chain)
		}
	}
}

func TestNewStopsWithItsContext(t *testing.T) {
	w := newWorld()
	w.meta = &brokenWatch{Meta: w.meta, again: make(chan struct{})}
	w.meta.(*brokenWatch).times.Store(1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := registry.New(ctx, w.options()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("New: %v", err)
	}
}
