package workload

import (
	"slices"
	"testing"
	"time"
)

// TestPublishedMarginals holds several seeds to the bounds of acceptance.
func TestPublishedMarginals(t *testing.T) {
	for seed := uint64(1); seed <= 2; seed++ {
		l := Generate(Published(seed, 1500, 14))
		m := l.Measure()
		if err := m.Check(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if m.Top > .1001 || m.Single > .06 {
			t.Errorf("seed %d: the first app has %.3f of the calls, %.3f of apps have one", seed, m.Top, m.Single)
		}
	}
}

func TestCallsAreInOrderAndInTime(t *testing.T) {
	for _, vary := range []func(*Params){
		func(p *Params) {},
		func(p *Params) { p.CV = IndependentCV },
		func(p *Params) { p.CV = LogNormalCV; p.ConstantMemory = true },
		func(p *Params) { p.Tide = 2; p.Timers = .5; p.Shift = 2 * day },
	} {
		p := Published(7, 150, 4)
		vary(&p)
		l := Generate(p)
		seen := 0
		last := time.Duration(0)
		apps := l.Pointers()
		for e := range All(apps) {
			if e.At < last || e.At >= l.Span || e.Took <= 0 || int(e.Function) >= len(e.App.Functions) {
				t.Fatalf("%+v: call %+v of app %d after %v", p, e.Call, e.App.ID, last)
			}
			last = e.At
			seen++
		}
		if want := l.Measure().Calls; seen != want || seen == 0 {
			t.Errorf("%+v: %d calls in the stream, %d in the apps", p, seen, want)
		}
	}
}

// TestTheGeneratorIsFrozen: policies were judged on exactly this load.
func TestTheGeneratorIsFrozen(t *testing.T) {
	got := []string{}
	for _, p := range []Params{Published(1, 100, 2), Published(2, 100, 2)} {
		got = append(got, Generate(p).Digest())
	}
	if want := []string{"d0f56046fb897460", "a7e1ab109d5629b8"}; !slices.Equal(got, want) {
		t.Errorf("digests %q, want %q: the load changed, so every result is void", got, want)
	}
}

func TestSameSeedSameLoad(t *testing.T) {
	p := Published(3, 80, 3)
	if a, b := Generate(p).Digest(), Generate(p).Digest(); a != b {
		t.Errorf("two loads of one seed: %s, %s", a, b)
	}
	q := p
	q.Seed++
	if Generate(p).Digest() == Generate(q).Digest() {
		t.Error("two seeds give one load")
	}
}

func TestHoldOut(t *testing.T) {
	n := 0
	for app := range 10000 {
		if HeldOut(1, app) {
			n++
		}
	}
	if n < 1800 || n > 2200 {
		t.Errorf("%d of 10000 apps are held out", n)
	}
}
