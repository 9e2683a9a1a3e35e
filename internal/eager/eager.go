package eager

import (
	"runtime"
	"sync/atomic"
	"time"

	"hearth/internal/rawio"
)

const (
	// short is how long a wait may have taken for the next one to be eager.
	short = 150 * time.Microsecond
	// patience bounds an eager wait: what has not come by then is slept for.
	patience = 100 * time.Microsecond
	// stall: an offer of the processor that took so long was taken by somebody who has
	// more to do, and whom a reader that is woken would have interrupted.
	stall = 300 * time.Microsecond
	// rest is how long nobody is eager after a stall.
	rest = 100 * time.Millisecond
	// mostMissed bounds how often a wait is not eager after some in a row that were in
	// vain: twice as often after each.
	mostMissed = 8
)

var (
	epoch   = time.Now()
	atHand  atomic.Int32 // pieces of work
	readers atomic.Int32 // that are eager now
	until   atomic.Int64 // nobody is eager before; nanoseconds since epoch
	room    = roomFor(runtime.GOMAXPROCS(0))
)

// Begin says that the process has one more piece of work at hand, until End.
func Begin() { atHand.Add(1) }

// End says that a piece of work is done.
func End() { atHand.Add(-1) }

// roomFor is how many readers may be eager at once, and beside how many pieces of
// work at most: each has a processor to itself, and whom it waits for needs one, too.
func roomFor(processors int) int32 { return int32((processors + 2) / 4) }

// observation is what decides whether a wait is eager.
type observation struct {
	known   bool          // there was a wait before
	took    time.Duration // by it
	others  int32         // pieces of work at hand that are not the reader's
	readers int32         // that are eager
	room    int32
	rests   bool // after a stall
	skips   bool // after a wait that was eager in vain
}

func (o observation) worth() bool {
	return o.known && o.took < short && o.others < o.room && o.readers < o.room && !o.rests && !o.skips
}

// Wait is the waits of one reader, one after the other. It belongs to one goroutine at
// a time.
type Wait struct {
	// Own is how many of the pieces of work at hand are the reader's own while it waits.
	Own int32

	known  bool
	took   time.Duration // by the last wait
	under  bool          // a wait is under way
	since  time.Duration // when it began, since epoch
	missed int           // eager waits in a row that were in vain
	skip   int           // waits that are not to be eager
}

// Begin begins a wait, where none is under way yet, and reports whether it is to be
// eager: then Look follows.
func (w *Wait) Begin() (eager bool) {
	if w.under {
		return false // it has been slept for
	}
	now := time.Since(epoch)
	w.under, w.since = true, now
	skips := w.skip > 0
	if skips {
		w.skip--
	}
	return observation{known: w.known, took: w.took, others: w.others(), readers: readers.Load(), room: room,
		rests: int64(now) < until.Load(), skips: skips}.worth()
}

func (w *Wait) others() int32 { return atHand.Load() - w.Own }

// Look calls done, with pauses in which others run, until it reports true, or until
// that is not worth it any more: then the caller sleeps. done must not block.
//
// In vain it is most of all where whom it waits for can only run on the very processor
// that it looks on: to be offered that is not enough where a control group is between
// them. So the next waits sleep at once.
func (w *Wait) Look(done func() bool) bool {
	if w.look(done) {
		w.missed = 0
		return true
	}
	w.missed = min(w.missed+1, mostMissed)
	w.skip = 1 << w.missed
	return false
}

func (w *Wait) look(done func() bool) bool {
	defer readers.Add(-1)
	if readers.Add(1) > room {
		return false
	}
	for now := w.since; now-w.since < patience && w.others() < room; {
		rawio.Yield()
		if done() {
			return true
		}
		before := now
		now = time.Since(epoch)
		if now-before > stall {
			until.Store(int64(now + rest))
			return false
		}
	}
	return false
}

// Over ends the wait, if one is under way: what was waited for is there.
func (w *Wait) Over() {
	w.known, w.took = true, 0
	if w.under {
		w.under, w.took = false, time.Since(epoch)-w.since
	}
}
