package pool

import (
	"time"

	"hearth/faas"
)

// history remembers what makes the next start of a pool cold.
type history struct {
	origin faas.ColdReason // what the first start is put down to
	begun  bool            // an instance was started, well or not
	last   faas.ColdReason // what took the last instance away
}

func (h *history) lost(cause Cause) {
	h.begun = true
	switch cause {
	case CauseIdle:
		h.last = faas.ColdIdle
	case CauseRoom:
		h.last = faas.ColdRoom
	case CauseDeploy:
		h.last = faas.ColdDeploy
	default:
		h.last = faas.ColdRecycle
	}
}

// reason says why a start is needed while live instances are there or starting.
func (h *history) reason(live int) faas.ColdReason {
	switch {
	case live > 0:
		return faas.ColdScaleOut
	case !h.begun:
		return h.origin
	default:
		return h.last
	}
}

// The first pause after a failed init, and the longest.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// backoff spaces the starts of a pool whose inits fail: the pause doubles with
// every failure of a start that began after the one before had failed.
type backoff struct {
	failure *Failure // the last
	count   int
	horizon uint64 // starts up to this one began before the last pause
	until   time.Time
}

// record notes that the start of this number failed; latest is the last one that
// began. It reports whether that is another round, which lengthens the pause.
func (b *backoff) record(failure *Failure, number, latest uint64, now time.Time) bool {
	b.failure = failure
	if number <= b.horizon {
		return false
	}
	b.horizon = latest
	b.until = now.Add(min(maxBackoff, minBackoff<<min(b.count, 10)))
	b.count++
	return true
}

// pausing returns the failure that calls get at once, or nil.
func (b *backoff) pausing(now time.Time) *Failure {
	if b.failure != nil && now.Before(b.until) {
		return b.failure
	}
	return nil
}
