package nats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"hearth/engine"
)

// historyShard is the record of what one shard settled. An outcome is durable in the
// shard's journal first; hundreds at a time are then written to a journal of their
// own, which forgets by age and size, and from then on the first may go. A second
// small journal has a summary of each page; summaries are in memory too.
type historyShard struct {
	pages     *journal
	summaries *journal
	queue     *queue

	flushing sync.Mutex // one flush at a time

	mu     sync.Mutex
	recent []recent   // not flushed yet, by stamp
	byID   map[id]int // of recent: its index, and gone
	gone   int        // how many recent ones have left by flushing
	bytes  int        // of recent
	index  []summary  // by page
	flush  uint64     // outcomes up to this page of the shard's journal are flushed
}

// recent is an outcome that is only in the shard's journal.
type recent struct {
	item item // owns its bytes
	page uint64
}

// add takes in an outcome that is durable in a page of the shard's journal. It
// reports whether it is time to flush.
func (h *historyShard) add(it *item, page uint64) (due bool) {
	own := *it
	own.details, own.header, own.body = bytes.Clone(it.details), bytes.Clone(it.header), bytes.Clone(it.body)
	h.mu.Lock()
	defer h.mu.Unlock()
	if page <= h.flush {
		return false // read again at a start, and flushed before it
	}
	h.byID[own.id] = len(h.recent) + h.gone
	h.recent = append(h.recent, recent{own, page})
	h.bytes += own.bytes()
	return h.dueLocked()
}

func (h *historyShard) dueLocked() bool {
	l := h.queue.limits
	return h.bytes >= l.flush || len(h.recent) >= l.flushRecords
}

func (h *historyShard) due() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dueLocked()
}

// flushed returns the page of the shard's journal up to which nothing waits, so
// that the pages before the first that does may go.
func (h *historyShard) flushed(end uint64) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.recent) == 0 {
		return end
	}
	return h.recent[0].page
}

// write flushes all that waits. An error that comes after the page is on disk
// would have it written twice, so none of those is returned.
func (h *historyShard) write(ctx context.Context) error {
	h.flushing.Lock()
	defer h.flushing.Unlock()
	for {
		batch := h.batch()
		if len(batch) == 0 {
			return nil
		}
		if err := h.writeBatch(ctx, batch); err != nil {
			return err
		}
	}
}

// batch returns the outcomes of the next page: whole pages of the shard's journal,
// so that a page of the history says exactly how far it goes. A page of the
// journal has one message above its target at most: all fits.
func (h *historyShard) batch() []recent {
	h.mu.Lock()
	defer h.mu.Unlock()
	size, n := 0, 0
	for n < len(h.recent) && (n == 0 || size < h.queue.limits.flush || h.recent[n].page == h.recent[n-1].page) {
		size += h.recent[n].item.bytes()
		n++
	}
	return h.recent[:n:n]
}

func (h *historyShard) writeBatch(ctx context.Context, batch []recent) error {
	if err := h.queue.room.forDelete(h.pages.name); err != nil {
		return err
	}
	items := make([]item, len(batch))
	for i, r := range batch {
		items[i] = r.item
	}
	through := batch[len(batch)-1].page
	var w pageWriter
	w.reset(pageHead{tail: through})
	for i := range items {
		w.add(&items[i])
	}
	seq, err := h.pages.append(w.seal())
	if err != nil {
		return err
	}
	brief := summarize(seq, items)
	if _, err := h.summaries.append(brief.encode()); err != nil && h.queue.life.Err() == nil {
		h.queue.log.Warn("a page of the history has no summary until the next start", "page", seq, "error", err)
	}
	first, err := h.pages.first(ctx)
	if err := errors.Join(err, h.pages.mark.raise(seq)); err != nil && h.queue.life.Err() == nil {
		h.queue.log.Warn("after a page of the history", "page", seq, "error", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.flush = through
	h.index = append(h.index, brief)
	for _, r := range batch {
		h.bytes -= r.item.bytes()
		if h.byID[r.item.id] < h.gone+len(batch) {
			delete(h.byID, r.item.id)
		}
	}
	h.recent = slices.Clone(h.recent[len(batch):])
	h.gone += len(batch)
	h.forgetLocked(first)
	return nil
}

// forgetLocked drops the summaries of pages that were forgotten.
func (h *historyShard) forgetLocked(first uint64) {
	n, _ := slices.BinarySearchFunc(h.index, first, func(s summary, seq uint64) int {
		if s.page < seq {
			return -1
		}
		return 1
	})
	if n > 0 {
		h.index = slices.Clone(h.index[n:])
	}
}

// get returns the record of an id, or false.
func (h *historyShard) get(ctx context.Context, i id) (engine.Record, bool, error) {
	h.mu.Lock()
	if n, ok := h.byID[i]; ok {
		r := recordOf(&h.recent[n-h.gone].item)
		h.mu.Unlock()
		return r, true, nil
	}
	index := h.index
	h.mu.Unlock()
	hash := hashID(i)
	for _, s := range slices.Backward(index) {
		if !s.filter.has(hash) {
			continue
		}
		items, err := h.read(ctx, s.page)
		if err != nil {
			return engine.Record{}, false, err
		}
		for n := range items {
			if items[n].id == i {
				return recordOf(&items[n]), true, nil
			}
		}
	}
	return engine.Record{}, false, nil
}

// list returns the records that q selects, the newest first.
func (h *historyShard) list(ctx context.Context, q engine.Query) ([]engine.Record, error) {
	var found []engine.Record
	take := func(it *item) (enough bool) {
		if r := recordOf(it); q.Selects(r) {
			r.Header, r.Body = nil, nil
			found = append(found, r)
		}
		return len(found) == q.Limit
	}
	h.mu.Lock()
	for n := len(h.recent) - 1; n >= 0; n-- {
		if take(&h.recent[n].item) {
			h.mu.Unlock()
			return found, nil
		}
	}
	index := h.index
	h.mu.Unlock()
	hash := hashPair(q.Prefix, q.Status)
	for _, s := range slices.Backward(index) {
		if !s.mayHold(q, hash) {
			continue
		}
		items, err := h.read(ctx, s.page)
		if err != nil {
			return nil, err
		}
		for n := len(items) - 1; n >= 0; n-- {
			if take(&items[n]) {
				return found, nil
			}
		}
	}
	return found, nil
}

// mayHold reports false only where the page has nothing that q selects.
func (s *summary) mayHold(q engine.Query, hash uint64) bool {
	return (q.Before == 0 || s.first < int64(q.Before)) &&
		(q.Since.IsZero() || s.until >= q.Since.UnixNano()) &&
		(q.Until.IsZero() || s.since < q.Until.UnixNano()) &&
		(q.Prefix == "" && q.Status == "" || s.filter.has(hash))
}

// read returns the outcomes of a page; none where it was forgotten meanwhile or
// cannot be read, which is told.
func (h *historyShard) read(ctx context.Context, seq uint64) ([]item, error) {
	page, err := h.pages.cached(ctx, h.queue.cache, seq)
	if errors.Is(err, errGone) {
		first, failure := h.pages.first(ctx)
		if failure != nil || seq < first {
			return nil, failure
		}
	}
	if errors.Is(err, errGone) || errors.Is(err, errPage) {
		h.lose(seq, err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	_, items, err := readItems(page)
	return items, err
}

// lose tells of a page of the history that cannot be read, once.
func (h *historyShard) lose(seq uint64, cause error) {
	h.mu.Lock()
	n := slices.IndexFunc(h.index, func(s summary) bool { return s.page == seq })
	if n >= 0 {
		h.index = slices.Delete(slices.Clone(h.index), n, n+1)
	}
	h.mu.Unlock()
	if n >= 0 {
		h.queue.lost(engine.Loss{What: fmt.Sprintf("page %d of %s, records of settled messages, cannot be read: %v", seq, h.pages.name, cause)})
	}
}

// readItems reads all records of a page.
func readItems(page []byte) (pageHead, []item, error) {
	head, r, err := readPage(page)
	if err != nil {
		return head, nil, err
	}
	var items []item
	for {
		var it item
		ok, err := r.next(&it)
		if !ok {
			return head, items, err
		}
		items = append(items, it)
	}
}

// recordOf copies an outcome into a record.
func recordOf(it *item) engine.Record {
	return engine.Record{
		ID: it.id.String(), Key: it.key, Status: it.status, Details: bytes.Clone(it.details),
		Accepted: unixNano(it.accepted), Settled: unixNano(it.settled), Cursor: uint64(it.stamp),
		Kept: it.kept, Header: bytes.Clone(it.header), Body: bytes.Clone(it.body),
	}
}
