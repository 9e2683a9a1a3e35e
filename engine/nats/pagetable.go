package nats

// pageTable counts what each page of a journal is still needed for. The tail is the
// oldest page that is; pages leave from there only, so whatever says that a message
// has ended outlives the page with the message.
type pageTable struct {
	tail  uint64
	pages []pageUse // from tail on, without a gap
	bytes int64     // of all pages
	freed int64     // bytes of pages that left; whoever removes them sets it to 0
	// before counts the messages accepted in pages before the tail.
	before uint64
}

// pageUse is what one page is needed for.
type pageUse struct {
	bytes    uint32
	live     uint32 // messages, headers and idempotency keys that are only here
	accepted uint32 // messages
}

// end returns the sequence after the newest page.
func (t *pageTable) end() uint64 { return t.tail + uint64(len(t.pages)) }

// add appends a page. Sequences that are skipped are pages that were lost.
func (t *pageTable) add(seq uint64, bytes, accepted int) {
	if len(t.pages) == 0 {
		t.tail = max(t.tail, seq)
	}
	for t.end() < seq {
		t.pages = append(t.pages, pageUse{})
	}
	t.pages = append(t.pages, pageUse{bytes: uint32(bytes), accepted: uint32(accepted)})
	t.bytes += int64(bytes)
}

// hold and drop count a use of a page. Pages before the tail have none.
func (t *pageTable) hold(seq uint64) {
	if seq >= t.tail && seq < t.end() {
		t.pages[seq-t.tail].live++
	}
}

func (t *pageTable) drop(seq uint64) {
	if seq >= t.tail && seq < t.end() && t.pages[seq-t.tail].live > 0 {
		t.pages[seq-t.tail].live--
	}
}

// advance moves the tail over pages that nothing needs, not beyond limit.
func (t *pageTable) advance(limit uint64) {
	n := 0
	for n < len(t.pages) && t.tail < limit && t.pages[n].live == 0 {
		t.bytes -= int64(t.pages[n].bytes)
		t.freed += int64(t.pages[n].bytes)
		t.before += uint64(t.pages[n].accepted)
		t.tail++
		n++
	}
	t.pages = t.pages[n:]
	if len(t.pages) == 0 {
		t.pages = nil
	}
}
