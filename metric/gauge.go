package metric

import "sync/atomic"

// Gauge is how many of something there are, with the exact maximum since the
// last Rotate. The zero value is zero. Its value is within ±2^31. Safe for
// concurrent use; nothing waits.
//
// Value and maximum are one word, so that no change can be counted in the one and
// not in the other, or fall between two intervals.
type Gauge struct {
	word atomic.Uint64 // the value in the upper half, the maximum in the lower
}

func pack(value, top int32) uint64 { return uint64(uint32(value))<<32 | uint64(uint32(top)) }

func unpack(word uint64) (value, top int32) { return int32(word >> 32), int32(word) }

// Add changes the value.
func (g *Gauge) Add(delta int) {
	if delta <= 0 { // the maximum stays
		g.word.Add(uint64(int64(delta)) << 32)
		return
	}
	for {
		old := g.word.Load()
		value, top := unpack(old)
		value += int32(delta)
		if g.word.CompareAndSwap(old, pack(value, max(top, value))) {
			return
		}
	}
}

// Read returns the value and its maximum in the present interval.
func (g *Gauge) Read() (now, highest int) {
	value, top := unpack(g.word.Load())
	return int(value), int(top)
}

// Rotate ends the present interval and returns its last value and its maximum.
// The next one begins with that value.
func (g *Gauge) Rotate() (now, highest int) {
	for {
		old := g.word.Load()
		value, top := unpack(old)
		if value == top || g.word.CompareAndSwap(old, pack(value, value)) {
			return int(value), int(top)
		}
	}
}
