package keepalive

import (
	"math"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

// feed notes calls that rest at once, so many apart.
func feed(h History, now time.Time, gaps ...time.Duration) time.Time {
	h.Arrived(now)
	h.Rested(now)
	for _, gap := range gaps {
		now = now.Add(gap)
		h.Arrived(now)
		h.Rested(now)
	}
	return now
}

func repeat(gap time.Duration, n int) []time.Duration {
	gaps := make([]time.Duration, n)
	for i := range gaps {
		gaps[i] = gap
	}
	return gaps
}

func TestFixed(t *testing.T) {
	p := Fixed(10 * time.Minute)
	o := Observation{History: p.NewHistory(), IdleSince: start}
	end := start.Add(10 * time.Minute)
	if d := p.Decide(o, end.Add(-1)); d.Stop || !d.Again.Equal(end) {
		t.Errorf("before its end: %+v", d)
	}
	if d := p.Decide(o, end); !d.Stop {
		t.Errorf("at its end: %+v", d)
	}
	if d := Fixed(0).Decide(o, start); !d.Stop {
		t.Errorf("without keep-alive: %+v", d)
	}
	longer := Observation{IdleSince: start.Add(-time.Second)}
	if p.Worth(longer, end) >= p.Worth(o, end) {
		t.Error("the longest idle is not worth least")
	}
}

func TestHybridWindow(t *testing.T) {
	minute := time.Minute
	for _, tt := range []struct {
		name     string
		gaps     []time.Duration
		from, to time.Duration
	}{
		{"too few", repeat(5*minute, 9), 0, 240 * minute},
		{"clear", repeat(30*minute, 20), 27 * minute, minutes(34.1)},
		{"at once", repeat(20*time.Second, 20), 0, minutes(1.1)},
		{"spread evenly", spread(240, 480), 0, 240 * minute},
		{"out of range", repeat(10*time.Hour, 20), minutes(510), minutes(690)},
	} {
		p := DefaultHybrid
		h := p.NewHistory()
		feed(h, start, tt.gaps...)
		from, to := p.window(h.(*hybridHistory))
		if near := func(a, b time.Duration) bool { return (a - b).Abs() < time.Second }; !near(from, tt.from) || !near(to, tt.to) {
			t.Errorf("%s: from %v to %v, want %v to %v", tt.name, from, to, tt.from, tt.to)
		}
	}
}

// spread returns n gaps over so many minutes.
func spread(over, n int) []time.Duration {
	gaps := make([]time.Duration, n)
	for i := range gaps {
		gaps[i] = time.Duration(i%over)*time.Minute + time.Second
	}
	return gaps
}

func TestHybridDecides(t *testing.T) {
	p := DefaultHybrid
	h := p.NewHistory()
	last := feed(h, start, repeat(30*time.Minute, 20)...)
	o := Observation{History: h, IdleSince: last}
	if d := p.Decide(o, last); !d.Stop || !d.Prewarm.Equal(last.Add(27*time.Minute)) {
		t.Errorf("at rest: %+v", d)
	}
	ahead := last.Add(27 * time.Minute)
	if d := p.Decide(Observation{History: h, IdleSince: ahead}, ahead); d.Stop || d.Again.Sub(last).Round(time.Second) != minutes(34.1).Round(time.Second) {
		t.Errorf("started ahead: %+v", d)
	}
	if d := p.Decide(Observation{History: h, IdleSince: ahead}, last.Add(35*time.Minute)); !d.Stop || !d.Prewarm.IsZero() {
		t.Errorf("nothing came: %+v", d)
	}
}

func TestForecast(t *testing.T) {
	line := []float64{}
	wave := []float64{}
	for i := range 40 {
		line = append(line, 100+5*float64(i))
		wave = append(wave, 300+float64(1-2*(i%2))*50)
	}
	for _, tt := range []struct {
		name   string
		series []float64
		want   float64
	}{
		{"nothing", nil, 0},
		{"one", []float64{7}, 7},
		{"constant", []float64{500, 500, 500, 500, 500, 500}, 500},
		{"a line", line, 300},
		{"to and fro", wave, 350},
	} {
		if got := forecast(tt.series); math.Abs(got-tt.want) > 1 {
			t.Errorf("%s: %.2f, want %.2f", tt.name, got, tt.want)
		}
	}
}
