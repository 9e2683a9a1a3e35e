package sim

import (
	"math"
	"slices"
	"testing"
	"time"

	"hearth/keepalive"
	"hearth/test/keepalive/workload"
)

// script is an app with calls at these seconds that each take so long.
func script(id int, mb float64, cold, took time.Duration, at ...float64) *workload.App {
	a := &workload.App{ID: id, MemoryMB: mb, Cold: cold, Functions: []workload.Function{{}}}
	for _, s := range at {
		a.Calls = append(a.Calls, workload.Call{At: time.Duration(s * 1e9), Took: int32(took / time.Microsecond)})
	}
	return a
}

func TestByHand(t *testing.T) {
	const second = time.Second
	for _, tt := range []struct {
		name               string
		policy             keepalive.Policy
		app                *workload.App
		cold, scaled, idle int // idle in seconds
		loads              int
	}{
		// Cold at 0 (runs 2–5), warm at 10 (10–13), reclaimed at 73, cold at 100 (102–105),
		// which idles until 165.
		{"one instance", keepalive.Fixed(60 * second), script(0, 1, 2*second, 3*second, 0, 10, 100), 2, 0, 5 + 60 + 60, 2},
		// At 1 a second call: it needs a second start at 1, but the first instance is
		// free at 5 and the second ready at 3: it runs there from 3 to 6.
		{"two at once", keepalive.Fixed(10 * second), script(0, 1, 2*second, 3*second, 0, 1), 1, 1, 20, 2},
		// The second call waits from 1, is served by the first instance at 3; its start
		// ends at 5 (of 4 s from 1) and idles.
		{"served by the first", keepalive.Fixed(10 * second), script(0, 1, 4*second, second, 0, 1), 1, 1, 20, 2},
		{"none kept", keepalive.Fixed(0), script(0, 1, 2*second, second, 0, 10), 2, 0, 0, 2},
		{"never unloaded", Never, script(0, 1, 2*second, second, 0, 100), 1, 0, 97 + 99, 1},
		{"clairvoyant", Clairvoyant{}, script(0, 1, 2*second, second, 0, 100), 1, 0, 0, 2},
	} {
		r := Run([]*workload.App{tt.app}, Setup{Policy: tt.policy, To: 200 * second})
		s := r.Apps[0]
		if s.Cold != tt.cold || s.Scaled != tt.scaled || s.Loads != tt.loads || int(math.Round(s.Idle.Seconds())) != tt.idle {
			t.Errorf("%s: cold %d, scaled %d, idle %v, loads %d; want %d, %d, %d s, %d",
				tt.name, s.Cold, s.Scaled, s.Idle, s.Loads, tt.cold, tt.scaled, tt.idle, tt.loads)
		}
	}
}

// TestEviction: room for two; the third takes the place of what is worth least.
func TestEviction(t *testing.T) {
	const second = time.Second
	apps := func() []*workload.App {
		return []*workload.App{
			script(0, 1, second, second, 0, 3, 6, 9, 40),
			script(1, 1, second, second, 12, 42),
			script(2, 1, second, second, 20),
		}
	}
	for _, tt := range []struct {
		name    string
		policy  keepalive.Policy
		evicted []int
	}{
		{"LRU", LRU, []int{1, 1, 1}},
		{"greedy dual", &GreedyDual{}, []int{0, 1, 1}},
	} {
		r := Run(apps(), Setup{Policy: tt.policy, To: 100 * second, CapMB: 2})
		var got []int
		for _, a := range r.Apps {
			got = append(got, a.Evicted)
		}
		if !slices.Equal(got, tt.evicted) {
			t.Errorf("%s: evicted %v, want %v", tt.name, got, tt.evicted)
		}
	}
	full := []*workload.App{script(0, 2, second, 50*second, 0), script(1, 1, second, second, 5)}
	r := Run(full, Setup{Policy: LRU, To: 100 * second, CapMB: 2})
	if r.Apps[1].Refused != 1 || r.Apps[0].Refused != 0 {
		t.Errorf("refused %d, %d; want 0, 1", r.Apps[0].Refused, r.Apps[1].Refused)
	}
}

// TestPublishedFixedCurve holds the generator and the engine to the published
// curve of fixed keep-alive: instantaneous calls, one instance, seven days.
func TestPublishedFixedCurve(t *testing.T) {
	l := workload.Generate(workload.Published(1, 600, 7))
	fixed := func(minutes int) Summary {
		return Run(l.Pointers(), Setup{Policy: keepalive.Fixed(time.Duration(minutes) * time.Minute), To: l.Span, Instant: true}).Summary(nil)
	}
	ten := fixed(10)
	if math.Abs(ten.P75-.47) > .1 || math.Abs(ten.P50-.09) > .1 {
		t.Errorf("fixed 10 min: p75 %.3f, p50 %.3f; published .47, .09", ten.P75, ten.P50)
	}
	for _, tt := range []struct {
		minutes         int
		p75, p50, waste float64
	}{{1, .94, .52, .61}, {60, .31, .02, 1.27}} {
		s := fixed(tt.minutes)
		if waste := s.Waste / ten.Waste; math.Abs(s.P75-tt.p75) > .1 || math.Abs(s.P50-tt.p50) > .1 || math.Abs(waste-tt.waste) > .1 {
			t.Errorf("fixed %d min: p75 %.3f, p50 %.3f, waste %.2f; published %.3f, %.3f, %.2f",
				tt.minutes, s.P75, s.P50, waste, tt.p75, tt.p50, tt.waste)
		}
	}
}

func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		q      float64
		want   float64
	}{{nil, .5, 0}, {[]float64{3}, .9, 3}, {[]float64{3, 1, 2}, .5, 2}, {[]float64{0, 1}, .75, .75}} {
		if got := quantile(tt.values, tt.q); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("quantile(%v, %v) = %v, want %v", tt.values, tt.q, got, tt.want)
		}
	}
}
