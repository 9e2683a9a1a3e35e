package nats

import (
	"time"

	"hearth/engine"
)

const (
	// patience is the least time between two pages of outcomes for which nobody waits,
	// unless there are so many. A page costs as much CPU as some ten events do.
	patience = 10 * time.Millisecond
	company  = 256
)

// commit is what the writer keeps of the page that it is building.
type commit struct {
	page    pageWriter
	ops     []*op
	touched map[id]bool  // an id occurs in one record of a page
	keys    map[sum]bool // and so does an idempotency key
	ready   map[string]bool
	settled time.Time // when the last page with a patient operation was written
}

// verdict is what plan decides.
type verdict int

const (
	planned  verdict = iota // its record is in the page
	answered                // it has its answer, without a record
	deferred                // it depends on what is in the page: the next one takes it
)

// write is the writer: it commits what is pending, a page at a time, until the
// queue ends. While one page is on its way to the disk the next one's
// operations gather: nobody waits for company but who is patient, and many share a
// write.
func (s *shard) write() {
	for {
		select {
		case <-s.work:
			for more := true; more; {
				s.gather()
				more = s.commit()
			}
		case <-s.queue.life.Done():
			s.mu.Lock()
			s.ended = true
			pending := s.pending
			s.pending = nil
			s.mu.Unlock()
			for _, o := range pending {
				o.fail(engine.Closed(s.journal.name))
			}
			return
		}
	}
}

// gather waits while all that is pending is patient, until a page of outcomes is due.
func (s *shard) gather() {
	wait := patience - time.Since(s.writer.settled)
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		s.mu.Lock()
		pressed := s.pressed || len(s.pending) == 0
		s.mu.Unlock()
		if pressed {
			return
		}
		select {
		case <-s.work:
		case <-timer.C:
			return
		case <-s.queue.life.Done():
			return
		}
	}
}

// submit hands an operation to the writer; its answer comes on done.
func (s *shard) submit(ops ...*op) {
	s.mu.Lock()
	ended := s.ended
	alone := len(s.pending) == 0
	if !ended {
		s.pending = append(s.pending, ops...)
	}
	for _, o := range ops {
		s.pressed = s.pressed || !o.patient || len(s.pending) >= company
	}
	wake := alone || s.pressed
	s.mu.Unlock()
	for _, o := range ops {
		if ended {
			o.fail(engine.Closed(s.journal.name))
		}
	}
	if !wake { // the writer waits for the end of its patience
		return
	}
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// commit writes one page and reports whether there may be more to do.
func (s *shard) commit() bool {
	w := &s.writer
	w.ops = w.ops[:0]
	full := s.queue.room.forWrite(s.journal.name, maxPayload)
	stop := s.queue.room.forDelete(s.journal.name)

	s.mu.Lock()
	head := pageHead{tail: s.pages.tail, before: s.pages.before, accepted: s.accepted}
	w.page.reset(head)
	more := s.planLocked(full, stop)
	s.mu.Unlock()
	if len(w.ops) == 0 {
		return more
	}

	page := append([]byte(nil), w.page.seal()...)
	seq, err := s.journal.append(page)

	s.mu.Lock()
	if err != nil {
		for _, o := range w.ops {
			s.undoLocked(o)
		}
	} else {
		s.pages.add(seq, len(page), accepts(w.ops))
		s.written = head.tail
		for _, o := range w.ops {
			s.applyLocked(o, seq, page)
		}
	}
	more = len(s.pending) > 0
	s.mu.Unlock()

	if err == nil {
		s.queue.cache.put(cacheKey{s.journal.name, seq}, page)
	}
	for _, o := range w.ops {
		o.done <- answer{receipt: engine.Receipt{ID: o.receiptID()}, err: err}
	}
	s.tell()
	return more
}

func accepts(ops []*op) (n int) {
	for _, o := range ops {
		if o.item.kind == kindAccept {
			n++
		}
	}
	return n
}

// receiptID spares the making of a string where nobody reads it.
func (o *op) receiptID() string {
	if o.message == nil {
		return ""
	}
	return o.message.ID
}

// tell notifies of the keys that got a ready message.
func (s *shard) tell() {
	for key := range s.writer.ready {
		s.queue.notify(key)
	}
	clear(s.writer.ready)
}

// planLocked decides about the pending operations and fills the page. full and
// stop are errors where the disk has no room for messages, or for anything.
func (s *shard) planLocked(full, stop error) (more bool) {
	w := &s.writer
	if w.touched == nil {
		w.touched, w.keys = make(map[id]bool), make(map[sum]bool)
	}
	clear(w.touched)
	clear(w.keys)
	pending := s.pending
	s.pending, s.pressed = nil, false
	var later []*op
	for i, o := range pending {
		if len(w.page.buf) > s.queue.limits.page { // one more fits always: maxPayload is far
			later = append(later, pending[i:]...)
			break
		}
		verdict, err := deferred, stop
		if !o.abandoned && !w.touched[o.item.id] && err == nil {
			verdict, err = s.plan(o, full)
		}
		switch {
		case o.abandoned:
		case err != nil:
			o.fail(err)
		case verdict == planned:
			w.touched[o.item.id] = true
			o.at = w.page.add(&o.item)
			w.ops = append(w.ops, o)
			if o.patient {
				w.settled = time.Now()
			}
		case verdict == deferred:
			later = append(later, o)
		}
	}
	s.pending = append(later, s.pending...)
	s.pressed = len(later) > 0
	return len(s.pending) > 0
}

// plan decides about one operation. It is called with mu held.
func (s *shard) plan(o *op, full error) (verdict, error) {
	switch o.item.kind {
	case kindAccept:
		return s.planAccept(o, full)
	case kindSettle:
		return s.planSettle(o)
	case kindHeader, kindRetry:
		n, p := s.slots.find(o.item.id)
		if p == nil || o.item.kind == kindRetry && p.state != slotInFlight {
			return answered, engine.NotFound(o.item.id.String())
		}
		o.slot = n
	case kindMove:
		n, p := s.slots.find(o.item.id)
		if p == nil || p.page != o.from.page || p.newer != o.from.newer {
			o.done <- answer{} // it has left, or changed: the cleaner looks again
			return answered, nil
		}
		o.slot, o.item.stamp, o.item.accepted = n, p.stamp, p.accepted
		if p.due != p.accepted { // else it was ready at once, and its stamp is its place
			o.item.due = p.due
		}
	case kindSeen:
		v, ok := s.seen.first[o.item.seen]
		if !ok || v.page != o.from.page {
			o.done <- answer{}
			return answered, nil
		}
		o.item.id, o.item.until = v.id, v.wall
	}
	return planned, nil
}

func (s *shard) planAccept(o *op, full error) (verdict, error) {
	if _, p := s.slots.find(o.item.id); p != nil {
		o.done <- answer{receipt: engine.Receipt{ID: o.message.ID, Duplicate: true}}
		return answered, nil
	}
	if o.item.until != 0 {
		if v, ok := s.seen.find(o.item.seen, s.queue.clock.steady()); ok {
			o.done <- answer{receipt: engine.Receipt{ID: v.id.String(), Duplicate: true}}
			return answered, nil
		}
		if s.writer.keys[o.item.seen] {
			return deferred, nil
		}
	}
	if full != nil {
		return answered, full
	}
	k := s.slots.keyOf(o.item.key, &s.queue.accounts)
	use := engine.Use{Events: k.use.Events + k.reserved.Events, Bytes: k.use.Bytes + k.reserved.Bytes}
	if err := k.account.reserve(o.message, use, o.caps); err != nil {
		s.slots.forget(k)
		return answered, err
	}
	if o.item.until != 0 {
		s.writer.keys[o.item.seen] = true
	}
	k.reserved.Events++
	k.reserved.Bytes += engine.MessageSize(*o.message)
	o.key = k
	o.item.stamp, o.item.accepted = s.tickLocked(), s.queue.clock.wall()
	return planned, nil
}

func (s *shard) planSettle(o *op) (verdict, error) {
	n, p := s.slots.find(o.item.id)
	if p == nil {
		return answered, engine.NotFound(o.item.id.String())
	}
	if o.cancel && p.state == slotInFlight {
		return answered, engine.Fetched(o.item.id.String())
	}
	o.slot, o.before = n, p.state
	s.slots.set(n, slotLeaving)
	o.item.key = s.slots.table[p.key].key
	o.item.stamp, o.item.accepted, o.item.settled = s.tickLocked(), p.accepted, s.queue.clock.wall()
	return planned, nil
}

// undoLocked takes back what plan did, because the page was not written.
func (s *shard) undoLocked(o *op) {
	switch o.item.kind {
	case kindAccept:
		size := engine.MessageSize(*o.message)
		o.key.reserved.Events--
		o.key.reserved.Bytes -= size
		o.key.account.add(-1, -size)
		s.slots.forget(o.key)
	case kindSettle:
		if o.before == slotDelayed {
			p := s.slots.at(o.slot)
			s.slots.delay(o.slot, s.queue.clock.until(unixNano(p.due)))
			return
		}
		s.slots.set(o.slot, o.before)
		if o.before == slotReady {
			s.writer.ready[s.slots.table[s.slots.at(o.slot).key].key] = true
		}
	}
}

// applyLocked makes memory agree with a record that is on disk.
func (s *shard) applyLocked(o *op, seq uint64, page []byte) {
	switch o.item.kind {
	case kindAccept:
		size := engine.MessageSize(*o.message)
		o.key.reserved.Events--
		o.key.reserved.Bytes -= size
		n := s.acceptLocked(&o.item, o.key, seq, o.at)
		s.accepted++
		if o.item.until != 0 {
			s.seeLocked(&o.item, o.window, seq)
		}
		s.awaitLocked(n, o.wait)
	case kindHeader:
		s.headerLocked(o.slot, seq, o.at)
	case kindRetry:
		s.headerLocked(o.slot, seq, o.at)
		p := s.slots.at(o.slot)
		p.due = o.item.due
		if p.state == slotInFlight {
			p.place = s.tickLocked()
			s.awaitLocked(o.slot, o.wait)
		}
	case kindMove:
		p := s.slots.at(o.slot)
		s.pages.drop(p.page)
		s.pages.drop(p.newer)
		p.page, p.at, p.newer = seq, o.at, 0
		s.pages.hold(seq)
	case kindSettle:
		// The caller's bytes may be another's by now; the page's are not.
		it := o.item
		if err := recordAt(page, o.at, &it); err == nil {
			it.key = o.item.key
		}
		s.settleLocked(o.slot, &it, seq)
	case kindSeen:
		if v, ok := s.seen.first[o.item.seen]; ok {
			s.pages.drop(v.page)
			v.page = seq
			s.seen.first[o.item.seen] = v
			s.pages.hold(seq)
		}
	}
}

// acceptLocked puts a message in; what is its state is for the caller to say.
func (s *shard) acceptLocked(it *item, k *keyed, seq uint64, at uint32) uint32 {
	s.pages.hold(seq)
	return s.slots.add(slot{
		id: it.id, stamp: it.stamp, place: it.stamp, accepted: it.accepted, due: it.due,
		page: seq, at: at, size: uint32(len(it.header) + len(it.body) + engine.MessageOverhead),
	}, k)
}

// awaitLocked makes a message delayed until a steady time, or ready where that has come.
func (s *shard) awaitLocked(n uint32, until int64) {
	if until > s.queue.clock.steady() {
		s.slots.delay(n, until)
		s.look()
		return
	}
	p := s.slots.at(n)
	if p.due == 0 {
		p.due = p.accepted
	}
	s.slots.set(n, slotReady)
	s.writer.ready[s.slots.table[p.key].key] = true
}

func (s *shard) headerLocked(n uint32, seq uint64, at uint32) {
	p := s.slots.at(n)
	s.pages.drop(p.newer)
	p.newer, p.newerAt = seq, at
	s.pages.hold(seq)
}

// settleLocked takes a message out and gives its outcome to the history.
func (s *shard) settleLocked(n uint32, it *item, seq uint64) {
	p := s.slots.at(n)
	s.pages.drop(p.page)
	s.pages.drop(p.newer)
	k := s.slots.table[p.key]
	s.slots.remove(n)
	s.slots.forget(k)
	if s.history.add(it, seq) {
		s.look()
	}
}

func (s *shard) seeLocked(it *item, until int64, seq uint64) {
	before := s.seen.add(it.seen, sighting{id: it.id, until: until, wall: it.until, page: seq})
	if before != 0 {
		s.pages.drop(before)
	}
	s.pages.hold(seq)
}

// look has the keeper look at what there is to do.
func (s *shard) look() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}
