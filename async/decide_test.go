package async

import (
	"math/rand/v2"
	"testing"
	"time"

	"hearth/faas"
	"hearth/invoke"
)

func TestWanted(t *testing.T) {
	const ms = time.Millisecond
	p := Policy{}.withDefaults()
	for name, tt := range map[string]struct {
		l    load
		want int
	}{
		"nothing waits":             {load{running: 3}, 3},
		"one":                       {load{waiting: 1, duration: ms}, 1},
		"enough for 10 s":           {load{waiting: 100_000, duration: 10 * ms}, 100},
		"what runs counts":          {load{waiting: 99_950, running: 50, duration: 10 * ms}, 100},
		"half the time has gone":    {load{waiting: 50_000, age: 5 * time.Second, duration: 10 * ms}, 100},
		"late":                      {load{waiting: 1000, age: time.Hour, duration: 10 * ms}, 5},
		"never more than there are": {load{waiting: 4, duration: time.Hour}, 4},
		"not known":                 {load{waiting: 1000}, 100},
		"places are used":           {load{waiting: 100, duration: ms, places: 30}, 30},
		"but not without events":    {load{waiting: 10, duration: ms, places: 30}, 10},
		"whole instances":           {load{waiting: 1000, duration: 105 * ms, each: 10}, 20},
		"a limit":                   {load{waiting: 100_000, duration: 10 * ms, ceiling: 50}, 50},
		"in reach":                  {load{waiting: 100_000, duration: 10 * ms, most: 16}, 16},
		"but places are used":       {load{waiting: 100_000, duration: 10 * ms, places: 60, most: 16}, 60},
		"and less is less":          {load{waiting: 100_000, duration: ms, most: 16}, 10},
		"no overflow":               {load{waiting: 1 << 40, duration: 24 * time.Hour, ceiling: 7}, 7},
	} {
		if got := wanted(tt.l, p); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestReach(t *testing.T) {
	for _, tt := range []struct {
		places, each, cores int
		saturated           bool
		want                int
	}{
		{0, 1, 2, false, 4}, {0, 0, 2, false, 4}, {4, 1, 2, false, 8}, {0, 3, 2, false, 12},
		{0, 1, 2, true, 4}, {4, 1, 2, true, 4}, {40, 1, 2, true, 40}, {0, 3, 2, true, 12},
	} {
		if got := reach(tt.places, tt.each, tt.cores, tt.saturated); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}

func TestWantedIsNeverMoreThanTheEventsNorLessThanOne(t *testing.T) {
	p := Policy{}.withDefaults()
	for range 100_000 {
		l := load{waiting: rand.IntN(1_000_000) + 1, running: rand.IntN(1000), age: time.Duration(rand.Int64N(int64(24 * time.Hour))),
			duration: time.Duration(rand.Int64N(int64(time.Hour))), places: rand.IntN(100), each: rand.IntN(100), ceiling: rand.IntN(100), most: rand.IntN(100)}
		if n := wanted(l, p); n < 1 || n > l.waiting+l.running || l.ceiling > 0 && n > l.ceiling {
			t.Fatalf("%d for %+v", n, l)
		}
	}
}

func TestDelayDoublesUpToItsBound(t *testing.T) {
	p := Policy{}.withDefaults()
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 9: 256 * time.Second, 10: 5 * time.Minute, 1 << 30: 5 * time.Minute} {
		if got := p.delay(n); got != want {
			t.Errorf("pause %d is %v, want %v", n, got, want)
		}
	}
}

func TestClassify(t *testing.T) {
	for code, want := range map[faas.ErrorCode]ending{
		faas.CodeThrottled: refused, faas.CodeNoCapacity: crowded, faas.CodeNotReady: unready, faas.CodeShuttingDown: closing,
		faas.CodeCanceled: terminated, faas.CodeTooLarge: impossible, faas.CodeInvalidBody: impossible, faas.CodeInternal: faulted,
		faas.CodeRuntime: faulted, faas.CodeNotFound: qualifierGone,
	} {
		if got := classify(nil, faas.Errorf(code, "", "x")); got != want {
			t.Errorf("%s is %d, want %d", code, got, want)
		}
	}
	if got := classify(nil, &faas.Error{Code: faas.CodeNotFound, Cause: faas.ErrNoFunction}); got != functionGone {
		t.Errorf("no function is %d", got)
	}
	for status, want := range map[string]ending{faas.StatusSuccess: succeeded, faas.StatusTimeout: functionError, faas.StatusAborted: terminated} {
		res := &invoke.Result{Report: faas.Report{Status: status}}
		if status != faas.StatusSuccess {
			res.Outcome.FunctionError = "Unhandled"
		}
		if got := classify(res, nil); got != want {
			t.Errorf("%s is %d, want %d", status, got, want)
		}
	}
}

func TestDecide(t *testing.T) {
	p := Policy{}.withDefaults()
	accepted := time.Unix(1000, 0)
	now := accepted.Add(time.Minute)
	zero := 0
	for name, tt := range map[string]struct {
		e              ending
		failed, faults int
		now            time.Time
		c              faas.AsyncConfig
		want           verdict
	}{
		"success":           {succeeded, 0, 0, now, faas.AsyncConfig{}, verdict{status: faas.EventDone}},
		"late success":      {succeeded, 0, 0, now.Add(100 * time.Hour), faas.AsyncConfig{}, verdict{status: faas.EventDone}},
		"first error":       {functionError, 1, 0, now, faas.AsyncConfig{}, verdict{at: now.Add(time.Minute)}},
		"second error":      {functionError, 2, 0, now, faas.AsyncConfig{}, verdict{at: now.Add(2 * time.Minute)}},
		"third error":       {functionError, 3, 0, now, faas.AsyncConfig{}, verdict{status: faas.EventFailed, reason: faas.DropRetries}},
		"no retries":        {functionError, 1, 0, now, faas.AsyncConfig{Retries: &zero}, verdict{status: faas.EventFailed, reason: faas.DropRetries}},
		"too late for one":  {functionError, 1, 0, accepted.Add(6*time.Hour - time.Second), faas.AsyncConfig{}, verdict{status: faas.EventExpired, reason: faas.DropAge}},
		"platform":          {faulted, 2, 3, now, faas.AsyncConfig{}, verdict{at: now.Add(4 * time.Second)}},
		"platform for long": {faulted, 0, 30, now, faas.AsyncConfig{}, verdict{at: now.Add(5 * time.Minute)}},
		"bad request":       {impossible, 0, 0, now, faas.AsyncConfig{}, verdict{status: faas.EventFailed, reason: faas.DropRequest}},
		"no function":       {functionGone, 0, 0, now, faas.AsyncConfig{}, verdict{status: faas.EventFailed, reason: faas.DropFunction}},
		"no qualifier":      {qualifierGone, 0, 0, now, faas.AsyncConfig{}, verdict{status: faas.EventFailed, reason: faas.DropQualifier}},
		"terminated":        {terminated, 0, 0, now, faas.AsyncConfig{}, verdict{status: faas.EventAborted, reason: faas.DropTerminated}},
		"stopping":          {closing, 0, 0, now, faas.AsyncConfig{}, verdict{leave: true}},
	} {
		if got := decide(tt.e, tt.failed, tt.faults, accepted, tt.now, tt.c, p); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// TestRingSharesByTime has a line of long events beside one of short ones: each gets
// its share of the time, and a line that comes new is served in the first round.
func TestRingSharesByTime(t *testing.T) {
	var r ring
	a := &account{name: "a"}
	long, short := &line{key: "long", account: a, duration: 100 * time.Millisecond}, &line{key: "short", account: a, duration: 10 * time.Millisecond}
	r.add(long)
	r.add(short)
	spent := map[string]int{}
	for range 10_000 {
		l := r.next(time.Time{})
		spent[l.key] += costOf(l.duration)
		r.spend(l, costOf(l.duration))
	}
	if ratio := float64(spent["long"]) / float64(spent["short"]); ratio < 0.95 || ratio > 1.05 {
		t.Errorf("shares %v", spent)
	}
	late := &line{key: "late", account: &account{name: "b"}, duration: time.Millisecond}
	r.add(late)
	for n := 0; ; n++ {
		l := r.next(time.Time{})
		if l == late {
			if n > 2*quantum {
				t.Errorf("the new line waited for %d others", n)
			}
			break
		}
		r.spend(l, costOf(l.duration))
	}
}

// TestAccountsTakeTurns has a thousand lines of one account beside one of
// another: each account begins half of the events.
func TestAccountsTakeTurns(t *testing.T) {
	var r ring
	a, b := &account{name: "a"}, &account{name: "b"}
	for range 1000 {
		r.add(&line{key: "a", account: a})
	}
	r.add(&line{key: "b", account: b})
	began := map[string]int{}
	for range 10_000 {
		l := r.next(time.Time{})
		began[l.key]++
		r.spend(l, costOf(l.duration))
	}
	if d := began["a"] - began["b"]; d < -quantum || d > quantum {
		t.Errorf("began %v", began)
	}
}

func TestRingDropsWhatIsDone(t *testing.T) {
	var r ring
	a := &account{}
	l := &line{account: a}
	r.add(l)
	r.add(l)
	if r.next(time.Time{}) != l || a.lines.len() != 1 {
		t.Fatal("a line is in the ring twice, or not")
	}
	r.drop(l)
	if r.next(time.Time{}) != nil || a.listed {
		t.Error("something is left in the ring")
	}
	r.add(l)
	if r.next(time.Time{}) != l {
		t.Error("a line that was dropped does not come back")
	}
}
