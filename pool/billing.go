package pool

import (
	"cmp"
	"slices"
	"time"
)

// maxSpans bounds what a bill remembers. Above it the two spans with the smallest
// gap become one: the gap is given away.
const maxSpans = 256

// bill adds up what the invocations of one instance are billed, the time that
// several share once. Guarded by the pool's lock.
type bill struct {
	origin time.Time     // the zero of spans
	spans  []span        // billed already, in order, apart from each other
	union  time.Duration // all that was billed, exactly
	billed time.Duration // in whole milliseconds
}

type span struct{ from, to time.Duration }

// charge bills an invocation for its time from one moment to another, less what
// others of the instance were billed for. All that is ever charged sums to the
// union of the invocations' times, rounded up to a whole millisecond.
func (b *bill) charge(from, to time.Time) time.Duration {
	if b.origin.IsZero() {
		b.origin = from
	}
	own := span{from.Sub(b.origin), to.Sub(b.origin)}
	if own.from >= own.to {
		return 0
	}
	b.union += own.to - own.from
	// The spans that touch it become one with it.
	first, _ := slices.BinarySearchFunc(b.spans, own.from, func(s span, from time.Duration) int { return cmp.Compare(s.to, from) })
	last, whole := first, own
	for ; last < len(b.spans) && b.spans[last].from <= own.to; last++ {
		s := b.spans[last]
		b.union -= min(s.to, own.to) - max(s.from, own.from)
		whole = span{min(s.from, whole.from), max(s.to, whole.to)}
	}
	b.spans = slices.Replace(b.spans, first, last, whole)
	b.forget()
	due := wholeMilliseconds(b.union) - b.billed
	b.billed += due
	return due
}

func (b *bill) forget() {
	if len(b.spans) <= maxSpans {
		return
	}
	least := 1
	for i := 2; i < len(b.spans); i++ {
		if b.spans[i].from-b.spans[i-1].to < b.spans[least].from-b.spans[least-1].to {
			least = i
		}
	}
	b.spans[least-1].to = b.spans[least].to
	b.spans = slices.Delete(b.spans, least, least+1)
}

// settled says that no invocation is in flight but the one that is being charged:
// none that begins later is billed for a time before now.
func (b *bill) settled() {
	if last := len(b.spans) - 1; last > 0 {
		b.spans = append(b.spans[:0], b.spans[last])
	}
}

func wholeMilliseconds(d time.Duration) time.Duration {
	return (d + time.Millisecond - 1).Truncate(time.Millisecond)
}

// Bill returns the time that the invocation is billed for, of which the handler
// had it from one moment to another: all of it where the instance holds one
// invocation at a time; else, in whole milliseconds, what no other invocation of
// the instance was billed for yet. Called once, after Deliver and before Release.
func (h *Hold) Bill(from, to time.Time) time.Duration {
	inst := h.inst
	p := inst.pool
	if p.limit == 1 {
		return max(0, to.Sub(from))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	due := inst.bill.charge(from, to)
	if inst.state.n <= 1 {
		inst.bill.settled()
	}
	return due
}
