package soak

import (
	"fmt"
	"sync"
	"time"
)

// roster is what was heard of every instance.
type roster struct {
	mu        sync.Mutex
	instances map[string]*instance // by log stream
	boots     map[string]string    // by what the instance drew at its init: its log stream
}

// instance is one execution environment, by what its answers said.
type instance struct {
	identity string // function, version, code and what it drew at init
	calls    []served
	ended    time.Time // when a call that must have ended it was answered
}

// served is one call that an instance got.
type served struct {
	count      int
	start, end time.Time
}

func newRoster() *roster {
	return &roster{instances: map[string]*instance{}, boots: map[string]string{}}
}

func (r *roster) of(stream string) *instance {
	in := r.instances[stream]
	if in == nil {
		in = &instance{}
		r.instances[stream] = in
	}
	return in
}

// identify notes who an instance said it is, and says what is wrong with that.
func (r *roster) identify(stream, boot, identity string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := r.of(stream)
	if in.identity != "" && in.identity != identity {
		return fmt.Sprintf("instance %s was %s and is %s", stream, in.identity, identity)
	}
	in.identity = identity
	if other, known := r.boots[boot]; known && other != stream {
		return fmt.Sprintf("instances %s and %s share their memory", other, stream)
	}
	r.boots[boot] = stream
	return ""
}

// call notes that an instance got a call as its count-th, and says what is wrong
// with that. Calls that overlap have no order that a caller could know.
func (r *roster) call(stream string, c served) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := r.of(stream)
	if !in.ended.IsZero() && c.start.After(in.ended) {
		return fmt.Sprintf("instance %s got a call after one that ended it", stream)
	}
	for _, o := range in.calls {
		if o.count == c.count ||
			o.end.Before(c.start) && o.count > c.count || c.end.Before(o.start) && c.count > o.count {
			return fmt.Sprintf("instance %s counted %d from %s to %s and %d from %s to %s", stream,
				o.count, clock(o.start), clock(o.end), c.count, clock(c.start), clock(c.end))
		}
	}
	in.calls = append(in.calls, c)
	return ""
}

// end notes that a call ended its instance before it was answered.
func (r *roster) end(stream string, answered time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if in := r.of(stream); in.ended.IsZero() || answered.Before(in.ended) {
		in.ended = answered
	}
}

func (r *roster) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.instances)
}
