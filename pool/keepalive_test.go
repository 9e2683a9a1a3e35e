package pool_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/keepalive"
	"hearth/pool"
	"hearth/pool/pooltest"
)

// tick calls the version once in each period, and says how many calls were cold.
func tick(t *testing.T, ps *pool.Pools, v *faas.Version, period time.Duration, n int) (cold int) {
	t.Helper()
	for range n {
		h := must(t, ps, v)
		if h.Cold() != "" {
			cold++
		}
		h.Release()
		time.Sleep(period)
	}
	return cold
}

// TestStartsAheadOfATimer: between two calls of a timer nothing is held, and the
// next call finds an instance.
func TestStartsAheadOfATimer(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: 2 * time.Second}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		tick(t, ps, v, 3*time.Hour, 12)
		if cold := tick(t, ps, v, 3*time.Hour, 10); cold != 0 {
			t.Errorf("%d of 10 calls were cold", cold)
		}
		must(t, ps, v).Release()
		time.Sleep(90 * time.Minute)
		if s := ps.Function(v.ID.Function); s.Idle+s.Starting != 0 {
			t.Errorf("between two calls: %+v", s)
		}
	})
}

// TestStartsAheadGiveUp: a timer that fell silent costs no more than a few starts.
func TestStartsAheadGiveUp(t *testing.T) {
	fake := pooltest.New(nil)
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		tick(t, ps, v, 3*time.Hour, 15)
		before := fake.Starts()
		time.Sleep(100 * 24 * time.Hour)
		if extra := fake.Starts() - before; extra > 4 {
			t.Errorf("%d starts for calls that did not come", extra)
		}
		if s := ps.Function(v.ID.Function); s.Idle != 0 {
			t.Errorf("after 100 days: %+v", s)
		}
	})
}

// TestHabitsSurviveDeploys: the next version's instance is there for the timer.
func TestHabitsSurviveDeploys(t *testing.T) {
	fake := pooltest.New(nil)
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		old, next := version("f", "1", 1), version("f", "2", 1)
		tick(t, ps, old, 3*time.Hour, 15)
		time.Sleep(time.Hour)
		if err := ps.Prepare(t.Context(), old, next); err != nil {
			t.Fatal(err)
		}
		ps.Retire(old)
		time.Sleep(2 * time.Hour)
		h := must(t, ps, next)
		h.Release()
		if h.Cold() != "" {
			t.Errorf("cold %q", h.Cold())
		}
	})
}

// TestEvictsWhatIsWorthLeast: a function that is called about every minute keeps its
// instance, though that of one which is called every six hours has been idle for
// less.
func TestEvictsWhatIsWorthLeast(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script { return pooltest.Script{InitTime: time.Second} })
	bubble(t, pool.Options{Starter: fake, MaxInstances: 2}, func(t *testing.T, ps *pool.Pools) {
		busy, rare, other := version("f", "1", 1), version("g", "1", 1), version("h", "1", 1)
		tick(t, ps, rare, 6*time.Hour, 12)
		for i := range 60 {
			tick(t, ps, busy, time.Duration(20+i*37%60)*time.Second, 1)
		}
		must(t, ps, busy).Release()
		time.Sleep(10 * time.Second)
		must(t, ps, rare).Release()
		time.Sleep(10 * time.Second)
		must(t, ps, other).Release()
		if ps.Function(busy.ID.Function).Idle != 1 || ps.Function(rare.ID.Function).Idle != 0 {
			t.Errorf("the instance of the busy function made room: %+v, %+v", ps.Function(busy.ID.Function), ps.Function(rare.ID.Function))
		}
	})
}

// TestMemoryPressure stops idle instances though no start needs their room, and
// never provisioned ones.
func TestMemoryPressure(t *testing.T) {
	var percent atomic.Int64
	percent.Store(50)
	fake := pooltest.New(nil)
	o := pool.Options{Starter: fake, KeepAlive: keepalive.Fixed(time.Hour), Pressure: func() float64 { return float64(percent.Load()) / 100 }}
	bubble(t, o, func(t *testing.T, ps *pool.Pools) {
		v, kept := version("f", "1", 1), version("g", "1", 1)
		ps.Provision(kept, 2)
		var holds []*pool.Hold
		for range 8 {
			holds = append(holds, must(t, ps, v))
		}
		for _, h := range holds {
			h.Release()
		}
		time.Sleep(time.Minute)
		if s := ps.Function(v.ID.Function); s.Idle != 8 {
			t.Errorf("without pressure: %+v", s)
		}
		percent.Store(99)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := ps.Function(v.ID.Function); s.Idle != 0 {
			t.Errorf("under pressure: %+v", s)
		}
		if s := ps.Provisioned(kept); s.Ready != 2 {
			t.Errorf("provisioned: %+v", s)
		}
	})
}

// TestManyPoolsAndOneIdle: where the pools that are looked at have no idle
// instance, all are.
func TestManyPoolsAndOneIdle(t *testing.T) {
	const many = 600
	fake := pooltest.New(nil)
	bubble(t, pool.Options{Starter: fake, MaxInstances: many + 1, KeepAlive: keepalive.Fixed(time.Hour)}, func(t *testing.T, ps *pool.Pools) {
		var holds []*pool.Hold
		for i := range many {
			v := version("f"+string(rune('a'+i%26))+string(rune('a'+i/26)), "1", 1)
			must(t, ps, v).Release()
			holds = append(holds, must(t, ps, v))
		}
		must(t, ps, version("idle", "1", 1)).Release()
		holds = append(holds, must(t, ps, version("new", "1", 1)))
		for _, h := range holds {
			h.Release()
		}
	})
}
