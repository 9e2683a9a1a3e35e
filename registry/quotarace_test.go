package registry_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"hearth/engine"
	"hearth/faas"
	"hearth/registry"
)

// slow holds up updates of the keys that end with suffix until it is let go.
type slow struct {
	engine.Meta
	suffix string
	held   chan struct{}
}

func (s *slow) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	if strings.HasSuffix(key, s.suffix) {
		<-s.held
	}
	return s.Meta.Update(ctx, key, value, last)
}

// TestMemoryAndReservationTakeTurns has a memory change and a reservation of
// another function under way at once, each of which alone would fit.
func TestMemoryAndReservationTakeTurns(t *testing.T) {
	for name, c := range map[string]struct {
		suffix        string
		first, second step
	}{
		"memory first":      {"/f/record", memory("f", 512), reserve("g", executions(500))},
		"reservation first": {"quota/" + account().String(), reserve("g", executions(500)), memory("f", 512)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, r := quotaWorld(t)
				r.Close(context.Background())
				held := &slow{Meta: w.meta, held: make(chan struct{})}
				w.meta = held
				r = w.open(t)
				defer r.Close(context.Background())
				if err := reserve("f", executions(200))(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				held.suffix = c.suffix
				var errs [2]error
				ended := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
				for i, do := range []step{c.first, c.second} {
					go func() {
						defer close(ended[i])
						errs[i] = do(t.Context(), r)
					}()
					synctest.Wait()
				}
				close(held.held)
				<-ended[0]
				<-ended[1]
				if errs[0] != nil || !faas.IsCode(errs[1], faas.CodeInvalid) {
					t.Errorf("first %v, second %v", errs[0], errs[1])
				}
				if err := w.quota.err(); err != nil {
					t.Errorf("in force, and may not be: %v", err)
				}
			})
		})
	}
}

// noQuotas fails every update of quotas while it is on.
type noQuotas struct {
	engine.Meta
	on atomic.Bool
}

func (m *noQuotas) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	if m.on.Load() && strings.HasPrefix(key, "quota/") {
		return 0, errPower
	}
	return m.Meta.Update(ctx, key, value, last)
}

// TestDeadQuotasStayDead has the store fail after something was deleted and
// before its quotas were: what is made anew under the name has none of them.
func TestDeadQuotasStayDead(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for name, c := range map[string]struct {
			remove, again step
		}{
			"alias": {
				func(ctx context.Context, r *registry.Registry) error { return r.DeleteAlias(ctx, fn("f"), "live") },
				func(ctx context.Context, r *registry.Registry) error {
					_, err := r.CreateAlias(ctx, faas.Alias{Function: fn("f"), Name: "live", Version: "1"})
					return err
				},
			},
			"function": {
				func(ctx context.Context, r *registry.Registry) error { return r.Delete(ctx, fn("f"), "") },
				func(ctx context.Context, r *registry.Registry) error {
					if _, err := r.Create(ctx, createInput("f")); err != nil {
						return err
					}
					synctest.Wait()
					if _, err := r.Publish(ctx, registry.PublishInput{Function: fn("f")}); err != nil {
						return err
					}
					_, err := r.CreateAlias(ctx, faas.Alias{Function: fn("f"), Name: "live", Version: "3"})
					return err
				},
			},
		} {
			synctest.Test(t, func(t *testing.T) {
				w, _ := crashWorld(t)
				failing := &noQuotas{Meta: w.meta}
				w.meta = failing
				r := w.open(t)
				defer func() { r.Close(context.Background()) }()
				failing.on.Store(true)
				if err := c.remove(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				failing.on.Store(false)
				if e, err := w.meta.Get(t.Context(), "quota/"+account().String()); err != nil || !strings.Contains(string(e.Value), `"live"`) {
					t.Fatalf("%s: the test is void, its quotas are gone: %s, %v", name, e.Value, err)
				}
				if restart {
					r.Close(context.Background())
					r = w.open(t)
				}
				if err := c.again(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				_, err := r.GetProvisioned(t.Context(), fn("f"), "live")
				wantNoProvisioned(t, err)
				if q := must(r.FunctionQuota(t.Context(), fn("f")))(t); name == "function" && q != (registry.FunctionQuota{}) {
					t.Errorf("%+v", q)
				}
				if name == "alias" || restart {
					if err := checkQuotaRecords(t.Context(), w, r); err != nil {
						t.Errorf("%s, restart %v: %v", name, restart, err)
					}
				}
				if got := w.quota.of(account()).Functions[fn("f")]; got.Provisioned["live"].Instances != 0 {
					t.Errorf("%s, restart %v: in force %+v", name, restart, got)
				}
			})
		}
	}
}

// TestLaggingNodeDropsNothing has a node change quotas before it heard of the
// alias that another node made and gave provisioned concurrency.
func TestLaggingNodeDropsNothing(t *testing.T) {
	w := newWorld()
	a := w.open(t)
	defer a.Close(context.Background())
	in := createInput("f")
	in.Publish = true
	must(a.Create(t.Context(), in))(t)
	until(t, "active", func() bool { return settled(a, fn("f")) })
	late := &brokenWatch{Meta: w.meta, again: make(chan struct{})}
	other := *w
	other.meta, other.packages, other.quota = late, newShelf(), newBook()
	b := other.open(t)
	defer b.Close(context.Background())
	until(t, "the watch broke", func() bool { return late.times.Load() > 1 })
	must(a.CreateAlias(t.Context(), faas.Alias{Function: fn("f"), Name: "live", Version: "1"}))(t)
	if err := put("live", instances(2))(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	until(t, "the node hears of quotas", func() bool { return other.quota.changes(fn("f")) > 0 })
	if _, err := b.GetAlias(t.Context(), fn("f"), "live"); err == nil {
		t.Error("the test is void, the node has heard of the alias")
	}
	if err := b.PutFunctionMaximum(t.Context(), fn("f"), n(5)); err != nil {
		t.Fatal(err)
	}
	until(t, "both changes are there", func() bool {
		q, err := a.FunctionQuota(t.Context(), fn("f"))
		return err == nil && q.Maximum != nil
	})
	if p := must(a.GetProvisioned(t.Context(), fn("f"), "live"))(t); p.Instances != 2 {
		t.Errorf("%+v", p)
	}
}

// TestQuotasOfTwoNodes has two nodes reserve at once: the one record keeps the
// sums, and both tell the same in the end.
func TestQuotasOfTwoNodes(t *testing.T) {
	w := newWorld()
	a := w.open(t)
	defer a.Close(context.Background())
	other := *w
	other.packages, other.quota = newShelf(), newBook()
	b := other.open(t)
	defer b.Close(context.Background())
	names := []string{"f", "g", "h"}
	for _, name := range names {
		must(a.Create(t.Context(), createInput(name)))(t)
		until(t, "both know it", func() bool {
			_, err := b.Resolve(fn(name), "")
			return err == nil && settled(a, fn(name)) && settled(b, fn(name))
		})
	}
	ended := make(chan struct{})
	for i, r := range []*registry.Registry{a, b} {
		go func() {
			defer func() { ended <- struct{}{} }()
			for round := range 60 {
				err := r.PutReserved(t.Context(), fn(names[(round+i)%3]), executions(200+100*((round+i)%5)))
				if err != nil && !faas.IsCode(err, faas.CodeInvalid) {
					t.Error(err)
				}
			}
		}()
	}
	<-ended
	<-ended
	until(t, "both tell the same", func() bool {
		for _, name := range names {
			x, errX := a.FunctionQuota(t.Context(), fn(name))
			y, errY := b.FunctionQuota(t.Context(), fn(name))
			inForce := other.quota.of(account()).Functions[fn(name)].Reserved
			if errX != nil || errY != nil || (x.Reserved == nil) != (y.Reserved == nil) || x.Reserved != nil && (*x.Reserved != *y.Reserved || inForce == nil || *inForce != *x.Reserved) {
				return false
			}
		}
		return true
	})
	for _, w := range []*world{w, &other} {
		if err := w.quota.err(); err != nil {
			t.Errorf("in force, and may not be: %v", err)
		}
	}
}
