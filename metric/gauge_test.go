package metric

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// A gauge and its maxima are those of a model, for random changes and rotations.
func TestGaugeEqualsModel(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	var g Gauge
	value, top := 0, 0
	for i := range 100_000 {
		if rng.IntN(20) == 0 {
			now, highest := g.Rotate()
			if now != value || highest != top {
				t.Fatalf("seed %d, step %d: rotated %d max %d, the model has %d max %d", seed, i, now, highest, value, top)
			}
			top = value
		}
		delta := rng.IntN(41) - 20
		g.Add(delta)
		value += delta
		top = max(top, value)
		if now, highest := g.Read(); now != value || highest != top {
			t.Fatalf("seed %d, step %d: read %d max %d, the model has %d max %d", seed, i, now, highest, value, top)
		}
	}
}

// However a rotation meets a peak, the peak is in one of the intervals beside it.
func TestNoPeakFallsBetweenIntervals(t *testing.T) {
	var g Gauge
	for round := range 5_000 {
		peak := round%7 + 1
		var raised sync.WaitGroup
		raised.Go(func() {
			g.Add(peak)
			g.Add(-peak)
		})
		_, during := g.Rotate()
		raised.Wait()
		now, after := g.Rotate()
		if now != 0 || max(during, after) != peak {
			t.Fatalf("round %d: a peak of %d was seen as %d and %d, and %d is left", round, peak, during, after, now)
		}
	}
}

// Many at once: nothing is lost, and the maximum is what all held together.
func TestConcurrentChanges(t *testing.T) {
	const workers, rounds = 8, 2000
	var g Gauge
	for range 5 {
		var up, down sync.WaitGroup
		all := make(chan struct{})
		up.Add(workers)
		for range workers {
			down.Go(func() {
				for range rounds {
					g.Add(1)
					g.Add(-1)
				}
				g.Add(3)
				up.Done()
				<-all
				g.Add(-3)
			})
		}
		up.Wait()
		if now, highest := g.Read(); now != 3*workers || highest != now {
			t.Errorf("all hold: %d max %d, want %d", now, highest, 3*workers)
		}
		close(all)
		down.Wait()
		if now, highest := g.Rotate(); now != 0 || highest != 3*workers {
			t.Errorf("all gave back: %d max %d, want 0 max %d", now, highest, 3*workers)
		}
	}
}
