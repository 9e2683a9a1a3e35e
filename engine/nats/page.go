package nats

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/google/uuid"
)

// A page is what one commit of a queue's shard writes, as one message of its
// stream: all or nothing. It begins with a CRC-32C of the rest, then
// the format, the tail (the first page that is still of use), how many messages
// the shard had accepted before the tail and before this page, and the records.

const pageFormat = 1

// kind says what a record does. The values are on disk.
type kind byte

const (
	kindAccept kind = 1 // a message
	kindMove   kind = 2 // a message again, because the page that held it goes
	kindHeader kind = 3 // a new header
	kindRetry  kind = 4 // a new header, and a time until which the message waits
	kindSettle kind = 5 // an outcome; the message is gone
	kindSeen   kind = 6 // an idempotency key again, because the page that held it goes
)

// id is the id of a message.
type id = uuid.UUID

// sum names an idempotency key of a queue.
type sum [16]byte

func sumOf(key, idempotency string) sum {
	full := sha256.Sum256([]byte(key + "\x00" + idempotency))
	return sum(full[:16])
}

// item is one record of a page. Which fields are used depends on the kind.
type item struct {
	kind     kind
	id       id
	key      string
	stamp    int64 // of the shard's clock: of acceptance, or of settlement
	accepted int64 // wall clock, ns
	due      int64 // wall clock, ns; 0: at once
	settled  int64 // wall clock, ns
	seen     sum   // the idempotency key, where until is not 0
	until    int64 // wall clock, ns: the end of its window
	status   string
	details  []byte
	kept     bool
	header   []byte
	body     []byte

	at uint32 // where the record begins in its page; set by reading
}

// bytes is about what the item takes in memory and in a page.
func (it *item) bytes() int { return len(it.details) + len(it.header) + len(it.body) + 128 }

// pageHead is what a page says of its shard.
type pageHead struct {
	tail     uint64
	before   uint64 // how many messages were accepted before the tail
	accepted uint64 // and before this page
}

// pageWriter builds a page. The zero value is not ready: call reset.
type pageWriter struct {
	buf  []byte
	keys map[string]uint64 // 1, 2, … in order of their first use in this page
}

func (w *pageWriter) reset(head pageHead) {
	w.buf = append(w.buf[:0], 0, 0, 0, 0, pageFormat)
	w.buf = binary.AppendUvarint(w.buf, head.tail)
	w.buf = binary.AppendUvarint(w.buf, head.before)
	w.buf = binary.AppendUvarint(w.buf, head.accepted)
	if w.keys == nil {
		w.keys = make(map[string]uint64)
	}
	clear(w.keys)
}

// add appends a record and returns where it begins. An item without a kind
// takes no room: an operation that only wants a page to be written.
func (w *pageWriter) add(it *item) (at uint32) {
	at = uint32(len(w.buf))
	if it.kind == 0 {
		return at
	}
	b := append(w.buf, byte(it.kind))
	b = append(b, it.id[:]...)
	switch it.kind {
	case kindAccept, kindMove:
		b = w.addKey(b, it.key)
		b = binary.LittleEndian.AppendUint64(b, uint64(it.stamp))
		b = binary.AppendVarint(b, it.accepted-it.stamp)
		b = binary.AppendVarint(b, it.due)
		b = addSeen(b, it)
		b = addBytes(b, it.header)
		b = addBytes(b, it.body)
	case kindHeader, kindRetry:
		b = binary.AppendVarint(b, it.due)
		b = addBytes(b, it.header)
	case kindSettle:
		b = w.addKey(b, it.key)
		b = binary.LittleEndian.AppendUint64(b, uint64(it.stamp))
		b = binary.AppendVarint(b, it.settled-it.stamp)
		b = binary.AppendVarint(b, it.accepted-it.stamp)
		b = append(addBytes(b, []byte(it.status)), flag(it.kept))
		b = addBytes(b, it.details)
		if it.kept {
			b = addBytes(b, it.header)
			b = addBytes(b, it.body)
		}
	case kindSeen:
		b = addSeen(b, it)
	}
	w.buf = b
	return at
}

func (w *pageWriter) addKey(b []byte, key string) []byte {
	if n, ok := w.keys[key]; ok {
		return binary.AppendUvarint(b, n)
	}
	w.keys[key] = uint64(len(w.keys) + 1)
	return addBytes(append(b, 0), []byte(key))
}

func addSeen(b []byte, it *item) []byte {
	b = binary.AppendVarint(b, it.until)
	if it.until != 0 {
		b = append(b, it.seen[:]...)
	}
	return b
}

func addBytes(b, field []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(field))), field...)
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// seal returns the finished page; it is the caller's until the next reset.
func (w *pageWriter) seal() []byte {
	binary.LittleEndian.PutUint32(w.buf, crc32.Checksum(w.buf[4:], castagnoli))
	return w.buf
}

var errPage = errors.New("the page is not as it was written")

// pageReader reads the records of a page in order.
type pageReader struct {
	page []byte
	at   int
	keys []string
	bad  bool
	// known, where it is not nil, returns a string that is there already for a
	// key, or "".
	known func(key []byte) string
}

// readPage checks a page and returns its head and a reader of its records.
func readPage(page []byte) (pageHead, *pageReader, error) {
	if len(page) < 5 || binary.LittleEndian.Uint32(page) != crc32.Checksum(page[4:], castagnoli) {
		return pageHead{}, nil, errPage
	}
	if page[4] != pageFormat {
		return pageHead{}, nil, fmt.Errorf("the page has format %d, and this Hearth reads %d", page[4], pageFormat)
	}
	r := &pageReader{page: page, at: 5, keys: []string{}}
	head := pageHead{tail: r.uvarint(), before: r.uvarint(), accepted: r.uvarint()}
	if r.bad {
		return head, nil, errPage
	}
	return head, r, nil
}

// next reads the next record into it, whose byte fields point into the page. It
// reports false at the end, and then err says whether that was the true one.
func (r *pageReader) next(it *item) (ok bool, err error) {
	if r.at >= len(r.page) || r.bad {
		if r.bad {
			return false, errPage
		}
		return false, nil
	}
	*it = item{at: uint32(r.at), kind: kind(r.page[r.at])}
	r.at++
	copy(it.id[:], r.take(16))
	switch it.kind {
	case kindAccept, kindMove:
		it.key = r.key()
		it.stamp = r.fixed()
		it.accepted = r.varint() + it.stamp
		it.due = r.varint()
		r.seen(it)
		it.header = r.bytes()
		it.body = r.bytes()
	case kindHeader, kindRetry:
		it.due = r.varint()
		it.header = r.bytes()
	case kindSettle:
		it.key = r.key()
		it.stamp = r.fixed()
		it.settled = r.varint() + it.stamp
		it.accepted = r.varint() + it.stamp
		it.status = string(r.bytes())
		it.kept = r.byte() == 1
		it.details = r.bytes()
		if it.kept {
			it.header = r.bytes()
			it.body = r.bytes()
		}
	case kindSeen:
		r.seen(it)
	default:
		r.bad = true
	}
	if r.bad {
		return false, errPage
	}
	return true, nil
}

// recordAt reads the one record that begins at a place of a checked page. Its key
// is not known: that stands with an earlier record.
func recordAt(page []byte, at uint32, it *item) error {
	r := pageReader{page: page, at: int(at)}
	if int64(at) >= int64(len(page)) {
		return errPage
	}
	_, err := r.next(it)
	return err
}

func (r *pageReader) take(n int) []byte {
	if n < 0 || n > len(r.page)-r.at {
		r.bad, r.at = true, len(r.page)
		return nil
	}
	r.at += n
	return r.page[r.at-n : r.at : r.at]
}

func (r *pageReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *pageReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.page)) {
		r.bad = true
		return nil
	}
	return r.take(int(n))
}

func (r *pageReader) fixed() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.LittleEndian.Uint64(b))
	}
	return 0
}

func (r *pageReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.page[min(r.at, len(r.page)):])
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.at += n
	return v
}

func (r *pageReader) varint() int64 {
	v, n := binary.Varint(r.page[min(r.at, len(r.page)):])
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.at += n
	return v
}

// key reads a key or the number of one that the page had before. A reader
// that was put into the middle of a page does not know those and returns "".
func (r *pageReader) key() string {
	n := r.uvarint()
	switch {
	case n == 0:
		b := r.bytes()
		key := ""
		if r.known != nil {
			key = r.known(b)
		}
		if key == "" {
			key = string(b)
		}
		r.keys = append(r.keys, key)
		return key
	case n <= uint64(len(r.keys)):
		return r.keys[n-1]
	case r.keys == nil:
		return ""
	}
	r.bad = true
	return ""
}

func (r *pageReader) seen(it *item) {
	if it.until = r.varint(); it.until != 0 {
		copy(it.seen[:], r.take(len(it.seen)))
	}
}
