package metric

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
)

func function(name string) faas.FunctionID {
	return faas.FunctionID{Scope: faas.Scope{Account: "000000000000", Region: "us-east-1", Namespace: "default"}, Name: name}
}

func head(name string) faas.VersionID {
	return faas.VersionID{Function: function(name), Number: faas.Latest}
}

func accountKey() Key {
	return Key{Function: faas.FunctionID{Scope: faas.Scope{Account: "000000000000", Region: "us-east-1"}}}
}

// bubble runs f in fake time on a registry that is closed afterwards.
func bubble(t *testing.T, f func(t *testing.T, r *Registry)) {
	synctest.Test(t, func(t *testing.T) {
		r := New()
		defer r.Close()
		f(t, r)
	})
}

// later lets time pass to just after the next second and d more.
func later(d time.Duration) {
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)) + d)
	synctest.Wait()
}

func reading(t *testing.T, r *Registry, k Key) Reading {
	t.Helper()
	for _, one := range r.Read() {
		if one.Key == k {
			return one
		}
	}
	t.Fatalf("there is no series of %+v", k)
	return Reading{}
}

// What two versions of two functions hold adds up level by level, and the
// maximum of a level is its own: not the sum of those below.
func TestMaximaOfALevelAreItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T, r *Registry) {
		a, b := r.Version(head("a")), r.Version(head("b"))
		defer a.Release()
		defer b.Release()
		a.Add(Busy, 5)
		a.Add(Busy, -4)
		b.Add(Busy, 3)
		want := map[Key]Levels{
			{Function: function("a"), Version: faas.Latest}: {Now: 1, Second: 5, Minute: 5},
			{Function: function("a")}:                       {Now: 1, Second: 5, Minute: 5},
			{Function: function("b")}:                       {Now: 3, Second: 3, Minute: 3},
			accountKey():                                    {Now: 4, Second: 5, Minute: 5},
		}
		for k, levels := range want {
			if got := reading(t, r, k).Levels[Busy]; got != levels {
				t.Errorf("%+v: %+v, want %+v", k, got, levels)
			}
		}
		a.Add(Busy, -1)
		b.Add(Busy, -3)
	})
}

func TestIntervals(t *testing.T) {
	bubble(t, func(t *testing.T, r *Registry) {
		later(0)
		s := r.Version(head("f"))
		defer s.Release()
		k := Key{Function: function("f")}
		expect := func(what string, want Levels) {
			t.Helper()
			if got := reading(t, r, k).Levels[InFlight]; got != want {
				t.Errorf("%s: %+v, want %+v", what, got, want)
			}
		}
		s.Add(InFlight, 7)
		s.Add(InFlight, -5)
		expect("at once", Levels{Now: 2, Second: 7, Minute: 7})
		later(time.Millisecond)
		expect("a second later", Levels{Now: 2, Second: 2, LastSecond: 7, Minute: 7})
		s.Add(InFlight, 1)
		later(time.Millisecond)
		expect("two seconds later", Levels{Now: 3, Second: 3, LastSecond: 3, Minute: 7})
		later(10 * time.Second)
		expect("while nothing changes", Levels{Now: 3, Second: 3, LastSecond: 3, Minute: 7})
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute + time.Millisecond)))
		expect("a minute later", Levels{Now: 3, Second: 3, LastSecond: 3, Minute: 3, LastMinute: 7})
		time.Sleep(time.Minute)
		expect("two minutes later", Levels{Now: 3, Second: 3, LastSecond: 3, Minute: 3, LastMinute: 3})
		s.Add(InFlight, -3)
		later(0)

		minutes, ok := r.Minutes(k, 3)
		if !ok || len(minutes) != 3 || minutes[0].Maximum[InFlight] != 0 || minutes[1].Maximum[InFlight] != 7 || minutes[2].Maximum[InFlight] != 3 {
			t.Errorf("the last minutes are %+v", minutes)
		}
		seconds, ok := r.Seconds(k, 2)
		if !ok || len(seconds) != 2 || seconds[1].Maximum[InFlight] != 3 || seconds[1].Began.Nanosecond() != 0 {
			t.Errorf("the last seconds are %+v", seconds)
		}
		if _, ok := r.Seconds(Key{Function: function("other")}, 2); ok {
			t.Error("a function that was never counted has a history")
		}
	})
}

// The maxima of every second and minute are those of a model that keeps every
// change, for random changes of several series over minutes.
func TestHistoryEqualsModel(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	bubble(t, func(t *testing.T, r *Registry) {
		later(0)
		began := time.Now().Unix()
		names := []string{"a", "b", "c"}
		series := map[string]*Series{}
		for _, name := range names {
			series[name] = r.Version(head(name))
			defer series[name].Release()
		}
		value, top := map[string]int{}, map[string]map[int64]int{"": {}, "a": {}, "b": {}, "c": {}}
		change := func(name string, delta int) {
			series[name].Add(Busy, delta)
			for _, level := range []string{name, ""} {
				value[level] += delta
				now := time.Now().Unix()
				top[level][now] = max(top[level][now], value[level])
			}
		}
		for time.Now().Unix() < began+400 {
			if rng.IntN(6) == 0 {
				d := time.Duration(rng.Int64N(int64(2 * time.Second)))
				if rng.IntN(20) == 0 {
					d *= 40
				}
				for end := time.Now().Add(d); ; { // the model, too, begins each second with what there is
					next := time.Now().Truncate(time.Second).Add(time.Second)
					if next.After(end) {
						time.Sleep(time.Until(end))
						break
					}
					time.Sleep(time.Until(next))
					synctest.Wait()
					for level := range top {
						top[level][time.Now().Unix()] = value[level]
					}
				}
			}
			name := names[rng.IntN(len(names))]
			change(name, max(rng.IntN(9)-4, -value[name]))
		}
		keys := map[string]Key{"": accountKey()}
		for _, name := range names {
			keys[name] = Key{Function: function(name)}
		}
		later(0)
		for level, k := range keys {
			seconds, _ := r.Seconds(k, 120)
			for _, p := range seconds {
				if got, want := p.Maximum[Busy], top[level][p.Began.Unix()]; got != want {
					t.Errorf("seed %d: %q at second %d: %d, want %d", seed, level, p.Began.Unix()-began, got, want)
				}
			}
			minutes, _ := r.Minutes(k, 5)
			for _, p := range minutes {
				want := 0
				for s := range int64(60) {
					want = max(want, top[level][p.Began.Unix()+s])
				}
				if got := p.Maximum[Busy]; got != want {
					t.Errorf("seed %d: %q in minute %v: %d, want %d", seed, level, p.Began, got, want)
				}
			}
		}
		for name, s := range series {
			s.Add(Busy, -value[name])
		}
	})
}

// A clock that is looked at late gives a long interval; none is without a maximum.
func TestLateClock(t *testing.T) {
	r := New()
	r.Close()
	start := time.Unix(r.through.Load()+1, 0)
	s := r.Version(head("f"))
	defer s.Release()
	s.Add(Busy, 4)
	s.Add(Busy, -4)
	r.rotate(start.Add(5 * time.Second))
	points, _ := r.Seconds(Key{Function: function("f")}, 5)
	for _, p := range points {
		if p.Maximum[Busy] != 4 {
			t.Errorf("at %v the maximum is %d, want 4", p.Began, p.Maximum[Busy])
		}
	}
	s.Add(Busy, 2)
	r.rotate(start) // the clock was set back: the interval goes on
	if got := reading(t, r, Key{Function: function("f")}).Levels[Busy]; got.Now != 2 || got.Second != 2 {
		t.Errorf("after the clock was set back: %+v", got)
	}
}

func TestCalls(t *testing.T) {
	bubble(t, func(t *testing.T, r *Registry) {
		later(0)
		s := r.Function(function("f"))
		defer s.Release()
		s.Invoked(false, faas.ColdFirst, 3*time.Millisecond, 0)
		s.Invoked(true, "", time.Hour, 0)
		s.Refused(faas.LimitFunction)
		k := Key{Function: function("f")}
		got := reading(t, r, k)
		if got.Totals.Invocations != 2 || got.Totals.Errors != 1 || got.Totals.Cold[faas.ColdFirst] != 1 || got.Totals.Refused[faas.LimitFunction] != 1 {
			t.Errorf("the totals are %+v", got.Totals)
		}
		if d := got.Totals.Durations; d.Counts[2] != 1 || d.Counts[len(d.Counts)-1] != 1 || d.Sum != time.Hour+3*time.Millisecond {
			t.Errorf("the durations are %+v", d)
		}
		if got.Recent != (Recent{2, 1, 1, 1}) {
			t.Errorf("recent are %+v", got.Recent)
		}
		later(30 * time.Second)
		s.Refused(faas.LimitOff)
		if got := reading(t, r, k).Recent; got != (Recent{2, 1, 1, 2}) {
			t.Errorf("half a minute later recent are %+v", got)
		}
		later(30 * time.Second)
		if got := reading(t, r, k).Recent; got != (Recent{Refused: 1}) {
			t.Errorf("a minute later recent are %+v", got)
		}
		later(time.Minute)
		if got := reading(t, r, k).Recent; got != (Recent{}) {
			t.Errorf("two minutes later recent are %+v", got)
		}
	})
}

// Every reason and limit has a counter.
func TestEveryReasonIsCounted(t *testing.T) {
	var c calls
	if len(c.cold) != len(coldReasons) || len(c.refused) != len(faas.RefusingLimits()) || len(c.durations.counts) != len(DurationBounds)+1 {
		t.Errorf("%d of %d reasons, %d of %d limits, %d of %d buckets", len(c.cold), len(coldReasons),
			len(c.refused), len(faas.RefusingLimits()), len(c.durations.counts), len(DurationBounds)+1)
	}
}

// What nobody holds is forgotten when its history is past, and comes back at zero.
func TestDrop(t *testing.T) {
	bubble(t, func(t *testing.T, r *Registry) {
		later(0)
		kept := r.Version(head("kept"))
		defer kept.Release()
		kept.Add(Idle, 1)
		for i := range 100 {
			s := r.Version(head(fmt.Sprint("f", i)))
			s.Add(Busy, 1)
			s.Add(Busy, -1)
			s.Release()
		}
		if n := len(r.Read()); n != 203 {
			t.Errorf("%d series, want 203", n)
		}
		time.Sleep(59 * time.Minute)
		if n := len(r.Read()); n != 203 {
			t.Errorf("after 59 minutes %d series, want 203", n)
		}
		time.Sleep(3 * time.Minute)
		if n := len(r.Read()); n != 3 { // the version, its function, the account
			t.Errorf("after an hour %d series, want 3", n)
		}
		again := r.Version(head("f1"))
		again.Add(Busy, 1)
		if got := reading(t, r, Key{Function: function("f1")}).Levels[Busy]; got.Now != 1 {
			t.Errorf("a series that came back says %+v", got)
		}
		again.Add(Busy, -1)
		again.Release()
		if got := reading(t, r, accountKey()).Levels[Idle]; got.Now != 1 {
			t.Errorf("the account says %+v", got)
		}
		kept.Add(Idle, -1)
	})
}

// Series that are got, changed, released and dropped at once lose nothing.
func TestGetAndDropRace(t *testing.T) {
	r := New()
	r.Close()
	var work sync.WaitGroup
	stop := make(chan struct{})
	work.Go(func() {
		for now := time.Now().Truncate(time.Minute); ; now = now.Add(2 * time.Hour) {
			select {
			case <-stop:
				return
			default:
				r.rotate(now)
			}
		}
	})
	var callers sync.WaitGroup
	for i := range 4 {
		callers.Go(func() {
			for range 5000 {
				s := r.Version(head(fmt.Sprint("f", i%2)))
				s.Add(Busy, 1)
				if now := s.Now()[Busy]; now < 1 {
					t.Errorf("busy is %d with one held", now)
				}
				s.Add(Busy, -1)
				s.Release()
			}
		})
	}
	callers.Wait()
	close(stop)
	work.Wait()
	for _, one := range r.Read() {
		if one.Levels[Busy].Now != 0 {
			t.Errorf("%+v is left at %d", one.Key, one.Levels[Busy].Now)
		}
	}
}

func TestNothingIsCountedOnNil(t *testing.T) {
	var r *Registry
	s := r.Version(head("f"))
	s.Add(Busy, 1)
	s.Invoked(true, "", 0, 0)
	s.Refused(faas.LimitOff)
	s.Release()
	s.Change(Values{}, Values{Busy: 1})
	if s != nil || s.Now() != (Values{}) {
		t.Errorf("a nil registry returned %v", s)
	}
}

func BenchmarkAdd(b *testing.B) {
	r := New()
	defer r.Close()
	s := r.Version(head("f"))
	b.Run("three levels", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			s.Add(Busy, 1-i%2*2)
		}
	})
	b.Run("three levels, contended", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				s.Add(Busy, 1-i%2*2)
			}
		})
	})
}

func BenchmarkGet(b *testing.B) {
	r := New()
	defer r.Close()
	id := function("f")
	b.ReportAllocs()
	for b.Loop() {
		r.Function(id).Release()
	}
}

// BenchmarkRotate is what each second costs with 10,000 functions.
func BenchmarkRotate(b *testing.B) {
	r := New()
	r.Close()
	var all []*Series
	for i := range 10_000 {
		all = append(all, r.Version(head(fmt.Sprint("f", i))))
	}
	for _, test := range []struct {
		name   string
		active int
	}{{"idle", 0}, {"1000 active", 1000}} {
		b.Run(test.name, func(b *testing.B) {
			now := time.Now()
			for b.Loop() {
				for _, s := range all[:test.active] {
					s.Add(Busy, 1)
					s.Add(Busy, -1)
				}
				now = now.Add(time.Second)
				r.rotate(now)
			}
		})
	}
}
