package registry_test

import (
	"context"
	"fmt"
	"reflect"
	"testing"

	"hearth/engine/datadir"
	"hearth/engine/nats"
	"hearth/faas"
	"hearth/registry"
)

// openEngine opens the real engine on a directory, and closes it with the test
// unless the test did.
func openEngine(t *testing.T, path string) (world *world, done func()) {
	t.Helper()
	dir, err := datadir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	e, err := nats.Open(t.Context(), nats.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld()
	w.meta = e.Meta()
	closed := false
	done = func() {
		if closed {
			return
		}
		closed = true
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := dir.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(done)
	return w, done
}

// TestOnTheRealEngine takes functions through their life on JetStream, and
// finds all of it after the engine was closed and opened again.
func TestOnTheRealEngine(t *testing.T) {
	path := t.TempDir()
	w, done := openEngine(t, path)
	packages := w.packages
	r := w.open(t)
	for i := range 5 {
		in := createInput(fmt.Sprint("f", i))
		in.Publish = i%2 == 0
		in.Tags = map[string]string{"team": "a"}
		must(r.Create(t.Context(), in))(t)
	}
	for i := range 5 {
		until(t, "active", func() bool { return settled(r, fn(fmt.Sprint("f", i))) })
	}
	memory := 512
	must(r.UpdateConfig(t.Context(), fn("f0"), registry.ConfigPatch{MemoryMB: &memory}, ""))(t)
	until(t, "updated", func() bool { return settled(r, fn("f0")) })
	must(r.Publish(t.Context(), registry.PublishInput{Function: fn("f0")}))(t)
	must(r.CreateAlias(t.Context(), faas.Alias{Function: fn("f0"), Name: "live", Version: "1", Weights: map[string]float64{"2": 1}}))(t)
	for _, do := range []step{reserve("f0", megabytes(51_200)), put0("live", instances(2)), reserve("f1", executions(5)), reserve("f2", executions(0)), limits(registry.AccountLimitsPatch{Expansion: n(50)})} {
		if err := do(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"f1", "f2"} { // without and with a version
		if err := r.Delete(t.Context(), fn(name), ""); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "packages collected", func() bool { return packages.count() == 3 })
	before := must(r.List(t.Context(), scope(), true, "", 0))(t)
	told := w.quota.of(account())
	r.Close(context.Background())
	done()

	w, _ = openEngine(t, path)
	w.packages = packages
	r = w.open(t)
	defer r.Close(context.Background())
	after := must(r.List(t.Context(), scope(), true, "", 0))(t)
	if fmt.Sprintf("%+v", deref(after.Items)) != fmt.Sprintf("%+v", deref(before.Items)) {
		t.Errorf("before %+v\nafter  %+v", deref(before.Items), deref(after.Items))
	}
	if now := w.quota.of(account()); !reflect.DeepEqual(now, told) || len(now.Functions) != 1 || now.Functions[fn("f0")].Provisioned["live"].Instances != 2 {
		t.Errorf("in force before %+v\nafter           %+v", told, now)
	}
	if v := must(r.Resolve(fn("f0"), "live"))(t); v.Config.MemoryMB != 512 || v.ID.Number != "2" {
		t.Errorf("%+v", v)
	}
	if err := checkWhole(t.Context(), w, r); err != nil {
		t.Error(err)
	}
	in := createInput("f2")
	in.Publish = true
	if v := must(r.Create(t.Context(), in))(t); v.ID.Number != "2" {
		t.Errorf("a version number was given again: %s", v.ID)
	}
}

func put0(qualifier string, a faas.Amount) step {
	return func(ctx context.Context, r *registry.Registry) error { return provision(ctx, r, "f0", qualifier, a) }
}

func deref(vs []*faas.Version) []faas.Version {
	var all []faas.Version
	for _, v := range vs {
		all = append(all, *v)
	}
	return all
}
