package invoke_test

import (
	"context"
	"testing"

	"hearth/faas"
	"hearth/invoke"
	"hearth/metric"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/quota"
)

// BenchmarkInvokeWarm is what Hearth itself adds to a warm call between the
// dialect and the runtime: the fake runtime answers at once.
func BenchmarkInvokeWarm(b *testing.B) {
	benchmarkWarm(b, nil, nil)
}

// BenchmarkInvokeWarmCounted is the same with the quotas and every gauge and
// counter, as in the binary.
func BenchmarkInvokeWarmCounted(b *testing.B) {
	m := metric.New()
	defer m.Close()
	benchmarkWarm(b, m, quota.New(quota.Options{}))
}

func benchmarkWarm(b *testing.B, m *metric.Registry, q quota.Gate) {
	ps := pool.New(pool.Options{Starter: pooltest.New(nil), Quota: q, Metrics: m})
	defer ps.Close(context.Background())
	s := invoke.New(invoke.Options{Resolver: shelf{"": version(faas.StateActive)}, Pools: ps, Quota: q, Metrics: m})
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
