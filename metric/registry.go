package metric

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hearth/faas"
)

// Registry has the series of everything that runs. Safe for concurrent use. The
// methods that return a Series do so on a nil Registry too: the Series is nil,
// and counts nothing.
//
// One goroutine ends the intervals, at the full seconds of the wall clock. Where
// it comes late the interval is longer, and its maximum stands for every second of
// it: nothing is lost between two.
type Registry struct {
	began   time.Time
	through atomic.Int64 // the last second of Unix time that was rotated in every series

	mu  sync.RWMutex // guards what follows; the clock holds it only to copy or to drop
	all map[Key]*Series
	// list has the series of all; it only grows, or is replaced.
	list []*Series

	stop    chan struct{}
	stopped chan struct{}
	once    sync.Once
}

// New returns a registry that is empty. Close it.
func New() *Registry {
	r := &Registry{began: time.Now(), all: map[Key]*Series{}, stop: make(chan struct{}), stopped: make(chan struct{})}
	r.through.Store(r.began.Unix() - 1)
	go r.run()
	return r
}

// Close ends the registry's goroutine and waits for it. What is counted
// afterwards is in no interval that has ended.
func (r *Registry) Close() {
	r.once.Do(func() { close(r.stop) })
	<-r.stopped
}

func (r *Registry) run() {
	defer close(r.stopped)
	for {
		now := time.Now()
		timer := time.NewTimer(now.Truncate(time.Second).Add(time.Second).Sub(now))
		select {
		case <-timer.C:
			r.rotate(time.Now())
		case <-r.stop:
			timer.Stop()
			return
		}
	}
}

// rotate ends the interval that ends before the second of now, in every series.
// A clock that was set back adds to the interval that it is in.
func (r *Registry) rotate(now time.Time) {
	first, last := r.through.Load()+1, now.Unix()-1
	if last < first {
		return
	}
	list := r.series()
	for _, s := range list {
		s.rotate(first, last)
	}
	for minute := max(first/60, (last+1)/60-keptMinutes); minute < (last+1)/60; minute++ {
		for _, s := range list {
			s.rotateMinute(minute)
		}
	}
	r.through.Store(last)
	if first/60 != (last+1)/60 {
		r.drop(list, last)
	}
}

func (r *Registry) series() []*Series {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.list
}

// drop forgets the series that nobody holds and whose history is all past, so
// that what was deleted does not stay for ever.
func (r *Registry) drop(list []*Series, through int64) {
	oldest := through - keptMinutes*60
	if !slices.ContainsFunc(list, func(s *Series) bool { return s.changed < oldest && s.holds.Load() == 0 }) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := make([]*Series, 0, len(r.list))
	for _, s := range slices.Backward(r.list) { // a version before the function that it holds
		if s.changed < oldest && s.drop() {
			delete(r.all, s.key)
			s.parent.Release()
			continue
		}
		kept = append(kept, s)
	}
	slices.Reverse(kept)
	r.list = kept
}

// Version returns the series of a version, which adds to its function's and its
// account's. Release it.
func (r *Registry) Version(id faas.VersionID) *Series {
	return r.get(Key{Function: id.Function, Version: id.Number})
}

// Function returns the series of a function, whose calls are counted on it.
// Release it.
func (r *Registry) Function(id faas.FunctionID) *Series { return r.get(Key{Function: id}) }

// Alias returns the series of an alias: only InFlight, the calls that named it.
// Release it.
func (r *Registry) Alias(id faas.FunctionID, name string) *Series {
	return r.get(Key{Function: id, Alias: name})
}

func (r *Registry) get(k Key) *Series {
	if r == nil {
		return nil
	}
	r.mu.RLock()
	s := r.all[k]
	r.mu.RUnlock()
	if s != nil && s.hold() {
		return s
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.getLocked(k)
}

func (r *Registry) getLocked(k Key) *Series {
	if s := r.all[k]; s != nil && s.hold() {
		return s
	}
	s := &Series{key: k, changed: r.through.Load() + 1}
	s.holds.Store(1)
	switch {
	case k.Account() || k.Alias != "": // an alias's calls are its version's already
	case k.Version != "":
		s.parent = r.getLocked(Key{Function: k.Function})
	default:
		s.calls = new(calls)
		s.parent = r.getLocked(Key{Function: faas.FunctionID{Scope: faas.Scope{Account: k.Function.Account, Region: k.Function.Region}}})
	}
	r.all[k] = s
	r.list = append(r.list, s)
	return s
}

// Began is when the counters were zero.
func (r *Registry) Began() time.Time { return r.began }

// Read returns what every series says, accounts, functions, versions and aliases
// mixed, in no order.
func (r *Registry) Read() []Reading {
	through := r.through.Load()
	list := r.series()
	all := make([]Reading, 0, len(list))
	for _, s := range list {
		all = append(all, s.read(through))
	}
	return all
}

// Point is the maxima of one whole interval, by State.
type Point struct {
	Began   time.Time
	Maximum []int
}

// Seconds returns the maxima of the last n whole seconds, at most 120, oldest
// first; false where nothing was counted under the key.
func (r *Registry) Seconds(k Key, n int) ([]Point, bool) {
	through := r.through.Load()
	return r.points(k, through, min(n, keptSeconds-1), time.Second, func(s *Series) samples { return s.seconds })
}

// Minutes returns the maxima of the last n whole minutes, at most 60, oldest
// first; false where nothing was counted under the key.
func (r *Registry) Minutes(k Key, n int) ([]Point, bool) {
	through := (r.through.Load()+1)/60 - 1
	return r.points(k, through, min(n, keptMinutes), time.Minute, func(s *Series) samples { return s.minutes })
}

func (r *Registry) points(k Key, last int64, n int, unit time.Duration, of func(*Series) samples) ([]Point, bool) {
	r.mu.RLock()
	s := r.all[k]
	r.mu.RUnlock()
	if s == nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Point
	for at := last - int64(n) + 1; at <= last; at++ {
		top := of(s).maximum(at, at)
		p := Point{Began: time.Unix(at*int64(unit/time.Second), 0).UTC(), Maximum: make([]int, states)}
		for i := range top {
			p.Maximum[i] = int(top[i])
		}
		all = append(all, p)
	}
	return all, true
}
