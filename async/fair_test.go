package async_test

import (
	"slices"
	"testing"
	"time"

	"hearth/faas"
	"hearth/invoke"
)

// TestABacklogOfOneAccountDelaysNoOther has a function with many events, 50
// at once, and single events of a warm one in another account: each begins at once.
func TestABacklogOfOneAccountDelaysNoOther(t *testing.T) {
	const backlog = 2000 // of 300 ms each, for which 60 instances are wanted; make bench has 100,000
	play(t, nil, func(s *scene) {
		a := s.deploy("a", sleeping(300*time.Millisecond))
		s.reserve(a, 50)
		b := function("b")
		b.Account = "111111111111"
		s.shelf.put(b, nil)
		for range backlog {
			s.send(a, "")
		}
		accepted := map[string]time.Time{}
		for range 100 {
			s.pass(10 * time.Millisecond)
			s.n++
			id := requestID(s.n)
			accepted[id] = time.Now()
			if _, err := s.invoke.Invoke(s.t.Context(), &invoke.Request{RequestID: id, Function: b, Type: invoke.Event}); err != nil {
				s.t.Fatal(err)
			}
		}
		s.pass(time.Minute)
		var waits []time.Duration
		left := 0 // of a, when the last of b began
		for _, r := range s.ran() {
			if at, ok := accepted[r.request]; ok {
				waits = append(waits, r.at.Sub(at))
				left = 0
			} else {
				left++
			}
		}
		slices.Sort(waits)
		if len(waits) != 100 || waits[99] > 0 {
			s.t.Errorf("%d began, the last %v after its acceptance", len(waits), waits[len(waits)-1])
		}
		if left == 0 {
			s.t.Error("the backlog was gone before the last single event: this test shows nothing")
		}
		if p := s.peak("a"); p != 50 {
			s.t.Errorf("%d at once", p)
		}
	})
}

// TestFunctionsOfAFullAccountTakeTurns has two functions share the executions that
// their account has for asynchronous ones.
func TestFunctionsOfAFullAccountTakeTurns(t *testing.T) {
	play(t, nil, func(s *scene) {
		limits := faas.DefaultAccountLimits()
		limits.Executions = 20 // of which ten stay free for synchronous ones
		a, b := s.deploy("a", sleeping(time.Second)), s.deploy("b", sleeping(time.Second))
		s.quota.Configure(accountOf(a), settings(limits))
		for range 300 {
			s.send(a, "")
		}
		for range 100 {
			s.send(b, "")
		}
		s.pass(time.Second * 15)
		n := map[string]int{}
		for _, r := range s.ran() {
			n[r.function]++
		}
		if n["a"]+n["b"] < 120 || n["b"] < n["a"]/2 || n["a"] < n["b"]/2 {
			s.t.Errorf("ran %v", n)
		}
		s.pass(time.Minute)
		if len(s.ran()) != 400 {
			s.t.Errorf("%d ran", len(s.ran()))
		}
	})
}
