package registry_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"hearth/faas"
	"hearth/registry"
)

func layerID(name string) faas.LayerID {
	return faas.LayerID{Account: scope().Account, Region: scope().Region, Name: name}
}

func layerARN(name string, number int64) string { return faas.LayerVersionARN(layerID(name), number) }

func layerInput(name, content string) registry.PublishLayerInput {
	return registry.PublishLayerInput{Layer: layerID(name), Zip: zipOf("layer " + content)}
}

func hasLayer(name string, number int64) func(*registry.Registry) bool {
	return func(r *registry.Registry) bool {
		_, err := r.Layer(context.Background(), layerID(name), number)
		return err == nil
	}
}

// allLayers returns every version of every layer.
func allLayers(ctx context.Context, r *registry.Registry) (all []*faas.LayerVersion, err error) {
	page, err := r.ListLayers(ctx, scope(), registry.LayerFilter{}, "", 1000)
	for _, newest := range page.Items {
		versions, err := r.ListLayerVersions(ctx, newest.Layer, registry.LayerFilter{}, "", 1000)
		if err != nil {
			return nil, err
		}
		all = append(all, versions.Items...)
	}
	return all, err
}

func publishLayers(t *testing.T, r *registry.Registry, ins ...registry.PublishLayerInput) {
	t.Helper()
	for _, in := range ins {
		must(r.PublishLayer(t.Context(), in))(t)
	}
}

func TestLayerVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.open(t)
		in := layerInput("tools", "one")
		in.Description, in.License, in.Runtimes, in.Architectures = "words", "MIT", []string{"nodejs22.x"}, []string{faas.ArchX8664}
		v := must(r.PublishLayer(t.Context(), in))(t)
		if v.Number != 1 || v.Description != "words" || v.License != "MIT" || v.Code != codeOf(in.Zip) || v.Contents.Bytes == 0 || v.Created.IsZero() {
			t.Errorf("published %+v", v)
		}
		publishLayers(t, r, layerInput("tools", "two"), layerInput("tools", "three"), layerInput("other", "one"))
		before := must(r.Usage(t.Context(), scope()))(t).LayerBytes
		if err := r.DeleteLayer(t.Context(), layerID("tools"), 3); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second finds nothing, which is no error
			if err := r.DeleteLayer(t.Context(), layerID("tools"), 3); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		three := codeOf(zipOf("layer three"))
		if w.packages.has(three) {
			t.Error("the package of a deleted version is still there")
		}
		if got := must(r.Usage(t.Context(), scope()))(t).LayerBytes; got != before-three.Size {
			t.Errorf("%d bytes used after a deletion, %d before", got, before)
		}
		r.Close(context.Background())
		r = w.open(t) // the number is not given again, by the next process either
		defer r.Close(context.Background())
		if v := must(r.PublishLayer(t.Context(), layerInput("tools", "four")))(t); v.Number != 4 {
			t.Errorf("version %d after 3 was deleted", v.Number)
		}
		if _, err := r.Layer(t.Context(), layerID("tools"), 3); !faas.IsCode(err, faas.CodeNotFound) {
			t.Errorf("a deleted version: %v", err)
		}
		numbers := func(f registry.LayerFilter) (all []int64) {
			for _, v := range must(r.ListLayerVersions(t.Context(), layerID("tools"), f, "", 0))(t).Items {
				all = append(all, v.Number)
			}
			return all
		}
		if got := numbers(registry.LayerFilter{}); !slices.Equal(got, []int64{4, 2, 1}) {
			t.Errorf("versions %v", got)
		}
		if got := numbers(registry.LayerFilter{Runtime: "nodejs22.x", Architecture: faas.ArchX8664}); !slices.Equal(got, []int64{1}) {
			t.Errorf("versions for a runtime %v", got)
		}
		if got := numbers(registry.LayerFilter{Architecture: faas.ArchARM64}); got != nil {
			t.Errorf("versions for another architecture %v", got)
		}
		zip := must(r.OpenLayer(t.Context(), layerID("tools"), 1))(t)
		if string(zip) != string(in.Zip) {
			t.Errorf("opened %q", zip)
		}
	})
}

func TestLayerPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWorld().open(t)
		defer r.Close(context.Background())
		for _, name := range []string{"b", "a", "c"} {
			publishLayers(t, r, layerInput(name, "1"), layerInput(name, "2"), layerInput(name, "3"))
		}
		var got []string
		for marker, more := "", true; more; {
			page := must(r.ListLayers(t.Context(), scope(), registry.LayerFilter{}, marker, 2))(t)
			for _, v := range page.Items {
				got = append(got, fmt.Sprint(v.Layer.Name, v.Number))
			}
			marker, more = page.Next, page.Next != ""
		}
		for marker, more := "", true; more; {
			page := must(r.ListLayerVersions(t.Context(), layerID("a"), registry.LayerFilter{}, marker, 2))(t)
			for _, v := range page.Items {
				got = append(got, fmt.Sprint(v.Number))
			}
			marker, more = page.Next, page.Next != ""
		}
		if want := "a3 b3 c3 3 2 1"; strings.Join(got, " ") != want {
			t.Errorf("pages hold %v, want %s", got, want)
		}
	})
}

// A function keeps what it uses of a layer, also of a version that was deleted, and
// publishing sees that the layers are others.
func TestFunctionOutlivesItsLayer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.open(t)
		defer r.Close(context.Background())
		publishLayers(t, r, layerInput("tools", "one"), layerInput("more", "two"))
		in := createInput("f")
		in.Layers = []string{layerARN("more", 1), layerARN("tools", 1)}
		v := must(r.Create(t.Context(), in))(t)
		if l := v.Config.Layers; len(l) != 2 || l[0].ARN != in.Layers[0] || l[1].Code != codeOf(zipOf("layer one")) {
			t.Fatalf("layers %+v", l)
		}
		synctest.Wait()
		one := must(r.Publish(t.Context(), registry.PublishInput{Function: fn("f")}))(t)
		for _, name := range []string{"tools", "more"} {
			if err := r.DeleteLayer(t.Context(), layerID(name), 1); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if err := checkPackages(t.Context(), w, r); err != nil {
			t.Error(err)
		}
		memory := 512
		must(r.UpdateConfig(t.Context(), fn("f"), registry.ConfigPatch{MemoryMB: &memory}, ""))(t)
		synctest.Wait()
		if _, err := r.UpdateConfig(t.Context(), fn("f"), registry.ConfigPatch{Layers: &in.Layers}, ""); !faas.IsCode(err, faas.CodeInvalid) {
			t.Errorf("a deleted layer can still be asked for: %v", err)
		}
		memory = 128
		must(r.UpdateConfig(t.Context(), fn("f"), registry.ConfigPatch{MemoryMB: &memory}, ""))(t)
		synctest.Wait()
		if again := must(r.Publish(t.Context(), registry.PublishInput{Function: fn("f")}))(t); again.ID.Number != one.ID.Number {
			t.Error("the same layers made another version")
		}
		must(r.UpdateConfig(t.Context(), fn("f"), registry.ConfigPatch{Layers: &[]string{}}, ""))(t)
		synctest.Wait()
		if two := must(r.Publish(t.Context(), registry.PublishInput{Function: fn("f")}))(t); two.ID.Number != "2" || two.Config.Layers != nil {
			t.Errorf("without layers: version %s, %+v", two.ID.Number, two.Config.Layers)
		}
		if err := r.Delete(t.Context(), fn("f"), "1"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := checkPackages(t.Context(), w, r); err != nil {
			t.Error(err)
		}
	})
}

func TestLayersRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.open(t)
		defer r.Close(context.Background())
		other := layerInput("theirs", "x")
		other.Layer.Account = "222222222222"
		elsewhere := layerInput("far", "x")
		elsewhere.Layer.Region = "ap-south-1"
		large := layerInput("large", strings.Repeat("x", 262_000))
		publishLayers(t, r, layerInput("a", "1"), layerInput("a", "2"), other, elsewhere, large)
		theirs := faas.LayerVersionARN(other.Layer, 1)
		for _, c := range []struct {
			layers []string
			code   faas.ErrorCode
			text   string
		}{
			{[]string{layerARN("a", 3)}, faas.CodeInvalid, "Layer version " + layerARN("a", 3) + " does not exist."},
			{[]string{layerARN("a", 1), layerARN("a", 2)}, faas.CodeInvalid, "are versions of the same layer."},
			{[]string{layerARN("a", 1), layerARN("a", 1)}, faas.CodeInvalid, "are versions of the same layer."},
			{make([]string, 6), faas.CodeInvalid, "Cannot reference more than 5 layers."},
			{[]string{faas.LayerVersionARN(elsewhere.Layer, 1)}, faas.CodeInvalid, "Layers are expected to be in region " + scope().Region},
			{[]string{theirs}, faas.CodeDenied, "lambda:GetLayerVersion on resource: " + theirs},
			{[]string{"a"}, faas.CodeInvalid, "layers must be the ARN of a layer version"},
			{[]string{layerARN("large", 1)}, faas.CodeInvalid, "exceeds the maximum allowed size of 262144000 bytes. The actual size is"},
		} {
			in := createInput("f")
			in.Zip = zipOf(strings.Repeat("y", 1000))
			in.Layers = c.layers
			if _, err := r.Create(t.Context(), in); !faas.IsCode(err, c.code) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%.3v: %v; want %s, %q", c.layers, err, c.code, c.text)
			}
		}
		synctest.Wait()
		if err := r.DeleteLayer(t.Context(), layerID("large"), 1); err != nil { // was kept for the refused ones only
			t.Fatal(err)
		}
		synctest.Wait()
		if w.packages.has(codeOf(large.Zip)) {
			t.Error("a refused function keeps a package")
		}
		must(r.AddLayerPermission(t.Context(), other.Layer, 1, faas.LayerStatement{SID: "s", Principal: scope().Account}, ""))(t)
		in := createInput("f")
		in.Layers = []string{theirs}
		must(r.Create(t.Context(), in))(t)
	})
}

func TestLayerPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWorld().open(t)
		defer r.Close(context.Background())
		publishLayers(t, r, layerInput("a", "1"))
		id := layerID("a")
		add := func(sid, principal, revision string) (*faas.LayerVersion, error) {
			return r.AddLayerPermission(t.Context(), id, 1, faas.LayerStatement{SID: sid, Principal: principal}, revision)
		}
		first := must(add("one", "*", ""))(t)
		if _, err := add("one", "*", ""); !faas.IsCode(err, faas.CodeConflict) {
			t.Errorf("the same statement again: %v", err)
		}
		second := must(add("two", "222222222222", first.PolicyRevision))(t)
		if _, err := add("three", "*", first.PolicyRevision); !faas.IsCode(err, faas.CodePrecondition) {
			t.Errorf("an old revision: %v", err)
		}
		if len(second.Policy) != 2 || second.PolicyRevision == first.PolicyRevision {
			t.Errorf("policy %+v", second)
		}
		if err := r.RemoveLayerPermission(t.Context(), id, 1, "none", ""); !faas.IsCode(err, faas.CodeNotFound) {
			t.Errorf("no such statement: %v", err)
		}
		if err := r.RemoveLayerPermission(t.Context(), id, 1, "one", ""); err != nil {
			t.Error(err)
		}
		if v := must(r.Layer(t.Context(), id, 1))(t); len(v.Policy) != 1 || v.Policy[0].SID != "two" {
			t.Errorf("policy %+v", v.Policy)
		}
		var err error
		for i := 0; err == nil && i < 200; i++ {
			_, err = add(fmt.Sprint("s", i), "*", "")
		}
		if !faas.IsCode(err, faas.CodeTooLarge) {
			t.Errorf("a policy without end: %v", err)
		}
	})
}

// Two nodes that publish and delete at the same time never give a number twice, and
// in the end know the same.
func TestLayersOfTwoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := w.open(t)
		defer a.Close(context.Background())
		w.packages = newShelf()
		b := w.open(t)
		defer b.Close(context.Background())
		numbers := make(chan int64, 100)
		for i := range 20 {
			r := []*registry.Registry{a, b}[i%2]
			go func() {
				v, err := r.PublishLayer(t.Context(), layerInput("a", fmt.Sprint(i)))
				if err != nil {
					t.Error(err)
					numbers <- 0
					return
				}
				numbers <- v.Number
				if i%3 == 0 {
					if err := r.DeleteLayer(t.Context(), v.Layer, v.Number); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		synctest.Wait()
		seen := map[int64]bool{}
		for range 20 {
			n := <-numbers
			if seen[n] {
				t.Errorf("number %d was given twice", n)
			}
			seen[n] = true
		}
		list := func(r *registry.Registry) (all []int64) {
			for _, v := range must(allLayers(t.Context(), r))(t) {
				all = append(all, v.Number)
			}
			return all
		}
		if one, two := list(a), list(b); !slices.Equal(one, two) || len(one) != 13 {
			t.Errorf("one node has %v, the other %v", one, two)
		}
	})
}
