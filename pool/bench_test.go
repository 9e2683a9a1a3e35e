package pool_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"hearth/keepalive"
	"hearth/metric"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/quota"
)

// BenchmarkAcquireWarm is what a warm call costs in the pool: an idle instance is
// taken and given back.
func BenchmarkAcquireWarm(b *testing.B) {
	benchmarkAcquire(b, pool.Options{Starter: pooltest.New(nil)})
}

// BenchmarkAcquireWarmCounted is the same with the quotas and every gauge, as in the
// binary.
func BenchmarkAcquireWarmCounted(b *testing.B) {
	m := metric.New()
	defer m.Close()
	benchmarkAcquire(b, pool.Options{Starter: pooltest.New(nil), Quota: quota.New(quota.Options{}), Metrics: m})
}

func benchmarkAcquire(b *testing.B, o pool.Options) {
	ps := pool.New(o)
	defer ps.Close(context.Background())
	v := version("f", "1", 1)
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h, err := ps.Acquire(b.Context(), v)
			if err != nil {
				b.Fatal(err)
			}
			h.Release()
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				h, err := ps.Acquire(b.Context(), v)
				if err != nil {
					b.Error(err)
					return
				}
				h.Release()
			}
		})
	})
}

// BenchmarkAcquireBusy takes a slot where every instance is busy, in pools of
// several sizes.
func BenchmarkAcquireBusy(b *testing.B) {
	const concurrency = 100
	for _, instances := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(instances), func(b *testing.B) {
			ps := pool.New(pool.Options{Starter: pooltest.New(nil), KeepAlive: keepalive.Fixed(time.Hour)})
			v := version("f", "1", concurrency)
			var holds []*pool.Hold
			for range instances * concurrency {
				h, err := ps.Acquire(b.Context(), v)
				if err != nil {
					b.Fatal(err)
				}
				holds = append(holds, h)
			}
			// Half of the slots of each instance are taken.
			for i, h := range holds {
				if i%2 == 0 {
					h.Release()
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				h, err := ps.Acquire(b.Context(), v)
				if err != nil {
					b.Fatal(err)
				}
				h.Release()
			}
			b.StopTimer()
			for _, h := range holds {
				h.Release()
			}
			_ = ps.Close(context.Background())
		})
	}
}
