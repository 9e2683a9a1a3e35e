package metric

import (
	"slices"
	"sync/atomic"
	"time"

	"hearth/faas"
)

var coldReasons = []faas.ColdReason{faas.ColdFirst, faas.ColdScaleOut, faas.ColdIdle, faas.ColdRoom,
	faas.ColdDeploy, faas.ColdRecycle, faas.ColdRestart}

var limits = faas.RefusingLimits()

// calls are the counters of one function since Hearth began.
type calls struct {
	invocations atomic.Uint64
	errors      atomic.Uint64
	thaws       atomic.Uint64
	bytes       atomic.Uint64    // of responses
	cold        [7]atomic.Uint64 // by coldReasons
	refused     [8]atomic.Uint64 // by limits
	durations   histogram
	events      [eventCounts]atomic.Uint64
}

// Totals are the counters of one function since Hearth began.
type Totals struct {
	Invocations uint64 // that reached an instance
	Errors      uint64 // of them, those that ended in a function error
	Thaws       uint64 // of frozen instances, for a call
	// ResponseBytes is how long the responses were, error documents among them.
	ResponseBytes uint64
	Cold          map[faas.ColdReason]uint64
	Refused       map[faas.Limit]uint64
	Durations     Durations
	Events        EventCounts // of asynchronous invocations
}

func (c *calls) totals() Totals {
	t := Totals{Invocations: c.invocations.Load(), Errors: c.errors.Load(), Thaws: c.thaws.Load(), ResponseBytes: c.bytes.Load(), Events: c.eventCounts(),
		Cold: map[faas.ColdReason]uint64{}, Refused: map[faas.Limit]uint64{}, Durations: c.durations.read()}
	for i, reason := range coldReasons {
		if n := c.cold[i].Load(); n > 0 {
			t.Cold[reason] = n
		}
	}
	for i, limit := range limits {
		if n := c.refused[i].Load(); n > 0 {
			t.Refused[limit] = n
		}
	}
	return t
}

// Invoked counts an invocation that has ended on its function, of which or of a
// version of which the series is: whether the function failed, why the call was
// cold ("" where it was not), how long its handler ran and how many bytes it answered.
func (s *Series) Invoked(failed bool, cold faas.ColdReason, took time.Duration, bytes int64) {
	c := s.function()
	if c == nil {
		return
	}
	c.invocations.Add(1)
	c.bytes.Add(uint64(bytes))
	if failed {
		c.errors.Add(1)
	}
	if cold != "" {
		if i := slices.Index(coldReasons, cold); i >= 0 {
			c.cold[i].Add(1)
		}
	}
	c.durations.observe(took)
}

// Thawed counts an instance of the function, of which or of a version of which the
// series is, that was thawed for a call.
func (s *Series) Thawed() {
	if c := s.function(); c != nil {
		c.thaws.Add(1)
	}
}

// function returns the counters of the function that the series belongs to; nil
// where it belongs to none.
func (s *Series) function() *calls {
	for ; s != nil; s = s.parent {
		if s.calls != nil {
			return s.calls
		}
	}
	return nil
}

// Refused counts an invocation that a limit refused.
func (s *Series) Refused(limit faas.Limit) {
	if s == nil || s.calls == nil {
		return
	}
	if i := slices.Index(limits, limit); i >= 0 {
		s.calls.refused[i].Add(1)
	}
}

// tally is the counters at the end of a second.
type tally struct {
	second                             int64
	invocations, errors, cold, refused uint64
}

func (c *calls) tally(second int64) tally {
	t := tally{second: second, invocations: c.invocations.Load(), errors: c.errors.Load()}
	for i := range c.cold {
		t.cold += c.cold[i].Load()
	}
	for i := range c.refused {
		t.refused += c.refused[i].Load()
	}
	return t
}

// Recent is what was counted in the last 60 whole seconds and the present one.
type Recent struct {
	Invocations, Errors, Cold, Refused uint64
}

// recent compares the counters with what they were at the end of a second.
func recent(now tally, past []tally, second int64) Recent {
	var then tally
	for _, t := range past {
		if t.second > second {
			break
		}
		then = t
	}
	return Recent{now.invocations - then.invocations, now.errors - then.errors, now.cold - then.cold, now.refused - then.refused}
}

// DurationBounds are the upper bounds of the buckets of Durations, in ascending order.
var DurationBounds = []time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	time.Minute, 5 * time.Minute, 15 * time.Minute,
}

// Durations is a distribution of durations.
type Durations struct {
	// Counts has how many were at most each of DurationBounds and above the bound
	// before, and at last those above all.
	Counts []uint64
	Sum    time.Duration
}

type histogram struct {
	counts [18]atomic.Uint64 // one more than DurationBounds
	sum    atomic.Int64      // nanoseconds
}

func (h *histogram) observe(d time.Duration) {
	i, _ := slices.BinarySearch(DurationBounds, d)
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) read() Durations {
	d := Durations{Counts: make([]uint64, len(h.counts)), Sum: time.Duration(h.sum.Load())}
	for i := range h.counts {
		d.Counts[i] = h.counts[i].Load()
	}
	return d
}
