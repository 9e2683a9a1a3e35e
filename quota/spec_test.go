package quota_test

import (
	"testing"
	"time"

	"hearth/faas"
	"hearth/quota"
)

// unlimited lifts every limit but the account's two.
func unlimited(l *faas.AccountLimits) { l.FunctionMaximum, l.Expansion = 0, 0 }

func TestSpec128000MBSustain1000InstancesOf128MBAnd500Of256MB(t *testing.T) {
	for _, c := range []struct {
		memoryMB, instances int
		limit               faas.Limit
		value, use          int
	}{
		{128, 1000, faas.LimitExecutions, 1000, 1000},
		{256, 500, faas.LimitMemory, 128_000, 128_000},
		{300, 426, faas.LimitMemory, 128_000, 127_800},
	} {
		s := newScene(t)
		s.limit(unlimited)
		calls, err := s.runMany(version("f", "1", c.memoryMB, 1), 2000)
		if len(calls) != c.instances {
			t.Errorf("%d instances of %d MB, want %d", len(calls), c.memoryMB, c.instances)
		}
		refused(t, err, c.limit, c.value, c.use)
		end(calls)
		s.quiet()
	}
}

func TestV1Using200LeavesV2100(t *testing.T) {
	s := newScene(t)
	s.limit(func(l *faas.AccountLimits) { l.Expansion = 0 })
	v1, v2 := version("f", "1", 128, 1), version("f", "2", 128, 1)
	first, err := s.runMany(v1, 200)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.runMany(v2, 300)
	if len(second) != 100 {
		t.Errorf("v2 got %d instances, want 100", len(second))
	}
	refused(t, err, faas.LimitFunction, 300, 300)
	if _, err := s.run(version("g", "1", 128, 1)); err != nil {
		t.Errorf("another function was refused: %v", err)
	}
	// Idle instances of v1 hold no lease and refuse nobody.
	for _, c := range first {
		c.end()
	}
	third, err := s.runMany(v2, 300)
	if len(third) != 200 {
		t.Errorf("v2 got %d more instances, want 200: %v", len(third), err)
	}
}

func Test500StartsIn60sAndThe501stAt60s(t *testing.T) {
	s := newScene(t)
	s.limit(func(l *faas.AccountLimits) { l.FunctionMaximum = 0 })
	v := version("f", "1", 128, 1)
	calls, err := s.runMany(v, 500)
	if err != nil {
		t.Fatal(err)
	}
	end(calls) // a start that ended stays in the window
	for _, at := range []time.Duration{0, time.Second, 30 * time.Second, 60*time.Second - 1} {
		s.now = time.Unix(1_700_000_000, 0).Add(at)
		_, err := s.run(v)
		refused(t, err, faas.LimitExpansion, 500, 500)
	}
	s.now = time.Unix(1_700_000_000, 0).Add(60 * time.Second)
	if _, err := s.run(v); err != nil {
		t.Errorf("refused at 60 s: %v", err)
	}
}

func Test501StartsOver59s(t *testing.T) {
	s := newScene(t)
	v := version("f", "1", 128, 1)
	began := s.now
	for i := range 501 {
		s.now = began.Add(time.Duration(i) * 59 * time.Second / 500)
		c, err := s.run(v)
		if i < 500 && err != nil {
			t.Fatalf("start %d: %v", i+1, err)
		}
		if i == 500 {
			refused(t, err, faas.LimitExpansion, 500, 500)
			break
		}
		c.end()
	}
	s.now = began.Add(60 * time.Second) // one has left
	if _, err := s.run(v); err != nil {
		t.Error(err)
	}
	_, err := s.run(v)
	refused(t, err, faas.LimitExpansion, 500, 500)
}

func TestReservedIsDeductedFromTheSharedPool(t *testing.T) {
	s := newScene(t)
	s.limit(unlimited)
	s.reserve("kept", faas.UnitExecutions, 400, 128)
	shared, err := s.runMany(version("f", "1", 128, 1), 2000)
	if len(shared) != 600 {
		t.Errorf("the others got %d, want 600", len(shared))
	}
	refused(t, err, faas.LimitExecutions, 600, 600)
	kept, err := s.runMany(version("kept", "1", 128, 1), 2000)
	if len(kept) != 400 {
		t.Errorf("the reservation gave %d, want 400", len(kept))
	}
	refused(t, err, faas.LimitReserved, 400, 400)
	end(kept)
	end(shared)
	s.quiet()
}

func TestReservationCoversAllVersions(t *testing.T) {
	s := newScene(t)
	s.reserve("f", faas.UnitMemoryMB, 1280, 256)
	a, err := s.runMany(version("f", "1", 128, 1), 4)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.runMany(version("f", "2", 256, 1), 10)
	if len(b) != 3 {
		t.Errorf("%d instances of v2, want 3", len(b))
	}
	refused(t, err, faas.LimitReserved, 1280, 1280)
	end(a)
	end(b)
	s.quiet()
}

func TestReserved0SwitchesOff(t *testing.T) {
	for _, unit := range []faas.Unit{faas.UnitExecutions, faas.UnitMemoryMB} {
		s := newScene(t)
		s.reserve("f", unit, 0, 128)
		v := version("f", "1", 128, 1)
		_, err := s.Admit(v, quota.Synchronous)
		refused(t, err, faas.LimitOff, 0, 0)
		_, err = s.Occupy(v)
		refused(t, err, faas.LimitOff, 0, 0)
		_, err = s.Start(v, quota.ForCall)
		refused(t, err, faas.LimitOff, 0, 0)
		_, err = s.Start(v, quota.ForProvisioned)
		refused(t, err, faas.LimitOff, 0, 0)
	}
}
