// Package keepalive decides how long idle instances are kept, which of them go
// first when memory is short, and when one is started before a call that is
// expected.
//
// It owns the policies and what they remember of a function. Decisions are pure:
// the same observation and time give the same decision, and nothing here reads a
// clock, waits or starts anything. It must not know pools, instances or quotas.
package keepalive

import (
	"strconv"
	"time"
)

// Policy decides about idle instances. Safe for concurrent use: what changes is
// in the histories, which their owner guards.
type Policy interface {
	// NewHistory returns an empty memory of one function.
	NewHistory() History
	// Decide says what becomes of an idle instance.
	Decide(o Observation, now time.Time) Decision
	// Worth orders idle instances: when memory is short, the least goes first.
	Worth(o Observation, now time.Time) float64
}

// History is what a policy remembers of one function over all its versions. Not
// safe for concurrent use.
type History interface {
	// Arrived notes a call.
	Arrived(now time.Time)
	// Rested notes that the function's last call in flight ended.
	Rested(now time.Time)
}

// Observation is what a decision about one idle instance rests on.
type Observation struct {
	History   History // of the function, made by the policy that is asked
	IdleSince time.Time
	Rank      int // idle instances of the revision that a call would take before it
	Busy      int // instances of the revision that hold calls
	MemoryMB  float64
	Cold      time.Duration // what a cold start takes
	Pressure  float64       // share of the machine's memory for instances that is in use, 0..1
}

// Decision is what becomes of an idle instance.
type Decision struct {
	Stop  bool
	Again time.Time // when to decide anew, where it is kept; always later than now
	// Prewarm is when to start an instance, should the function have none then and
	// no call have come before; zero for never.
	Prewarm time.Time
}

// forgetful is the history of policies that need none.
type forgetful struct{}

func (forgetful) Arrived(time.Time) {}
func (forgetful) Rested(time.Time)  {}

// Fixed keeps every instance idle for so long; 0 stops it at once.
type Fixed time.Duration

// NewHistory implements Policy.
func (Fixed) NewHistory() History { return forgetful{} }

// Decide implements Policy.
func (f Fixed) Decide(o Observation, now time.Time) Decision {
	end := o.IdleSince.Add(time.Duration(f))
	return Decision{Stop: !now.Before(end), Again: end}
}

// Worth implements Policy: the longest idle goes first.
func (Fixed) Worth(o Observation, now time.Time) float64 {
	return -now.Sub(o.IdleSince).Seconds()
}

// String is the time as a user would write it.
func (f Fixed) String() string {
	d := time.Duration(f)
	if d%time.Minute == 0 && d > 0 {
		return strconv.Itoa(int(d/time.Minute)) + " min"
	}
	return d.String()
}
