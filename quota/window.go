package quota

import (
	"container/list"
	"time"

	"hearth/faas"
)

// window is the starts of the last faas.ExpansionWindow, exactly: a bucket that
// refills would let twice as many through in the first minute.
type window struct {
	starts list.List // of expansion; the oldest first
	ahead  int       // those that no invocation waited for
}

type expansion struct {
	at    time.Time
	ahead bool
}

// expire forgets the starts that are as old as the window is long.
func (w *window) expire(now time.Time) {
	for e := w.starts.Front(); e != nil; e = w.starts.Front() {
		if now.Sub(e.Value.(expansion).at) < faas.ExpansionWindow {
			return
		}
		w.remove(e)
	}
}

func (w *window) add(now time.Time, ahead bool) *list.Element {
	if ahead {
		w.ahead++
	}
	return w.starts.PushBack(expansion{now, ahead})
}

// remove takes a start away; one that is not there any more is left alone.
func (w *window) remove(e *list.Element) {
	before := w.starts.Len()
	start := w.starts.Remove(e).(expansion)
	if start.ahead && w.starts.Len() < before {
		w.ahead--
	}
}

// refuse says why no start is allowed now, with room for limit of them; a limit
// of 0 allows any number.
func (w *window) refuse(now time.Time, limit int, ahead bool) (refusal, bool) {
	w.expire(now)
	r := refusal{limit: faas.LimitExpansion, unit: faas.UnitStarts, value: limit, use: w.starts.Len()}
	switch {
	case limit == 0:
		return refusal{}, false
	case r.use >= limit:
		r.wait = w.until(now, r.use-limit, false)
		return r, true
	case ahead && w.ahead >= aheadShare(limit):
		r.ahead, r.value, r.use = true, aheadShare(limit), w.ahead
		r.wait = w.until(now, r.use-r.value, true)
		return r, true
	}
	return refusal{}, false
}

// until is the time until skip+1 starts have left the window.
func (w *window) until(now time.Time, skip int, ahead bool) time.Duration {
	for e := w.starts.Front(); e != nil; e = e.Next() {
		start := e.Value.(expansion)
		if ahead && !start.ahead {
			continue
		}
		if skip == 0 {
			return faas.ExpansionWindow - now.Sub(start.at)
		}
		skip--
	}
	return faas.ExpansionWindow
}

// aheadShare is how many of the starts in a window may be ones that no invocation
// waits for: a fifth, and always one.
func aheadShare(limit int) int { return max(1, limit/5) }
