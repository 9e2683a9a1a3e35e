package invoke_test

import (
	"context"
	"testing"

	"hearth/faas"
	"hearth/invoke"
	"hearth/pool"
	"hearth/pool/pooltest"
)

// BenchmarkInvokeWarm is what Hearth itself adds to a warm call between the
// dialect and the runtime: the fake runtime answers at once.
func BenchmarkInvokeWarm(b *testing.B) {
	ps := pool.New(pool.Options{Starter: pooltest.New(nil)})
	defer ps.Close(context.Background())
	s := invoke.New(invoke.Options{Resolver: shelf{"": version(faas.StateActive)}, Pools: ps})
	payload := []byte(`{"key":"value","n":42}`)
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		req := &invoke.Request{RequestID: "r", Function: id, Payload: payload}
		for b.Loop() {
			if _, err := s.Invoke(b.Context(), req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			req := &invoke.Request{RequestID: "r", Function: id, Payload: payload}
			for pb.Next() {
				if _, err := s.Invoke(b.Context(), req); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
