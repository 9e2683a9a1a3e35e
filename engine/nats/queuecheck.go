package nats

import (
	"context"
	"errors"
	"fmt"

	"hearth/engine"
)

// check reads every page of the queues that is of use. It returns
// engine.ErrDamaged where something was lost since the queue was opened, now or before.
func (q *queue) check(ctx context.Context) error {
	for _, s := range q.shards {
		if err := s.check(ctx); err != nil {
			return err
		}
	}
	losses := q.Losses()
	if len(losses) == 0 {
		return nil
	}
	return engine.Failure(engine.ErrDamaged, "queues", "%d losses, the last: %s; compare with the callers' records, or restore the data directory from a backup",
		len(losses), losses[len(losses)-1].What)
}

var errChecked = errors.New("all that was there is read")

// check reads the pages that the shard had when it began.
func (s *shard) check(ctx context.Context) error {
	s.mu.Lock()
	next, end := s.pages.tail, s.pages.end()
	s.mu.Unlock()
	err := s.journal.scan(ctx, next, func(seq uint64, page []byte) error {
		for ; next < min(seq, end); next++ {
			if err := s.verify(ctx, next); err != nil {
				return err
			}
		}
		if seq >= end {
			return errChecked
		}
		next = seq + 1
		if _, _, err := readItems(page); err != nil {
			return s.verify(ctx, seq)
		}
		return nil
	})
	for ; err == nil && next < end; next++ {
		err = s.verify(ctx, next)
	}
	if errors.Is(err, errChecked) {
		return nil
	}
	return err
}

// verify declares lost a page that cannot be read, unless it has just been removed.
func (s *shard) verify(ctx context.Context, seq uint64) error {
	page, err := s.journal.page(ctx, seq)
	if err == nil {
		_, _, err = readItems(page)
	}
	s.mu.Lock()
	removed := seq < s.pages.tail
	s.mu.Unlock()
	switch {
	case removed || err == nil:
		return nil
	case errors.Is(err, errGone), errors.Is(err, errPage):
		s.lose(seq, err)
		return nil
	}
	return fmt.Errorf("check page %d: %w", seq, err)
}
