package nats

import (
	"context"
	"errors"

	"hearth/engine"
)

// open reads the summaries, makes those that a crash left out, and finds how far
// the shard's journal had been flushed.
func (h *historyShard) open(ctx context.Context) error {
	known := make(map[uint64]summary)
	err := h.summaries.scan(ctx, 1, func(_ uint64, page []byte) error {
		if s, err := decodeSummary(page); err == nil {
			known[s.page] = s
		}
		return nil
	})
	if err != nil {
		return err
	}
	first, err := h.pages.first(ctx)
	if err != nil {
		return err
	}
	for seq := max(first, 1); seq <= h.pages.last; seq++ {
		s, ok := known[seq]
		if !ok || seq == h.pages.last {
			if s, ok, err = h.reread(ctx, seq); err != nil {
				return err
			}
		}
		if ok {
			h.index = append(h.index, s)
		}
	}
	if cut := h.pages.cut; cut > 0 {
		h.queue.lost(engine.Loss{What: "the last pages of " + h.pages.name + ", records of settled messages, are lost"})
	}
	return nil
}

// reread makes the summary of a page from the page.
func (h *historyShard) reread(ctx context.Context, seq uint64) (summary, bool, error) {
	page, err := h.pages.page(ctx, seq)
	var head pageHead
	var items []item
	if err == nil {
		head, items, err = readItems(page)
	}
	if errors.Is(err, errGone) || errors.Is(err, errPage) {
		h.queue.lost(engine.Loss{What: "a page of " + h.pages.name + ", records of settled messages, is lost"})
		return summary{}, false, nil
	}
	if err != nil {
		return summary{}, false, err
	}
	h.flush = max(h.flush, head.tail)
	return summarize(seq, items), true, nil
}
