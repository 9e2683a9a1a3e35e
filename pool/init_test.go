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

func failureOf(t *testing.T, err error) pool.FailureKind {
	t.Helper()
	var f *pool.Failure
	if !errors.As(err, &f) {
		t.Errorf("error %v is no failure", err)
		return ""
	}
	return f.Kind
}

func TestInitErrorIsAnsweredToItsSponsorAndBacksOff(t *testing.T) {
	broken := true
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		if broken {
			return pooltest.Script{InitTime: time.Millisecond, InitErr: pooltest.Failed(pool.FailedInit)}
		}
		return pooltest.Script{}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		h, err := call(ps, v)
		if failureOf(t, err) != pool.FailedInit || h.Cold() != faas.ColdFirst || fake.Starts() != 1 {
			t.Fatalf("%v after %d starts", err, fake.Starts())
		}
		if !fake.Runtimes()[0].Dead() {
			t.Error("the failed instance lives")
		}
		// Meanwhile calls get the stored error at once, as an error of admission.
		began := time.Now()
		if _, err := call(ps, v); !faas.IsCode(err, faas.CodeInitFailing) || failureOf(t, err) != pool.FailedInit || time.Since(began) != 0 {
			t.Errorf("in the pause: %v after %v", err, time.Since(began))
		}
		// The pause doubles from 100 ms to 10 s.
		for _, pause := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000} {
			time.Sleep(pause*time.Millisecond - 1)
			before := fake.Starts()
			if _, err := call(ps, v); !faas.IsCode(err, faas.CodeInitFailing) || fake.Starts() != before {
				t.Errorf("before %d ms: %v", pause, err)
			}
			time.Sleep(1)
			if _, err := call(ps, v); failureOf(t, err) != pool.FailedInit || fake.Starts() != before+1 {
				t.Errorf("after %d ms: %v", pause, err)
			}
		}
		broken = false
		time.Sleep(10 * time.Second)
		if h, err := call(ps, v); err != nil || h.Cold() != faas.ColdRecycle {
			t.Errorf("mended: %v", err)
		}
	})
}

func TestInitErrorFailsNobodyWhoseCallWasServed(t *testing.T) {
	fake := pooltest.New(func(n int, _ *faas.Version) pooltest.Script {
		if n == 1 {
			return pooltest.Script{InitTime: time.Second, InitErr: pooltest.Failed(pool.FailedInit)}
		}
		return pooltest.Script{}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		first := must(t, ps, v)
		time.AfterFunc(time.Millisecond, first.Release)
		second := must(t, ps, v) // sponsored the start that fails, is served by the first
		time.Sleep(2 * time.Second)
		if fake.Starts() != 2 || fake.Running() != 1 {
			t.Errorf("%d starts, %d running", fake.Starts(), fake.Running())
		}
		if _, err := second.Deliver(event("r")); err != nil {
			t.Error(err)
		}
		second.Release()
	})
}

func TestInitThatCrashesOrOverrunsIsTriedOnceMore(t *testing.T) {
	overrun := pooltest.Script{InitTime: time.Hour}
	crash := pooltest.Script{InitTime: time.Second, InitErr: pooltest.Failed(pool.FailedExit)}
	for name, tt := range map[string]struct {
		scripts []pooltest.Script
		want    pool.FailureKind
		took    time.Duration
	}{
		"overrun, then well":  {[]pooltest.Script{overrun, {InitTime: 2 * time.Second}}, "", 12 * time.Second},
		"overrun twice":       {[]pooltest.Script{overrun, overrun}, pool.FailedTimeout, 13 * time.Second},
		"crash, then well":    {[]pooltest.Script{crash, {}}, "", time.Second},
		"crash twice":         {[]pooltest.Script{crash, crash}, pool.FailedExit, 2 * time.Second},
		"crash, then overrun": {[]pooltest.Script{crash, overrun}, pool.FailedTimeout, 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			fake := pooltest.New(func(n int, _ *faas.Version) pooltest.Script { return tt.scripts[n] })
			bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
				began := time.Now()
				h, err := call(ps, version("f", "1", 1))
				switch {
				case tt.want == "" && err != nil:
					t.Errorf("error %v", err)
				case tt.want != "" && failureOf(t, err) != tt.want:
					t.Errorf("error %v, want %s", err, tt.want)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if h == nil || h.Cold() != faas.ColdFirst {
					t.Error("not the sponsor's own instance")
				}
				if !fake.Runtimes()[0].Dead() {
					t.Error("the first instance lives")
				}
			})
		})
	}
}

func TestSponsorOfSlowSandboxesHearsOfItsInit(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{StartTime: 100 * time.Millisecond, InitTime: time.Hour, KillTime: 100 * time.Millisecond}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		h, err := call(ps, version("f", "1", 1))
		if failureOf(t, err) != pool.FailedTimeout || h == nil {
			t.Errorf("error %v", err)
		}
		if fake.Running() != 0 {
			t.Error("answered before the kill")
		}
	})
}

func TestWaitIsBounded(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{StartTime: 25 * time.Second}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		began := time.Now()
		_, err := call(ps, version("f", "1", 1))
		if failureOf(t, err) != pool.FailedTimeout || time.Since(began) != 18*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(time.Minute)
		if fake.Starts() != 1 || fake.Running() != 1 {
			t.Errorf("%d starts, %d running: the start goes on and becomes idle", fake.Starts(), fake.Running())
		}
	})
}

func TestPlatformFaultsReachTheSponsorOnly(t *testing.T) {
	missing := faas.Errorf(faas.CodeRuntime, "nodejs22.x", "install it")
	for name, script := range map[string]pooltest.Script{
		"start": {StartErr: missing},
		"ready": {ReadyErr: missing},
		"init":  {InitErr: missing},
	} {
		t.Run(name, func(t *testing.T) {
			fake := pooltest.New(func(n int, _ *faas.Version) pooltest.Script {
				if n == 0 {
					return script
				}
				return pooltest.Script{}
			})
			bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
				v := version("f", "1", 1)
				if _, err := call(ps, v); !faas.IsCode(err, faas.CodeRuntime) {
					t.Errorf("error %v", err)
				}
				if _, err := call(ps, v); err != nil {
					t.Errorf("no pause after a fault of the platform: %v", err)
				}
			})
		})
	}
	plain := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{StartErr: errors.New("secret path")}
	})
	bubble(t, pool.Options{Starter: plain}, func(t *testing.T, ps *pool.Pools) {
		if _, err := call(ps, version("f", "1", 1)); !faas.IsCode(err, faas.CodeInternal) {
			t.Errorf("error %v", err)
		}
	})
}

func TestOneFailureOfManyCallsOnOneStart(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: time.Second, InitErr: pooltest.Failed(pool.FailedInit)}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 10)
		codes := make(chan bool, 10)
		for range 10 {
			go func() {
				_, err := call(ps, v)
				codes <- faas.IsCode(err, faas.CodeInitFailing)
			}()
		}
		stored := 0
		for range 10 {
			if <-codes {
				stored++
			}
		}
		if stored != 9 || fake.Starts() != 1 {
			t.Errorf("%d got the stored error, %d starts", stored, fake.Starts())
		}
	})
}

func TestCallerWhoHangsUpLeavesTheWait(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: time.Second}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := ps.Acquire(ctx, v); !faas.IsCode(err, faas.CodeCanceled) || !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		time.Sleep(2 * time.Second)
		if s := ps.Function(v.ID.Function); s != (pool.Counts{Idle: 1, Frozen: 1}) {
			t.Errorf("stats %+v: the start was to end and rest", s)
		}
		if h := must(t, ps, v); h.Cold() != "" {
			t.Errorf("cold %q", h.Cold())
		} else {
			h.Release()
		}
		synctest.Wait()
	})
}
