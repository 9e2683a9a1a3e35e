package logs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"hash/maphash"
	"io"
	"os"
)

// index is what is known of a full segment without reading it.
type index struct {
	Format int   `json:"format"`
	Size   int64 `json:"size"`  // of the segment that was indexed
	First  int64 `json:"first"` // times of its records
	Last   int64 `json:"last"`
	Bits   int   `json:"bits"` // of the filter that follows the line of JSON
}

const (
	indexFormat    = 1
	bitsPerRequest = 10
	probes         = 7 // about 1 % false answers
	maxFilterBits  = 8 << 20
)

// filter is a Bloom filter of request ids.
type filter []byte

func newFilter(requests int) filter {
	bits := min(max(requests*bitsPerRequest, 64), maxFilterBits)
	return make(filter, (bits+7)/8)
}

// slots yields the bits of one id. The hash is FNV-1a, written out: it must be the
// same in every run and every version, unlike maphash.
func (f filter) slots(id []byte, visit func(bit uint64) bool) bool {
	h := uint64(14695981039346656037)
	for _, c := range id {
		h = (h ^ uint64(c)) * 1099511628211
	}
	step := h>>33 | 1
	bits := uint64(len(f)) * 8
	for range probes {
		if !visit(h % bits) {
			return false
		}
		h += step
	}
	return true
}

func (f filter) add(id []byte) {
	f.slots(id, func(bit uint64) bool { f[bit/8] |= 1 << (bit % 8); return true })
}

func (f filter) has(id []byte) bool {
	return len(f) > 0 && f.slots(id, func(bit uint64) bool { return f[bit/8]&(1<<(bit%8)) != 0 })
}

// eachRecord calls visit with every whole record of the first size bytes of a
// segment, from an offset that is the beginning of one, and returns where the
// last whole one ended. What is no record is for visit to skip.
func eachRecord(r io.ReaderAt, from, size int64, visit func(raw []byte) error) (end int64, err error) {
	end = from
	in := bufio.NewReaderSize(io.NewSectionReader(r, from, max(0, size-from)), 128<<10)
	var long []byte // the beginning of a record that is longer than the buffer
	skipping := false
	for at := from; ; {
		part, err := in.ReadSlice('\n')
		at += int64(len(part))
		switch {
		case errors.Is(err, io.EOF):
			return end, nil
		case errors.Is(err, bufio.ErrBufferFull):
			skipping = skipping || len(long)+len(part) > maxRecord
			if !skipping {
				long = append(long, part...)
			}
			continue
		case err != nil:
			return end, err
		}
		end = at
		if len(long) > 0 {
			part = append(long, part...)
		}
		if !skipping {
			if err := visit(part); err != nil {
				return end, err
			}
		}
		skipping, long = false, long[:0]
	}
}

// survey reads a segment and returns its index, its filter, and where its last
// whole record ended.
func survey(r io.ReaderAt, size int64) (index, filter, int64, error) {
	x := index{Format: indexFormat}
	seed := maphash.MakeSeed()
	seen := map[uint64]struct{}{}
	var ids [][]byte
	end, err := eachRecord(r, 0, size, func(raw []byte) error {
		t, request, ok := peek(raw)
		if !ok {
			return nil
		}
		if x.First == 0 || t < x.First {
			x.First = t
		}
		x.Last = max(x.Last, t)
		h := maphash.Bytes(seed, request)
		if _, ok := seen[h]; !ok && len(request) > 0 {
			seen[h] = struct{}{}
			ids = append(ids, bytes.Clone(request))
		}
		return nil
	})
	f := newFilter(len(ids))
	for _, id := range ids {
		f.add(id)
	}
	x.Size, x.Bits = end, len(f)*8
	return x, f, end, err
}

// writeIndex replaces a segment's index in one step.
func writeIndex(path string, x index, f filter) error {
	head, err := json.Marshal(x)
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, append(append(head, '\n'), f...), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// readIndex reads an index; the filter only where it is wanted.
func readIndex(path string, wantFilter bool) (index, filter, error) {
	file, err := os.Open(path)
	if err != nil {
		return index{}, nil, err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 512)
	head, err := in.ReadSlice('\n')
	if err != nil {
		return index{}, nil, err
	}
	var x index
	if err := json.Unmarshal(head, &x); err != nil {
		return index{}, nil, err
	}
	if x.Format != indexFormat || x.Bits < 8 || x.Bits > maxFilterBits+8 {
		return index{}, nil, errors.New("logs: index of another format")
	}
	if !wantFilter {
		return x, nil, nil
	}
	f := make(filter, x.Bits/8)
	_, err = io.ReadFull(in, f)
	return x, f, err
}
