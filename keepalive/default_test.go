package keepalive

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

// observe is an observation of the reference function at rest since then.
func observe(h History, since time.Time) Observation {
	return Observation{History: h, IdleSince: since, MemoryMB: referenceMB, Cold: 1350 * time.Millisecond}
}

// kept follows the decisions about one instance from its rest on, and returns how
// long it stays and when one is started ahead.
func kept(p Policy, o Observation) (stays, ahead time.Duration) {
	now := o.IdleSince
	for range 1000 {
		d := p.Decide(o, now)
		if d.Stop {
			if !d.Prewarm.IsZero() {
				ahead = d.Prewarm.Sub(o.IdleSince)
			}
			return now.Sub(o.IdleSince), ahead
		}
		if !d.Again.After(now) {
			panic("a decision to decide at once")
		}
		now = d.Again
	}
	return math.MaxInt64, 0
}

func TestDefaultKeepsByHabit(t *testing.T) {
	for _, tt := range []struct {
		name        string
		gaps        []time.Duration
		least, most time.Duration // that the instance stays
		ahead       time.Duration // about; 0 for none
	}{
		{"never seen before", nil, 10 * time.Minute, 5 * time.Hour, 0},
		{"every three hours, exactly", repeat(3*time.Hour, 12), 0, 30 * time.Minute, 3 * time.Hour},
		{"every five minutes, exactly", repeat(5*time.Minute, 40), 0, 3 * time.Minute, 5 * time.Minute},
		{"some seconds apart", irregular(1, 2*time.Second, 20*time.Second, 200), 20 * time.Second, 20 * time.Minute, 0},
		{"some minutes apart", irregular(2, time.Minute, 15*time.Minute, 200), 14 * time.Minute, 3 * time.Hour, 0},
	} {
		h := Auto.NewHistory()
		last := feed(h, start, tt.gaps...)
		stays, ahead := kept(Auto, observe(h, last))
		if stays < tt.least || stays > tt.most {
			t.Errorf("%s: stays %v, want %v to %v", tt.name, stays, tt.least, tt.most)
		}
		if tt.ahead > 0 && (ahead > tt.ahead || ahead < tt.ahead-15*time.Second) {
			t.Errorf("%s: started ahead at %v, want just before %v", tt.name, ahead, tt.ahead)
		}
	}
}

// irregular returns gaps spread evenly between two bounds.
func irregular(seed uint64, low, high time.Duration, n int) []time.Duration {
	r := rand.New(rand.NewPCG(seed, 0))
	gaps := make([]time.Duration, n)
	for i := range gaps {
		gaps[i] = low + time.Duration(r.Int64N(int64(high-low)))
	}
	return gaps
}

func TestDefaultWeighs(t *testing.T) {
	h := Auto.NewHistory()
	last := feed(h, start, irregular(3, time.Minute, 30*time.Minute, 100)...)
	base := observe(h, last)
	now := last.Add(time.Minute)
	stay := func(change func(*Observation)) time.Duration {
		o := base
		change(&o)
		d, _ := kept(Auto, o)
		return d
	}
	plain := stay(func(*Observation) {})
	for _, tt := range []struct {
		name   string
		change func(*Observation)
		longer bool
	}{
		{"small", func(o *Observation) { o.MemoryMB /= 4 }, true},
		{"large", func(o *Observation) { o.MemoryMB *= 8 }, false},
		{"slow to start", func(o *Observation) { o.Cold *= 20 }, true},
		{"quick to start", func(o *Observation) { o.Cold /= 50 }, false},
		{"one of many", func(o *Observation) { o.Rank = 5 }, false},
	} {
		if got := stay(tt.change); tt.longer && got <= plain || !tt.longer && got >= plain {
			t.Errorf("%s: stays %v, as it is %v", tt.name, got, plain)
		}
		o := base
		tt.change(&o)
		if got, was := Auto.Worth(o, now), Auto.Worth(base, now); tt.longer && got <= was || !tt.longer && got >= was {
			t.Errorf("%s: worth %v, as it is %v", tt.name, got, was)
		}
	}
}

func TestDefaultUnderPressure(t *testing.T) {
	h := Auto.NewHistory()
	o := observe(h, feed(h, start))
	plain, _ := kept(Auto, o)
	o.Pressure = 1
	if tight, _ := kept(Auto, o); tight >= plain {
		t.Errorf("stays %v where memory is short, else %v", tight, plain)
	}
}

// TestBeatBetweenOtherCalls: a timer is found among calls that come as they like.
func TestBeatBetweenOtherCalls(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		r := rand.New(rand.NewPCG(seed, 0))
		h := &habit{}
		next, other := start, start.Add(90*time.Minute)
		hits, ticks := 0, 0
		for range 200 {
			now := next
			timer := !other.Before(next)
			if timer {
				ticks++
				at, off := h.beat.next(now.Sub(h.born).Seconds() - 30)
				if ticks > 50 && math.Abs(at-now.Sub(h.born).Seconds()) <= off {
					hits++
				}
				next = next.Add(30*time.Minute + time.Duration(r.NormFloat64()*2e8))
			} else {
				now = other
				other = other.Add(time.Duration(r.ExpFloat64() * float64(2*time.Hour)))
			}
			h.Arrived(now)
			h.Rested(now.Add(time.Millisecond))
		}
		if hits*10 < (ticks-50)*8 {
			t.Errorf("seed %d: %d of %d calls of the timer were foretold", seed, hits, ticks-50)
		}
	}
}

// TestNoBeatWhereThereIsNone: calls at random times are hardly ever foretold.
func TestNoBeatWhereThereIsNone(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	h := &habit{}
	now, foretold := start, 0
	for range 2000 {
		h.Arrived(now)
		h.Rested(now)
		if h.beat.sure() {
			foretold++
		}
		now = now.Add(time.Duration(r.ExpFloat64() * float64(20*time.Minute)))
	}
	if foretold > 100 {
		t.Errorf("a beat was believed at %d of 2000 calls", foretold)
	}
}

// TestHabitsForget: what was learnt long ago gives way.
func TestHabitsForget(t *testing.T) {
	h := Auto.NewHistory()
	last := feed(h, start, irregular(4, 5*time.Minute, 40*time.Minute, 300)...)
	before, _ := kept(Auto, observe(h, last))
	last = feed(h, last.Add(time.Second), irregular(5, 2*time.Second, 20*time.Second, 300)...)
	after, _ := kept(Auto, observe(h, last))
	if after >= before {
		t.Errorf("stays %v after calls some seconds apart, %v before", after, before)
	}
}

// TestHabitIsSmall: there may be 100,000 functions.
func TestHabitIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(habit{}); size > 512 {
		t.Errorf("a habit takes %d bytes", size)
	}
}

// FuzzDefault: whatever the calls, decisions are finite, and each is later than
// now.
func FuzzDefault(f *testing.F) {
	f.Add([]byte{10, 20, 30, 10, 20, 30}, uint16(3), uint8(0), 128.0)
	f.Fuzz(func(t *testing.T, gaps []byte, after uint16, rank uint8, mb float64) {
		h := Auto.NewHistory()
		now := start
		for _, g := range gaps {
			h.Arrived(now)
			now = now.Add(time.Duration(g) * time.Duration(g) * time.Second)
			if g%3 > 0 {
				h.Rested(now)
			}
			now = now.Add(time.Duration(g) * time.Duration(g) * time.Duration(g) * time.Millisecond)
		}
		o := Observation{History: h, IdleSince: now, Rank: int(rank), MemoryMB: mb, Cold: time.Second}
		now = now.Add(time.Duration(after) * time.Second)
		d := Auto.Decide(o, now)
		if !d.Stop && !d.Again.After(now) || !d.Prewarm.IsZero() && d.Prewarm.Before(now) {
			t.Errorf("decision %+v at %v", d, now)
		}
		if w := Auto.Worth(o, now); math.IsNaN(w) || math.IsInf(w, 0) || w < 0 {
			t.Errorf("worth %v", w)
		}
	})
}

// BenchmarkDecide is a decision about one of so many functions, at random.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 1000, 100000} {
		histories := make([]History, n)
		last := make([]time.Time, n)
		r := rand.New(rand.NewPCG(1, 0))
		for i := range histories {
			histories[i] = Auto.NewHistory()
			last[i] = feed(histories[i], start, irregular(uint64(i), time.Second, time.Duration(1+r.IntN(1e4))*time.Second+time.Minute, 20)...)
		}
		b.Run(fmt.Sprintf("functions=%d", n), func(b *testing.B) {
			for b.Loop() {
				i := r.IntN(n)
				Auto.Decide(observe(histories[i], last[i]), last[i].Add(time.Second))
			}
		})
	}
}

// BenchmarkArrived is what a call costs: one gap noted.
func BenchmarkArrived(b *testing.B) {
	h := Auto.NewHistory()
	now := start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(7 * time.Second)
		h.Arrived(now)
		h.Rested(now)
	}
}

// TestBurstsComeInRows: the instances of a burst are there for the next one, however
// deep in the stack, unless memory is short.
func TestBurstsComeInRows(t *testing.T) {
	h := Auto.NewHistory()
	o := observe(h, feed(h, start, repeat(10*time.Second, 50)...))
	o.Rank = 300
	if stays, _ := kept(Auto, o); stays != time.Minute {
		t.Errorf("the last of 300 stays %v", stays)
	}
	o.Pressure = .9
	if stays, _ := kept(Auto, o); stays > time.Second {
		t.Errorf("the last of 300 stays %v where memory is short", stays)
	}
}
