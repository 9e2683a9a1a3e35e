package nats

import (
	"context"
	"sync"

	"hearth/engine"
)

// shard is a share of the queues, chosen by hash of the key: a journal, what memory
// holds of it, and the share of the history that it feeds. It has two goroutines: the
// writer, which alone appends pages, and the keeper, which wakes what is delayed and
// removes what is of no more use. In a cluster a shard would be what one node owns.
type shard struct {
	number  int
	queue   *queue
	journal *journal
	history *historyShard

	work chan struct{} // has a token when pending has an operation
	kick chan struct{} // has a token when the keeper should look

	mu      sync.Mutex
	slots   *slots
	seen    seen
	pages   pageTable
	stamp   int64 // the newest one given out
	pending []*op
	pressed bool // somebody waits for one of them, or they are many
	ended   bool // the writer is gone
	// accepted counts the messages that the journal has ever held, so that a gap in
	// it can be counted.
	accepted uint64
	// written is the tail that the newest page names: pages before it are gone
	// for good, whatever the disk brings back.
	written uint64

	writer commit // the writer's own
}

// stampStep keeps the stamps of different shards apart: their lowest bits are the
// shard's number.
const stampStep = 64

// tickLocked returns the next stamp: it grows, whatever the clock does, and is near
// the wall time unless that was set back.
func (s *shard) tickLocked() int64 {
	now := s.queue.clock.wall()/stampStep*stampStep + int64(s.number)
	s.stamp = max(s.stamp+stampStep, now)
	return s.stamp
}

// fetch makes up to n ready messages in flight and returns them.
func (s *shard) fetch(ctx context.Context, key string, n int) ([]engine.Event, error) {
	s.mu.Lock()
	k := s.slots.keys[key]
	var places []place
	for k != nil && k.ready.head != 0 && len(places) < n {
		number := k.ready.head
		s.slots.set(number, slotInFlight)
		places = append(places, placeOf(s.slots.at(number), key))
	}
	s.mu.Unlock()
	events := make([]engine.Event, 0, len(places))
	for i, p := range places {
		e, err := s.load(ctx, p)
		switch {
		case err == nil:
			events = append(events, e)
		case isLost(err): // told of; the rest goes on
		default:
			for _, p := range places[i:] {
				s.release(p.id)
			}
			if len(events) > 0 {
				return events, nil
			}
			return nil, err
		}
	}
	return events, nil
}

// release makes a message in flight ready again and returns its key, or "".
func (s *shard) release(i id) (key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, p := s.slots.find(i)
	if p == nil || p.state != slotInFlight {
		return ""
	}
	s.slots.set(n, slotReady)
	return s.slots.table[p.key].key
}

// find returns a message, or false where this shard has none of this id.
func (s *shard) find(ctx context.Context, i id) (engine.Event, bool, error) {
	s.mu.Lock()
	_, p := s.slots.find(i)
	if p == nil {
		s.mu.Unlock()
		return engine.Event{}, false, nil
	}
	where := placeOf(p, s.slots.table[p.key].key)
	s.mu.Unlock()
	e, err := s.load(ctx, where)
	if isLost(err) {
		return engine.Event{}, false, nil
	}
	return e, true, err
}

// list returns messages of a key in order of acceptance, from the one after an id
// or the first.
func (s *shard) list(ctx context.Context, key string, after *id, limit int) ([]engine.Event, error) {
	s.mu.Lock()
	k, from := s.slots.keys[key], uint32(0)
	if k != nil {
		from = k.all.head
	}
	if after != nil {
		_, p := s.slots.find(*after)
		if p == nil || k == nil || p.key != k.number {
			s.mu.Unlock()
			return nil, engine.NotFound(after.String())
		}
		from = p.all.next
	}
	var places []place
	for from != 0 && len(places) < limit {
		p := s.slots.at(from)
		places = append(places, placeOf(p, key))
		from = p.all.next
	}
	s.mu.Unlock()
	var events []engine.Event
	for _, p := range places {
		e, err := s.load(ctx, p)
		if isLost(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		e.Body = nil
		events = append(events, e)
	}
	return events, nil
}

func (s *shard) backlog(key string) engine.Backlog {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.slots.keys[key]; k != nil {
		return s.backlogLocked(k)
	}
	return engine.Backlog{Key: key}
}

func (s *shard) backlogs(all []engine.Backlog) []engine.Backlog {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.slots.keys {
		if k.use.Events > 0 {
			all = append(all, s.backlogLocked(k))
		}
	}
	return all
}

func (s *shard) backlogLocked(k *keyed) engine.Backlog {
	b := engine.Backlog{
		Key:      k.key,
		Ready:    k.counts[slotReady],
		Delayed:  k.counts[slotDelayed],
		InFlight: k.counts[slotInFlight] + k.counts[slotLeaving],
		Bytes:    k.use.Bytes,
	}
	if k.ready.head != 0 {
		b.Oldest = unixNano(s.slots.at(k.ready.head).accepted)
	}
	return b
}
