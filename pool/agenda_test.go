package pool

import (
	"fmt"
	"math/rand/v2"
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
