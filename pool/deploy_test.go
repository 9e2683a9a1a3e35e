package pool_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/keepalive"
	"hearth/pool"
	"hearth/pool/pooltest"
)

func TestDeployDrainsWithoutFailingACall(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: time.Second, Handle: pooltest.Sleep(time.Second)}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		old, next := version("f", "1", 1), version("f", "2", 1)
		idle, busy := must(t, ps, old), must(t, ps, old)
		idle.Release()
		began := time.Now()
		if err := ps.Prepare(t.Context(), old, next); err != nil || time.Since(began) != time.Second {
			t.Fatalf("prepare: %v after %v", err, time.Since(began))
		}
		taken := must(t, ps, old)
		waited := make(chan error, 1)
		go func() { // it resolved the old revision, and waits for a start of it
			_, err := call(ps, old)
			waited <- err
		}()
		synctest.Wait()
		ps.Retire(old)
		ps.Retire(old)
		if h := must(t, ps, next); h.Cold() != "" {
			t.Errorf("the switch cost a cold start: %s", h.Cold())
		} else {
			h.Release()
		}
		if _, err := busy.Deliver(event("r")); err != nil {
			t.Errorf("the call in flight: %v", err)
		}
		busy.Release()
		taken.Release()
		if err := <-waited; err != nil {
			t.Errorf("the call that waited: %v", err)
		}
		if _, err := call(ps, old); err != nil {
			t.Errorf("a call that comes late: %v", err)
		}
		time.Sleep(10 * time.Second)
		stats := ps.Stats()
		if len(stats) != 2 || !stats[0].Retiring || stats[0].Counts != (pool.Counts{}) || stats[1].Idle != 1 {
			t.Errorf("stats %+v", stats)
		}
		for _, r := range fake.Runtimes() {
			if r.Version == old && r.Cause() != "deploy" {
				t.Errorf("an old instance ended with cause %q", r.Cause())
			}
		}
		time.Sleep(2 * time.Minute)
		if stats := ps.Stats(); len(stats) != 1 {
			t.Errorf("the old pool is still there: %+v", stats)
		}
	})
}

func TestPrepareStartsNothingWhereNothingRuns(t *testing.T) {
	fake := pooltest.New(nil)
	bubble(t, pool.Options{Starter: fake, KeepAlive: keepalive.Fixed(time.Minute)}, func(t *testing.T, ps *pool.Pools) {
		old, next := version("f", "1", 1), version("f", "2", 1)
		if err := ps.Prepare(t.Context(), old, next); err != nil || fake.Starts() != 0 {
			t.Errorf("never called: %v, %d starts", err, fake.Starts())
		}
		if _, err := call(ps, old); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if err := ps.Prepare(t.Context(), old, next); err != nil || fake.Starts() != 1 {
			t.Errorf("reclaimed: %v, %d starts", err, fake.Starts())
		}
		ps.Retire(old)
		if h := must(t, ps, next); h.Cold() != faas.ColdDeploy {
			t.Errorf("cold %q", h.Cold())
		} else {
			h.Release()
		}
	})
}

// However many pointers to a revision callers have, it has one pool; one that was
// forgotten is found by none of them.
func TestRevisionHasOnePool(t *testing.T) {
	fake := pooltest.New(nil)
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		first := version("f", "1", 1)
		for range 3 {
			again := *first
			for _, v := range []*faas.Version{first, &again, first} {
				if _, err := call(ps, v); err != nil {
					t.Error(err)
				}
			}
		}
		if len(fake.Runtimes()) != 1 || len(ps.Stats()) != 1 {
			t.Errorf("%d instances in %d pools, want one in one", len(fake.Runtimes()), len(ps.Stats()))
		}
		ps.Retire(first)
		time.Sleep(2 * time.Minute)
		if len(ps.Stats()) != 0 {
			t.Fatalf("the pool is still there: %+v", ps.Stats())
		}
		if _, err := call(ps, first); err != nil || len(ps.Stats()) != 1 {
			t.Errorf("a call that comes very late: %v, %d pools", err, len(ps.Stats()))
		}
	})
}

func TestPrepareIsBoundedAndForgivesInit(t *testing.T) {
	fake := pooltest.New(func(_ int, v *faas.Version) pooltest.Script {
		switch v.Revision {
		case "slow":
			return pooltest.Script{InitTime: 5 * time.Second}
		case "broken":
			return pooltest.Script{InitErr: pooltest.Failed(pool.FailedInit)}
		}
		return pooltest.Script{}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		old := version("f", "1", 1)
		if _, err := call(ps, old); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := ps.Prepare(ctx, old, version("f", "slow", 1)); !faas.IsCode(err, faas.CodeCanceled) {
			t.Errorf("slow: %v", err)
		}
		time.Sleep(10 * time.Second)
		if h := must(t, ps, version("f", "slow", 1)); h.Cold() != "" {
			t.Error("the start was not finished")
		} else {
			h.Release()
		}
		broken := version("f", "broken", 1)
		if err := ps.Prepare(t.Context(), old, broken); err != nil {
			t.Errorf("broken: %v", err)
		}
		if _, err := call(ps, broken); !faas.IsCode(err, faas.CodeInitFailing) {
			t.Errorf("its caller: %v", err)
		}
	})
}

func TestColdReasons(t *testing.T) {
	fake := pooltest.New(nil)
	bubble(t, pool.Options{Starter: fake, MaxInstances: 2, KeepAlive: keepalive.Fixed(time.Minute)}, func(t *testing.T, ps *pool.Pools) {
		v, other := version("f", "1", 1), version("g", "1", 1)
		before := version("h", "1", 1)
		before.LastModified = time.Now().Add(-time.Hour)
		expect := func(v *faas.Version, want faas.ColdReason) *pool.Hold {
			t.Helper()
			h := must(t, ps, v)
			if h.Cold() != want {
				t.Errorf("cold %q, want %q", h.Cold(), want)
			}
			return h
		}
		a := expect(v, faas.ColdFirst)
		expect(v, faas.ColdScaleOut).Release()
		a.Release()
		time.Sleep(2 * time.Minute)
		a = expect(v, faas.ColdIdle)
		a.Release()
		b, c := expect(other, faas.ColdFirst), expect(other, faas.ColdScaleOut) // evicts v's
		b.Release()
		c.Release()
		expect(v, faas.ColdRoom).Release()
		expect(before, faas.ColdRestart).Release()
	})
}

func TestKeepAliveStopsWhatIsIdle(t *testing.T) {
	fake := pooltest.New(nil)
	bubble(t, pool.Options{Starter: fake, KeepAlive: keepalive.Fixed(time.Minute), ShutdownGrace: time.Second}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		a, b := must(t, ps, v), must(t, ps, v)
		a.Release()
		time.Sleep(30 * time.Second)
		b.Release()
		time.Sleep(29 * time.Second)
		if s := ps.Function(v.ID.Function); s.Idle != 2 {
			t.Errorf("after 59 s: %+v", s)
		}
		time.Sleep(1100 * time.Millisecond)
		if s := ps.Function(v.ID.Function); s.Idle != 1 {
			t.Errorf("after 60 s: %+v", s)
		}
		time.Sleep(30 * time.Second)
		if s := ps.Function(v.ID.Function); s.Idle != 0 || fake.Runtimes()[0].Cause() != "idle" {
			t.Errorf("after 90 s: %+v", s)
		}
	})
}

func TestMachineBoundReclaimsIdleThenRefuses(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{KillTime: 100 * time.Millisecond}
	})
	bubble(t, pool.Options{Starter: fake, MaxMemoryMB: 3 * 128}, func(t *testing.T, ps *pool.Pools) {
		f, g, h := version("f", "1", 1), version("g", "1", 1), version("h", "1", 1)
		young := must(t, ps, g)
		if _, err := call(ps, f); err != nil { // idle first: the oldest
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		young.Release()
		busy := must(t, ps, h)
		began := time.Now()
		other := must(t, ps, h)
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("room took %v", took)
		}
		if ps.Function(f.ID.Function).Idle != 0 || ps.Function(g.ID.Function).Idle != 1 {
			t.Error("not the oldest idle one made room")
		}
		third := must(t, ps, h)
		if _, err := call(ps, h); !faas.IsCode(err, faas.CodeNoCapacity) {
			t.Errorf("error %v", err)
		}
		if fake.Peak() > 3 {
			t.Errorf("%d at once", fake.Peak())
		}
		for _, hold := range []*pool.Hold{busy, other, third} {
			hold.Release()
		}
	})
}

func TestDriverWithoutRoomGetsIt(t *testing.T) {
	full := faas.Errorf(faas.CodeNoCapacity, "slots", "none")
	var fake *pooltest.Starter
	fake = pooltest.New(func(n int, _ *faas.Version) pooltest.Script {
		if n > 0 && n < 3 {
			return pooltest.Script{StartErr: full}
		}
		return pooltest.Script{}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		f, g := version("f", "1", 1), version("g", "1", 1)
		if _, err := call(ps, f); err != nil {
			t.Fatal(err)
		}
		// One idle instance makes room once; the driver has none even then.
		if _, err := call(ps, g); !faas.IsCode(err, faas.CodeNoCapacity) || fake.Starts() != 3 {
			t.Errorf("%v after %d starts", err, fake.Starts())
		}
		if _, err := call(ps, g); err != nil {
			t.Error(err)
		}
	})
}

func TestDrainServesWhatIsInFlight(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: time.Second, Handle: pooltest.Sleep(2 * time.Second)}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		done := make(chan error, 1)
		go func() { _, err := call(ps, v); done <- err }()
		synctest.Wait()
		began := time.Now()
		time.AfterFunc(time.Millisecond, func() {
			if _, err := call(ps, v); !faas.IsCode(err, faas.CodeShuttingDown) {
				t.Errorf("a new call: %v", err)
			}
			if _, err := call(ps, version("g", "1", 1)); !faas.IsCode(err, faas.CodeShuttingDown) {
				t.Errorf("a new call of another function: %v", err)
			}
		})
		if err := ps.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("the call in flight: %v after %v", err, time.Since(began))
		}
	})
}

func TestDrainCutsOffAtItsEnd(t *testing.T) {
	fake := pooltest.New(func(n int, _ *faas.Version) pooltest.Script {
		if n == 1 {
			return pooltest.Script{InitTime: time.Hour}
		}
		return pooltest.Script{Handle: pooltest.Sleep(time.Hour)}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		v.Config.TimeoutSeconds = 900
		codes := make(chan error, 2)
		for range 2 { // one runs, one waits
			go func() { _, err := call(ps, v); codes <- err }()
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := ps.Drain(ctx); err == nil {
			t.Error("no word of the calls that were cut off")
		}
		for range 2 {
			if err := <-codes; !faas.IsCode(err, faas.CodeShuttingDown) {
				t.Errorf("error %v", err)
			}
		}
	})
}

func TestCutOffKillsWhatDrains(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{Handle: pooltest.Sleep(time.Hour)}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 2)
		v.Config.TimeoutSeconds = 900
		codes := make(chan error, 2)
		for range 2 {
			go func() { _, err := call(ps, v); codes <- err }()
			time.Sleep(time.Minute)
		}
		time.Sleep(13*time.Minute + time.Second) // the first is over its limit, the second keeps the instance
		if failureOf(t, <-codes) != pool.FailedTimeout || fake.Running() != 1 {
			t.Error("the first was to time out alone")
		}
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := ps.Drain(ctx); err == nil {
			t.Error("no word of the call that was cut off")
		}
		if err := <-codes; err == nil || time.Since(began) != 0 {
			t.Errorf("cut off with %v after %v", err, time.Since(began))
		}
	})
}

func TestPanicInDeliveryRecycles(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{Handle: func(context.Context, *faas.Event) (faas.Outcome, error) { panic("a fault of ours") }}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		h := must(t, ps, v)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			defer h.Release()
			_, _ = h.Deliver(event("r"))
		}()
		synctest.Wait()
		if s := ps.Function(v.ID.Function); s.Idle != 0 || fake.Running() != 0 {
			t.Errorf("an instance in an unknown state is kept: %+v", s)
		}
	})
}
