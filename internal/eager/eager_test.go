package eager

import (
	"testing"
	"time"
)

func TestRoom(t *testing.T) {
	for processors, want := range map[int]int32{1: 0, 2: 1, 4: 1, 6: 2, 8: 2, 64: 16} {
		if got := roomFor(processors); got != want {
			t.Errorf("%d processors: %d; want %d", processors, got, want)
		}
	}
}

func TestWorth(t *testing.T) {
	good := observation{known: true, took: short - 1, room: 1}
	if !good.worth() {
		t.Error("a short wait with nothing else at hand is not worth it")
	}
	for name, change := range map[string]func(*observation){
		"the first wait":        func(o *observation) { o.known = false },
		"the last one was long": func(o *observation) { o.took = short },
		"work at hand":          func(o *observation) { o.others = 1 },
		"another reader":        func(o *observation) { o.readers = 1 },
		"one processor":         func(o *observation) { o.room = 0 },
		"after a stall":         func(o *observation) { o.rests = true },
		"after one in vain":     func(o *observation) { o.skips = true },
	} {
		o := good
		change(&o)
		if o.worth() {
			t.Errorf("%s: it is worth it all the same", name)
		}
	}
	many := observation{known: true, others: 1, readers: 1, room: 2}
	if !many.worth() {
		t.Error("with room for two the second is not worth it")
	}
}

// alone gives the test room for one reader, whatever the machine has.
func alone(t *testing.T) {
	before := room
	room = 1
	until.Store(0)
	t.Cleanup(func() { room = before; until.Store(0) })
}

func TestWait(t *testing.T) {
	alone(t)
	w := Wait{Own: 1}
	Begin()
	defer End()
	if w.Begin() {
		t.Error("the first wait is eager")
	}
	w.Over()
	w.took = 0 // it may have been descheduled
	if !w.Begin() {
		t.Fatal("a wait after a short one is not eager")
	}
	calls := 0
	if done := w.Look(func() bool { calls++; return calls == 3 }); done != (calls == 3) {
		t.Errorf("done: %v, after %d calls", done, calls)
	}
	if w.Begin() {
		t.Error("a wait that is under way is eager anew")
	}
	w.Over()
	if readers.Load() != 0 {
		t.Errorf("%d readers are left", readers.Load())
	}
	w.took = short
	if w.Begin() {
		t.Error("a wait after a long one is eager")
	}
}

// What does not come is waited for no longer than patience, and the next waits sleep at
// once: the more, the more were in vain.
func TestPatience(t *testing.T) {
	alone(t)
	w := Wait{known: true}
	for _, want := range []int{2, 4, 8, 16, 32, 64, 128, 256, 256} {
		if !w.Begin() {
			t.Fatal("it is not eager")
		}
		until.Store(0)
		if w.Look(func() bool { return false }) {
			t.Error("what never comes came")
		}
		until.Store(0) // it may have been descheduled
		slept := 0
		for w.Over(); ; w.Over() {
			w.took = 0
			if w.Begin() {
				break
			}
			slept++
		}
		if slept != want {
			t.Errorf("%d waits slept at once; want %d", slept, want)
		}
		w.under = false
	}
	if !w.Begin() || !w.Look(func() bool { return true }) {
		t.Fatal("what is there is not seen")
	}
	w.Over()
	w.took = 0
	if !w.Begin() {
		t.Error("it is not eager after one that was worth it")
	}
}

// Work that comes to hand ends eagerness.
func TestWorkComes(t *testing.T) {
	alone(t)
	w := Wait{known: true}
	if !w.Begin() {
		t.Fatal("it is not eager")
	}
	calls := 0
	if w.Look(func() bool { calls++; Begin(); return false }) {
		t.Error("what never comes came")
	}
	for range calls {
		End()
	}
	if calls != 1 {
		t.Errorf("it looked %d times", calls)
	}
}

// Whoever takes the processor for long gets some peace.
func TestStall(t *testing.T) {
	alone(t)
	w := Wait{known: true}
	if !w.Begin() {
		t.Fatal("it is not eager")
	}
	began := time.Now()
	calls := 0
	w.Look(func() bool {
		calls++
		for time.Since(began) <= stall { // in place of another thread
		}
		return false
	})
	if calls != 1 {
		t.Errorf("it looked %d times", calls)
	}
	other := Wait{known: true}
	if other.Begin() {
		t.Error("another one is eager right after a stall")
	}
}
