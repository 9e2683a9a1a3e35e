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

// markWatch looks at the gauges whenever the charge of a provisioned instance ends.
type markWatch struct {
	*caps
	metrics *metric.Registry
	out     int
}

type watchedMark struct {
	quota.StartLease
	watch *markWatch
}

func (w *markWatch) Start(v *faas.Version, purpose quota.Purpose) (quota.StartLease, error) {
	lease, err := w.caps.Start(v, purpose)
	if err == nil {
		w.out++
		lease = watchedMark{lease, w}
	}
	return lease, err
}

func (m watchedMark) Release() {
	m.watch.out--
	for _, r := range m.watch.metrics.Read() {
		if n := r.Levels[metric.Provisioned].Now; n > m.watch.out {
			m.watch.t.Errorf("%d provisioned instances of %+v are shown while %d are charged", n, r.Key, m.watch.out)
		}
		if n := r.Levels[metric.Busy].Now; n > 1 {
			m.watch.t.Errorf("%d busy instances of %+v are shown of one", n, r.Key)
		}
	}
	m.StartLease.Release()
}

// Whichever way a provisioned instance ceases to be one, the gauges say so before
// another can have its place.
func TestProvisionedGaugeFallsBeforeTheCharge(t *testing.T) {
	m := metric.New()
	defer m.Close()
	w := &markWatch{caps: newCaps(t), metrics: m}
	fake := pooltest.New(nil)
	bubble(t, pool.Options{Starter: fake, Quota: w, Metrics: m}, func(t *testing.T, ps *pool.Pools) {
		v := numbered(1)
		provide(w.caps, ps, v, 5)
		wantCounts(t, ps, v, 5, 5, 5)
		busy := must(t, ps, v)
		provide(w.caps, ps, v, 3) // idle ones become ordinary
		wantCounts(t, ps, v, 3, 3, 3)
		for _, r := range fake.Runtimes() {
			if r.Instance != busy.Instance() {
				r.Crash(pool.FailedExit) // idle ones die and are replaced
			}
		}
		wantCounts(t, ps, v, 3, 3, 3)
		provide(w.caps, ps, v, 0) // the busy one too
		wantCounts(t, ps, v, 0, 0, 0)
		busy.Release()
	})
	if w.out != 0 || w.caps.out() != 0 {
		t.Errorf("%d marks and %d leases are left", w.out, w.caps.out())
	}
}

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
