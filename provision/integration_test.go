package provision_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/keepalive"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/provision"
	"hearth/quota"
)

// whole is a reconciler over the real allocator and the real pools, with runtimes
// that are scripted.
type whole struct {
	*world
	gate       *quota.Allocator
	pools      *pool.Pools
	starter    *pooltest.Starter
	reconciler *provision.Reconciler
}

func newWhole(t *testing.T, limits faas.AccountLimits, functions map[faas.FunctionID]quota.FunctionSettings, maxInstances int, script func(int, *faas.Version) pooltest.Script) *whole {
	w := &whole{world: newWorld(t), gate: quota.New(quota.Options{}), starter: pooltest.New(script)}
	w.gate.Configure(quota.Account{}, quota.Settings{Limits: limits, Functions: functions})
	w.pools = pool.New(pool.Options{Starter: w.starter, Quota: w.gate, KeepAlive: keepalive.Fixed(10 * time.Minute),
		MaxInstances: maxInstances, Starts: 1000})
	w.reconciler = provision.New(provision.Options{Source: source{w.world}, Pools: w.pools, Quota: w.gate})
	t.Cleanup(func() {
		w.reconciler.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := w.pools.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if u := w.gate.Usage(quota.Account{}); u.Misuses != 0 {
			t.Errorf("%d leases were ended twice", u.Misuses)
		}
	})
	return w
}

func (w *whole) configure(p faas.Provisioning) {
	w.put(p)
	w.reconciler.Changed(p.Function)
	synctest.Wait()
}

// call has one invocation held; it reports whether it had to wait for an instance.
func (w *whole) call(v *faas.Version) (*pool.Hold, bool) {
	w.t.Helper()
	starts, began := w.starter.Starts(), time.Now()
	h, err := w.pools.Acquire(context.Background(), v)
	if err != nil {
		w.t.Fatalf("call of version %s: %v", v.ID.Number, err)
	}
	return h, w.starter.Starts() > starts || time.Since(began) > 0
}

func sized(number string, n int) *faas.Version {
	v := version("f", number, "r"+number, n, 1)
	v.Config.TimeoutSeconds, v.Config.InitTimeoutSeconds = 60, 10
	return v
}

func TestWithPoolAndAllocator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWhole(t, faas.DefaultAccountLimits(), nil, 0, func(int, *faas.Version) pooltest.Script { return pooltest.Script{InitTime: time.Second} })
		one, two := sized("1", 128), sized("2", 256)
		w.configure(configured(faas.Provisioned{Instances: 3}, to(one)))
		status(t, w.reconciler, 3, 3, 0, faas.ProvisionedInProgress)
		time.Sleep(time.Second)
		synctest.Wait()
		status(t, w.reconciler, 3, 3, 3, faas.ProvisionedReady)

		var held []*pool.Hold
		for i := range 4 {
			h, waited := w.call(one)
			if waited != (i == 3) {
				t.Errorf("call %d of 4 with three provisioned instances waited: %t", i+1, waited)
			}
			held = append(held, h)
		}
		if u := w.gate.Usage(quota.Account{}); u.InUse.MemoryMB != 4*128 {
			t.Errorf("%d MB in use, want those of 4 instances", u.InUse.MemoryMB)
		}
		for _, h := range held {
			h.Release()
		}

		// One dies: it is replaced.
		w.starter.Runtimes()[0].Crash(pool.FailedExit)
		synctest.Wait()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		status(t, w.reconciler, 3, 3, 3, faas.ProvisionedReady)

		// The alias moves: the new version gets its places at once, and nothing of the
		// old one is stopped for it.
		before := w.starter.Running()
		w.configure(configured(faas.Provisioned{Instances: 3}, to(two)))
		status(t, w.reconciler, 3, 3, 0, faas.ProvisionedInProgress)
		time.Sleep(time.Second)
		synctest.Wait()
		status(t, w.reconciler, 3, 3, 3, faas.ProvisionedReady)
		if c := w.pools.Provisioned(one); c.Target != 0 || c.Allocated != 0 {
			t.Errorf("the old version has %+v", c)
		}
		if n := w.starter.Running(); n != before+3 {
			t.Errorf("%d instances run, want %d", n, before+3)
		}
		if u := w.gate.Usage(quota.Account{}); u.InUse.MemoryMB != 3*256 {
			t.Errorf("%d MB in use, want those of 3 instances", u.InUse.MemoryMB)
		}

		// It moves back: what is still there is used.
		starts := w.starter.Starts()
		w.configure(configured(faas.Provisioned{Instances: 3}, to(one)))
		status(t, w.reconciler, 3, 3, 3, faas.ProvisionedReady)
		if n := w.starter.Starts(); n != starts {
			t.Errorf("%d instances were started, though three were idle", n-starts)
		}

		w.remove(fn)
		w.reconciler.Changed(fn)
		synctest.Wait()
		if u := w.gate.Usage(quota.Account{}); u.InUse.MemoryMB != 0 || u.Reserved.MemoryMB != 0 {
			t.Errorf("after the deletion %+v in use, %+v reserved", u.InUse, u.Reserved)
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if n := w.starter.Running(); n != 0 {
			t.Errorf("%d instances were kept for nobody", n)
		}
	})
}

// TestMoveInsideFullReservation: all of a reservation is provisioned and busy when
// the alias moves. The calls of the new version have its places at once.
func TestMoveInsideFullReservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := map[faas.FunctionID]quota.FunctionSettings{fn: {
			Reserved: &faas.Amount{Unit: faas.UnitExecutions, Value: 3}, MemoryMB: 128, Concurrency: 1,
			Provisioned: map[string]quota.Provision{"live": {Instances: 3, MemoryMB: 128, Concurrency: 1}},
		}}
		w := newWhole(t, faas.DefaultAccountLimits(), settings, 0, func(int, *faas.Version) pooltest.Script { return pooltest.Script{InitTime: time.Second} })
		one, two := sized("1", 128), sized("2", 128)
		w.configure(configured(faas.Provisioned{Instances: 3}, to(one)))
		time.Sleep(time.Second)
		synctest.Wait()
		var held []*pool.Hold
		for range 3 {
			h, _ := w.call(one)
			held = append(held, h)
		}
		w.configure(configured(faas.Provisioned{Instances: 3}, to(two)))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for _, h := range held {
			h.Release()
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		status(t, w.reconciler, 3, 3, 3, faas.ProvisionedReady)
		if u := w.gate.Usage(quota.Account{}); u.InUse.MemoryMB != 3*128 {
			t.Errorf("%d MB in use, want those of 3 instances", u.InUse.MemoryMB)
		}
	})
}

// TestMoveOnFullMachine: there is no room for both versions. The idle instances of
// the old one make room, one for each start of the new one.
func TestMoveOnFullMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWhole(t, faas.DefaultAccountLimits(), nil, 3, func(int, *faas.Version) pooltest.Script {
			return pooltest.Script{InitTime: time.Second, KillTime: 100 * time.Millisecond}
		})
		one, two := sized("1", 128), sized("2", 128)
		w.configure(configured(faas.Provisioned{Instances: 3}, to(one)))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		status(t, w.reconciler, 3, 3, 3, faas.ProvisionedReady)
		busy, _ := w.call(one)
		w.configure(configured(faas.Provisioned{Instances: 3}, to(two)))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		got := w.reconciler.Status(fn, "live")
		if got.Available != 2 || got.State != faas.ProvisionedFailed || !strings.Contains(got.Reason, "machine") {
			t.Errorf("with a busy instance of the old version: %+v", got)
		}
		busy.Release()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		status(t, w.reconciler, 3, 3, 3, faas.ProvisionedReady)
		if n := w.starter.Peak(); n > 3 {
			t.Errorf("%d instances ran at once on a machine for 3", n)
		}
	})
}

// TestWindowOfProvisionedStarts: 100 of the 500 starts in any 60 s are theirs.
func TestWindowOfProvisionedStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWhole(t, faas.DefaultAccountLimits(), nil, 0, nil)
		v := sized("1", 128)
		w.configure(configured(faas.Provisioned{Instances: 250}, to(v)))
		for minute, want := range []int{100, 200, 250} {
			if got := w.reconciler.Status(fn, "live"); got.Available != want {
				t.Errorf("after %d minutes: %+v, want %d ready", minute, got, want)
			}
			if minute == 0 {
				time.Sleep(30 * time.Second)
				synctest.Wait()
				if got := w.reconciler.Status(fn, "live"); got.State != faas.ProvisionedInProgress || !strings.Contains(got.Reason, "expansion") {
					t.Errorf("refused by the window: %+v", got)
				}
			}
			// It is tried again every 10 s at the latest.
			time.Sleep(time.Minute + 11*time.Second)
			synctest.Wait()
		}
		status(t, w.reconciler, 250, 250, 250, faas.ProvisionedReady)
	})
}

// TestFailingInit: five failed inits end the tries until it is configured again.
func TestFailingInit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := true
		w := newWhole(t, faas.DefaultAccountLimits(), nil, 0, func(int, *faas.Version) pooltest.Script {
			if broken {
				return pooltest.Script{InitErr: pooltest.Failed(pool.FailedInit)}
			}
			return pooltest.Script{}
		})
		v := sized("1", 128)
		w.configure(configured(faas.Provisioned{Instances: 2, Modified: time.Unix(1, 0)}, to(v)))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		got := w.reconciler.Status(fn, "live")
		if got.State != faas.ProvisionedFailed || got.Reason == "" || got.Available != 0 {
			t.Errorf("status %+v", got)
		}
		starts := w.starter.Starts()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := w.starter.Starts(); n != starts || n > 20 {
			t.Errorf("%d starts, %d of them after it was given up", n, n-starts)
		}
		broken = false
		w.configure(configured(faas.Provisioned{Instances: 2, Modified: time.Unix(2, 0)}, to(v)))
		time.Sleep(time.Minute)
		synctest.Wait()
		status(t, w.reconciler, 2, 2, 2, faas.ProvisionedReady)
	})
}

// TestManyMoves moves an alias while calls run, and ends with nothing used.
func TestManyMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWhole(t, faas.DefaultAccountLimits(), nil, 0, func(n int, _ *faas.Version) pooltest.Script {
			return pooltest.Script{InitTime: time.Duration(n%7) * 100 * time.Millisecond}
		})
		versions := []*faas.Version{sized("1", 128), sized("2", 256), sized("3", 512)}
		var held []*pool.Hold
		for i := range 60 {
			v := versions[i%3]
			w.configure(configured(faas.Provisioned{Instances: 1 + i%5}, to(v)))
			total := 0
			for _, v := range versions {
				total += w.pools.Provisioned(v).Allocated
			}
			if total > 1+i%5 {
				t.Fatalf("move %d: %d provisioned instances of %d", i, total, 1+i%5)
			}
			h, _ := w.call(v)
			held = append(held, h)
			if len(held) > 4 {
				held[0].Release()
				held = held[1:]
			}
			time.Sleep(time.Duration(i%4) * 150 * time.Millisecond)
		}
		for _, h := range held {
			h.Release()
		}
		w.remove(fn)
		w.reconciler.Changed(fn)
		time.Sleep(time.Minute)
		synctest.Wait()
		if u := w.gate.Usage(quota.Account{}); fmt.Sprint(u.InUse, u.Reserved) != fmt.Sprint(quota.Share{}, quota.Share{}) {
			t.Errorf("%+v in use and %+v reserved for nobody", u.InUse, u.Reserved)
		}
	})
}
