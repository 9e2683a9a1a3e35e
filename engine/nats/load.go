package nats

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"hearth/engine"
)

// errLost: the message cannot be read; the loss has been told.
var errLost = errors.New("the message is lost")

func isLost(err error) bool { return errors.Is(err, errLost) }

// load reads a message. Where its page cannot be read, everything that is only
// there is declared lost, and load fails with errLost.
func (s *shard) load(ctx context.Context, p place) (engine.Event, error) {
	for {
		e, damaged, err := s.loadFrom(ctx, p)
		if damaged == 0 {
			return e, err
		}
		s.mu.Lock()
		_, now := s.slots.find(p.id)
		moved := now != nil && (now.page != p.page || now.newer != p.newer)
		gone := now == nil || now.state == slotLeaving
		if moved {
			p = placeOf(now, p.key)
		}
		s.mu.Unlock()
		switch {
		case gone: // settled meanwhile, and its page with it
			return engine.Event{}, errLost
		case !moved:
			s.lose(damaged, err)
		}
	}
}

// loadFrom reads a message from where it was said to be. damaged is the page that
// cannot be read, if that is why.
func (s *shard) loadFrom(ctx context.Context, p place) (e engine.Event, damaged uint64, err error) {
	var it item
	if damaged, err = s.record(ctx, p.id, p.page, p.at, &it); err != nil {
		return e, damaged, err
	}
	header, body := it.header, it.body
	if p.newer != 0 {
		if damaged, err = s.record(ctx, p.id, p.newer, p.newerAt, &it); err != nil {
			return e, damaged, err
		}
		header = it.header
	}
	return engine.Event{
		Message: engine.Message{ID: p.id.String(), Key: p.key, Header: slices.Clone(header), Body: slices.Clone(body)},
		State:   p.state, Accepted: unixNano(p.accepted), Due: unixNano(p.due),
	}, 0, nil
}

// record reads one record, whose fields point into the cached page.
func (s *shard) record(ctx context.Context, i id, seq uint64, at uint32, it *item) (damaged uint64, err error) {
	page, err := s.journal.cached(ctx, s.queue.cache, seq)
	if errors.Is(err, errGone) || errors.Is(err, errPage) {
		return seq, err
	}
	if err != nil {
		return 0, err
	}
	if err := recordAt(page, at, it); err != nil || it.id != i {
		return seq, errPage
	}
	return 0, nil
}

// cached reads a page that is sound, through the cache.
func (j *journal) cached(ctx context.Context, c *pageCache, seq uint64) ([]byte, error) {
	return c.get(ctx, cacheKey{j.name, seq}, func() ([]byte, error) {
		page, err := j.page(ctx, seq)
		if err != nil {
			return nil, err
		}
		if _, _, err := readPage(page); err != nil {
			return page, errPage
		}
		return page, nil
	})
}

// lose declares lost what is only in a page that cannot be read. A message of
// which only the newest header is there goes on with the one before.
func (s *shard) lose(seq uint64, cause error) {
	loss := engine.Loss{What: fmt.Sprintf("page %d of %s cannot be read: %v", seq, s.journal.name, cause)}
	if page, err := s.journal.page(s.queue.life, seq); err == nil {
		loss.What += "; it is set aside in " + s.journal.setAside(seq, page)
	}
	s.mu.Lock()
	for n := uint32(1); n < s.slots.used; n++ {
		p := s.slots.at(n)
		switch {
		case p.state == slotFree:
		case p.page == seq && p.state != slotLeaving:
			k := s.slots.table[p.key]
			loss.IDs = append(loss.IDs, p.id.String())
			loss.Keys = append(loss.Keys, k.key)
			s.pages.drop(p.page)
			s.pages.drop(p.newer)
			s.slots.remove(n)
			s.slots.forget(k)
		case p.newer == seq:
			s.pages.drop(p.newer)
			p.newer = 0
		}
	}
	s.mu.Unlock()
	loss.Events = len(loss.IDs)
	slices.Sort(loss.Keys)
	loss.Keys = slices.Compact(loss.Keys)
	s.queue.lost(loss)
}

// pageCache holds the pages used last, of all journals, up to a number of bytes.
// A queue that is drained in order reads each page once. Safe for concurrent use.
type pageCache struct {
	bound int

	mu      sync.Mutex
	bytes   int
	order   list.List // of *cachedPage, the one used last in front
	pages   map[cacheKey]*list.Element
	reading map[cacheKey]chan struct{} // closed when the page has been read, or not
}

type cacheKey struct {
	journal string
	seq     uint64
}

type cachedPage struct {
	key  cacheKey
	page []byte
}

func newPageCache(bound int) *pageCache {
	return &pageCache{bound: bound, pages: make(map[cacheKey]*list.Element), reading: make(map[cacheKey]chan struct{})}
}

// get returns a page that nobody may change. One that is not there is read once for
// all who want it at the same time; what read returns with an error is not kept.
func (c *pageCache) get(ctx context.Context, key cacheKey, read func() ([]byte, error)) ([]byte, error) {
	for {
		c.mu.Lock()
		if e := c.pages[key]; e != nil {
			c.order.MoveToFront(e)
			c.mu.Unlock()
			return e.Value.(*cachedPage).page, nil
		}
		other := c.reading[key]
		if other == nil {
			break
		}
		c.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	done := make(chan struct{})
	c.reading[key] = done
	c.mu.Unlock()
	page, err := read()
	if err == nil {
		c.put(key, page)
	}
	c.mu.Lock()
	delete(c.reading, key)
	c.mu.Unlock()
	close(done)
	return page, err
}

func (c *pageCache) put(key cacheKey, page []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pages[key] != nil {
		return
	}
	c.pages[key] = c.order.PushFront(&cachedPage{key, page})
	c.bytes += len(page)
	for c.bytes > c.bound && c.order.Len() > 1 {
		old := c.order.Remove(c.order.Back()).(*cachedPage)
		delete(c.pages, old.key)
		c.bytes -= len(old.page)
	}
}
