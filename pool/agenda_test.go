package pool

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestAgenda(t *testing.T) {
	a := newAgenda()
	start := time.Now()
	r := rand.New(rand.NewPCG(1, 0))
	for _, i := range r.Perm(1000) {
		a.add(&pool{}, forIdle, start.Add(time.Duration(i)*time.Second))
	}
	if _, wait := a.due(start.Add(-time.Minute), time.Hour); wait != time.Minute {
		t.Errorf("a minute before the first: %v", wait)
	}
	if _, wait := a.due(start.Add(-time.Minute), time.Second); wait != time.Second {
		t.Errorf("at most a second: %v", wait)
	}
	for i := range 1000 {
		at := start.Add(time.Duration(i) * time.Second)
		if x, wait := a.due(at, time.Hour); x.pool == nil || !x.at.Equal(at) || wait != 0 {
			t.Fatalf("number %d: %v, wait %v", i, x, wait)
		}
	}
	if x, wait := a.due(start.Add(time.Hour), time.Hour); x.pool != nil || wait != time.Hour {
		t.Errorf("empty: %v, %v", x, wait)
	}
}

func TestAgendaTellsOfSooner(t *testing.T) {
	a := newAgenda()
	start := time.Now()
	told := func() bool {
		select {
		case <-a.sooner:
			return true
		default:
			return false
		}
	}
	for _, tt := range []struct {
		in   time.Duration
		want bool
	}{{time.Minute, true}, {time.Hour, false}, {time.Second, true}, {2 * time.Second, false}} {
		a.add(&pool{}, forIdle, start.Add(tt.in))
		if got := told(); got != tt.want {
			t.Errorf("%v: told %v", tt.in, got)
		}
	}
}

func TestAgendaShowsSome(t *testing.T) {
	a := newAgenda()
	for i := range 10 {
		a.add(&pool{}, forIdle, time.Now().Add(time.Duration(i)))
	}
	if got := len(a.some(10)); got != 10 {
		t.Errorf("%d of 10", got)
	}
	if got := len(a.some(4)); got != 4 {
		t.Errorf("%d of 4", got)
	}
}

// Whoever wants room while a pool is being looked at must find it: else a younger
// idle instance is stopped in place of the pool's.
func TestAgendaShowsWhatIsLookedAt(t *testing.T) {
	a := newAgenda()
	now := time.Now()
	looked, other := &pool{}, &pool{}
	a.add(looked, forIdle, now)
	a.add(other, forIdle, now.Add(time.Hour))
	if x, _ := a.due(now, time.Hour); x.pool != looked {
		t.Fatal("nothing was due")
	}
	if got := a.some(2); !slices.Contains(got, looked) || !slices.Contains(got, other) {
		t.Error("the pool that is looked at is not among them")
	}
	if got := a.some(1); !slices.Contains(got, looked) {
		t.Error("the pool that is looked at is not among those drawn")
	}
	if x, _ := a.due(now, time.Hour); x.pool != nil {
		t.Fatal("something more was due")
	}
	if got := a.some(2); len(got) != 1 || got[0] != other {
		t.Error("a pool that was looked at is shown without an appointment")
	}
}

// BenchmarkAgenda is one appointment made and kept, among so many functions.
func BenchmarkAgenda(b *testing.B) {
	for _, n := range []int{10, 1000, 100000} {
		b.Run(fmt.Sprintf("functions=%d", n), func(b *testing.B) {
			a := newAgenda()
			start := time.Now()
			r := rand.New(rand.NewPCG(1, 0))
			p := &pool{}
			for range n {
				a.add(p, forIdle, start.Add(time.Duration(r.Int64N(int64(time.Hour)))))
			}
			for b.Loop() {
				x, _ := a.due(start.Add(1000*time.Hour), time.Hour)
				a.add(p, forIdle, x.at.Add(time.Duration(r.Int64N(int64(time.Hour)))))
			}
		})
	}
}
