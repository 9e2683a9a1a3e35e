package nats

import "time"

// clock tells the two times of a queue. Wall time is what is stored. Steady time
// began as wall time when the queue was opened and goes on with the monotonic clock:
// what waits in this process waits on it, and no jump of the wall clock matters.
// Both are in nanoseconds.
type clock struct {
	now   func() time.Time
	base  int64
	began time.Time
}

func newClock(now func() time.Time) *clock {
	if now == nil {
		now = time.Now
	}
	return &clock{now: now, base: now().UnixNano(), began: time.Now()}
}

func (c *clock) wall() int64 { return c.now().UnixNano() }

func (c *clock) steady() int64 { return c.base + int64(time.Since(c.began)) }

// until turns a time on the wall into the steady time that is as far away.
func (c *clock) until(at time.Time) int64 { return c.steady() + int64(at.Sub(c.now())) }
