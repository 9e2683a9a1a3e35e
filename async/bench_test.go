package async_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"hearth/async"
	"hearth/engine/datadir"
	"hearth/engine/nats"
	"hearth/faas"
	"hearth/invoke"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/quota"
)

// stage is a service over the real engine on a real disk and fake runtimes, which
// answer at once: what is measured is Hearth's own part.
type stage struct {
	functions *shelf
	invoke    *invoke.Service
	async     *async.Service
	pools     *pool.Pools
	n         int
}

func newStage(b *testing.B, instances int, handle func(*faas.Event)) *stage {
	b.Helper()
	dir, err := datadir.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	e, err := nats.Open(b.Context(), nats.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	starter := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{Handle: func(_ context.Context, e *faas.Event) (faas.Outcome, error) {
			handle(e)
			return faas.Outcome{Payload: []byte("1")}, nil
		}}
	})
	q := quota.New(quota.Options{})
	q.Configure(quota.Account{ID: scope.Account, Region: scope.Region}, quota.Settings{
		Limits: faas.AccountLimits{MemoryMB: 1 << 30, Executions: 100_000, FunctionMaximum: instances}})
	s := &stage{functions: &shelf{versions: map[string]*faas.Version{}, configs: map[string]faas.AsyncConfig{}}}
	s.pools = pool.New(pool.Options{Starter: starter, Quota: q})
	s.async = async.New(async.Options{Queue: e.Queue(), History: e.History(), Functions: s.functions,
		Freed: func(of faas.Scope) <-chan struct{} { return q.Freed(quota.AccountOf(of)) },
		Idle:  func(id faas.FunctionID) int { return s.pools.Function(id).Idle }})
	s.invoke = invoke.New(invoke.Options{Resolver: s.functions, Pools: s.pools, Quota: q, Acceptor: s.async})
	b.Cleanup(func() {
		ctx := context.Background()
		s.async.Stop()
		_ = s.pools.Drain(ctx)
		if err := s.async.Close(ctx); err != nil {
			b.Error(err)
		}
		_ = s.pools.Close(ctx)
		_ = e.Close(ctx)
		_ = dir.Close()
	})
	return s
}

func (s *stage) send(b *testing.B, id faas.FunctionID, n int) {
	req := &invoke.Request{RequestID: requestID(n), Function: id, Type: invoke.Event, Payload: []byte(`{"key":"value","n":42}`)}
	if _, err := s.invoke.Invoke(context.Background(), req); err != nil {
		b.Error(err)
	}
}

// fill has 64 callers send events.
func (s *stage) fill(b *testing.B, id faas.FunctionID, events int) {
	var callers sync.WaitGroup
	for c := range 64 {
		callers.Go(func() {
			for n := c; n < events; n += 64 {
				s.send(b, id, n)
			}
		})
	}
	callers.Wait()
}

// BenchmarkBacklog runs a backlog of events of 256 B or less with their status and
// settlement durable.
func BenchmarkBacklog(b *testing.B) {
	for _, instances := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(instances), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				const events = 50_000
				var left sync.WaitGroup
				left.Add(events)
				s := newStage(b, instances, func(*faas.Event) { left.Done() })
				f := function("f")
				s.functions.put(f, nil)
				began := time.Now()
				s.fill(b, f, events)
				accepted := time.Since(began)
				b.StartTimer()
				began = time.Now()
				s.async.Start(s.invoke)
				left.Wait()
				for len(s.async.Queues(scope)) > 0 {
					time.Sleep(time.Millisecond)
				}
				b.ReportMetric(events/time.Since(began).Seconds(), "events/s")
				b.ReportMetric(events/accepted.Seconds(), "accepts/s")
			}
		})
	}
}

// BenchmarkAcceptToStart is the time from the call of Invoke to the handler, of one
// event after the other to a warm function.
func BenchmarkAcceptToStart(b *testing.B) {
	began := make(chan time.Time, 1)
	s := newStage(b, 16, func(*faas.Event) { began <- time.Now() })
	f := function("f")
	s.functions.put(f, nil)
	s.async.Start(s.invoke)
	var waits, accepts []time.Duration
	for b.Loop() {
		s.n++
		sent := time.Now()
		s.send(b, f, s.n)
		accepts = append(accepts, time.Since(sent))
		waits = append(waits, (<-began).Sub(sent))
	}
	for name, all := range map[string][]time.Duration{"start": waits, "accept": accepts} {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), name+"-p50-µs")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), name+"-p99-µs")
	}
}
