package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"hearth/faas"
	"hearth/registry"
)

// TestCrashAtEveryWrite runs every kind of change on a store that dies at its
// first, second, ... write, with the failing write done or not, and opens it
// again: what was acknowledged is there, what was refused is whole or absent,
// and nothing is left over.
func TestCrashAtEveryWrite(t *testing.T) { failAtEveryWrite(t, true) }

// TestErrorAtEveryWrite is the same with a store that fails once and lives on.
func TestErrorAtEveryWrite(t *testing.T) { failAtEveryWrite(t, false) }

func failAtEveryWrite(t *testing.T, dies bool) {
	for name, run := range crashCases() {
		for at := 1; ; at++ {
			tripped := false
			for _, applied := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					what := fmt.Sprintf("%s, write %d, applied %v", name, at, applied)
					tripped = failOnce(t, what, run, fault{at: at, applied: applied, dies: dies})
				})
			}
			if !tripped {
				if at == 1 {
					t.Errorf("%s writes nothing", name)
				}
				break
			}
		}
	}
}

type crashCase struct {
	do func(context.Context, *registry.Registry) error
	// done reports whether the change happened; it is asked after a restart.
	done func(*registry.Registry) bool
}

func crashCases() map[string]crashCase {
	has := func(name, q string) func(*registry.Registry) bool {
		return func(r *registry.Registry) bool { _, err := r.Get(context.Background(), fn(name), q); return err == nil }
	}
	not := func(f func(*registry.Registry) bool) func(*registry.Registry) bool {
		return func(r *registry.Registry) bool { return !f(r) }
	}
	return map[string]crashCase{
		"create": {func(ctx context.Context, r *registry.Registry) error {
			_, err := r.Create(ctx, createInput("new"))
			return err
		}, has("new", "")},
		"create and publish": {func(ctx context.Context, r *registry.Registry) error {
			in := createInput("new")
			in.Publish = true
			_, err := r.Create(ctx, in)
			return err
		}, has("new", "1")},
		"create again": {func(ctx context.Context, r *registry.Registry) error {
			_, err := r.Create(ctx, createInput("gone"))
			return err
		}, has("gone", "")},
		"update code": {func(ctx context.Context, r *registry.Registry) error {
			_, err := r.UpdateCode(ctx, registry.UpdateCodeInput{Function: fn("f"), Zip: zipOf("v9"), Publish: true})
			return err
		}, has("f", "3")},
		"publish": {func(ctx context.Context, r *registry.Registry) error {
			_, err := r.Publish(ctx, registry.PublishInput{Function: fn("f")})
			return err
		}, has("f", "3")},
		"alias": {func(ctx context.Context, r *registry.Registry) error {
			_, err := r.CreateAlias(ctx, faas.Alias{Function: fn("f"), Name: "new", Version: "1"})
			return err
		}, has("f", "new")},
		"delete version": {func(ctx context.Context, r *registry.Registry) error {
			return r.Delete(ctx, fn("f"), "2")
		}, not(has("f", "2"))},
		"delete function": {func(ctx context.Context, r *registry.Registry) error {
			return r.Delete(ctx, fn("f"), "")
		}, not(has("f", ""))},
		"delete alias": {func(ctx context.Context, r *registry.Registry) error {
			return r.DeleteAlias(ctx, fn("f"), "live")
		}, func(r *registry.Registry) bool {
			_, err := r.GetAlias(context.Background(), fn("f"), "live")
			return err != nil
		}},
		"account limits": {limits(registry.AccountLimitsPatch{Executions: n(5000)}), func(r *registry.Registry) bool {
			l, err := r.AccountLimits(context.Background(), scope())
			return err == nil && l.Executions == 5000
		}},
		"reserve": {reserve("plain", executions(3)), func(r *registry.Registry) bool {
			q, err := r.FunctionQuota(context.Background(), fn("plain"))
			return err == nil && q.Reserved != nil
		}},
		"unreserve": {func(ctx context.Context, r *registry.Registry) error {
			return r.DeleteReserved(ctx, fn("f"))
		}, func(r *registry.Registry) bool {
			q, err := r.FunctionQuota(context.Background(), fn("f"))
			return err == nil && q.Reserved == nil
		}},
		"maximum": {func(ctx context.Context, r *registry.Registry) error {
			return r.PutFunctionMaximum(ctx, fn("f"), n(9))
		}, func(r *registry.Registry) bool {
			q, err := r.FunctionQuota(context.Background(), fn("f"))
			return err == nil && q.Maximum != nil
		}},
		"provision": {put("2", instances(5)), func(r *registry.Registry) bool {
			p, err := r.GetProvisioned(context.Background(), fn("f"), "2")
			return err == nil && p.Instances == 5
		}},
		"unprovision": {func(ctx context.Context, r *registry.Registry) error {
			return r.DeleteProvisioned(ctx, fn("f"), "live")
		}, func(r *registry.Registry) bool {
			_, err := r.GetProvisioned(context.Background(), fn("f"), "live")
			return err != nil
		}},
		"configure events": {putEvents("f", "1", retries(1)), func(r *registry.Registry) bool {
			return r.AsyncConfig(fn("f"), "1").MaxRetries() == 1
		}},
		"update events": {func(ctx context.Context, r *registry.Registry) error {
			_, err := r.UpdateEventConfig(ctx, fn("f"), "live", registry.EventConfigPatch{Retries: n(1)})
			return err
		}, func(r *registry.Registry) bool {
			return r.AsyncConfig(fn("f"), "live").MaxRetries() == 1
		}},
		"unconfigure events": {func(ctx context.Context, r *registry.Registry) error {
			return r.DeleteEventConfig(ctx, fn("f"), "live")
		}, func(r *registry.Registry) bool {
			_, err := r.GetEventConfig(context.Background(), fn("f"), "live")
			return err != nil
		}},
		"permit": {permit("live", "s"), func(r *registry.Registry) bool {
			p, err := r.Policy(context.Background(), fn("f"), "live")
			return err == nil && len(p.Statements) == 1
		}},
		"make a URL": {func(ctx context.Context, r *registry.Registry) error {
			_, err := r.CreateURL(ctx, fn("f"), faas.FunctionURL{Auth: faas.URLAuthIAM})
			return err
		}, func(r *registry.Registry) bool {
			u, err := r.GetURL(context.Background(), fn("f"), "")
			if err != nil {
				return false
			}
			target, ok := r.ResolveURL(u.ID)
			return ok && target.Function == fn("f")
		}},
		"recursion": {func(ctx context.Context, r *registry.Registry) error {
			return r.PutRecursionLoop(ctx, fn("f"), registry.RecursionAllow)
		}, func(r *registry.Registry) bool {
			loop, err := r.RecursionLoop(context.Background(), fn("f"))
			return err == nil && loop == registry.RecursionAllow
		}},
		"map": {func(ctx context.Context, r *registry.Registry) error {
			_, err := r.CreateMapping(ctx, queueMapping("f"))
			return err
		}, func(r *registry.Registry) bool { return len(mappingsOf(r, "f")) == 1 }},
		"change mapping": {func(ctx context.Context, r *registry.Registry) error {
			_, err := r.UpdateMapping(ctx, scope(), mappingsOf(r, "plain")[0].UUID, registry.MappingPatch{Settings: faas.MappingSettings{BatchSize: n(3)}})
			return err
		}, func(r *registry.Registry) bool { return *mappingsOf(r, "plain")[0].Settings.BatchSize == 3 }},
		"unmap": {func(ctx context.Context, r *registry.Registry) error {
			_, err := r.DeleteMapping(ctx, scope(), mappingsOf(r, "plain")[0].UUID)
			return err
		}, func(r *registry.Registry) bool { return len(mappingsOf(r, "plain")) == 0 }},
		"publish layer": {func(ctx context.Context, r *registry.Registry) error {
			_, err := r.PublishLayer(ctx, layerInput("new", "new layer"))
			return err
		}, func(r *registry.Registry) bool {
			page, err := r.ListLayerVersions(context.Background(), layerID("new"), registry.LayerFilter{}, "", 0)
			return err == nil && len(page.Items) == 1
		}},
		"delete layer": {func(ctx context.Context, r *registry.Registry) error {
			return r.DeleteLayer(ctx, layerID("tools"), 2)
		}, not(hasLayer("tools", 2))},
		"delete layer in use": {func(ctx context.Context, r *registry.Registry) error {
			return r.DeleteLayer(ctx, layerID("tools"), 1)
		}, not(hasLayer("tools", 1))},
		"permit layer": {func(ctx context.Context, r *registry.Registry) error {
			_, err := r.AddLayerPermission(ctx, layerID("tools"), 1, faas.LayerStatement{SID: "all", Principal: "*"}, "")
			return err
		}, func(r *registry.Registry) bool {
			v, err := r.Layer(context.Background(), layerID("tools"), 1)
			return err == nil && v.Allows("222222222222")
		}},
		"create with layers": {func(ctx context.Context, r *registry.Registry) error {
			in := createInput("layered")
			in.Layers = []string{layerARN("tools", 2), layerARN("more", 1)}
			_, err := r.Create(ctx, in)
			return err
		}, has("layered", "")},
		"change layers": {func(ctx context.Context, r *registry.Registry) error {
			_, err := r.UpdateConfig(ctx, fn("plain"), registry.ConfigPatch{Layers: &[]string{layerARN("more", 1)}}, "")
			return err
		}, func(r *registry.Registry) bool {
			f, err := r.Get(context.Background(), fn("plain"), "")
			return err == nil && f.Version.Config.Layers[0].ARN == layerARN("more", 1)
		}},
		"delete plain function": {func(ctx context.Context, r *registry.Registry) error {
			return r.Delete(ctx, fn("plain"), "")
		}, not(has("plain", ""))},
	}
}

// crashWorld has a function f with code newer than its versions 1 and 2 and an
// alias, a function without versions, and one that was deleted after version 1.
// The one without versions uses version 1 of the layer tools, which has two; the
// layer more has one. It has an event source mapping. f has a reservation, and provisioned concurrency and settings of asynchronous
// invocations of alias and version 2.
func crashWorld(t *testing.T) (*world, *faulty) {
	w := newWorld()
	f := &faulty{Meta: w.meta}
	w.meta = f
	r := w.open(t)
	defer r.Close(context.Background())
	for _, name := range []string{"f", "plain", "gone"} {
		in := createInput(name)
		in.Publish = name != "plain"
		must(r.Create(t.Context(), in))(t)
		synctest.Wait()
	}
	for _, zip := range []string{"v2", "v3"} {
		must(r.UpdateCode(t.Context(), registry.UpdateCodeInput{Function: fn("f"), Zip: zipOf(zip)}))(t)
		synctest.Wait()
		if zip == "v2" {
			must(r.Publish(t.Context(), registry.PublishInput{Function: fn("f")}))(t)
		}
	}
	must(r.CreateAlias(t.Context(), faas.Alias{Function: fn("f"), Name: "live", Version: "1"}))(t)
	if err := r.Delete(t.Context(), fn("gone"), ""); err != nil {
		t.Fatal(err)
	}
	for _, do := range []step{reserve("f", executions(20)), put("live", instances(3)), put("2", instances(2)),
		putEvents("f", "live", retries(0)), putEvents("f", "2", retries(0))} {
		if err := do(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for _, in := range []registry.PublishLayerInput{layerInput("tools", "one"), layerInput("tools", "two"), layerInput("more", "more")} {
		must(r.PublishLayer(t.Context(), in))(t)
	}
	must(r.UpdateConfig(t.Context(), fn("plain"), registry.ConfigPatch{Layers: &[]string{layerARN("tools", 1)}}, ""))(t)
	must(r.CreateMapping(t.Context(), queueMapping("plain")))(t)
	synctest.Wait()
	return w, f
}

func failOnce(t *testing.T, what string, c crashCase, at fault) (tripped bool) {
	w, meta := crashWorld(t)
	r := w.open(t)
	meta.arm(at)
	err := c.do(t.Context(), r)
	synctest.Wait() // activations and collections run into the dead store too
	if !at.dies && c.done(r) != (err == nil) && !errors.Is(err, errPower) {
		t.Errorf("%s: error %v does not say what happened", what, err)
	}
	r.Close(context.Background())
	tripped = meta.tripped()
	meta.arm(fault{})

	r = w.open(t)
	defer r.Close(context.Background())
	synctest.Wait()
	done := c.done(r)
	if err == nil && !done {
		t.Errorf("%s: acknowledged and lost", what)
	}
	if err != nil && !errors.Is(err, errPower) {
		t.Errorf("%s: unexpected error %v", what, err)
	}
	if err != nil && !at.applied && done {
		t.Errorf("%s: refused, not written, and there", what)
	}
	if err := checkWhole(t.Context(), w, r); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if !done { // nothing may stand in the way of doing it again
		if err := c.do(t.Context(), r); err != nil || !c.done(r) {
			t.Errorf("%s: cannot be done again: %v", what, err)
		}
		synctest.Wait()
	}
	return tripped
}

// checkWhole looks for half-done changes: versions that are not ready, packages
// without a version or the other way round, keys that nothing refers to.
func checkWhole(ctx context.Context, w *world, r *registry.Registry) error {
	if err := checkPackages(ctx, w, r); err != nil {
		return err
	}
	if err := checkQuotaRecords(ctx, w, r); err != nil {
		return err
	}
	page, err := r.List(ctx, scope(), true, "", 1000)
	if err != nil {
		return err
	}
	keys := map[string]bool{}
	for _, v := range page.Items {
		if v.State != faas.StateActive || v.Update != faas.UpdateSuccessful {
			return fmt.Errorf("%s is %s, %s", v.ID, v.State, v.Update)
		}
		keys["package/"+v.Code.SHA256] = true
		for _, l := range v.Config.Layers {
			keys["package/"+l.Code.SHA256] = true
		}
		if v.ID.Number == faas.Latest {
			if err := checkEventConfigs(ctx, r, v.ID.Function); err != nil {
				return err
			}
		} else {
			keys["function/"+v.ID.Function.String()+"/version/"+v.ID.Number] = true
		}
	}
	layers, err := allLayers(ctx, r)
	if err != nil {
		return err
	}
	for _, v := range layers {
		keys["package/"+v.Code.SHA256] = true
		keys["layer/"+v.Layer.String()+"/version/"+faas.VersionNumber(v.Number)] = true
	}
	mappings, err := r.ListMappings(ctx, registry.MappingFilter{Scope: scope()}, "", 0)
	if err != nil {
		return err
	}
	for _, m := range mappings.Items {
		keys["mapping/"+m.Function.Account+"/"+m.Function.Region+"/"+m.UUID] = true
	}
	entries, err := w.meta.List(ctx, "")
	if err != nil {
		return err
	}
	for _, e := range entries {
		counter := strings.HasPrefix(e.Key, "layer/") && strings.HasSuffix(e.Key, "/last")
		if !keys[e.Key] && !strings.HasSuffix(e.Key, "/record") && !counter && !strings.HasPrefix(e.Key, "quota/") {
			return fmt.Errorf("key %s is left over", e.Key)
		}
		delete(keys, e.Key)
	}
	if len(keys) > 0 {
		return fmt.Errorf("keys are missing: %v", slices.Sorted(maps.Keys(keys)))
	}
	return nil
}

// checkEventConfigs looks for settings of versions and aliases that are no more.
func checkEventConfigs(ctx context.Context, r *registry.Registry, id faas.FunctionID) error {
	page, err := r.ListEventConfigs(ctx, id, "", 0)
	if err != nil {
		return err
	}
	for _, c := range page.Items {
		if _, err := r.Get(ctx, id, c.Qualifier); err != nil {
			return fmt.Errorf("settings of %s are left over: %w", c.Qualifier, err)
		}
	}
	return nil
}

// checkQuotaRecords looks for quotas of functions, versions and aliases that are
// no more, and for an allocator that was told something else than is stored.
func checkQuotaRecords(ctx context.Context, w *world, r *registry.Registry) error {
	entries, err := w.meta.List(ctx, "quota")
	if err != nil {
		return err
	}
	for _, e := range entries {
		var rec struct {
			Functions map[string]struct{ Provisioned []faas.Provisioned }
		}
		if err := json.Unmarshal(e.Value, &rec); err != nil {
			return err
		}
		for name, q := range rec.Functions {
			id := fn(strings.TrimPrefix(name, faas.DefaultNamespace+"/"))
			told, inForce := w.quota.of(account()).Functions[id]
			if !inForce || len(told.Provisioned) != len(q.Provisioned) {
				return fmt.Errorf("quotas of %s are stored as %+v, in force %+v", name, q, told)
			}
			for _, p := range q.Provisioned {
				if _, err := r.Get(ctx, id, p.Qualifier); err != nil {
					return fmt.Errorf("quotas of %s are left over: %w", p.Qualifier, err)
				}
			}
		}
		if n := len(w.quota.of(account()).Functions); n != len(rec.Functions) {
			return fmt.Errorf("%d functions have quotas in force, %d stored", n, len(rec.Functions))
		}
	}
	return nil
}

// checkPackages compares the packages that are stored with those that versions use.
func checkPackages(ctx context.Context, w *world, r *registry.Registry) error {
	page, err := r.List(ctx, scope(), true, "", 1000)
	if err != nil {
		return err
	}
	used := map[faas.Code]bool{}
	for _, v := range page.Items {
		if !w.packages.has(v.Code) {
			return fmt.Errorf("%s has no package", v.ID)
		}
		used[v.Code] = true
		for _, l := range v.Config.Layers {
			if !w.packages.has(l.Code) {
				return fmt.Errorf("%s has no package of layer %s", v.ID, l.ARN)
			}
			used[l.Code] = true
		}
	}
	layers, err := allLayers(ctx, r)
	if err != nil {
		return err
	}
	for _, v := range layers {
		if !w.packages.has(v.Code) {
			return fmt.Errorf("%s has no package", v.ARN())
		}
		used[v.Code] = true
	}
	if n := w.packages.count(); n != len(used) {
		return fmt.Errorf("%d packages stored, %d used", n, len(used))
	}
	return nil
}
