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

// TestFloodKeepsNoTurnFromOthers has three hundred starts of one function wait when
// a call of another comes: its start is among the next, not behind them.
func TestFloodKeepsNoTurnFromOthers(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: 50 * time.Millisecond, Handle: pooltest.Sleep(time.Minute)}
	})
	bubble(t, pool.Options{Starter: fake, Starts: 2}, func(t *testing.T, ps *pool.Pools) {
		var calls sync.WaitGroup
		defer calls.Wait()
		crowd, single := version("crowd", "0", 1), version("single", "0", 1)
		for range 300 {
			calls.Go(func() { _, _ = call(ps, crowd) })
		}
		synctest.Wait()
		began := time.Now()
		h := must(t, ps, single)
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("the call of another function had its instance after %v", took)
		}
		h.Release()
	})
}

// TestCallThatNeverHadATurnBlamesTheMachine: the time in which other starts have the
// turns says nothing about the function's own init.
func TestCallThatNeverHadATurnBlamesTheMachine(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: 9 * time.Second, Handle: pooltest.Sleep(time.Hour)}
	})
	bubble(t, pool.Options{Starter: fake, Starts: 1}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "0", 1)
		v.Config.TimeoutSeconds = 3
		var mu sync.Mutex
		got := map[string]int{}
		var calls sync.WaitGroup
		for range 400 { // a turn takes 100 ms, and calls wait for 18 s
			calls.Go(func() {
				h, err := ps.Acquire(context.Background(), v)
				mu.Lock()
				defer mu.Unlock()
				var refusal *faas.Refusal
				switch {
				case err == nil:
					got["held"]++
					calls.Go(func() {
						time.Sleep(time.Minute)
						h.Release()
					})
				case faas.IsCode(err, faas.CodeNoCapacity) && errors.As(err, &refusal) && refusal.Limit == faas.LimitMachine:
					got["machine"]++
				default:
					got[err.Error()]++
				}
			})
		}
		calls.Wait()
		if got["held"] < 90 || got["held"]+got["machine"] != 400 {
			t.Errorf("%v", got)
		}
	})
}

// TestWithdrawnStartsKeepNoTurn closes the pools while starts wait for their turns.
func TestWithdrawnStartsKeepNoTurn(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{StartTime: time.Second}
	})
	synctest.Test(t, func(t *testing.T) {
		ps := pool.New(pool.Options{Starter: fake, Starts: 1})
		var calls sync.WaitGroup
		for range 20 {
			calls.Go(func() { _, _ = call(ps, version("f", "0", 1)) })
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = ps.Close(ctx) // the error says that calls were cut off
		calls.Wait()
		if err := ps.CheckTurns(1); err != nil {
			t.Error(err)
		}
	})
}

// TestStartThatNobodyNeedsAnyMoreDoesNotBegin has the calls of a burst served by the
// first instances: the starts that wait for their turns by then are dropped, and
// what they were charged is given back, their places in the window too.
func TestStartThatNobodyNeedsAnyMoreDoesNotBegin(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: 90 * time.Millisecond, Handle: pooltest.Sleep(time.Millisecond)}
	})
	gate := quota.New(quota.Options{})
	bubble(t, pool.Options{Starter: fake, Quota: gate, Starts: 2}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "0", 1)
		if got := refused(t, flood(ps, v, 100)); got[""] != 100 {
			t.Fatalf("%v", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := fake.Starts(); n > 6 {
			t.Errorf("%d instances were started", n)
		}
		if c := ps.Function(v.ID.Function); c.Starting != 0 || c.Idle != fake.Starts() {
			t.Errorf("%+v after %d starts", c, fake.Starts())
		}
		if u := gate.Usage(quota.AccountOf(v.ID.Function.Scope)); u.Starts != fake.Starts() || u.InUse != (quota.Share{}) || u.Misuses != 0 {
			t.Errorf("%d starts were made: %+v", fake.Starts(), u)
		}
	})
}

// TestTurnsLastWhileTheCPUsAreSaturated has starts that take the CPU for longer than
// the usual turn: no more of them go on at once than there are turns, unless they
// take so long that they must wait for something else.
func TestTurnsLastWhileTheCPUsAreSaturated(t *testing.T) {
	for _, c := range []struct {
		init      time.Duration
		saturated bool
		want      time.Duration // until the last of forty has its instance
	}{
		{500 * time.Millisecond, true, 10 * 500 * time.Millisecond},
		{500 * time.Millisecond, false, 9*100*time.Millisecond + 500*time.Millisecond},
		{8 * time.Second, true, 9*5*time.Second + 8*time.Second},
	} {
		fake := pooltest.New(func(int, *faas.Version) pooltest.Script { return pooltest.Script{InitTime: c.init} })
		o := pool.Options{Starter: fake, Starts: 4, Saturated: func() bool { return c.saturated }}
		bubble(t, o, func(t *testing.T, ps *pool.Pools) {
			v := version("f", "0", 1)
			v.Config.TimeoutSeconds = 60
			began := time.Now()
			var calls sync.WaitGroup
			for range 40 {
				calls.Go(func() {
					h, err := ps.Acquire(context.Background(), v)
					if err != nil {
						t.Error(err)
						return
					}
					if took := time.Since(began); took > c.want {
						t.Errorf("init of %v, saturated %v: an instance after %v", c.init, c.saturated, took)
					}
					time.Sleep(time.Minute) // so that no instance serves two
					h.Release()
				})
			}
			calls.Wait()
			if took := time.Since(began) - time.Minute; took != c.want {
				t.Errorf("init of %v, saturated %v: the last instance after %v, not %v", c.init, c.saturated, took, c.want)
			}
		})
	}
}
