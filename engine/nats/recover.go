package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"hearth/engine"
)

// recovery reads a shard's journal into memory when the queue is opened.
type recovery struct {
	s      *shard
	next   uint64 // the page that should come
	gaps   []gap
	latest int64 // the newest acceptance so far, wall clock
	bent   bool  // messages were met out of the order of their acceptance
}

// gap is a run of pages that are missing or cannot be read.
type gap struct {
	from, to uint64 // pages
	since    int64  // the acceptance before it, and the one after, wall clock
	until    int64
	events   int64  // messages accepted in it; -1: not known
	settled  int64  // of which the outcome was met later
	aside    string // where a page is set aside
}

// recover reads the journal from its tail on. What cannot be read is told as a
// loss and keeps nothing else from being there.
func (s *shard) recover(ctx context.Context) error {
	head, err := s.lastHead(ctx)
	counted := err == nil
	if err != nil && !errors.Is(err, errNoHead) {
		return err
	}
	s.pages.tail, s.pages.before, s.accepted, s.written = max(1, head.tail), head.before, head.before, head.tail
	r := &recovery{s: s, next: s.pages.tail}
	if err := s.journal.scan(ctx, r.next, r.page); err != nil {
		return err
	}
	if last := s.journal.last; r.next <= last {
		r.gap(last + 1)
		if counted && s.journal.were > 0 {
			r.gaps[len(r.gaps)-1].events = int64(s.journal.were - min(s.accepted, s.journal.were))
		}
	}
	if cut := s.journal.cut; cut > 0 {
		end := gap{from: s.journal.last + 1, to: s.journal.last + cut, until: math.MaxInt64, events: -1}
		if s.journal.were > 0 && (counted || s.journal.last == 0) {
			end.events = int64(s.journal.were - min(s.accepted, s.journal.were))
		}
		r.gaps = append(r.gaps, end)
	}
	r.order()
	for _, g := range r.gaps {
		s.queue.lost(g.loss(s.journal.name))
	}
	return nil
}

// lastHead returns the head of the newest page that can be read, or errNoHead and
// that of a journal of which nothing can.
func (s *shard) lastHead(ctx context.Context) (pageHead, error) {
	first, err := s.journal.first(ctx)
	if err != nil {
		return pageHead{}, err
	}
	for seq := s.journal.last; seq >= max(first, 1); seq-- {
		page, err := s.journal.page(ctx, seq)
		if err != nil && !errors.Is(err, errGone) {
			return pageHead{}, err
		}
		if head, _, err := readPage(page); err == nil {
			return head, nil
		}
	}
	return pageHead{tail: first}, errNoHead
}

var errNoHead = errors.New("no page can be read")

// page takes in one page.
func (r *recovery) page(seq uint64, page []byte) error {
	s := r.s
	head, reader, err := readPage(page)
	if err != nil {
		r.gap(seq + 1)
		r.gaps[len(r.gaps)-1].aside = s.journal.setAside(seq, page)
		s.pages.add(seq, len(page), 0)
		return nil
	}
	if seq > r.next {
		r.gap(seq)
	}
	if n := len(r.gaps); n > 0 && r.gaps[n-1].to == seq-1 {
		r.gaps[n-1].events = int64(head.accepted - s.accepted)
	}
	s.pages.add(seq, len(page), 0)
	s.accepted = head.accepted
	r.next = seq + 1
	reader.known = s.slots.known
	for {
		var it item
		ok, err := reader.next(&it)
		if !ok {
			if err != nil { // its checksum holds, so this is a fault of whoever wrote it
				s.queue.lost(engine.Loss{What: fmt.Sprintf("page %d of %s ends early; it is set aside in %s", seq, s.journal.name, s.journal.setAside(seq, page)), Events: -1})
			}
			return nil
		}
		r.item(&it, seq)
	}
}

// gap notes that the pages before next are missing, and joins it to the gap before.
func (r *recovery) gap(next uint64) {
	if n := len(r.gaps); n > 0 && r.gaps[n-1].to == r.next-1 {
		r.gaps[n-1].to = next - 1
	} else {
		r.gaps = append(r.gaps, gap{from: r.next, to: next - 1, since: r.latest, until: math.MaxInt64, events: -1})
	}
	r.next = next
}

func (r *recovery) item(it *item, seq uint64) {
	s := r.s
	s.stamp = max(s.stamp, it.stamp)
	n, p := s.slots.find(it.id)
	switch it.kind {
	case kindAccept:
		r.accepted(it, seq)
		r.insert(it, seq)
	case kindMove:
		if p != nil {
			s.pages.drop(p.page)
			s.pages.drop(p.newer)
			p.page, p.at, p.newer, p.due = seq, it.at, 0, it.due
			s.pages.hold(seq)
			return
		}
		r.bent = true
		r.insert(it, seq)
	case kindHeader, kindRetry:
		if p == nil {
			return
		}
		s.headerLocked(n, seq, it.at)
		if it.kind == kindRetry {
			p.due = it.due
		}
	case kindSettle:
		if p != nil {
			s.settleLocked(n, it, seq)
			return
		}
		s.history.add(it, seq)
		for i := range r.gaps {
			if g := &r.gaps[i]; g.since <= it.accepted && it.accepted <= g.until {
				g.settled++
				break
			}
		}
	case kindSeen:
		r.see(it, seq)
	}
}

// accepted counts a message and tells the gap before it when it ended.
func (r *recovery) accepted(it *item, seq uint64) {
	r.s.accepted++
	r.s.pages.pages[seq-r.s.pages.tail].accepted++
	r.latest = it.accepted
	if n := len(r.gaps); n > 0 && r.gaps[n-1].until == math.MaxInt64 {
		r.gaps[n-1].until = it.accepted
	}
	if it.until != 0 {
		r.see(it, seq)
	}
}

func (r *recovery) see(it *item, seq uint64) {
	if until := r.s.queue.clock.until(unixNano(it.until)); until > r.s.queue.clock.steady() {
		r.s.seeLocked(it, until, seq)
	}
}

func (r *recovery) insert(it *item, seq uint64) {
	s := r.s
	k := s.slots.keyOf(it.key, &s.queue.accounts)
	n := s.acceptLocked(it, k, seq, it.at)
	k.account.add(1, int64(s.slots.at(n).size))
}

// order gives each message its place once all are known. Where the clock is behind the
// newest stamp, delays count from that: a machine whose clock is not set yet would let
// them last until it is, and longer.
func (r *recovery) order() {
	s, now := r.s, r.s.queue.clock.steady()
	behind := max(0, s.stamp-s.queue.clock.wall())
	for _, k := range s.slots.keys {
		var numbers []uint32
		for n := k.all.head; n != 0; n = s.slots.at(n).all.next {
			p := s.slots.at(n)
			p.place = max(p.stamp, p.due)
			numbers = append(numbers, n)
		}
		if r.bent {
			slices.SortFunc(numbers, func(a, b uint32) int { return cmp.Compare(s.slots.at(a).stamp, s.slots.at(b).stamp) })
			s.slots.relink(k, numbers)
		}
		byPlace := func(a, b uint32) int { return cmp.Compare(s.slots.at(a).place, s.slots.at(b).place) }
		if !slices.IsSortedFunc(numbers, byPlace) {
			slices.SortFunc(numbers, byPlace)
		}
		for _, n := range numbers {
			p := s.slots.at(n)
			until := s.queue.clock.until(unixNano(p.due)) - behind
			if p.due == 0 {
				p.due, until = p.accepted, 0
			}
			if until > now {
				s.slots.delay(n, until)
			} else {
				s.slots.set(n, slotReady)
			}
		}
	}
}

func (g gap) loss(journal string) engine.Loss {
	l := engine.Loss{Events: -1, What: fmt.Sprintf("pages %d to %d of %s are lost", g.from, g.to, journal)}
	if g.aside != "" {
		l.What += "; what is there of the last of them is set aside in " + g.aside
	}
	if g.events >= 0 {
		l.Events = int(max(0, g.events-g.settled))
	}
	return l
}
