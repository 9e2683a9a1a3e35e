package quota_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/faas"
	"hearth/quota"
)

// TestOrderOfNaming makes several limits fail at once, whichever of the methods
// meets them, and wants the first in order.
func TestOrderOfNaming(t *testing.T) {
	f := version("f", "1", 128, 1)
	full := func(limits faas.AccountLimits) func(*scene) {
		return func(s *scene) {
			s.limit(func(l *faas.AccountLimits) { *l = limits })
			if calls, err := s.runMany(f, 1000); err == nil {
				s.t.Fatalf("%d calls and nothing is full", len(calls))
			}
		}
	}
	admit := func(s *scene) error { _, err := s.Admit(f, quota.Synchronous); return err }
	asynchronous := func(s *scene) error { _, err := s.Admit(f, quota.Asynchronous); return err }
	occupy := func(s *scene) error { _, err := s.Occupy(f); return err }
	start := func(s *scene) error { _, err := s.Start(f, quota.ForCall); return err }
	for _, c := range []struct {
		name       string
		before     func(*scene)
		ask        func(*scene) error
		limit      faas.Limit
		value, use int
	}{
		{"off before everything", func(s *scene) {
			full(faas.AccountLimits{Executions: 5, MemoryMB: 640, FunctionMaximum: 5, Expansion: 5})(s)
			s.reserve("f", faas.UnitExecutions, 0, 128)
		}, admit, faas.LimitOff, 0, 5},
		{"off before everything, at a start", func(s *scene) {
			full(faas.AccountLimits{Executions: 5, MemoryMB: 640, FunctionMaximum: 5, Expansion: 5})(s)
			s.reserve("f", faas.UnitMemoryMB, 0, 128)
		}, start, faas.LimitOff, 0, 640},
		{"reserved before the account", func(s *scene) {
			full(faas.AccountLimits{Executions: 5, MemoryMB: 640, Expansion: 5})(s)
			s.reserve("f", faas.UnitExecutions, 5, 128)
		}, admit, faas.LimitReserved, 5, 5},
		{"reserved MB before the account's executions", func(s *scene) {
			full(faas.AccountLimits{Executions: 5, MemoryMB: 640, Expansion: 5})(s)
			s.reserve("f", faas.UnitMemoryMB, 640, 128)
		}, admit, faas.LimitReserved, 640, 640},
		{"reserved MB before the window", func(s *scene) {
			full(faas.AccountLimits{Executions: 50, MemoryMB: 6400, Expansion: 5})(s)
			s.reserve("f", faas.UnitMemoryMB, 640, 128)
		}, start, faas.LimitReserved, 640, 640},
		{"function maximum before executions", full(faas.AccountLimits{Executions: 5, MemoryMB: 640, FunctionMaximum: 5, Expansion: 5}), admit, faas.LimitFunction, 5, 5},
		{"function maximum before memory", full(faas.AccountLimits{Executions: 9, MemoryMB: 640, FunctionMaximum: 5, Expansion: 5}), start, faas.LimitFunction, 5, 5},
		{"function maximum before memory, for an idle instance", full(faas.AccountLimits{Executions: 9, MemoryMB: 640, FunctionMaximum: 5, Expansion: 5}), occupy, faas.LimitFunction, 5, 5},
		{"executions before memory", full(faas.AccountLimits{Executions: 5, MemoryMB: 640, Expansion: 5}), admit, faas.LimitExecutions, 5, 5},
		{"memory before the window", full(faas.AccountLimits{Executions: 9, MemoryMB: 640, Expansion: 5}), start, faas.LimitMemory, 640, 640},
		{"memory, for an idle instance", full(faas.AccountLimits{Executions: 9, MemoryMB: 700, Expansion: 5}), occupy, faas.LimitMemory, 700, 640},
		{"the window", full(faas.AccountLimits{Executions: 9, MemoryMB: 1280, FunctionMaximum: 9, Expansion: 5}), start, faas.LimitExpansion, 5, 5},
		{"executions before the synchronous share", full(faas.AccountLimits{Executions: 5, MemoryMB: 1280}), asynchronous, faas.LimitExecutions, 5, 5},
		{"function maximum before the synchronous share", full(faas.AccountLimits{Executions: 9, MemoryMB: 1280, FunctionMaximum: 5}), asynchronous, faas.LimitFunction, 5, 5},
		{"memory before the synchronous share", full(faas.AccountLimits{Executions: 9, MemoryMB: 640}), asynchronous, faas.LimitMemory, 640, 640},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			c.before(s)
			refused(t, c.ask(s), c.limit, c.value, c.use)
		})
	}
}

// TestOffIsCountedInWhatWasAskedFor: a reservation of 0 executions refuses an
// instance too, and its use is in MB then.
func TestOffIsCountedInWhatWasAskedFor(t *testing.T) {
	s := newScene(t)
	v := version("f", "1", 128, 1)
	if _, err := s.runMany(v, 3); err != nil {
		t.Fatal(err)
	}
	s.Provision(functionID("f"), map[string]quota.Provision{"1": {Instances: 2, MemoryMB: 128}})
	s.reserve("f", faas.UnitExecutions, 0, 128)
	_, err := s.Admit(v, quota.Synchronous)
	if r := refused(t, err, faas.LimitOff, 0, 3); r.Unit != faas.UnitExecutions {
		t.Errorf("in %s", r.Unit)
	}
	_, err = s.Occupy(v)
	if r := refused(t, err, faas.LimitOff, 0, 384); r.Unit != faas.UnitMemoryMB {
		t.Errorf("in %s", r.Unit)
	}
}

// TestAdmitNamesNoInstanceLimitWhileThereIsRoom has an instance with free slots:
// the function's maximum is no reason then.
func TestAdmitNamesNoInstanceLimitWhileThereIsRoom(t *testing.T) {
	s := newScene(t)
	s.limit(func(l *faas.AccountLimits) { l.Executions, l.FunctionMaximum = 2, 1 })
	v := version("f", "1", 128, 10)
	if _, err := s.run(v); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Admit(v, quota.Synchronous); err != nil {
		t.Fatal(err)
	}
	_, err := s.Admit(v, quota.Synchronous)
	refused(t, err, faas.LimitExecutions, 2, 2)
}

func TestGuaranteeFillsFromWhateverEndsNext(t *testing.T) {
	s := newScene(t)
	s.limit(func(l *faas.AccountLimits) { *l = faas.AccountLimits{Executions: 10, MemoryMB: 128_000} })
	others, err := s.runMany(version("other", "1", 128, 1), 8)
	if err != nil {
		t.Fatal(err)
	}
	s.reserve("first", faas.UnitExecutions, 4, 128)
	s.reserve("second", faas.UnitExecutions, 3, 128)
	first, second := version("first", "1", 128, 1), version("second", "1", 128, 1)
	a, err := s.runMany(first, 9)
	if len(a) != 2 {
		t.Errorf("%d of the first reservation could be had, want the 2 that were free", len(a))
	}
	r := refused(t, err, faas.LimitReserved, 2, 2)
	if !strings.Contains(err.Error(), "still filling") || !strings.Contains(r.Raise, "wait") {
		t.Errorf("it is not said that the guarantee fills: %v", err)
	}
	for want := range 3 {
		others[want].end() // nobody in the shared pool gets it
		if _, err := s.run(version("other", "1", 128, 1)); err == nil {
			t.Error("the shared pool got what a reservation waits for")
		}
	}
	b, err := s.runMany(second, 9)
	if len(b) != 1 {
		t.Errorf("the second reservation has %d, want 1: the first is filled first (%v)", len(b), err)
	}
	if got := s.Usage(account).Functions[0]; got.Funded.Executions != 4 || got.Wanted.Executions != 4 {
		t.Errorf("the first reservation is not whole: %+v", got)
	}
	if more, _ := s.runMany(first, 9); len(more) != 2 {
		t.Errorf("the first reservation gave %d more, want 2", len(more))
	}
	s.function("second", func(f *quota.FunctionSettings) { f.Reserved = nil }) // its calls count as shared now
	end(b)
	end(others[3:])
	if all, _ := s.runMany(second, 99); len(all) != 6 {
		t.Errorf("the shared pool gave %d, want 6", len(all))
	}
}

func TestLoweredLimitGrantsNothingUntilUseIsBelow(t *testing.T) {
	s := newScene(t)
	s.limit(unlimited)
	v := version("f", "1", 128, 1)
	s.reserve("kept", faas.UnitExecutions, 50, 128)
	calls, err := s.runMany(v, 700)
	if err != nil {
		t.Fatal(err)
	}
	s.limit(func(l *faas.AccountLimits) { l.Executions = 400 })
	kept := version("kept", "1", 128, 1)
	for i, c := range calls {
		if inFlight := 700 - i; inFlight >= 400 {
			// Not even the reservation: nothing that adds to the excess is granted.
			if _, err := s.Admit(kept, quota.Synchronous); err == nil {
				t.Fatalf("admitted at %d in flight", inFlight)
			}
		}
		c.end()
	}
	if got, _ := s.runMany(kept, 60); len(got) != 50 {
		t.Errorf("the reservation gave %d, want 50", len(got))
	}
}

func TestRaisedReservationCapsAtOnce(t *testing.T) {
	s := newScene(t)
	v := version("f", "1", 128, 1)
	calls, err := s.runMany(v, 20)
	if err != nil {
		t.Fatal(err)
	}
	s.reserve("f", faas.UnitExecutions, 10, 128)
	for i, c := range calls {
		if _, err := s.Admit(v, quota.Synchronous); i <= 10 {
			refused(t, err, faas.LimitReserved, 10, 20-i)
		} else if err != nil {
			t.Fatal(err)
		} else {
			break
		}
		c.end()
	}
}

func TestProvisionedCountsAsConfigured(t *testing.T) {
	s := newScene(t)
	s.limit(func(l *faas.AccountLimits) {
		*l = faas.AccountLimits{Executions: 100, MemoryMB: 1280, FunctionMaximum: 6}
	})
	v1, v2 := version("f", "1", 128, 1), version("f", "2", 128, 1)
	s.Provision(functionID("f"), map[string]quota.Provision{"1": {Instances: 4, MemoryMB: 128, Concurrency: 1}})
	if got := s.Usage(account); got.InUse.MemoryMB != 512 || got.Free.MemoryMB != 768 || got.Functions[0].Instances != 4 {
		t.Errorf("4 wanted are %+v", got)
	}
	marks := make([]quota.StartLease, 4)
	for i := range marks {
		var err error
		if marks[i], err = s.Start(v1, quota.ForProvisioned); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Start(v1, quota.ForProvisioned)
	refused(t, err, faas.LimitMemory, 4, 4)
	// Both versions share the maximum, of which the targets have 4.
	calls, err := s.runMany(v2, 9)
	if len(calls) != 2 {
		t.Errorf("%d on demand, want 2", len(calls))
	}
	refused(t, err, faas.LimitFunction, 6, 6)
	// Calls of the provisioned version need no instance until they spill over.
	for i := range 4 {
		if _, err := s.Admit(v1, quota.Synchronous); err != nil {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
	if got := s.Usage(account); got.Free.Executions != 94 {
		t.Errorf("%d executions are free, want 94: provisioned ones are counted once", got.Free.Executions)
	}
	s.Provision(functionID("f"), nil) // the marks are still there
	if got := s.Usage(account); got.Functions[0].Instances != 6 {
		t.Errorf("%d instances, want 6", got.Functions[0].Instances)
	}
	for _, m := range marks {
		m.Release()
	}
	if got := s.Usage(account); got.InUse.MemoryMB != 256 {
		t.Errorf("%d MB in use, want 256", got.InUse.MemoryMB)
	}
}

func TestProvisionedIsInsideTheReservation(t *testing.T) {
	s := newScene(t)
	s.reserve("f", faas.UnitExecutions, 10, 128)
	v1, v2 := version("f", "1", 128, 1), version("f", "2", 128, 1)
	s.Provision(functionID("f"), map[string]quota.Provision{"1": {Instances: 4, MemoryMB: 128, Concurrency: 1}})
	if got := s.Usage(account).Free.Executions; got != 990 {
		t.Errorf("%d executions are free, want 990", got)
	}
	calls, err := s.runMany(v2, 20)
	if len(calls) != 6 {
		t.Errorf("%d on demand, want 6", len(calls))
	}
	r := refused(t, err, faas.LimitReserved, 10, 10)
	if !strings.Contains(err.Error(), "of which 4 for provisioned") {
		t.Errorf("the provisioned part is not named: %v, %+v", err, r)
	}
	for range 4 {
		if _, err := s.Admit(v1, quota.Synchronous); err != nil {
			t.Error(err)
		}
	}
	_, err = s.Admit(v1, quota.Synchronous) // spills over, and there is no more
	refused(t, err, faas.LimitReserved, 10, 10)
}

func TestProvisionedWaitsForItsFunds(t *testing.T) {
	s := newScene(t)
	s.limit(func(l *faas.AccountLimits) { *l = faas.AccountLimits{Executions: 100, MemoryMB: 1280} })
	others, err := s.runMany(version("other", "1", 128, 1), 9)
	if err != nil {
		t.Fatal(err)
	}
	v := version("f", "1", 128, 1)
	s.Provision(functionID("f"), map[string]quota.Provision{"1": {Instances: 3, MemoryMB: 128, Concurrency: 1}})
	if _, err := s.Start(v, quota.Adopt); err != nil {
		t.Errorf("the first fits: %v", err)
	}
	_, err = s.Start(v, quota.Adopt)
	refused(t, err, faas.LimitMemory, 1152, 1152)
	if !strings.Contains(err.Error(), "filled first") {
		t.Errorf("it is not said that it fills: %v", err)
	}
	others[0].end()
	if _, err := s.Start(v, quota.Adopt); err != nil {
		t.Errorf("the second fits now: %v", err)
	}
	if n := s.Usage(account).Starts; n != 9 {
		t.Errorf("%d starts, want 9: an instance that is adopted was started before", n)
	}
}

func TestAheadHasAFifthOfTheWindow(t *testing.T) {
	s := newScene(t)
	s.limit(func(l *faas.AccountLimits) { l.FunctionMaximum = 0 })
	v := version("f", "1", 128, 1)
	var last quota.StartLease
	for i := range 100 {
		var err error
		if last, err = s.Start(v, quota.Ahead); err != nil {
			t.Fatalf("start %d: %v", i+1, err)
		}
	}
	_, err := s.Start(v, quota.Ahead)
	refused(t, err, faas.LimitExpansion, 100, 100)
	refused(t, last.Again(), faas.LimitExpansion, 100, 100)
	calls, err := s.runMany(v, 500)
	if len(calls) != 400 {
		t.Errorf("%d starts for calls, want 400", len(calls))
	}
	refused(t, err, faas.LimitExpansion, 500, 500)
	last.Void() // it failed before user code ran
	if _, err := s.Start(v, quota.Ahead); err != nil {
		t.Errorf("after a void start: %v", err)
	}
	calls[0].instance.Release() // an init error stays in the window
	if _, err := s.Start(v, quota.ForCall); err == nil {
		t.Error("a start that ended has left the window")
	}
	s.now = s.now.Add(faas.ExpansionWindow)
	if err := calls[1].instance.Again(); err != nil {
		t.Error(err)
	}
	if got := s.Usage(account); got.Starts != 1 || got.StartsAhead != 0 {
		t.Errorf("%d starts and %d ahead, want 1 and 0", got.Starts, got.StartsAhead)
	}
}

func TestExpansionSaysWhenTheNextIsPossible(t *testing.T) {
	s := newScene(t)
	s.limit(func(l *faas.AccountLimits) { l.Expansion = 3 })
	v := version("f", "1", 128, 1)
	for range 3 {
		s.now = s.now.Add(10 * time.Second)
		if _, err := s.run(v); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.run(v)
	if r := refused(t, err, faas.LimitExpansion, 3, 3); !strings.HasPrefix(r.Raise, "wait 40 s") {
		t.Errorf("got %q, want a wait of 40 s", r.Raise)
	}
	s.limit(func(l *faas.AccountLimits) { l.Expansion = 2 })
	_, err = s.run(v)
	if r := refused(t, err, faas.LimitExpansion, 2, 3); !strings.HasPrefix(r.Raise, "wait 50 s") {
		t.Errorf("got %q, want a wait of 50 s: two must leave", r.Raise)
	}
}

func TestAsynchronousLeavesAShare(t *testing.T) {
	for _, c := range []struct {
		executions, reserved, want int
	}{
		{1000, 0, 900},  // at least 100
		{3000, 0, 2700}, // a tenth
		{1000, 850, 75}, // half of a small shared pool
		{100, 0, 50},    // and of a small account
		{1000, 1000, 0}, // nothing is shared
		{5000, 4400, 300},
	} {
		s := newScene(t)
		s.limit(func(l *faas.AccountLimits) { l.Executions = c.executions })
		s.reserve("kept", faas.UnitExecutions, c.reserved, 1)
		n := 0
		var err error
		for ; err == nil; n++ {
			_, err = s.Admit(version("f", "1", 128, 1000), quota.Asynchronous)
		}
		if n--; n != c.want {
			t.Errorf("%+v: %d asynchronous calls", c, n)
		}
		if c.want > 0 {
			refused(t, err, faas.LimitSynchronous, c.want, c.want)
			if _, err := s.Admit(version("f", "1", 128, 1), quota.Synchronous); err != nil {
				t.Errorf("%+v: a synchronous one is refused: %v", c, err)
			}
		}
		if c.reserved > 0 {
			if _, err := s.Admit(version("kept", "1", 1, 1), quota.Asynchronous); err != nil {
				t.Errorf("%+v: a function with a reservation is refused: %v", c, err)
			}
		}
	}
}

func TestReservationCapsOnlyInItsOwnUnit(t *testing.T) {
	s := newScene(t)
	s.reserve("f", faas.UnitMemoryMB, 512, 256) // 2 executions are set aside
	calls, err := s.runMany(version("f", "1", 128, 1), 9)
	if len(calls) != 4 {
		t.Errorf("%d instances of 128 MB, want 4", len(calls))
	}
	refused(t, err, faas.LimitReserved, 512, 512)
	if got := s.Usage(account).Free; got.Executions != 996 || got.MemoryMB != 128_000-512 {
		t.Errorf("%+v are free: the two executions beyond come out of the shared pool", got)
	}
	end(calls)
	if got := s.Usage(account).Free; got.Executions != 998 {
		t.Errorf("%d executions are free, want 998", got.Executions)
	}
}

func TestCeiling(t *testing.T) {
	s := newScene(t)
	v := version("f", "1", 128, 1)
	want := func(c quota.Ceiling) {
		t.Helper()
		if got := s.Ceiling(v); got != c {
			t.Errorf("%+v, want %+v", got, c)
		}
	}
	want(quota.Ceiling{Instances: 300})
	s.function("f", func(f *quota.FunctionSettings) { n := 7; f.Maximum = &n })
	want(quota.Ceiling{Instances: 7})
	s.reserve("f", faas.UnitExecutions, 20, 128)
	want(quota.Ceiling{Instances: 20})
	s.reserve("f", faas.UnitMemoryMB, 2000, 128)
	want(quota.Ceiling{MemoryMB: 2000})
	s.reserve("f", faas.UnitMemoryMB, 0, 128)
	want(quota.Ceiling{})
}

func TestRegionsAndAccountsShareNothing(t *testing.T) {
	s := newScene(t)
	s.limit(func(l *faas.AccountLimits) { l.Executions = 1 })
	here, there := version("f", "1", 128, 1), version("f", "1", 128, 1)
	there.ID.Function.Region = "ap-south-1"
	if _, err := s.Admit(here, quota.Synchronous); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Admit(there, quota.Synchronous); err != nil {
		t.Errorf("what runs in one region refuses in another: %v", err)
	}
	spaced := version("g", "1", 128, 1)
	spaced.ID.Function.Namespace = "other"
	if _, err := s.Admit(spaced, quota.Synchronous); err == nil {
		t.Error("namespaces of one account do not share its limit")
	}
}

func TestFreedSignals(t *testing.T) {
	s := newScene(t)
	freed := s.Freed(account)
	signalled := func() bool {
		select {
		case <-freed:
			return true
		default:
			return false
		}
	}
	c, err := s.run(version("f", "1", 128, 1))
	if err != nil {
		t.Fatal(err)
	}
	if signalled() {
		t.Error("signalled for a grant")
	}
	c.admitted.Release()
	c.instance.Release()
	if !signalled() || signalled() {
		t.Error("want one signal for what was given back")
	}
	s.limit(func(l *faas.AccountLimits) { l.Executions++ })
	if !signalled() {
		t.Error("no signal for a raised limit")
	}
	s.Provision(functionID("f"), nil)
	if !signalled() {
		t.Error("no signal for a changed target")
	}
}

// TestManyAtOnce has calls and changes of settings race. The allocator never has
// more in flight than its limit, and nothing is left.
func TestManyAtOnce(t *testing.T) {
	s := newScene(t)
	s.limit(func(l *faas.AccountLimits) { *l = faas.AccountLimits{Executions: 40, MemoryMB: 5120} })
	settings := s.settings
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			v := version([]string{"a", "b", "c"}[i%3], "1", 128, 1)
			for range 2000 {
				if c, err := s.run(v); err == nil {
					c.end()
				}
			}
		})
	}
	all.Go(func() {
		for i := range 300 {
			next := settings
			next.Functions = map[faas.FunctionID]quota.FunctionSettings{
				functionID("a"): {Reserved: &faas.Amount{Unit: faas.UnitExecutions, Value: i % 20}, MemoryMB: 128, Concurrency: 1}}
			s.Configure(account, next)
			s.Provision(functionID("b"), map[string]quota.Provision{"1": {Instances: i % 5, MemoryMB: 128, Concurrency: 1}})
			if u := s.Usage(account); u.InUse.Executions > 40 {
				t.Errorf("%d in flight of 40", u.InUse.Executions)
			}
		}
	})
	all.Wait()
	s.Provision(functionID("b"), nil)
	s.Configure(account, settings)
	s.quiet()
	if u := s.Usage(account); u.Free != (quota.Share{Executions: 40, MemoryMB: 5120}) {
		t.Errorf("something is left: %+v", u)
	}
}

// TestProvisionOfManyVersions: no target is forgotten while others are set.
func TestProvisionOfManyVersions(t *testing.T) {
	s := newScene(t)
	targets := map[string]quota.Provision{}
	for i := range 40 {
		targets[strconv.Itoa(i+1)] = quota.Provision{Instances: 1, MemoryMB: 128, Concurrency: 1}
	}
	s.Provision(functionID("f"), targets)
	if got := s.Usage(account).Functions[0]; got.Instances != 40 || len(got.Versions) != 40 || got.Wanted.MemoryMB != 40*128 {
		t.Errorf("40 versions with a target are %d instances of %d versions, %d MB", got.Instances, len(got.Versions), got.Wanted.MemoryMB)
	}
}
