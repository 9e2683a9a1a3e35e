package pool_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/keepalive"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/quota"
)

// numbered is a version that may have provisioned instances.
func numbered(concurrency int) *faas.Version {
	v := version("f", "1", concurrency)
	v.ID.Number = "1"
	return v
}

// counts are the provisioned instances without the failure.
func counts(ps *pool.Pools, v *faas.Version) [3]int {
	c := ps.Provisioned(v)
	return [3]int{c.Target, c.Allocated, c.Ready}
}

func wantCounts(t *testing.T, ps *pool.Pools, v *faas.Version, target, allocated, ready int) {
	t.Helper()
	synctest.Wait()
	if got := counts(ps, v); got != [3]int{target, allocated, ready} {
		t.Errorf("target, allocated, ready are %v, want %v", got, [3]int{target, allocated, ready})
	}
}

// provide charges and sets a target, in the order in which that is safe.
func provide(gate *caps, ps *pool.Pools, v *faas.Version, n int) {
	if n > counts(ps, v)[0] {
		gate.provision(v, n)
		ps.Provision(v, n)
		return
	}
	ps.Provision(v, n)
	gate.provision(v, n)
}

func TestProvisionedInstancesAreThereBeforeTheCall(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: 14 * time.Minute, Handle: pooltest.Sleep(time.Second)}
	})
	gate := newCaps(t)
	gate.instances = 3
	o := pool.Options{Starter: fake, Quota: gate, KeepAlive: keepalive.Fixed(time.Second), MaxInstances: 4}
	bubble(t, o, func(t *testing.T, ps *pool.Pools) {
		v := numbered(1)
		provide(gate, ps, v, 3)
		wantCounts(t, ps, v, 3, 3, 0)
		time.Sleep(14 * time.Minute)
		wantCounts(t, ps, v, 3, 3, 3)
		time.Sleep(time.Hour) // far beyond what keep-alive keeps
		if s := ps.Function(v.ID.Function); s != (pool.Counts{Idle: 3, Frozen: 3, Provisioned: 3}) {
			t.Errorf("%+v", s)
		}
		// The target is charged: calls on it need no more, and there is no more.
		began := time.Now()
		if got := refused(t, flood(ps, v, 3)); got[""] != 3 || time.Since(began) != time.Second {
			t.Errorf("%v after %v", got, time.Since(began))
		}
		h := must(t, ps, v)
		if h.Cold() != "" || h.InitDuration() != 0 {
			t.Errorf("cold %q, init %v", h.Cold(), h.InitDuration())
		}
		h.Release()
		if fake.Starts() != 3 || gate.purposes[quota.ForProvisioned] != 3 {
			t.Errorf("%d starts, %v", fake.Starts(), gate.purposes)
		}
	})
	if gate.out() != 0 {
		t.Errorf("%d leases were not released", gate.out())
	}
}

func TestCallsBeyondTheProvisionedSpillOver(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: time.Second, Handle: pooltest.Sleep(10 * time.Second)}
	})
	gate := newCaps(t)
	gate.instances = 5
	bubble(t, pool.Options{Starter: fake, Quota: gate}, func(t *testing.T, ps *pool.Pools) {
		v := numbered(1)
		v.Config.TimeoutSeconds = 60
		provide(gate, ps, v, 2)
		time.Sleep(time.Second)
		synctest.Wait() // both are ready, and not in this instant
		if got := refused(t, flood(ps, v, 7)); got[""] != 5 || got[faas.LimitFunction] != 2 {
			t.Errorf("%v", got)
		}
		for i, r := range fake.Runtimes() {
			if r.Provisioned != (i < 2) {
				t.Errorf("start %d says provisioned %v", i, r.Provisioned)
			}
		}
		if fake.Starts() != 5 || gate.purposes[quota.ForCall] != 3 {
			t.Errorf("%d starts, %v", fake.Starts(), gate.purposes)
		}
		a := must(t, ps, v)
		b := must(t, ps, v)
		if gate.room(v) != 3 {
			t.Errorf("room for %d: the provisioned ones were to be taken first", gate.room(v))
		}
		a.Release()
		b.Release()
	})
}

func TestProvisionMarksWhatIsIdleAndUnmarksWithoutAKill(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: time.Second, Handle: pooltest.Sleep(10 * time.Second)}
	})
	gate := newCaps(t)
	gate.instances = 4
	o := pool.Options{Starter: fake, Quota: gate, KeepAlive: keepalive.Fixed(time.Minute)}
	bubble(t, o, func(t *testing.T, ps *pool.Pools) {
		v := numbered(1)
		a, b := must(t, ps, v), must(t, ps, v)
		a.Release()
		b.Release()
		provide(gate, ps, v, 3)
		wantCounts(t, ps, v, 3, 3, 2)
		if fake.Starts() != 3 || gate.purposes[quota.Adopt] != 2 {
			t.Errorf("%d starts: idle instances were to be marked", fake.Starts())
		}
		a = must(t, ps, v)
		provide(gate, ps, v, 1) // the start goes first, then the idle one
		wantCounts(t, ps, v, 1, 1, 1)
		provide(gate, ps, v, 0) // the busy one: charged as an ordinary one now
		wantCounts(t, ps, v, 0, 0, 0)
		if gate.room(v) != 2 { // one is busy, one is starting
			t.Errorf("room for %d", gate.room(v))
		}
		time.Sleep(2 * time.Second)
		a.Release()
		synctest.Wait()
		if s := ps.Function(v.ID.Function); s != (pool.Counts{Idle: 3, Frozen: 3}) || gate.room(v) != 4 {
			t.Errorf("%+v, room for %d", s, gate.room(v))
		}
		time.Sleep(2 * time.Minute)
		if s := ps.Function(v.ID.Function); s != (pool.Counts{}) {
			t.Errorf("keep-alive left %+v", s)
		}
	})
	if gate.out() != 0 {
		t.Errorf("%d leases were not released", gate.out())
	}
}

func TestDeadProvisionedInstanceIsReplaced(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: time.Second, KillTime: 100 * time.Millisecond, Handle: pooltest.Sleep(time.Minute)}
	})
	gate := newCaps(t)
	gate.instances = 2
	bubble(t, pool.Options{Starter: fake, Quota: gate}, func(t *testing.T, ps *pool.Pools) {
		v := numbered(1)
		provide(gate, ps, v, 2)
		time.Sleep(time.Second)
		synctest.Wait()
		fake.Runtimes()[0].Crash(pool.FailedExit)
		wantCounts(t, ps, v, 2, 2, 1)
		time.Sleep(time.Second)
		wantCounts(t, ps, v, 2, 2, 2)
		if _, err := call(ps, v); failureOf(t, err) != pool.FailedTimeout {
			t.Errorf("error %v", err)
		}
		wantCounts(t, ps, v, 2, 2, 1)
		time.Sleep(2 * time.Second)
		wantCounts(t, ps, v, 2, 2, 2)
		ps.Retire(v)
		wantCounts(t, ps, v, 0, 0, 0)
		ps.Provision(v, 2) // too late
		wantCounts(t, ps, v, 0, 0, 0)
	})
	if gate.out() != 0 {
		t.Errorf("%d leases were not released", gate.out())
	}
}

func TestProvisionedGiveUpAfterFiveInitFailures(t *testing.T) {
	broken := true
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		if broken {
			return pooltest.Script{InitTime: 10 * time.Millisecond, InitErr: pooltest.Failed(pool.FailedInit)}
		}
		return pooltest.Script{}
	})
	gate := newCaps(t)
	o := pool.Options{Starter: fake, Quota: gate}
	bubble(t, o, func(t *testing.T, ps *pool.Pools) {
		v := numbered(1)
		provide(gate, ps, v, 2)
		time.Sleep(time.Hour)
		wantCounts(t, ps, v, 2, 0, 0)
		var failure *pool.Failure
		if c := ps.Provisioned(v); !errors.As(c.Failure, &failure) || failure.Kind != pool.FailedInit {
			t.Errorf("failure %v", c.Failure)
		}
		if fake.Starts() != 6 { // two at once, then one at a time
			t.Errorf("%d starts", fake.Starts())
		}
		ps.Provision(v, 2) // nothing new
		time.Sleep(time.Hour)
		if fake.Starts() != 6 {
			t.Errorf("%d starts", fake.Starts())
		}
		broken = false
		provide(gate, ps, v, 3)
		time.Sleep(time.Minute)
		wantCounts(t, ps, v, 3, 3, 3)
		if c := ps.Provisioned(v); c.Failure != nil {
			t.Errorf("failure %v", c.Failure)
		}
	})
	if gate.out() != 0 {
		t.Errorf("%d leases were not released", gate.out())
	}
}

func TestRefusedProvisionedStartsAreTriedAgain(t *testing.T) {
	fake := pooltest.New(nil)
	gate := newCaps(t)
	gate.starts = 2
	bubble(t, pool.Options{Starter: fake, Quota: gate}, func(t *testing.T, ps *pool.Pools) {
		v := numbered(1)
		provide(gate, ps, v, 5)
		wantCounts(t, ps, v, 5, 2, 2)
		time.Sleep(30 * time.Second)
		wantCounts(t, ps, v, 5, 2, 2)
		if got := refused(t, []error{ps.Provisioned(v).Failure}); got[faas.LimitExpansion] != 1 {
			t.Errorf("failure %v", ps.Provisioned(v).Failure)
		}
		time.Sleep(40 * time.Second)
		wantCounts(t, ps, v, 5, 4, 4)
		time.Sleep(75 * time.Second)
		wantCounts(t, ps, v, 5, 5, 5)
		if err := ps.Provisioned(v).Failure; err != nil {
			t.Errorf("failure %v", err)
		}
	})
}

func TestCallMayWaitForAProvisionedStart(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: 5 * time.Second}
	})
	gate := newCaps(t)
	gate.instances = 1
	bubble(t, pool.Options{Starter: fake, Quota: gate}, func(t *testing.T, ps *pool.Pools) {
		v := numbered(1)
		provide(gate, ps, v, 1)
		began := time.Now()
		h := must(t, ps, v)
		if h.Cold() != "" || h.InitDuration() != 0 || time.Since(began) != 5*time.Second || fake.Starts() != 1 {
			t.Errorf("cold %q after %v, %d starts", h.Cold(), time.Since(began), fake.Starts())
		}
		if _, err := call(ps, v); refused(t, []error{err})[faas.LimitFunction] != 1 {
			t.Errorf("the second: %v", err)
		}
		h.Release()
	})
}

func TestCallThatWaitedInVainForAProvisionedStartHearsOfTheLimit(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: 5 * time.Minute}
	})
	gate := newCaps(t)
	gate.instances = 1
	bubble(t, pool.Options{Starter: fake, Quota: gate}, func(t *testing.T, ps *pool.Pools) {
		v := numbered(1)
		provide(gate, ps, v, 1)
		began := time.Now()
		_, err := call(ps, v)
		if refused(t, []error{err})[faas.LimitFunction] != 1 || time.Since(began) != 13*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := ps.Acquire(ctx, v); !faas.IsCode(err, faas.CodeCanceled) {
			t.Errorf("hung up: %v", err)
		}
	})
}
