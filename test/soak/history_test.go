package soak

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// span is a time; until is zero while it lasts.
type span struct{ from, until time.Time }

func (s span) open() bool { return s.until.IsZero() }

// touches reports whether the span and the time from start to end have a moment
// in common.
func (s span) touches(start, end time.Time) bool {
	return !end.Before(s.from) && (s.open() || !start.After(s.until))
}

func (s span) covers(start, end time.Time) bool {
	return s.from.Before(start) && (s.open() || end.Before(s.until))
}

// sighting is a value that callers may meet.
type sighting struct {
	span
	value string
	round int
}

// thing is what a qualifier means over time. A change takes effect at some moment
// between its request and its answer, so for that long both values may be met.
type thing struct {
	seen  []sighting
	round int
	there []span // when it surely existed
}

// begin notes that a change to these values is about to be asked for.
func (th *thing) begin(values ...string) {
	th.round++
	for _, v := range values {
		th.seen = append(th.seen, sighting{span: span{from: time.Now()}, value: v, round: th.round})
	}
}

// settled notes that the change was answered: values before it are not met by
// calls from now on.
func (th *thing) settled() {
	now := time.Now()
	for i := range th.seen {
		if s := &th.seen[i]; s.open() && s.round < th.round {
			s.until = now
		}
	}
	if n := len(th.there); n == 0 || !th.there[n-1].open() {
		th.there = append(th.there, span{from: now})
	}
}

// doomed notes that its deletion is about to be asked for.
func (th *thing) doomed() {
	if n := len(th.there); n > 0 && th.there[n-1].open() {
		th.there[n-1].until = time.Now()
	}
}

// gone notes that its deletion was answered.
func (th *thing) gone() {
	now := time.Now()
	for i := range th.seen {
		if s := &th.seen[i]; s.open() {
			s.until = now
		}
	}
}

func (th *thing) may(value string, start, end time.Time) bool {
	if th == nil {
		return false
	}
	for _, s := range th.seen {
		if s.value == value && s.touches(start, end) {
			return true
		}
	}
	return false
}

func (th *thing) surely(start, end time.Time) bool {
	if th == nil {
		return false
	}
	for _, s := range th.there {
		if s.covers(start, end) {
			return true
		}
	}
	return false
}

func (th *thing) String() string {
	if th == nil {
		return "nothing"
	}
	var b strings.Builder
	for _, s := range th.seen[max(0, len(th.seen)-4):] {
		fmt.Fprintf(&b, "%s from %s until %s; ", s.value, clock(s.from), clock(s.until))
	}
	return b.String()
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "now"
	}
	return t.Format("05.000000")
}

// history is what the one deployer did to a function, for its many callers.
type history struct {
	mu       sync.Mutex
	latest   thing             // values are codes
	versions map[string]*thing // by number; values are codes
	live     thing             // the alias; values are numbers
	numbers  []string          // published and not deleted
}

func newHistory() *history { return &history{versions: map[string]*thing{}} }

// change runs f under the lock.
func (h *history) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// version is the thing that a number means.
func (h *history) version(number string) *thing {
	th := h.versions[number]
	if th == nil {
		th = &thing{}
		h.versions[number] = th
	}
	return th
}

// pick chooses what a caller calls. It may be deleted a moment later.
func (h *history) pick(rng *rand.Rand) (qualifier string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch rng.IntN(4) {
	case 0:
		return "live"
	case 1:
		if len(h.numbers) > 0 {
			return h.numbers[rng.IntN(len(h.numbers))]
		}
	}
	return ""
}

// check says what is wrong with an answer by code, which the server said was the
// version executed; "" is nothing.
func (h *history) check(qualifier, executed, code string, start, end time.Time) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var by *thing
	switch qualifier {
	case "":
		if executed != "$LATEST" {
			return "executed " + executed
		}
		by = &h.latest
	case "live":
		if !h.live.may(executed, start, end) {
			return fmt.Sprintf("executed %s, the alias was %v", executed, &h.live)
		}
		by = h.versions[executed]
	default:
		if executed != qualifier {
			return "executed " + executed
		}
		by = h.versions[executed]
	}
	if code != "" && !by.may(code, start, end) {
		return fmt.Sprintf("code %s answered a call from %s to %s; there was %v", code, clock(start), clock(end), by)
	}
	return ""
}

// mayLack says whether what a qualifier means may have been missing.
func (h *history) mayLack(qualifier string, start, end time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch qualifier {
	case "":
		return !h.latest.surely(start, end)
	case "live":
		return !h.live.surely(start, end)
	}
	return !h.versions[qualifier].surely(start, end)
}
