package metric

import (
	"slices"
	"sync"
	"sync/atomic"

	"hearth/faas"
)

// Key says whose a series is: an account's in a region (Function has no more
// than those), a function's, or a version's or an alias's of one.
type Key struct {
	Function faas.FunctionID
	Version  string // faas.Latest or a number
	Alias    string
}

// Account reports whether the key is that of an account in a region.
func (k Key) Account() bool { return k.Function.Name == "" }

// Series are the gauges and counters of one account, function, version or alias.
// Methods are safe for concurrent use and do nothing on a nil Series.
type Series struct {
	gauges [states]Gauge // first: together they fill one line of the CPU's cache
	parent *Series       // of a version its function's, of a function its account's
	calls  *calls        // only of a function
	key    Key
	holds  atomic.Int64 // who has it and did not release it; dropped where it left the registry

	// Only the registry's clock uses what follows.
	last    [states]int32 // the values at the end of the last interval
	changed int64         // the last second in which something changed

	mu      sync.Mutex // guards the history; readers and the clock take it, changes do not
	seconds samples
	minutes samples
	tallies []tally // oldest first, only where something changed
}

// dropped is the value of holds of a series that nobody can get any more.
const dropped = -1

// Add changes one gauge of the series, and of the function and the account that it
// belongs to.
func (s *Series) Add(state State, delta int) {
	if delta == 0 {
		return
	}
	for ; s != nil; s = s.parent {
		s.gauges[state].Add(delta)
	}
}

// Values are one number for each gauge, by State.
type Values [states]int

// Change adds what a part of the series has become less what it was.
func (s *Series) Change(from, to Values) {
	if s == nil {
		return
	}
	for i := range to {
		s.Add(State(i), to[i]-from[i])
	}
}

// Now returns the values of all gauges. They are read one after the other.
func (s *Series) Now() Values {
	var all Values
	if s == nil {
		return all
	}
	for i := range s.gauges {
		all[i], _ = s.gauges[i].Read()
	}
	return all
}

// Release gives the series back, once for each time that it was got. Everything
// that its holder added has been taken away again.
func (s *Series) Release() {
	if s != nil {
		s.holds.Add(-1)
	}
}

func (s *Series) hold() bool {
	for {
		n := s.holds.Load()
		if n == dropped {
			return false
		}
		if s.holds.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// drop closes a series to new holders; false where it has some or is not at rest.
func (s *Series) drop() bool {
	if !s.holds.CompareAndSwap(0, dropped) {
		return false
	}
	if s.last != [states]int32{} || !s.quiet() {
		s.holds.Store(0)
		return false
	}
	return true
}

// rotate ends the interval from first to last, in seconds of Unix time.
func (s *Series) rotate(first, last int64) {
	if s.quiet() {
		return
	}
	s.changed = last
	s.mu.Lock()
	defer s.mu.Unlock()
	one := sample{first: first, last: last}
	for i := range s.gauges {
		end, top := s.gauges[i].Rotate()
		one.end[i], one.top[i] = int32(end), int32(top)
	}
	s.last = one.end
	s.seconds = append(s.seconds.since(last-keptSeconds), one)
	if s.calls != nil {
		for len(s.tallies) > 1 && s.tallies[1].second < last-keptSeconds {
			s.tallies = slices.Delete(s.tallies, 0, 1)
		}
		s.tallies = append(s.tallies, s.calls.tally(last))
	}
}

// quiet reports whether nothing changed in the present interval, so far.
func (s *Series) quiet() bool {
	for i := range s.gauges {
		if s.gauges[i].word.Load() != pack(s.last[i], s.last[i]) {
			return false
		}
	}
	if s.calls == nil {
		return true
	}
	now := s.calls.tally(0)
	var then tally
	if k := len(s.tallies); k > 0 {
		then = s.tallies[k-1]
	}
	now.second = then.second
	return now == then
}

// rotateMinute ends a minute of Unix time, all of whose seconds were rotated.
func (s *Series) rotateMinute(minute int64) {
	first, last := minute*60, minute*60+59
	if s.changed < first {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seconds.changed(first, last) {
		one := sample{first: minute, last: minute, top: s.seconds.maximum(first, last), end: s.last}
		s.minutes = append(s.minutes.since(minute-keptMinutes), one)
	}
}

// Levels are one gauge's value and maxima.
type Levels struct {
	Now        int `json:"now"`
	Second     int `json:"second"`     // maximum of the present second so far
	LastSecond int `json:"lastSecond"` // of the second before
	Minute     int `json:"minute"`     // maximum of the present minute so far
	LastMinute int `json:"lastMinute"` // of the minute before
}

// Reading is what a series says at one moment.
type Reading struct {
	Key    Key
	Levels [states]Levels // by State
	Recent Recent         // only of a function
	Totals *Totals        // only of a function
	// Changed is the last whole second in which something changed, in Unix time.
	Changed int64
}

// read reads the series; through is the last second that was rotated everywhere.
func (s *Series) read(through int64) Reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := Reading{Key: s.key}
	minute := (through + 1) / 60 * 60
	second := s.seconds.maximum(through+1, through+1) // where the clock is just rotating
	lastSecond := s.seconds.maximum(through, through)
	thisMinute := s.seconds.maximum(minute, through+1)
	lastMinute := s.seconds.maximum(minute-60, minute-1)
	for i := range r.Levels {
		now, top := s.gauges[i].Read()
		r.Levels[i] = Levels{Now: now, Second: max(int(second[i]), top), LastSecond: int(lastSecond[i]),
			Minute: max(int(thisMinute[i]), top), LastMinute: int(lastMinute[i])}
	}
	if k := len(s.seconds); k > 0 {
		r.Changed = s.seconds[k-1].last
	}
	if s.calls != nil {
		r.Recent = recent(s.calls.tally(through+1), s.tallies, through-60)
		totals := s.calls.totals()
		r.Totals = &totals
	}
	return r
}
