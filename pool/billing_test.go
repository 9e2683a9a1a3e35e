package pool

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestOverlappingTimeIsBilledOnce(t *testing.T) {
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		calls [][2]time.Duration // in the order in which they end
		want  []time.Duration
	}{
		"one after the other":    {[][2]time.Duration{{0, 10 * ms}, {20 * ms, 25 * ms}}, []time.Duration{10 * ms, 5 * ms}},
		"the same":               {[][2]time.Duration{{0, 10 * ms}, {0, 10 * ms}}, []time.Duration{10 * ms, 0}},
		"overlapping":            {[][2]time.Duration{{0, 10 * ms}, {5 * ms, 20 * ms}}, []time.Duration{10 * ms, 10 * ms}},
		"a short in a long one":  {[][2]time.Duration{{50 * ms, 60 * ms}, {0, 100 * ms}}, []time.Duration{10 * ms, 90 * ms}},
		"two in a long one":      {[][2]time.Duration{{10 * ms, 20 * ms}, {30 * ms, 40 * ms}, {0, 50 * ms}}, []time.Duration{10 * ms, 10 * ms, 30 * ms}},
		"billed in other order":  {[][2]time.Duration{{5 * ms, 20 * ms}, {0, 10 * ms}}, []time.Duration{15 * ms, 5 * ms}},
		"parts of a millisecond": {[][2]time.Duration{{0, ms / 2}, {ms / 4, ms}, {ms, ms + 1}}, []time.Duration{ms, 0, ms}},
		"no time":                {[][2]time.Duration{{0, 0}, {5 * ms, 4 * ms}}, []time.Duration{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			var b bill
			zero := time.Now()
			for i, c := range tt.calls {
				if got := b.charge(zero.Add(c[0]), zero.Add(c[1])); got != tt.want[i] {
					t.Errorf("call %d is billed %v, want %v", i, got, tt.want[i])
				}
			}
		})
	}
}

// TestBillsSumToTheUnion compares with a count of the microseconds in which an
// invocation ran.
func TestBillsSumToTheUnion(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var b bill
		zero := time.Now()
		const length = 20_000
		ran := make([]bool, length)
		sum, exact := time.Duration(0), 0
		for range 1 + rng.IntN(100) {
			from := rng.IntN(length)
			to := min(length, from+rng.IntN(3000))
			got := b.charge(zero.Add(time.Duration(from)*time.Microsecond), zero.Add(time.Duration(to)*time.Microsecond))
			for us := from; us < to; us++ {
				if !ran[us] {
					ran[us] = true
					exact++
				}
			}
			sum += got
			if own := wholeMilliseconds(time.Duration(to-from) * time.Microsecond); got < 0 || got > own || got%time.Millisecond != 0 {
				t.Fatalf("seed %d: billed %v for %v", seed, got, own)
			}
			if want := wholeMilliseconds(time.Duration(exact) * time.Microsecond); sum != want {
				t.Fatalf("seed %d: billed %v, want %v", seed, sum, want)
			}
		}
	}
}

func TestBillRemembersABoundedTime(t *testing.T) {
	var b bill
	zero := time.Now()
	var sum time.Duration
	at := func(i int) time.Time { return zero.Add(time.Duration(i) * 3 * time.Millisecond) }
	const calls = 4 * maxSpans
	for i := range calls {
		sum += b.charge(at(i), at(i).Add(time.Millisecond))
		if len(b.spans) > maxSpans {
			t.Fatalf("%d spans", len(b.spans))
		}
	}
	if sum != calls*time.Millisecond {
		t.Errorf("billed %v", sum)
	}
	// One that ran all the time is billed for the gaps that are remembered.
	if sum += b.charge(zero, at(calls)); sum > at(calls).Sub(zero) {
		t.Errorf("billed %v of %v", sum, at(calls).Sub(zero))
	}
	b.settled()
	if len(b.spans) != 1 {
		t.Errorf("%d spans with nothing in flight", len(b.spans))
	}
}
