package nats

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"strings"
)

// summary says what a page of the history may hold, so that most pages need not be
// read: its times, and a Bloom filter of ids, keys and their prefixes, statuses, and
// pairs of prefix and status.
type summary struct {
	page         uint64
	first, last  int64 // stamps
	since, until int64 // the earliest and the latest settlement, wall clock, ns
	filter       filter
}

const (
	bitsPerEntry = 12
	filterProbes = 6
)

// summarize builds the summary of a page's items.
func summarize(page uint64, items []item) summary {
	s := summary{page: page}
	set := make(map[uint64]bool, len(items)*2)
	for i, it := range items {
		if i == 0 || it.settled < s.since {
			s.since = it.settled
		}
		if i == 0 || it.settled > s.until {
			s.until = it.settled
		}
		if i == 0 {
			s.first = it.stamp
		}
		s.last = it.stamp
		set[hashID(it.id)] = true
		set[hashPair("", it.status)] = true
		for end := range prefixes(it.key) {
			set[hashPair(it.key[:end], "")] = true
			set[hashPair(it.key[:end], it.status)] = true
		}
	}
	s.filter = make(filter, (len(set)*bitsPerEntry+63)/64)
	for h := range set {
		s.filter.add(h)
	}
	return s
}

// prefixes yields the lengths of a key's prefixes of whole tokens.
func prefixes(key string) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for end := 0; ; {
			next := strings.IndexByte(key[end:], '/')
			if next < 0 {
				yield(len(key))
				return
			}
			if !yield(end + next) {
				return
			}
			end += next + 1
		}
	}
}

// encode and decodeSummary write and read a summary.
func (s summary) encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, s.page)
	for _, v := range []int64{s.first, s.last, s.since, s.until} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	for _, word := range s.filter {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	return b
}

func decodeSummary(b []byte) (summary, error) {
	if len(b) < 48 || len(b)%8 != 0 {
		return summary{}, errors.New("the summary is not as it was written")
	}
	word := func(n int) uint64 { return binary.LittleEndian.Uint64(b[8*n:]) }
	s := summary{page: word(0), first: int64(word(1)), last: int64(word(2)), since: int64(word(3)), until: int64(word(4))}
	for n := 5; n < len(b)/8; n++ {
		s.filter = append(s.filter, word(n))
	}
	return s, nil
}

// filter is a Bloom filter.
type filter []uint64

func (f filter) add(hash uint64) {
	for i := range uint64(filterProbes) {
		bit := f.bit(hash, i)
		f[bit/64] |= 1 << (bit % 64)
	}
}

// has reports false only where hash was not added.
func (f filter) has(hash uint64) bool {
	for i := range uint64(filterProbes) {
		bit := f.bit(hash, i)
		if f[bit/64]&(1<<(bit%64)) == 0 {
			return false
		}
	}
	return true
}

func (f filter) bit(hash, probe uint64) uint64 {
	mixed := hash + probe*(bits.RotateLeft64(hash, 32)|1)
	high, _ := bits.Mul64(mixed, uint64(len(f))*64)
	return high
}

// Hashes are stored, so they must stay what they are: FNV-1a, mixed.

func hashID(i id) uint64 { return mix(fnv(fnvStart, i[:])) }

// hashPair hashes a prefix of a key and a status; either may be empty.
func hashPair(prefix, status string) uint64 {
	return mix(fnv(fnv(fnv(fnvStart, prefix), "\x00"), status))
}

const fnvStart = 14695981039346656037

func fnv[T string | []byte](h uint64, s T) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
