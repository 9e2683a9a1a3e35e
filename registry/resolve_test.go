package registry_test

import (
	"context"
	"fmt"
	"testing"

	"hearth/faas"
	"hearth/registry"
)

// stock opens a registry on n functions, the first of which has an alias with weights.
func stock(tb testing.TB, n int) *registry.Registry {
	tb.Helper()
	w := newWorld()
	r := w.open(tb)
	tb.Cleanup(func() { r.Close(context.Background()) })
	for i := range n {
		in := createInput(fmt.Sprint("f", i))
		in.Zip = zipOf("the same")
		must(r.Create(tb.Context(), in))(tb)
	}
	for i := range n {
		until(tb, "active", func() bool { return settled(r, fn(fmt.Sprint("f", i))) })
	}
	must(r.Publish(tb.Context(), registry.PublishInput{Function: fn("f0")}))(tb)
	must(r.UpdateCode(tb.Context(), registry.UpdateCodeInput{Function: fn("f0"), Zip: zipOf("2"), Publish: true}))(tb)
	until(tb, "active", func() bool { return settled(r, fn("f0")) })
	must(r.CreateAlias(tb.Context(), faas.Alias{Function: fn("f0"), Name: "live", Version: "1", Weights: map[string]float64{"2": 0.5}}))(tb)
	return r
}

func TestResolveDoesNotAllocate(t *testing.T) {
	r := stock(t, 3)
	for _, qualifier := range []string{"", faas.Latest, "1", "live"} {
		id := fn("f0")
		if n := testing.AllocsPerRun(200, func() {
			if _, err := r.Resolve(id, qualifier); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("Resolve(%q) allocates %v times", qualifier, n)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		r := stock(b, n)
		ids := make([]faas.FunctionID, n)
		for i := range ids {
			ids[i] = fn(fmt.Sprint("f", i))
		}
		b.Run(fmt.Sprintf("functions=%d/latest", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_, _ = r.Resolve(ids[i%n], "")
			}
		})
		b.Run(fmt.Sprintf("functions=%d/alias", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = r.Resolve(ids[0], "live")
			}
		})
		b.Run(fmt.Sprintf("functions=%d/parallel", n), func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					_, _ = r.Resolve(ids[i%n], "")
				}
			})
		})
	}
}
