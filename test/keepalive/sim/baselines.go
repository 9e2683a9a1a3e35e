package sim

import (
	"time"

	"hearth/keepalive"
)

// Never keeps everything for ever: the floor of cold starts.
const Never = keepalive.Fixed(100 * 365 * 24 * time.Hour)

// LRU keeps everything until memory is short, and then stops what was idle
// longest.
const LRU = Never

// Clairvoyant knows when the next call comes: it stops at once and starts so
// that the instance is ready in time. It is the floor of waste.
type Clairvoyant struct{}

type foreseen struct{ next time.Time }

func (*foreseen) Arrived(time.Time) {}
func (*foreseen) Rested(time.Time)  {}

// NewHistory implements keepalive.Policy.
func (Clairvoyant) NewHistory() keepalive.History { return &foreseen{} }

// Foresee implements Foresight.
func (Clairvoyant) Foresee(h keepalive.History, next time.Time) { h.(*foreseen).next = next }

// Decide implements keepalive.Policy.
func (Clairvoyant) Decide(o keepalive.Observation, now time.Time) keepalive.Decision {
	h := o.History.(*foreseen)
	begin := h.next.Add(-o.Cold - time.Millisecond)
	switch {
	case o.Rank+o.Busy > 0 || h.next.IsZero():
		return keepalive.Decision{Stop: true}
	case now.Before(begin):
		return keepalive.Decision{Stop: true, Prewarm: begin}
	}
	return keepalive.Decision{Again: now.Add(time.Second + o.Cold)}
}

// Worth implements keepalive.Policy: whose call is farthest goes first.
func (Clairvoyant) Worth(o keepalive.Observation, now time.Time) float64 {
	return -o.History.(*foreseen).next.Sub(now).Seconds()
}

// GreedyDual is FaasCache's policy (Fuerst and Sharma, ASPLOS'21): nothing is
// stopped until memory is short; then what has the least of clock + frequency ×
// cold cost / size, as it was at its last call. The clock is the priority of
// what was evicted last. For one run only: it has state.
type GreedyDual struct{ clock float64 }

type dual struct {
	policy *GreedyDual
	clock  float64 // at the last call
	calls  float64
}

// NewHistory implements keepalive.Policy.
func (g *GreedyDual) NewHistory() keepalive.History { return &dual{policy: g} }

// Arrived implements keepalive.History.
func (d *dual) Arrived(time.Time) {
	d.calls++
	d.clock = d.policy.clock
}

// Rested implements keepalive.History.
func (*dual) Rested(time.Time) {}

// Decide implements keepalive.Policy.
func (*GreedyDual) Decide(o keepalive.Observation, now time.Time) keepalive.Decision {
	return Never.Decide(o, now)
}

// Worth implements keepalive.Policy.
func (*GreedyDual) Worth(o keepalive.Observation, _ time.Time) float64 {
	d := o.History.(*dual)
	return d.clock + d.calls*o.Cold.Seconds()/o.MemoryMB
}

// Evicted implements Evictee.
func (g *GreedyDual) Evicted(worth float64) { g.clock = max(g.clock, worth) }
