package registry_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"hearth/faas"
	"hearth/registry"
)

func TestProvisionedInInstances(t *testing.T) {
	for _, c := range []struct {
		qualifier string
		amount    faas.Amount
		want      int
	}{
		{"1", instances(7), 7},
		{"1", executions(7), 7},
		{"3", executions(7), 1}, // ten in each
		{"3", executions(20), 2},
		{"3", executions(21), 3},
		{"2", megabytes(512), 2}, // of 256 MB
		{"both", instances(3), 3},
		{"both", executions(3), 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, r := quotaWorld(t)
			p := must(r.PutProvisioned(t.Context(), fn("f"), provisioned(c.qualifier, c.amount)))(t)
			if p.Instances != c.want || p.Amount != c.amount || p.Modified.IsZero() {
				t.Errorf("%s of %s: %+v, want %d instances", c.amount, c.qualifier, p, c.want)
			}
			if got := must(r.GetProvisioned(t.Context(), fn("f"), c.qualifier))(t); fmt.Sprint(got) != fmt.Sprint(p) {
				t.Errorf("put %+v, got %+v", p, got)
			}
		})
	}
}

// TestProvisionedFollowsItsAlias keeps the unit that was set when an alias moves
// to a version of another size.
func TestProvisionedFollowsItsAlias(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := quotaWorld(t)
		if err := put("one", executions(20))(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		for version, want := range map[string]int{"1": 20, "2": 20, "3": 2} {
			if err := moveAlias(t.Context(), r, "f", "one", version); err != nil {
				t.Fatal(err)
			}
			p, _ := r.Provisioning(fn("f"))
			if got := must(r.GetProvisioned(t.Context(), fn("f"), "one"))(t); got.Instances != want || p.Configs[0].Instances != want {
				t.Errorf("20 executions of version %s: %+v, %+v, want %d", version, got, p, want)
			}
		}
	})
}

func TestListProvisioned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := quotaWorld(t)
		want := []string{"1", "2", "three"}
		for _, q := range want {
			if err := put(q, instances(1))(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for marker := ""; ; {
			page := must(r.ListProvisioned(t.Context(), fn("f"), marker, 2))(t)
			for _, p := range page.Items {
				got = append(got, p.Qualifier)
			}
			if marker = page.Next; marker == "" {
				break
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("listed %v, want %v", got, want)
		}
		if page := must(r.ListProvisioned(t.Context(), fn("g"), "", 0))(t); len(page.Items) != 0 {
			t.Errorf("%+v", page)
		}
		_, err := r.ListProvisioned(t.Context(), fn("nobody"), "", 0)
		wantCode(t, err, faas.CodeNotFound)
		_, err = r.ListProvisioned(t.Context(), fn("f"), "%", 0)
		wantCode(t, err, faas.CodeInvalid)
	})
}

func TestDeleteProvisioned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := quotaWorld(t)
		wantNoProvisioned(t, r.DeleteProvisioned(t.Context(), fn("f"), "1"))
		if err := put("1", instances(1))(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if err := r.DeleteProvisioned(t.Context(), fn("f"), "1"); err != nil {
			t.Fatal(err)
		}
		_, err := r.GetProvisioned(t.Context(), fn("f"), "1")
		wantNoProvisioned(t, err)
		wantCode(t, r.DeleteProvisioned(t.Context(), fn("f"), faas.Latest), faas.CodeInvalid)
		wantCode(t, r.DeleteProvisioned(t.Context(), fn("f"), "nine"), faas.CodeNotFound)
		wantCode(t, r.DeleteProvisioned(t.Context(), fn("nobody"), "1"), faas.CodeNotFound)
	})
}

// TestProvisioningRoutes says where the calls of each qualifier go, to the very
// versions that Resolve returns.
func TestProvisioningRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := quotaWorld(t)
		if p, ok := r.Provisioning(fn("f")); ok {
			t.Errorf("nothing is configured: %+v", p)
		}
		for _, do := range []step{put("both", instances(4)), put("3", instances(1))} {
			if err := do(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		check := func(want map[string]float64) {
			t.Helper()
			p, ok := r.Provisioning(fn("f"))
			got := map[string]float64{}
			for qualifier, routes := range p.Routes {
				for _, route := range routes {
					got[qualifier+":"+route.Version.ID.Number] = route.Weight
					if v := must(r.Resolve(fn("f"), route.Version.ID.Number))(t); v != route.Version {
						t.Errorf("%s is not the version that Resolve returns", v.ID)
					}
				}
			}
			if !ok || fmt.Sprint(got) != fmt.Sprint(want) || len(p.Configs) != 2 {
				t.Errorf("%+v, want %v", p, want)
			}
		}
		check(map[string]float64{"both:1": 0.75, "both:2": 0.25, "3:3": 1})
		weights := map[string]float64{"2": 1}
		must(r.UpdateAlias(t.Context(), fn("f"), "both", registry.AliasPatch{Weights: &weights}))(t)
		check(map[string]float64{"both:2": 1, "3:3": 1})

		changes := w.quota.changes(fn("f"))
		weights = map[string]float64{}
		must(r.UpdateAlias(t.Context(), fn("f"), "both", registry.AliasPatch{Weights: &weights}))(t)
		check(map[string]float64{"both:1": 1, "3:3": 1})
		if w.quota.changes(fn("f")) == changes {
			t.Error("nobody was told that the alias moved")
		}
		if all := r.AllProvisioning(); len(all) != 1 || all[0].Function != fn("f") {
			t.Errorf("%+v", all)
		}
	})
}

// TestPendingVersionsHaveNoRoute publishes with code that is not ready yet.
func TestPendingVersionsHaveNoRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.packages.block = make(chan struct{})
		r := w.open(t)
		defer r.Close(context.Background())
		in := createInput("f")
		in.Publish = true
		must(r.Create(t.Context(), in))(t)
		if err := put("1", instances(2))(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if p, ok := r.Provisioning(fn("f")); !ok || len(p.Routes) != 0 {
			t.Errorf("%+v, %v", p, ok)
		}
		changes := w.quota.changes(fn("f"))
		close(w.packages.block)
		synctest.Wait()
		if p, _ := r.Provisioning(fn("f")); len(p.Routes["1"]) != 1 || p.Routes["1"][0].Weight != 1 {
			t.Errorf("%+v", p)
		}
		if w.quota.changes(fn("f")) == changes {
			t.Error("nobody was told that the version can be called")
		}
	})
}

// TestDeletedQualifiersLoseTheirs deletes what has provisioned concurrency.
func TestDeletedQualifiersLoseTheirs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := quotaWorld(t)
		for _, do := range []step{put("one", instances(4)), put("3", instances(1)), reserve("g", executions(1))} {
			if err := do(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.DeleteAlias(t.Context(), fn("f"), "three"); err != nil {
			t.Fatal(err)
		}
		if err := r.Delete(t.Context(), fn("f"), "3"); err != nil {
			t.Fatal(err)
		}
		if p, _ := r.Provisioning(fn("f")); len(p.Configs) != 1 || p.Configs[0].Qualifier != "one" {
			t.Errorf("%+v", p)
		}
		if err := r.DeleteAlias(t.Context(), fn("f"), "one"); err != nil {
			t.Fatal(err)
		}
		if p, ok := r.Provisioning(fn("f")); ok {
			t.Errorf("%+v", p)
		}
		if err := r.Delete(t.Context(), fn("g"), ""); err != nil {
			t.Fatal(err)
		}
		if err := checkQuotaRecords(t.Context(), w, r); err != nil {
			t.Error(err)
		}
	})
}
