package pool_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/pool"
	"hearth/pool/pooltest"
)

// version makes a version with a timeout of 3 s and an init limit of 10 s.
func version(name, revision string, concurrency int) *faas.Version {
	return &faas.Version{
		ID: faas.VersionID{Number: faas.Latest, Function: faas.FunctionID{Name: name,
			Scope: faas.Scope{Account: faas.DefaultAccount, Region: faas.DefaultRegion, Namespace: faas.DefaultNamespace}}},
		Revision: revision,
		State:    faas.StateActive,
		Config: faas.Config{MemoryMB: 128, TimeoutSeconds: 3, InitTimeoutSeconds: 10,
			InstanceConcurrency: concurrency},
		LastModified: time.Now().Add(time.Hour),
	}
}

// manyStarts is more than a test starts at once: none waits for its turn.
const manyStarts = 1 << 16

// bubble runs f in a bubble of fake time with pools that are closed at its end,
// when nothing may be left.
func bubble(t *testing.T, o pool.Options, f func(t *testing.T, ps *pool.Pools)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if o.Starts == 0 {
			o.Starts = manyStarts
		}
		ps := pool.New(o)
		f(t, ps)
		synctest.Wait()
		if err := ps.Check(false); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := ps.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := ps.Check(true); err != nil {
			t.Error(err)
		}
		if fake, ok := o.Starter.(*pooltest.Starter); ok && fake.Running() != 0 {
			t.Errorf("%d runtimes were left", fake.Running())
		}
	})
}

// pass lets time go by in a bubble, and what is due then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func event(id string) *faas.Event { return &faas.Event{RequestID: id, Payload: []byte("{}")} }

// call runs one whole invocation.
func call(ps *pool.Pools, v *faas.Version) (*pool.Hold, error) {
	h, err := ps.Acquire(context.Background(), v)
	if err != nil {
		return nil, err
	}
	_, err = h.Deliver(event("r"))
	h.Release()
	return h, err
}

// must is Acquire that has to succeed, once all that happens at this moment of the
// bubble's clock has happened.
func must(t *testing.T, ps *pool.Pools, v *faas.Version) *pool.Hold {
	t.Helper()
	synctest.Wait()
	return acquire(t, ps, v)
}

// acquire is Acquire that has to succeed, beside others.
func acquire(t *testing.T, ps *pool.Pools, v *faas.Version) *pool.Hold {
	t.Helper()
	h, err := ps.Acquire(context.Background(), v)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAcquireTakesTheNewestIdle(t *testing.T) {
	fake := pooltest.New(nil)
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		a, b, c := must(t, ps, v), must(t, ps, v), must(t, ps, v)
		for _, h := range []*pool.Hold{b, a, c} {
			h.Release()
			time.Sleep(time.Second)
		}
		for _, want := range []*pool.Hold{c, a, b} {
			if h := must(t, ps, v); h.Instance() != want.Instance() || h.Cold() != "" {
				t.Errorf("got %s (%s), want %s", h.Instance(), h.Cold(), want.Instance())
			} else {
				defer h.Release()
			}
		}
		if fake.Starts() != 3 {
			t.Errorf("%d starts", fake.Starts())
		}
	})
}

func TestAcquireSpreadsOverBusyInstances(t *testing.T) {
	fake := pooltest.New(nil)
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 3)
		var holds []*pool.Hold
		for range 7 {
			holds = append(holds, must(t, ps, v))
		}
		if fake.Starts() != 3 {
			t.Errorf("%d instances for 7 calls, 3 each", fake.Starts())
		}
		// 3, 3, 1: the next two go to the third.
		third := holds[6].Instance()
		for range 2 {
			h := must(t, ps, v)
			if h.Instance() != third {
				t.Error("not the one with the fewest")
			}
			holds = append(holds, h)
		}
		holds[0].Release()
		if h := must(t, ps, v); h.Instance() != holds[0].Instance() {
			t.Error("not the one with a free slot")
		} else {
			holds[0] = h
		}
		for _, h := range holds {
			h.Release()
			h.Release() // harmless
		}
	})
}

func TestWaiterTakesWhatComesFirst(t *testing.T) {
	fake := pooltest.New(func(n int, _ *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: time.Duration(n) * time.Second}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		first := must(t, ps, v)
		time.AfterFunc(100*time.Millisecond, first.Release)
		second := must(t, ps, v)
		if second.Instance() != first.Instance() || second.Cold() != "" {
			t.Error("the freed instance was there first")
		}
		if got := second.Timeline(); got.Queue != 100*time.Millisecond || got.Init != 0 {
			t.Errorf("timeline %+v", got)
		}
		time.Sleep(2 * time.Second) // the surplus start ends
		if s := ps.Function(v.ID.Function); s.Idle != 1 || s.Busy != 1 || s.InFlight != 1 {
			t.Errorf("stats %+v", s)
		}
		if third := must(t, ps, v); third.Cold() != "" {
			t.Error("the surplus instance is a warm one")
		} else {
			third.Release()
		}
		second.Release()
		if fake.Starts() != 2 {
			t.Errorf("%d starts", fake.Starts())
		}
	})
}

func TestWaitersAreServedInOrder(t *testing.T) {
	fake := pooltest.New(func(n int, _ *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: time.Duration(n) * 9 * time.Second}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		h := must(t, ps, v)
		order := make(chan int, 5)
		for i := range 5 {
			go func() {
				h := acquire(t, ps, v)
				order <- i
				time.Sleep(time.Millisecond)
				h.Release()
			}()
			synctest.Wait()
		}
		if s := ps.Function(v.ID.Function); s.Waiting != 5 || s.Starting != 5 {
			t.Errorf("stats %+v", s)
		}
		h.Release()
		for want := range 5 {
			if got := <-order; got != want {
				t.Errorf("served %d, want %d", got, want)
			}
		}
	})
}

func TestColdPartsSumToTheWait(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{StartTime: 300 * time.Millisecond, InitTime: 500 * time.Millisecond}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		began := time.Now()
		h := must(t, ps, v)
		wait := time.Since(began)
		got := h.Timeline()
		if sum := got.Queue + got.Sandbox + got.Runtime + got.Code + got.Init; sum != wait || got.Init != 500*time.Millisecond || got.Sandbox != 300*time.Millisecond {
			t.Errorf("parts %+v sum to %v, waited %v", got, sum, wait)
		}
		if h.Cold() != faas.ColdFirst || h.InitDuration() != 500*time.Millisecond {
			t.Errorf("cold %q, init %v", h.Cold(), h.InitDuration())
		}
		h.Release()
	})
}

func TestTimeoutKillsBeforeTheAnswer(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{KillTime: 200 * time.Millisecond, Handle: pooltest.Sleep(time.Hour)}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		began := time.Now()
		_, err := call(ps, v)
		if f := (*pool.Failure)(nil); !errors.As(err, &f) || f.Kind != pool.FailedTimeout {
			t.Fatalf("error %v", err)
		}
		if r := fake.Runtimes()[0]; !r.Dead() || r.Cause() != "timeout" {
			t.Errorf("dead %v, cause %q", r.Dead(), r.Cause())
		}
		if took := time.Since(began); took != 3200*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if h := must(t, ps, v); h.Cold() != faas.ColdRecycle {
			t.Errorf("cold %q", h.Cold())
		} else {
			h.Release()
		}
	})
}

func TestTimeoutSparesTheOthersOfAnInstance(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{Handle: func(ctx context.Context, e *faas.Event) (faas.Outcome, error) {
			if e.RequestID == "slow" {
				return pooltest.Sleep(time.Hour)(ctx, e)
			}
			return pooltest.Sleep(2*time.Second)(ctx, e)
		}}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 2)
		slow := must(t, ps, v)
		done := make(chan error, 1)
		go func() {
			time.Sleep(2 * time.Second)
			other := acquire(t, ps, v)
			_, err := other.Deliver(event("other"))
			other.Release()
			done <- err
		}()
		_, err := slow.Deliver(event("slow"))
		if f := (*pool.Failure)(nil); !errors.As(err, &f) || f.Kind != pool.FailedTimeout {
			t.Fatalf("error %v", err)
		}
		if fake.Runtimes()[0].Dead() {
			t.Error("killed while it held another call")
		}
		slow.Release()
		next := must(t, ps, v)
		if fake.Starts() != 2 {
			t.Error("a draining instance took a call")
		}
		next.Release()
		if err := <-done; err != nil {
			t.Errorf("the other call: %v", err)
		}
		synctest.Wait()
		if !fake.Runtimes()[0].Dead() {
			t.Error("not killed when the others ended")
		}
	})
}

func TestExitRecycles(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{Handle: pooltest.Sleep(time.Second)}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		h := must(t, ps, v)
		time.AfterFunc(time.Millisecond, func() { fake.Runtimes()[0].Crash(pool.FailedOOM) })
		_, err := h.Deliver(event("r"))
		if f := (*pool.Failure)(nil); !errors.As(err, &f) || f.Kind != pool.FailedOOM {
			t.Errorf("error %v", err)
		}
		h.Release()
		if h := must(t, ps, v); h.Cold() != faas.ColdRecycle {
			t.Errorf("cold %q", h.Cold())
		} else {
			h.Release()
		}
		fake.Runtimes()[1].Crash(pool.FailedExit) // while it is idle
		synctest.Wait()
		if s := ps.Function(v.ID.Function); s != (pool.Counts{}) {
			t.Errorf("stats %+v", s)
		}
		if _, err := call(ps, v); err != nil || fake.Starts() != 3 {
			t.Errorf("%v after %d starts", err, fake.Starts())
		}
	})
}
