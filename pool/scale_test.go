package pool_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/quota"
)

// flood runs so many whole calls at once and returns their errors when all ended.
func flood(ps *pool.Pools, v *faas.Version, calls int) []error {
	synctest.Wait() // what else happens at this moment is over
	var wg sync.WaitGroup
	errs := make([]error, calls)
	for i := range calls {
		wg.Go(func() { _, errs[i] = call(ps, v) })
	}
	wg.Wait()
	return errs
}

// refused counts the errors by the limit that they name; "" counts those without.
func refused(t *testing.T, errs []error) map[faas.Limit]int {
	t.Helper()
	counts := map[faas.Limit]int{}
	for _, err := range errs {
		var r *faas.Refusal
		switch {
		case err == nil:
			counts[""]++
		case errors.As(err, &r):
			counts[r.Limit]++
		default:
			t.Errorf("error %v is no refusal", err)
		}
	}
	return counts
}

func TestBurstStartsAsManyInstancesAsCallsInFlight(t *testing.T) {
	fake := pooltest.New(func(n int, _ *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: time.Duration(n%7) * 100 * time.Millisecond, Handle: pooltest.Sleep(2 * time.Second)}
	})
	gate := newCaps(t)
	bubble(t, pool.Options{Starter: fake, Quota: gate}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		for range 3 { // the second and the third find the instances of the first
			if got := refused(t, flood(ps, v, 500)); got[""] != 500 {
				t.Errorf("answers %v", got)
			}
		}
		if fake.Starts() != 500 || fake.Peak() != 500 {
			t.Errorf("%d starts, %d at once", fake.Starts(), fake.Peak())
		}
	})
	if gate.out() != 0 {
		t.Errorf("%d leases were not released", gate.out())
	}
}

func TestRefusesOnlyWhatNoStartIsUnderWayFor(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: time.Second, Handle: pooltest.Sleep(time.Second)}
	})
	gate := newCaps(t)
	gate.instances = 2
	bubble(t, pool.Options{Starter: fake, Quota: gate}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		first := must(t, ps, v)
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { _, err := ps.Acquire(ctx, v); left <- err }()
		synctest.Wait()
		cancel() // its start goes on, and is charged
		<-left
		first.Release()
		second := must(t, ps, v) // the idle one: both places are taken now
		first = must(t, ps, v)   // waits for the start that is under way
		if fake.Starts() != 2 || gate.room(v) != 0 {
			t.Errorf("%d starts, room for %d", fake.Starts(), gate.room(v))
		}
		began := time.Now()
		if _, err := call(ps, v); refused(t, []error{err})[faas.LimitFunction] != 1 || time.Since(began) != 0 {
			t.Errorf("the third: %v after %v", err, time.Since(began))
		}
		first.Release()
		second.Release()
	})
}

func TestCallThatMayNotHaveAnIdleInstanceTakesTheStartUnderWay(t *testing.T) {
	fake := pooltest.New(func(n int, _ *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: time.Duration(n) * time.Second}
	})
	gate := newCaps(t)
	bubble(t, pool.Options{Starter: fake, Quota: gate}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		first := must(t, ps, v)
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { _, err := ps.Acquire(ctx, v); left <- err }()
		synctest.Wait()
		cancel() // its start goes on
		if err := <-left; !faas.IsCode(err, faas.CodeCanceled) {
			t.Fatal(err)
		}
		first.Release()
		gate.instances = 1 // the start has the only place: the idle one may not become busy
		began := time.Now()
		second := must(t, ps, v)
		if took := time.Since(began); took != time.Second || second.Instance() == first.Instance() || fake.Starts() != 2 {
			t.Errorf("served after %v, %d starts", took, fake.Starts())
		}
		second.Release()
	})
}

func TestSecondAttemptOfAStartAsksTheQuota(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: time.Second, InitErr: pooltest.Failed(pool.FailedExit)}
	})
	gate := newCaps(t)
	gate.again = refusal(faas.LimitExpansion, faas.UnitStarts, 500, 500)
	bubble(t, pool.Options{Starter: fake, Quota: gate}, func(t *testing.T, ps *pool.Pools) {
		_, err := call(ps, version("f", "1", 1))
		if failureOf(t, err) != pool.FailedExit || fake.Starts() != 1 {
			t.Errorf("%v after %d starts: the first failure was to be answered", err, fake.Starts())
		}
	})
	if gate.out() != 0 {
		t.Errorf("%d leases were not released", gate.out())
	}
}

func TestIdleOfOneVersionRefusesNoneOfAnother(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: 100 * time.Millisecond, KillTime: 50 * time.Millisecond, Handle: pooltest.Sleep(time.Second)}
	})
	gate := newCaps(t)
	gate.instances, gate.ceiling = 300, quota.Ceiling{Instances: 300}
	bubble(t, pool.Options{Starter: fake, Quota: gate}, func(t *testing.T, ps *pool.Pools) {
		v1, v2, other := version("f", "1", 1), version("f", "2", 1), version("g", "1", 1)
		v1.ID.Number, v2.ID.Number = "1", "2"
		if _, err := call(ps, other); err != nil { // the oldest idle one, of another function
			t.Fatal(err)
		}
		if got := refused(t, flood(ps, v1, 300)); got[""] != 300 {
			t.Fatalf("v1: %v", got)
		}
		if got := ps.Function(v1.ID.Function); got.Idle != 300 {
			t.Fatalf("%+v", got)
		}
		if got := refused(t, flood(ps, v2, 300)); got[""] != 300 {
			t.Errorf("v2: %v", got)
		}
		if fake.Peak() != 301 || ps.Function(other.ID.Function).Idle != 1 {
			t.Errorf("%d at once; of the other function %+v", fake.Peak(), ps.Function(other.ID.Function))
		}
		if got := ps.Function(v1.ID.Function); got.Idle != 300 || fake.Starts() != 601 {
			t.Errorf("%+v after %d starts", got, fake.Starts())
		}
	})
}

func TestCeilingInMemoryRefusesNobody(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{KillTime: 50 * time.Millisecond}
	})
	gate := newCaps(t)
	gate.ceiling = quota.Ceiling{MemoryMB: 3 * 128}
	bubble(t, pool.Options{Starter: fake, Quota: gate}, func(t *testing.T, ps *pool.Pools) {
		small, large := version("f", "1", 1), version("f", "2", 1)
		large.Config.MemoryMB = 256
		a, b := must(t, ps, small), must(t, ps, small)
		b.Release()
		began := time.Now()
		c := must(t, ps, large) // the idle small one makes room
		if took := time.Since(began); took != 50*time.Millisecond || fake.Peak() != 2 {
			t.Errorf("room took %v, %d at once", took, fake.Peak())
		}
		d := must(t, ps, large) // nothing is idle: it goes on
		if fake.Peak() != 3 {
			t.Errorf("%d at once", fake.Peak())
		}
		for _, h := range []*pool.Hold{a, c, d} {
			h.Release()
		}
	})
}

func TestFullMachineSaysHowFull(t *testing.T) {
	scripted := faas.Errorf(faas.CodeNoCapacity, "machine", "no slot is free")
	for name, tt := range map[string]struct {
		o      pool.Options
		script pooltest.Script
		want   faas.Refusal
	}{
		"instances": {pool.Options{MaxInstances: 2}, pooltest.Script{}, faas.Refusal{Unit: faas.UnitInstances, Value: 2, Use: 2}},
		"memory":    {pool.Options{MaxMemoryMB: 300}, pooltest.Script{}, faas.Refusal{Unit: faas.UnitMemoryMB, Value: 300, Use: 256}},
		"driver":    {pool.Options{}, pooltest.Script{StartErr: scripted}, faas.Refusal{Unit: faas.UnitInstances, Value: 2, Use: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.o.Starter = pooltest.New(func(n int, _ *faas.Version) pooltest.Script {
				if n == 2 {
					return tt.script
				}
				return pooltest.Script{}
			})
			bubble(t, tt.o, func(t *testing.T, ps *pool.Pools) {
				v := version("f", "1", 1)
				defer must(t, ps, v).Release()
				defer must(t, ps, v).Release()
				_, err := call(ps, v)
				var got *faas.Refusal
				if !faas.IsCode(err, faas.CodeNoCapacity) || !errors.As(err, &got) {
					t.Fatalf("error %v", err)
				}
				if got.Limit != faas.LimitMachine || got.Unit != tt.want.Unit || got.Value != tt.want.Value || got.Use != tt.want.Use || got.Raise == "" {
					t.Errorf("refusal %+v", got)
				}
			})
		})
	}
}

// TestStartsTakeTurns has forty starts of which each takes the CPU for 20 ms: the
// first calls are answered when theirs are done, not when all are, and one whose
// init waits for others keeps nobody.
func TestStartsTakeTurns(t *testing.T) {
	fake := pooltest.New(func(n int, _ *faas.Version) pooltest.Script {
		if n < 4 {
			return pooltest.Script{InitTime: 5 * time.Second}
		}
		return pooltest.Script{InitTime: 20 * time.Millisecond}
	})
	bubble(t, pool.Options{Starter: fake, Starts: 4}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "0", 1)
		began := time.Now()
		var took [40]time.Duration
		var calls sync.WaitGroup
		for i := range took {
			calls.Go(func() {
				h, err := ps.Acquire(context.Background(), v)
				if err != nil {
					t.Error(err)
					return
				}
				took[i] = time.Since(began)
				time.Sleep(time.Minute) // so that no instance serves two
				h.Release()
			})
			synctest.Wait() // so that the calls come in order
		}
		calls.Wait()
		for i := range took {
			// The first four starts give their turns up after 100 ms; the calls that
			// they were begun for take the instances of those that come after.
			want := 100*time.Millisecond + time.Duration(i/4+1)*20*time.Millisecond
			if i >= 36 {
				want = 5 * time.Second
			}
			if took[i] != want {
				t.Errorf("call %d had its instance after %v, not %v", i, took[i], want)
			}
		}
	})
}
