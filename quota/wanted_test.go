package quota_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"hearth/quota"
)

func TestWanted(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name string
		d    quota.Demand
		want int
	}{
		{"nothing waits", quota.Demand{Concurrency: 1, Cap: 10, Instances: 5}, 0},
		{"no cap left", quota.Demand{Backlog: 10, Concurrency: 1}, 0},
		{"one event", quota.Demand{Backlog: 1, Duration: s, Concurrency: 1, Cap: 10}, 1},
		{"100 of 1 s in 10 s", quota.Demand{Backlog: 100, Duration: s, Concurrency: 1, Cap: 1000}, 10},
		{"101 of 1 s in 10 s", quota.Demand{Backlog: 101, Duration: s, Concurrency: 1, Cap: 1000}, 11},
		{"1 ms each", quota.Demand{Backlog: 10_000, Duration: time.Millisecond, Concurrency: 1, Cap: 1000}, 1},
		{"a minute each: never more than the events", quota.Demand{Backlog: 100, Duration: 60 * s, Concurrency: 1, Cap: 1000}, 100},
		{"ten in one instance", quota.Demand{Backlog: 1000, Duration: s, Concurrency: 10, Cap: 1000}, 10},
		{"never more than the events fill", quota.Demand{Backlog: 15, Duration: 60 * s, Concurrency: 10, Cap: 1000}, 2},
		{"at most the cap", quota.Demand{Backlog: 100, Duration: 60 * s, Concurrency: 1, Cap: 7}, 7},
		{"the head has used half of the time", quota.Demand{Backlog: 100, HeadAge: 5 * s, Duration: s, Concurrency: 1, Cap: 1000}, 20},
		{"and all of it", quota.Demand{Backlog: 100, HeadAge: 20 * s, Duration: s, Concurrency: 1, Cap: 1000}, 100},
		{"it was not enough from 10 s on", quota.Demand{Backlog: 100, HeadAge: 10 * s, Duration: time.Millisecond, Instances: 6, Concurrency: 1, Cap: 1000}, 12},
		{"what was not enough is doubled", quota.Demand{Backlog: 100, HeadAge: 20 * s, Duration: time.Millisecond, Instances: 6, Concurrency: 1, Cap: 1000}, 12},
		{"no recent duration", quota.Demand{Backlog: 100, Concurrency: 1, Cap: 1000}, 10},
		{"absurd numbers", quota.Demand{Backlog: math.MaxInt, HeadAge: math.MaxInt64, Duration: math.MaxInt64, Instances: math.MaxInt, Concurrency: 1, Cap: math.MaxInt}, 1 << 40},
		{"and below 0", quota.Demand{Backlog: 5, HeadAge: math.MinInt64, Duration: math.MinInt64, Instances: math.MinInt, Concurrency: math.MinInt, Cap: 3}, 1},
	} {
		if got := quota.Wanted(c.d); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestWantedIsMonotone: more of anything that needs instances never wants fewer.
func TestWantedIsMonotone(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 20_000 {
		d := quota.Demand{Backlog: rng.IntN(2000), HeadAge: time.Duration(rng.Int64N(int64(20 * time.Second))),
			Duration:  1 + time.Duration(rng.Int64N(int64(30*time.Second))),
			Instances: rng.IntN(300), Concurrency: 1 + rng.IntN(20), Cap: rng.IntN(300)}
		n := quota.Wanted(d)
		if n < 0 || n > d.Cap || n > d.Backlog || d.Backlog > 0 && d.Cap > 0 && n == 0 {
			t.Fatalf("seed %d: %d for %+v", seed, n, d)
		}
		more := d
		switch rng.IntN(5) {
		case 0:
			more.Backlog += rng.IntN(100)
		case 1:
			more.HeadAge += time.Duration(rng.Int64N(int64(10 * time.Second)))
		case 2:
			more.Duration += time.Duration(rng.Int64N(int64(10 * time.Second)))
		case 3:
			more.Instances += rng.IntN(100)
		case 4:
			more.Cap += rng.IntN(100)
		}
		if m := quota.Wanted(more); m < n {
			t.Fatalf("seed %d: %d for %+v, but %d for %+v", seed, n, d, m, more)
		}
	}
}
