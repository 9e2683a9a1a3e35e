package nats

import "container/heap"

// seen remembers idempotency keys until their windows end.
type seen struct {
	first map[sum]sighting
	ends  windows
}

// sighting is the first message with an idempotency key.
type sighting struct {
	id    id
	until int64 // steady
	wall  int64 // the same on the wall clock, as it is stored
	page  uint64
}

// find returns the first message with a key whose window has not ended.
func (s *seen) find(key sum, now int64) (sighting, bool) {
	v, ok := s.first[key]
	return v, ok && now < v.until
}

// add remembers a key and returns the page that it was in before, or 0.
func (s *seen) add(key sum, v sighting) (before uint64) {
	if s.first == nil {
		s.first = make(map[sum]sighting)
	}
	before = s.first[key].page
	s.first[key] = v
	heap.Push(&s.ends, window{until: v.until, key: key})
	return before
}

// expire forgets what has ended and calls drop with the page of each.
func (s *seen) expire(now int64, drop func(page uint64)) {
	for len(s.ends) > 0 && s.ends[0].until <= now {
		w := heap.Pop(&s.ends).(window)
		if v, ok := s.first[w.key]; ok && v.until == w.until {
			delete(s.first, w.key)
			drop(v.page)
		}
	}
}

// window is the end of a sighting.
type window struct {
	until int64
	key   sum
}

// windows is a heap, the next end first.
type windows []window

func (w windows) Len() int           { return len(w) }
func (w windows) Less(i, j int) bool { return w[i].until < w[j].until }
func (w windows) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *windows) Push(x any)        { *w = append(*w, x.(window)) }
func (w *windows) Pop() any {
	old := *w
	last := old[len(old)-1]
	*w = old[:len(old)-1]
	return last
}
