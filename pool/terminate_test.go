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

func TestTerminateKillsTheInstanceOfOneCall(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{Handle: pooltest.Sleep(time.Hour)}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		h := must(t, ps, version("f", "1", 1))
		ctx, cancel := context.WithCancelCause(context.Background())
		h.Under(ctx, time.Minute)
		time.AfterFunc(10*time.Second, func() { cancel(pool.ErrTerminated) })
		began := time.Now()
		_, err := h.Deliver(event("r"))
		var failure *pool.Failure
		if !errors.As(err, &failure) || failure.Kind != pool.FailedTerminated || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if fake.Running() != 0 {
			t.Error("answered while the instance lives")
		}
		h.Release()
	})
}

func TestTerminateLeavesTheOtherCallsOfAnInstance(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{Handle: pooltest.Sleep(2 * time.Second)}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 2)
		a, b := must(t, ps, v), must(t, ps, v)
		ctx, cancel := context.WithCancelCause(context.Background())
		a.Under(ctx, 0)
		other := make(chan error, 1)
		go func() {
			_, err := b.Deliver(event("b"))
			b.Release()
			other <- err
		}()
		time.AfterFunc(time.Second, func() { cancel(pool.ErrTerminated) })
		_, err := a.Deliver(event("a"))
		a.Release()
		if err == nil || fake.Running() != 1 {
			t.Errorf("%v, %d run", err, fake.Running())
		}
		if err := <-other; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if fake.Running() != 0 {
			t.Error("the instance was not recycled")
		}
	})
}

func TestTerminateWithGraceLetsTheRuntimeEndByItself(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{KillTime: time.Second, Handle: pooltest.Sleep(time.Hour)}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		h := must(t, ps, v)
		h.Under(context.Background(), time.Minute)
		failed := make(chan error, 1)
		go func() {
			_, err := h.Deliver(event("r"))
			h.Release()
			failed <- err
		}()
		synctest.Wait()
		h.Terminate(10 * time.Second)
		if err := <-failed; err == nil {
			t.Error("the invocation of a terminated instance succeeded")
		}
		h.Terminate(10 * time.Second) // after its end it is harmless
	})
}

func TestUnderSetsTheLimitOfOneInvocation(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{Handle: pooltest.Sleep(time.Hour)}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		h := must(t, ps, version("f", "1", 1))
		h.Under(context.Background(), 20*time.Minute)
		began := time.Now()
		if _, err := h.Deliver(event("r")); err == nil || time.Since(began) != 20*time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		h.Release()
	})
}

func TestAskServesInTheOrderOfAsking(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{StartTime: time.Second}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		first := must(t, ps, v)
		var claims []pool.Claim
		for range 3 {
			c, err := ps.Ask(v)
			if err != nil {
				t.Fatal(err)
			}
			claims = append(claims, c)
		}
		first.Release()
		h, err := claims[0].Wait(t.Context())
		if err != nil || h.Instance() != first.Instance() {
			t.Fatalf("%v, %v: the first who asked did not get the first that was free", h, err)
		}
		h.Release()
		for i := range claims[1:] {
			h, err := claims[1+i].Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			h.Release()
		}
	})
}
