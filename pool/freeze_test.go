package pool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/internal/seeds"
	"hearth/metric"
	"hearth/pool"
	"hearth/pool/pooltest"
)

const freezeAfter = 10 * time.Millisecond

// wantFrozen checks how many instances of the function are idle, and of these frozen.
func wantFrozen(t *testing.T, ps *pool.Pools, v *faas.Version, idle, frozen int) {
	t.Helper()
	synctest.Wait()
	if s := ps.Function(v.ID.Function); s.Idle != idle || s.Frozen != frozen {
		t.Errorf("%d idle, %d of them frozen; want %d, %d", s.Idle, s.Frozen, idle, frozen)
	}
}

func TestFreezesAfterTheLingerAndThawsForTheNextCall(t *testing.T) {
	m := metric.New()
	defer m.Close()
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script { return pooltest.Script{ThawTime: time.Millisecond} })
	bubble(t, pool.Options{Starter: fake, FreezeAfter: freezeAfter, Metrics: m}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		must(t, ps, v).Release()
		for range 5 { // each call begins the wait anew
			time.Sleep(freezeAfter - 1)
			wantFrozen(t, ps, v, 1, 0)
			h := must(t, ps, v)
			if h.Timeline().Thaw != 0 {
				t.Error("an instance was thawed that was not frozen")
			}
			h.Release()
		}
		time.Sleep(freezeAfter)
		wantFrozen(t, ps, v, 1, 1)
		time.Sleep(time.Minute)
		h := must(t, ps, v)
		if got := h.Timeline(); got != (faas.Timeline{Thaw: time.Millisecond}) || h.Cold() != "" {
			t.Errorf("timeline %+v, cold %q", got, h.Cold())
		}
		time.Sleep(time.Hour) // a busy one is never frozen
		if frozen, times := fake.Runtimes()[0].Frozen(); frozen || times != 1 {
			t.Errorf("frozen %v, %d times", frozen, times)
		}
		h.Release()
		for _, r := range m.Read() {
			if r.Totals != nil && r.Totals.Thaws != 1 {
				t.Errorf("%d thaws are counted", r.Totals.Thaws)
			}
		}
	})
}

func TestFreezeOff(t *testing.T) {
	fake := pooltest.New(nil)
	bubble(t, pool.Options{Starter: fake, FreezeAfter: -1}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		must(t, ps, v).Release()
		time.Sleep(time.Second)
		wantFrozen(t, ps, v, 1, 0)
	})
	if _, times := fake.Runtimes()[0].Frozen(); times != 0 {
		t.Errorf("frozen %d times", times)
	}
}

// Where the sandbox cannot be frozen it is tried once, and costs no instance.
func TestSandboxThatCannotBeFrozen(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script { return pooltest.Script{FreezeErr: pool.ErrCannotFreeze} })
	bubble(t, pool.Options{Starter: fake, FreezeAfter: freezeAfter}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		for range 3 {
			must(t, ps, v).Release()
			time.Sleep(time.Second)
			wantFrozen(t, ps, v, 1, 0)
		}
	})
	if _, times := fake.Runtimes()[0].Frozen(); times != 1 || fake.Starts() != 1 {
		t.Errorf("tried %d times, %d starts", times, fake.Starts())
	}
}

// Provisioned instances are frozen like others, and stay provisioned.
func TestFreezesProvisionedInstances(t *testing.T) {
	fake := pooltest.New(nil)
	bubble(t, pool.Options{Starter: fake, FreezeAfter: freezeAfter}, func(t *testing.T, ps *pool.Pools) {
		v := numbered(1)
		ps.Provision(v, 2)
		time.Sleep(time.Second)
		wantFrozen(t, ps, v, 2, 2)
		h := must(t, ps, v)
		wantFrozen(t, ps, v, 1, 1)
		h.Release()
		ps.Provision(v, 1) // the frozen one becomes ordinary, and stays frozen
		wantFrozen(t, ps, v, 2, 1)
		wantCounts(t, ps, v, 1, 1, 1)
		time.Sleep(time.Second)
		wantFrozen(t, ps, v, 2, 2)
		ps.Provision(v, 2)
		wantFrozen(t, ps, v, 2, 2)
	})
}

// Of several idle instances the one that runs is taken before one that is frozen,
// and with several calls per instance a busy one with room before a frozen one.
func TestTakesWhatIsAwakeFirst(t *testing.T) {
	fake := pooltest.New(nil)
	bubble(t, pool.Options{Starter: fake, FreezeAfter: freezeAfter}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 2)
		var holds []*pool.Hold
		for range 6 { // three instances
			holds = append(holds, must(t, ps, v))
		}
		for _, h := range holds {
			h.Release()
		}
		time.Sleep(time.Second)
		wantFrozen(t, ps, v, 3, 3)
		a := must(t, ps, v) // wakes one
		if a.Timeline().Thaw < 0 {
			t.Error("thaw took a negative time")
		}
		wantFrozen(t, ps, v, 2, 2)
		b := must(t, ps, v)
		if b.Instance() != a.Instance() || b.Timeline().Thaw != 0 {
			t.Error("a frozen instance was woken while an awake one had room")
		}
		wantFrozen(t, ps, v, 2, 2)
		c := must(t, ps, v) // the awake one is full
		wantFrozen(t, ps, v, 1, 1)
		b.Release()
		a.Release() // idle and awake now; c's has room, too
		if d := must(t, ps, v); d.Instance() != a.Instance() {
			t.Error("an idle instance that is awake is taken before a busy one")
		} else {
			d.Release()
		}
		c.Release()
	})
	if fake.Starts() != 3 {
		t.Errorf("%d starts", fake.Starts())
	}
}

// A call that comes while its instance is being frozen waits for that and is served.
func TestCallWhileFreezing(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{FreezeTime: 100 * time.Millisecond, ThawTime: time.Millisecond}
	})
	bubble(t, pool.Options{Starter: fake, FreezeAfter: freezeAfter}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		must(t, ps, v).Release()
		time.Sleep(freezeAfter + 40*time.Millisecond)
		h := must(t, ps, v)
		if got := h.Timeline().Thaw; got != 61*time.Millisecond {
			t.Errorf("waited %v for the freeze and its end", got)
		}
		if _, err := h.Deliver(event(pooltest.Mark(v))); err != nil {
			t.Error(err)
		}
		h.Release()
	})
	if r := fake.Runtimes()[0]; r.Numb() || fake.Starts() != 1 {
		t.Errorf("numb %v, %d starts", r.Numb(), fake.Starts())
	}
}

// Instances that wait for their turn to be frozen run on when a call comes.
func TestCallBeforeItsInstanceIsFrozen(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script { return pooltest.Script{FreezeTime: time.Second} })
	bubble(t, pool.Options{Starter: fake, FreezeAfter: freezeAfter}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		var holds []*pool.Hold
		for range 20 {
			holds = append(holds, must(t, ps, v))
		}
		for _, h := range holds {
			h.Release()
		}
		time.Sleep(freezeAfter + time.Millisecond) // four are being frozen, the oldest first
		holds = holds[:0]
		for range 16 {
			h := must(t, ps, v)
			if h.Timeline().Thaw != 0 {
				t.Errorf("waited %v for an instance that ran", h.Timeline().Thaw)
			}
			holds = append(holds, h)
		}
		time.Sleep(2 * time.Second)
		wantFrozen(t, ps, v, 4, 4)
		for _, h := range holds {
			h.Release()
		}
	})
}

// What cannot be thawed is recycled, and the call goes to another instance: one that
// is there, or a new one.
func TestThawFails(t *testing.T) {
	fake := pooltest.New(func(n int, _ *faas.Version) pooltest.Script {
		if n == 1 { // it will be the first idle one, and so the last taken
			return pooltest.Script{}
		}
		return pooltest.Script{ThawErr: errors.New("no")}
	})
	bubble(t, pool.Options{Starter: fake, FreezeAfter: freezeAfter}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		a, b, c := must(t, ps, v), must(t, ps, v), must(t, ps, v)
		b.Release()
		time.Sleep(time.Millisecond)
		a.Release()
		c.Release()
		time.Sleep(time.Second)
		wantFrozen(t, ps, v, 3, 3)
		h := must(t, ps, v)
		if h.Instance() != b.Instance() || h.Cold() != "" {
			t.Errorf("got %s, cold %q; the one that can be thawed is %s", h.Instance(), h.Cold(), b.Instance())
		}
		wantFrozen(t, ps, v, 0, 0)
		h.Release()
	})
	for i, r := range fake.Runtimes() {
		if want := i != 1; (r.Cause() == string(pool.CauseFreeze)) != want {
			t.Errorf("runtime %d: cause %q", i, r.Cause())
		}
	}
}

func TestThawFailsWithNoOtherInstance(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script { return pooltest.Script{ThawErr: errors.New("no")} })
	bubble(t, pool.Options{Starter: fake, FreezeAfter: freezeAfter}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		for range 3 {
			h := must(t, ps, v)
			if h.Cold() == "" {
				t.Error("not cold")
			}
			h.Release()
			time.Sleep(time.Second)
		}
	})
	if fake.Starts() != 3 {
		t.Errorf("%d starts", fake.Starts())
	}
}

// An instance whose freeze fails is recycled; a call that came meanwhile gets another.
func TestFreezeFails(t *testing.T) {
	for _, call := range []bool{false, true} {
		fake := pooltest.New(func(n int, _ *faas.Version) pooltest.Script {
			if n > 0 {
				return pooltest.Script{}
			}
			return pooltest.Script{FreezeErr: errors.New("no"), FreezeTime: time.Second}
		})
		bubble(t, pool.Options{Starter: fake, FreezeAfter: freezeAfter}, func(t *testing.T, ps *pool.Pools) {
			v := version("f", "1", 1)
			must(t, ps, v).Release()
			time.Sleep(500 * time.Millisecond)
			if call {
				must(t, ps, v).Release()
			}
			time.Sleep(time.Minute)
		})
		if cause := fake.Runtimes()[0].Cause(); cause != string(pool.CauseFreeze) || call != (fake.Starts() == 2) {
			t.Errorf("call %v: cause %q, %d starts", call, cause, fake.Starts())
		}
	}
}

// A caller who leaves with a frozen instance in hand leaves it as it was.
func TestLeavesTheFrozenAlone(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script { return pooltest.Script{InitTime: time.Second} })
	gate := newCaps(t)
	gate.instances = 1
	bubble(t, pool.Options{Starter: fake, FreezeAfter: freezeAfter, Quota: gate}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		must(t, ps, v).Release()
		time.Sleep(time.Second)
		wantFrozen(t, ps, v, 1, 1)
		// Two at once: one gets the instance, the other is refused or waits; both leave.
		var calls sync.WaitGroup
		for range 2 {
			calls.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if h, err := ps.Acquire(ctx, v); err == nil {
					h.Release()
				}
			})
		}
		calls.Wait()
		time.Sleep(time.Second)
		wantFrozen(t, ps, v, 1, 1)
	})
}

// TestWakeUpRaces calls functions at intervals around the linger, thousands of times.
// No event may reach a frozen runtime, none may be lost, and in the end all rests
// frozen.
func TestWakeUpRaces(t *testing.T) {
	seeds.Run(t, 4, func(seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 0))
		concurrency := 1 + rng.IntN(3)
		fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
			return pooltest.Script{FreezeTime: time.Duration(rng.IntN(3)) * 100 * time.Microsecond,
				ThawTime: time.Duration(rng.IntN(3)) * 50 * time.Microsecond}
		})
		bubble(t, pool.Options{Starter: fake, FreezeAfter: freezeAfter}, func(t *testing.T, ps *pool.Pools) {
			v := version("f", "1", concurrency)
			const callers, calls = 4, 500
			var all sync.WaitGroup
			for caller := range callers {
				rng := rand.New(rand.NewPCG(seed, uint64(caller)+1))
				all.Go(func() {
					for range calls {
						time.Sleep(freezeAfter + time.Duration(rng.IntN(401)-200)*time.Microsecond)
						h := acquire(t, ps, v)
						if _, err := h.Deliver(event(pooltest.Mark(v))); err != nil {
							t.Error(err)
						}
						h.Release()
					}
				})
			}
			all.Wait()
			if err := ps.Check(false); err != nil {
				t.Error(err)
			}
			served := 0
			for _, r := range fake.Runtimes() {
				n, _ := r.Served()
				served += n
				if r.Numb() {
					t.Errorf("seed %d: an event was given to a frozen runtime", seed)
				}
			}
			if served != callers*calls {
				t.Errorf("seed %d: %d of %d calls were served", seed, served, callers*calls)
			}
			time.Sleep(time.Second / 2)
			n := ps.Function(v.ID.Function).Idle
			wantFrozen(t, ps, v, n, n)
		})
	})
}

// A pool that rests makes no appointments, however many of its instances are frozen.
func TestFrozenPoolsMakeNoAppointments(t *testing.T) {
	fake := pooltest.New(nil)
	bubble(t, pool.Options{Starter: fake, FreezeAfter: freezeAfter}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		var holds []*pool.Hold
		for range 50 {
			holds = append(holds, must(t, ps, v))
		}
		for _, h := range holds {
			h.Release()
		}
		time.Sleep(time.Second / 2)
		wantFrozen(t, ps, v, 50, 50)
		if n := ps.Freezes(); n != 0 {
			t.Errorf("%d appointments to freeze", n)
		}
	})
}
