package scale

import (
	"testing"
	"time"
)

// TestReservationUnderFlood floods one function, with callers of whom many hang up
// while they wait, and calls another that has a reservation: it always has all of
// that and never more, and the API answers.
func TestReservationUnderFlood(t *testing.T) {
	const reserved, crowd = 5, 20
	w := start(t)
	w.deployNode(t, "", "flooded", "reserved")
	w.hearth(t, "quota", "reserve", "reserved", "5")
	w.hearth(t, "quota", "maximum", "flooded", "20")
	a := w.attack(t, lasting())
	a.callers(120, "flooded", 100*time.Millisecond, 0.5)
	a.callers(reserved, "reserved", 50*time.Millisecond, 0)
	slowest := a.watchAPI()
	a.wg.Wait()
	w.settled(t)
	if len(a.ran["reserved"]) < reserved || a.refused["reserved reserved"] > 0 || len(a.other) > 0 {
		t.Errorf("%d calls of the reserved function ran; refused %v, others %v", len(a.ran["reserved"]), a.refused, a.other)
	}
	for limit, n := range a.refused {
		if limit != "flooded function-maximum" {
			t.Errorf("%d refused: %s", n, limit)
		}
	}
	if n := most(a.ran["reserved"]); n > reserved {
		t.Errorf("%d of at most %d calls ran at once", n, reserved)
	}
	if n := most(a.ran["flooded"]); n > crowd {
		t.Errorf("%d of at most %d calls of the flood ran at once", n, crowd)
	}
	// What is idle counts for nothing; what is busy or starting is what the maximum bounds.
	for gauge, of := range map[string]func(load) levels{
		"in flight": func(l load) levels { return l.InFlight }, "busy": func(l load) levels { return l.Busy },
		"starting": func(l load) levels { return l.Starting }} {
		if n := w.maxima(t, "flooded", of); n > crowd {
			t.Errorf("%d were %s at once, at most %d may be", n, gauge, crowd)
		}
		if n := w.maxima(t, "reserved", of); n > reserved {
			t.Errorf("%d were %s at once, at most %d may be", n, gauge, reserved)
		}
	}
	if took := time.Duration(slowest.Load()); took > 10*time.Second {
		t.Errorf("the API took %v", took)
	}
	t.Logf("%d and %d calls ran; the slowest answer of the API took %v", len(a.ran["flooded"]), len(a.ran["reserved"]), time.Duration(slowest.Load()))
}
