package pool_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"hearth/faas"
	"hearth/keepalive"
	"hearth/metric"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/quota"
)

// However the functions of an account press against its quotas, no maximum ever
// shows more than the quotas allow: what is given back is counted down before
// anyone else can get it.
func TestMaximaNeverPassTheQuotas(t *testing.T) {
	const memory, instances = 12_800, 10
	m := metric.New()
	defer m.Close()
	q := quota.New(quota.Options{})
	limits := faas.AccountLimits{MemoryMB: memory, Executions: 1000}
	var versions []*faas.Version
	for i := range 4 {
		v := version(fmt.Sprint("f", i), "0", 1)
		v.Config.MemoryMB = memory / instances
		versions = append(versions, v)
	}
	q.Configure(quota.AccountOf(versions[0].ID.Function.Scope), quota.Settings{Limits: limits})
	ps := pool.New(pool.Options{Starter: pooltest.New(nil), Quota: q, Metrics: m, KeepAlive: keepalive.Fixed(time.Hour)})
	var callers sync.WaitGroup
	for i := range 40 {
		callers.Go(func() {
			for n := range 300 {
				v := versions[(i+n)%len(versions)]
				hold, err := ps.Acquire(context.Background(), v)
				if faas.IsCode(err, faas.CodeThrottled) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := hold.Deliver(event(pooltest.Mark(v))); err != nil {
					t.Error(err)
				}
				hold.Release()
			}
		})
	}
	callers.Wait()
	if err := ps.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := ps.CheckMetrics(); err != nil {
		t.Error(err)
	}
	for _, r := range m.Read() {
		busy, starting, held := r.Levels[metric.Busy], r.Levels[metric.Starting], r.Levels[metric.InFlight]
		for state, l := range map[metric.State]metric.Levels{metric.Busy: busy, metric.Starting: starting, metric.InFlight: held} {
			if most := max(l.Minute, l.LastMinute); l.Now != 0 || most > instances || r.Key.Account() && most == 0 {
				t.Errorf("%v of %+v: %d, at most %d of %d", state, r.Key, l.Now, most, instances)
			}
		}
	}
}
