package pool_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/keepalive"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/quota"
)

// The spec's own examples, with the real allocator and the real pools.

// serverOf is pools under an allocator with some limits changed.
type serverOf struct {
	t     *testing.T
	quota *quota.Allocator
	pools *pool.Pools
}

func specified(t *testing.T, fake *pooltest.Starter, change func(*faas.AccountLimits), f func(s *serverOf)) {
	t.Helper()
	al := quota.New(quota.Options{})
	account := quota.Account{ID: faas.DefaultAccount, Region: faas.DefaultRegion}
	limits := faas.DefaultAccountLimits()
	if change != nil {
		change(&limits)
	}
	al.Configure(account, quota.Settings{Limits: limits})
	o := pool.Options{Starter: fake, Quota: al, KeepAlive: keepalive.Fixed(10 * time.Minute)}
	bubble(t, o, func(t *testing.T, ps *pool.Pools) { f(&serverOf{t, al, ps}) })
	u := al.Usage(account)
	if (u.InUse != quota.Share{}) || u.Misuses != 0 {
		t.Errorf("left in use: %+v, %d misuses", u.InUse, u.Misuses)
	}
}

// call is a whole invocation as package invoke makes it.
func (s *serverOf) call(v *faas.Version) error {
	lease, err := s.quota.Admit(v, quota.Synchronous)
	if err != nil {
		return err
	}
	defer lease.Release()
	_, err = call(s.pools, v)
	return err
}

// flood runs so many calls at once and counts the answers by the limit that they
// name; "" counts those that were served.
func (s *serverOf) flood(v *faas.Version, calls int) map[faas.Limit]int {
	errs := make([]error, calls)
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() { errs[i] = s.call(v) })
	}
	wg.Wait()
	return refused(s.t, errs)
}

func seconds(n int) *pooltest.Starter {
	return pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: 200 * time.Millisecond, KillTime: 20 * time.Millisecond, Handle: pooltest.Sleep(time.Duration(n) * time.Second)}
	})
}

// patient is a version whose calls may take a minute.
func patient(name, number string) *faas.Version {
	v := version(name, number, 1)
	v.ID.Number = number
	v.Config.TimeoutSeconds = 60
	return v
}

func TestSpecBurstOf500ConvergesOn500Instances(t *testing.T) {
	fake := seconds(30)
	specified(t, fake, func(l *faas.AccountLimits) { l.FunctionMaximum = 1000 }, func(s *serverOf) {
		v := patient("f", "1")
		for range 2 {
			if got := s.flood(v, 500); got[""] != 500 {
				t.Errorf("%v", got)
			}
		}
		if fake.Starts() != 500 || fake.Peak() != 500 {
			t.Errorf("%d starts, %d at once", fake.Starts(), fake.Peak())
		}
	})
}

func TestSpecBurstOf500AtTheDefaultRuns300AndRefuses200ByName(t *testing.T) {
	fake := seconds(30)
	specified(t, fake, nil, func(s *serverOf) {
		got := s.flood(patient("f", "1"), 500)
		if got[""] != 300 || got[faas.LimitFunction] != 200 || fake.Peak() != 300 {
			t.Errorf("%v, %d at once", got, fake.Peak())
		}
	})
}

func TestSpecV1Using200LeavesV2100(t *testing.T) {
	fake := seconds(30)
	specified(t, fake, nil, func(s *serverOf) {
		v1, v2 := patient("f", "1"), patient("f", "2")
		var first map[faas.Limit]int
		var wg sync.WaitGroup
		wg.Go(func() { first = s.flood(v1, 200) })
		synctest.Wait()
		second := s.flood(v2, 300)
		wg.Wait()
		if first[""] != 200 || second[""] != 100 || second[faas.LimitFunction] != 200 {
			t.Errorf("v1 %v, v2 %v", first, second)
		}
	})
}

func TestSpec300IdleOfV1RefuseNoneOfV2(t *testing.T) {
	fake := seconds(1)
	specified(t, fake, func(l *faas.AccountLimits) { l.Expansion = 1000 }, func(s *serverOf) {
		v1, v2 := patient("f", "1"), patient("f", "2")
		if got := s.flood(v1, 300); got[""] != 300 {
			t.Fatalf("v1 %v", got)
		}
		if c := s.pools.Function(v1.ID.Function); c.Idle != 300 {
			t.Fatalf("%+v", c)
		}
		if got := s.flood(v2, 300); got[""] != 300 {
			t.Errorf("v2 %v", got)
		}
		if fake.Peak() != 300 {
			t.Errorf("%d instances at once", fake.Peak())
		}
	})
}

func TestSpec500StartsAtOnceAndThe501stAt60Seconds(t *testing.T) {
	fake := seconds(1)
	specified(t, fake, func(l *faas.AccountLimits) { l.FunctionMaximum = 0 }, func(s *serverOf) {
		if got := s.flood(patient("f", "1"), 500); got[""] != 500 {
			t.Fatalf("%v", got)
		}
		began := time.Now().Add(-1200 * time.Millisecond)
		other := patient("g", "1")
		for _, at := range []time.Duration{2 * time.Second, 30 * time.Second, 60*time.Second - 1} {
			time.Sleep(time.Until(began.Add(at)))
			if err := s.call(other); refused(t, []error{err})[faas.LimitExpansion] != 1 {
				t.Errorf("at %v: %v", at, err)
			}
		}
		time.Sleep(1)
		if err := s.call(other); err != nil || time.Since(began) != 61200*time.Millisecond {
			t.Errorf("at 60 s: %v, answered at %v", err, time.Since(began))
		}
	})
}

func TestSpec501StartsSpreadOver59Seconds(t *testing.T) {
	fake := seconds(50)
	specified(t, fake, func(l *faas.AccountLimits) { l.FunctionMaximum = 0 }, func(s *serverOf) {
		// Each call finds the ones before it busy, or is of a function of its own.
		errs := make([]error, 501)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 59 * time.Second / 500)
				v := patient("f"+string(rune('a'+i%26))+string(rune('a'+i/26)), "1")
				errs[i] = s.call(v)
			})
		}
		wg.Wait()
		if got := refused(t, errs); got[""] != 500 || got[faas.LimitExpansion] != 1 || errs[500] == nil {
			t.Errorf("%v, the last %v", got, errs[500])
		}
	})
}

// TestSpecACallIsColdInExactlyTheseCases goes through the list of DESIGN 3.
func TestSpecACallIsColdInExactlyTheseCases(t *testing.T) {
	idle := func(s *serverOf, v *faas.Version) { _ = s.call(v) }
	for name, tt := range map[string]struct {
		before func(s *serverOf, v *faas.Version) *faas.Version // returns the version to call
		want   faas.ColdReason
	}{
		"the first of its version": {func(_ *serverOf, v *faas.Version) *faas.Version { return v }, faas.ColdFirst},
		"the first of a new version": {func(s *serverOf, v *faas.Version) *faas.Version {
			idle(s, v)
			return patient("f", "2")
		}, faas.ColdFirst},
		"scale-out": {func(s *serverOf, v *faas.Version) *faas.Version {
			h := must(s.t, s.pools, v)
			time.AfterFunc(time.Minute, h.Release)
			return v
		}, faas.ColdScaleOut},
		"idle reclaim": {func(s *serverOf, v *faas.Version) *faas.Version {
			idle(s, v)
			time.Sleep(11 * time.Minute)
			return v
		}, faas.ColdIdle},
		"reclaim for room": {func(s *serverOf, v *faas.Version) *faas.Version {
			idle(s, v)
			for range 2 { // of the function's maximum of 2
				h := must(s.t, s.pools, patient("f", "2"))
				time.AfterFunc(time.Second, h.Release)
			}
			time.Sleep(2 * time.Second)
			return v
		}, faas.ColdRoom},
		"deploy": {func(s *serverOf, v *faas.Version) *faas.Version {
			idle(s, v)
			next := patient("f", "1")
			next.Revision = "other"
			s.pools.Retire(v)
			return next
		}, faas.ColdDeploy},
		"timeout": {func(s *serverOf, v *faas.Version) *faas.Version {
			h := must(s.t, s.pools, v)
			v.Config.TimeoutSeconds = 1
			_, _ = h.Deliver(event("slow"))
			h.Release()
			return v
		}, faas.ColdRecycle},
		"exit": {func(s *serverOf, v *faas.Version) *faas.Version {
			h := must(s.t, s.pools, v)
			_, _ = h.Deliver(event("exit"))
			h.Release()
			return v
		}, faas.ColdRecycle},
		"OOM": {func(s *serverOf, v *faas.Version) *faas.Version {
			h := must(s.t, s.pools, v)
			_, _ = h.Deliver(event("oom"))
			h.Release()
			return v
		}, faas.ColdRecycle},
		"init error": {func(s *serverOf, v *faas.Version) *faas.Version {
			v.Config.Handler = "broken"
			_ = s.call(v)
			v.Config.Handler = ""
			time.Sleep(time.Second)
			return v
		}, faas.ColdRecycle},
		"restart": {func(_ *serverOf, v *faas.Version) *faas.Version {
			v.LastModified = time.Now().Add(-time.Hour)
			return v
		}, faas.ColdRestart},

		"warm: idle": {func(s *serverOf, v *faas.Version) *faas.Version {
			idle(s, v)
			time.Sleep(9 * time.Minute)
			return v
		}, ""},
		"warm: waited for a freed instance": {func(s *serverOf, v *faas.Version) *faas.Version {
			h := must(s.t, s.pools, v)
			time.AfterFunc(time.Millisecond, h.Release)
			return v
		}, ""},
		"warm: a surplus start": {func(s *serverOf, v *faas.Version) *faas.Version {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			_, _ = s.pools.Acquire(ctx, v)
			time.Sleep(time.Second)
			return v
		}, ""},
		"warm: prepared before a deploy": {func(s *serverOf, v *faas.Version) *faas.Version {
			idle(s, v)
			next := patient("f", "1")
			next.Revision = "other"
			if err := s.pools.Prepare(context.Background(), v, next); err != nil {
				s.t.Error(err)
			}
			s.pools.Retire(v)
			return next
		}, ""},
		"warm: provisioned": {func(s *serverOf, v *faas.Version) *faas.Version {
			s.quota.Provision(v.ID.Function, map[string]quota.Provision{"1": {Instances: 1, MemoryMB: 128, Concurrency: 1}})
			s.pools.Provision(v, 1)
			time.Sleep(time.Second)
			return v
		}, ""},
		"warm: waited for a provisioned instance": {func(s *serverOf, v *faas.Version) *faas.Version {
			s.quota.Provision(v.ID.Function, map[string]quota.Provision{"1": {Instances: 2, MemoryMB: 128, Concurrency: 1}})
			s.pools.Provision(v, 2)
			return v
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fake := pooltest.New(func(_ int, v *faas.Version) pooltest.Script {
				script := pooltest.Script{InitTime: 200 * time.Millisecond, Handle: coldHandler}
				if v.Config.Handler == "broken" {
					script.InitErr = pooltest.Failed(pool.FailedInit)
				}
				return script
			})
			specified(t, fake, func(l *faas.AccountLimits) { l.FunctionMaximum = 2 }, func(s *serverOf) {
				v := tt.before(s, patient("f", "1"))
				h := must(t, s.pools, v)
				if h.Cold() != tt.want {
					t.Errorf("cold %q, want %q", h.Cold(), tt.want)
				}
				if cold := h.InitDuration() > 0; cold != (tt.want != "") {
					t.Errorf("init %v of a call that is cold %q", h.InitDuration(), h.Cold())
				}
				h.Release()
				again := must(t, s.pools, v)
				if again.Cold() != "" || again.InitDuration() != 0 {
					t.Errorf("the next call is cold: %q", again.Cold())
				}
				again.Release()
				time.Sleep(time.Minute + time.Second)
				s.pools.Provision(v, 0)
				s.quota.Provision(v.ID.Function, nil)
			})
		})
	}
}

func coldHandler(ctx context.Context, e *faas.Event) (faas.Outcome, error) {
	switch e.RequestID {
	case "slow":
		return pooltest.Sleep(time.Hour)(ctx, e)
	case "exit":
		return faas.Outcome{}, pooltest.Failed(pool.FailedExit)
	case "oom":
		return faas.Outcome{}, pooltest.Failed(pool.FailedOOM)
	}
	return faas.Outcome{Payload: e.Payload}, nil
}

// TestAReservedFunctionIsNotStarvedByAFlood has one function flood the account
// while another uses what is reserved for it.
func TestAReservedFunctionIsNotStarvedByAFlood(t *testing.T) {
	fake := seconds(20)
	specified(t, fake, nil, func(s *serverOf) {
		flooding, reserved := patient("flood", "1"), patient("reserved", "1")
		limits := faas.DefaultAccountLimits()
		limits.FunctionMaximum, limits.Expansion = 0, 0
		s.quota.Configure(quota.AccountOf(reserved.ID.Function.Scope), quota.Settings{Limits: limits,
			Functions: map[faas.FunctionID]quota.FunctionSettings{reserved.ID.Function: {
				Reserved: &faas.Amount{Unit: faas.UnitExecutions, Value: 50}, MemoryMB: 128, Concurrency: 1}}})
		var wg sync.WaitGroup
		var flood map[faas.Limit]int
		wg.Go(func() { flood = s.flood(flooding, 1500) })
		synctest.Wait()
		if got := s.flood(reserved, 60); got[""] != 50 || got[faas.LimitReserved] != 10 {
			t.Errorf("reserved %v", got)
		}
		wg.Wait()
		if flood[""] != 950 || flood[faas.LimitExecutions] != 550 {
			t.Errorf("flood %v", flood)
		}
	})
}
