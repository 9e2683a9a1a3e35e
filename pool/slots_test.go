package pool_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/pool"
	"hearth/pool/pooltest"
)

// slotted starts runtimes whose slots come one by one.
func slotted(every time.Duration, slots int) *pooltest.Starter {
	return pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: time.Second, SlotEvery: every, Slots: slots, Handle: pooltest.Sleep(2 * time.Second)}
	})
}

func TestColdBurstFillsOneInstanceBeforeASecondStarts(t *testing.T) {
	for _, tt := range []struct {
		calls, starts int
		every         time.Duration // between slots
	}{
		{200, 1, 0}, {201, 2, 0}, {200, 1, time.Millisecond}, {201, 2, time.Millisecond}, {400, 2, time.Millisecond},
	} {
		fake := slotted(tt.every, 0)
		gate := newCaps(t)
		bubble(t, pool.Options{Starter: fake, Quota: gate}, func(t *testing.T, ps *pool.Pools) {
			v := version("f", "1", 200)
			if got := refused(t, flood(ps, v, tt.calls)); got[""] != tt.calls {
				t.Errorf("%d calls: %v", tt.calls, got)
			}
			if fake.Starts() != tt.starts {
				t.Errorf("%d calls, slots every %v: %d starts, want %d", tt.calls, tt.every, fake.Starts(), tt.starts)
			}
			for _, r := range fake.Runtimes() {
				if r.Overfull() {
					t.Error("an instance was given more than its slots")
				}
			}
		})
		if gate.out() != 0 {
			t.Errorf("%d leases were not released", gate.out())
		}
	}
}

func TestSecondInstanceWhenTheFirstIsFull(t *testing.T) {
	fake := slotted(0, 0)
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 200)
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if _, err := call(ps, v); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(1500 * time.Millisecond)
		if s := ps.Function(v.ID.Function); s.InFlight != 200 || s.Busy != 1 {
			t.Errorf("%+v", s)
		}
		h := must(t, ps, v) // the first's calls end 1.5 s later, a start takes 1 s
		if h.Cold() != faas.ColdScaleOut || fake.Starts() != 2 {
			t.Errorf("cold %q after %d starts", h.Cold(), fake.Starts())
		}
		h.Release()
		wg.Wait()
	})
}

func TestSlotsThatNeverComeAreReplacedByAStart(t *testing.T) {
	fake := slotted(10*time.Millisecond, 3) // of 10
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 10)
		began := time.Now()
		var mu sync.Mutex
		served := map[time.Duration]int{}
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				h := acquire(t, ps, v)
				mu.Lock()
				served[time.Since(began)]++
				mu.Unlock()
				if h.Cold() == "" {
					t.Error("a call that waited for the instance is warm")
				}
				_, _ = h.Deliver(event(pooltest.Mark(v)))
				h.Release()
			})
		}
		wg.Wait()
		ms := time.Millisecond
		// Three slots in turn, then the grace, then a second instance, with its own.
		for at, want := range map[time.Duration]int{1000 * ms: 1, 1010 * ms: 1, 1020 * ms: 1, 2250 * ms: 1, 2260 * ms: 1} {
			if served[at] != want {
				t.Errorf("served %v", served)
				break
			}
		}
		if fake.Starts() != 2 {
			t.Errorf("%d starts", fake.Starts())
		}
	})
}

func TestDeadInstancePromisesNothing(t *testing.T) {
	fake := slotted(time.Second, 0)
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 2)
		first := must(t, ps, v)
		got := make(chan *pool.Hold, 1)
		go func() { got <- acquire(t, ps, v) }()
		synctest.Wait()
		if fake.Starts() != 1 {
			t.Errorf("%d starts while a slot is promised", fake.Starts())
		}
		fake.Runtimes()[0].Crash(pool.FailedExit)
		synctest.Wait()
		if fake.Starts() != 2 {
			t.Errorf("%d starts after the promise was broken", fake.Starts())
		}
		first.Release()
		(<-got).Release()
	})
}

func TestExitAndOOMFailEveryCallOfAnInstance(t *testing.T) {
	for _, kind := range []pool.FailureKind{pool.FailedExit, pool.FailedOOM} {
		fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
			return pooltest.Script{Handle: pooltest.Sleep(2 * time.Second)}
		})
		bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
			v := version("f", "1", 10)
			time.AfterFunc(time.Second, func() { fake.Runtimes()[0].Crash(kind) })
			began := time.Now()
			for _, err := range flood(ps, v, 10) {
				if failureOf(t, err) != kind {
					t.Errorf("error %v", err)
				}
			}
			if time.Since(began) != time.Second || fake.Starts() != 1 {
				t.Errorf("after %v, %d starts", time.Since(began), fake.Starts())
			}
		})
	}
}

func TestInstanceAfterATimeoutDiesAtTheLastDeadline(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{Handle: pooltest.Sleep(time.Hour)}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 3)
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				if _, err := call(ps, v); failureOf(t, err) != pool.FailedTimeout || time.Since(began) != time.Duration(3+i)*time.Second {
					t.Errorf("call %d: %v after %v", i, err, time.Since(began))
				}
			})
		}
		time.Sleep(3500 * time.Millisecond)
		if fake.Runtimes()[0].Dead() || ps.Function(v.ID.Function).Draining != 1 {
			t.Error("killed while it held calls within their time")
		}
		if h, err := ps.Acquire(context.Background(), v); err != nil || fake.Starts() != 2 {
			t.Errorf("a draining instance took a call: %v", err)
		} else {
			h.Release()
		}
		wg.Wait()
		if !fake.Runtimes()[0].Dead() {
			t.Error("outlived the last deadline")
		}
	})
}
