package nats

import (
	"context"
	"errors"
	"time"
)

const (
	keeperTick = time.Second
	tidyPause  = keeperTick / 4 // between two looks at what is to be tidied
)

// limits are the sizes at which a queue begins to write, move and remove. Tests
// have smaller ones.
type limits struct {
	// page is the bytes after which a page takes no further record.
	page int
	// flush and flushRecords are how many bytes and number of outcomes wait for
	// a page of the history.
	flush, flushRecords int
	// cache is the bytes of the pages kept in memory.
	cache int
	// slack is what may lie in a journal, beside twice what is live, before the
	// tail's pages are emptied on purpose; slackPages is how many pages may where they
	// are smaller than smallPage on average, as those of single callers are.
	slack      int64
	slackPages int64
	smallPage  int64
	// purge is the bytes of useless pages that are taken off the disk at once.
	purge int64
	// move is the bytes that one look of the keeper moves.
	move int
	// byHand has the keeper leave tidying to the test.
	byHand bool
}

var usualLimits = limits{
	page: 256 << 10, flush: 256 << 10, flushRecords: 2000, cache: 32 << 20,
	slack: 64 << 20, slackPages: 4096, smallPage: 16 << 10, purge: 8 << 20, move: 4 << 20,
}

// keep is the keeper: it makes ready what was delayed, flushes the history and
// keeps the journal short, until the queue ends.
func (s *shard) keep() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var tidied time.Time
	for {
		select {
		case <-s.kick:
		case <-timer.C:
		case <-s.queue.life.Done():
			return
		}
		s.wake()
		if !s.queue.limits.byHand && (time.Since(tidied) >= tidyPause || s.history.due()) {
			if err := s.tidy(s.queue.life); err != nil && s.queue.life.Err() == nil {
				s.queue.log.Warn("a queue's journal could not be tidied; it grows meanwhile", "stream", s.journal.name, "error", err)
			}
			tidied = time.Now()
		}
		timer.Reset(s.untilNext())
	}
}

// untilNext returns how long the keeper may sleep.
func (s *shard) untilNext() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.slots.timers) == 0 {
		return keeperTick
	}
	return min(keeperTick, max(0, time.Duration(s.slots.timers[0].at-s.queue.clock.steady())))
}

// wake makes ready the messages whose delay is over.
func (s *shard) wake() {
	const atOnce = 1000 // under one hold of the lock
	for more := true; more; {
		ready := make(map[string]bool)
		s.mu.Lock()
		now, n := s.queue.clock.steady(), 0
		for ; n < atOnce; n++ {
			number := s.slots.elapsed(now)
			if number == 0 {
				break
			}
			p := s.slots.at(number)
			p.place = s.tickLocked()
			s.slots.set(number, slotReady)
			ready[s.slots.table[p.key].key] = true
		}
		more = n == atOnce
		s.mu.Unlock()
		for key := range ready {
			s.queue.notify(key)
		}
	}
}

// tidy flushes the history, moves the tail and removes what is before it.
func (s *shard) tidy(ctx context.Context) error {
	if s.history.due() {
		if err := s.history.write(ctx); err != nil {
			return err
		}
	}
	for moved := 0; ; {
		crowded := s.advance()
		if err := s.purge(ctx); err != nil {
			return err
		}
		if !crowded || moved >= s.queue.limits.move {
			break
		}
		n, err := s.relieve(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		moved += n
	}
	s.mu.Lock()
	last, accepted := s.pages.end()-1, s.accepted
	s.mu.Unlock()
	return s.journal.witness(last, accepted)
}

// advance moves the tail as far as it goes and reports whether the journal is too
// long for what is live in it.
func (s *shard) advance() (crowded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.expire(s.queue.clock.steady(), s.pages.drop)
	s.pages.advance(s.history.flushed(s.pages.end()))
	var live int64
	for _, k := range s.slots.keys {
		live += k.use.Bytes
	}
	pages, l := int64(len(s.pages.pages)), s.queue.limits
	return s.pages.bytes > l.slack+2*live || pages > l.slackPages && s.pages.bytes < pages*l.smallPage
}

// purge takes pages before the tail off the disk where there are enough of them,
// or no others. A page that names the tail must be on disk before: a power loss
// may bring back some of what is purged, and not all.
func (s *shard) purge(ctx context.Context) error {
	s.mu.Lock()
	tail, written, freed := s.pages.tail, s.written, s.pages.freed
	due := freed >= s.queue.limits.purge || freed > 0 && freed >= s.queue.limits.purge/8 && len(s.pages.pages) == 0
	s.mu.Unlock()
	if !due {
		return nil
	}
	if written < tail {
		if err := s.do(ctx, newOp(0, id{})); err != nil {
			return err
		}
	}
	s.mu.Lock()
	written = s.written
	s.pages.freed = 0
	s.mu.Unlock()
	return s.journal.purge(ctx, written)
}

// do submits operations and waits for all of them.
func (s *shard) do(ctx context.Context, ops ...*op) error {
	s.submit(ops...)
	var errs error
	for _, o := range ops {
		select {
		case a := <-o.done:
			errs = errors.Join(errs, a.err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errs
}

// relieve frees the tail of what holds it: outcomes that are not flushed, or
// messages, which it writes again at the end. It returns about how many bytes.
func (s *shard) relieve(ctx context.Context) (int, error) {
	s.mu.Lock()
	tail, end := s.pages.tail, s.pages.end()
	s.mu.Unlock()
	if s.history.flushed(end) <= tail {
		return 1, s.history.write(ctx)
	}
	var ops []*op
	bytes := 0
	for seq := tail; seq < end && bytes < s.queue.limits.page; seq++ {
		more, err := s.moves(ctx, seq)
		if err != nil {
			return 0, err
		}
		for _, o := range more {
			bytes += o.item.bytes()
		}
		ops = append(ops, more...)
	}
	return bytes, s.do(ctx, ops...)
}

// moves returns the operations after which nothing needs a page any more.
func (s *shard) moves(ctx context.Context, seq uint64) ([]*op, error) {
	s.mu.Lock()
	live := seq >= s.pages.tail && s.pages.pages[seq-s.pages.tail].live > 0
	s.mu.Unlock()
	if !live {
		return nil, nil
	}
	page, err := s.journal.page(ctx, seq)
	var items []item
	if err == nil {
		_, items, err = readItems(page)
	}
	if errors.Is(err, errGone) || errors.Is(err, errPage) {
		s.lose(seq, err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ops []*op
	for i := range items {
		it := &items[i]
		if it.until != 0 {
			o := newOp(kindSeen, id{})
			o.item.seen, o.from.page = it.seen, seq
			ops = append(ops, o)
		}
		if it.kind == kindSeen || it.kind == kindSettle {
			continue
		}
		o, err := s.move(ctx, it.id, seq)
		if err != nil {
			return nil, err
		}
		if o != nil {
			ops = append(ops, o)
		}
	}
	return ops, nil
}

// move returns the operation that writes a message again, where a page has it or
// its newest header; else nil.
func (s *shard) move(ctx context.Context, i id, seq uint64) (*op, error) {
	s.mu.Lock()
	_, p := s.slots.find(i)
	if p == nil || p.page != seq && p.newer != seq {
		s.mu.Unlock()
		return nil, nil
	}
	from := placeOf(p, s.slots.table[p.key].key)
	s.mu.Unlock()
	e, err := s.load(ctx, from)
	if isLost(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o := newOp(kindMove, i)
	o.from, o.item.key, o.item.header, o.item.body = from, from.key, e.Header, e.Body
	return o, nil
}
