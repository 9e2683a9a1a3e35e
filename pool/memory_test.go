package pool_test

import (
	"context"
	"testing"
	"time"

	"hearth/faas"
	"hearth/pool"
	"hearth/pool/pooltest"
)

// What an instance has used is read once in a millisecond, and anew at its end.
func TestMaxMemory(t *testing.T) {
	fails := false
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{Handle: func(context.Context, *faas.Event) (faas.Outcome, error) {
			if fails {
				return faas.Outcome{}, &pool.Failure{Kind: pool.FailedOOM}
			}
			return faas.Outcome{}, nil
		}}
	})
	bubble(t, pool.Options{Starter: fake}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		wantMegabytes := func(want int64) {
			t.Helper()
			hold, err := ps.Acquire(t.Context(), v)
			if err != nil {
				t.Fatal(err)
			}
			defer hold.Release()
			_, err = hold.Deliver(&faas.Event{RequestID: "r"})
			if (err != nil) != fails {
				t.Fatal(err)
			}
			if got := hold.MaxMemory(time.Now()); got != want<<20 {
				t.Errorf("%d bytes, want %d MiB", got, want)
			}
		}
		wantMegabytes(30)
		pass(time.Millisecond)
		wantMegabytes(31)
		pass(time.Millisecond - 1)
		wantMegabytes(31)
		pass(1)
		wantMegabytes(32)
		fails = true
		wantMegabytes(33)
	})
}
