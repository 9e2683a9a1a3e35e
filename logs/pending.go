package logs

import (
	"sync"
	"time"
)

const (
	// pendingHigh is where a stream asks for the writer and reads no more by itself.
	pendingHigh = 128 << 10
	// pendingBytes bounds what one instance may have waiting for the writer; the
	// oldest goes where the disk cannot follow. It has room for what a barrier may
	// read above pendingHigh without waiting: a read, a longest line with it, and
	// the unfinished lines of all invocations.
	pendingBytes = pendingHigh + 2*readBytes + maxLine + maxParts
	// keptBytes is how large a buffer may be to be used again: an idle instance
	// must not hold the memory of its noisiest moment.
	keptBytes = 8 << 10
)

// pending is a bounded queue of attributed blocks of lines. Not safe for
// concurrent use.
type pending struct {
	data    []byte
	blocks  []block
	dropped int64 // bytes dropped before the first block
}

// block is a run of lines, each ended by '\n', with one time and one request.
type block struct {
	time    int64
	request string
	size    int // bytes in pending.data
}

func (p *pending) add(t int64, request string, lines []byte) {
	p.data = append(p.data, lines...)
	n := len(p.blocks)
	if n > 0 && p.blocks[n-1].joins(t, request, len(lines)) {
		p.blocks[n-1].size += len(lines)
	} else {
		p.blocks = append(p.blocks, block{time: t, request: request, size: len(lines)})
	}
	if len(p.data) > pendingBytes {
		p.dropOldest()
	}
}

// joins reports whether lines may be part of a block: times are kept to the
// millisecond, which is what clients see.
func (b *block) joins(t int64, request string, size int) bool {
	return b.request == request && t-b.time < int64(time.Millisecond) && b.size+size <= readBytes
}

// dropOldest makes room in one go, as moving the rest is what costs.
func (p *pending) dropOldest() {
	bytes, n := 0, 0
	for n < len(p.blocks)-1 && len(p.data)-bytes > pendingHigh {
		bytes += p.blocks[n].size
		n++
	}
	p.dropped += int64(bytes)
	p.data = append(p.data[:0], p.data[bytes:]...)
	p.blocks = append(p.blocks[:0], p.blocks[n:]...)
}

var pendings = sync.Pool{New: func() any { return new(pending) }}

// recycle gives a buffer back that the writer is done with.
func (p *pending) recycle() {
	if cap(p.data) > keptBytes || cap(p.blocks) > keptBytes/64 {
		return
	}
	clear(p.blocks)
	p.data, p.blocks, p.dropped = p.data[:0], p.blocks[:0], 0
	pendings.Put(p)
}
