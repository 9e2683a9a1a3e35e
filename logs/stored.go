package logs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"hearth/faas"
)

// Stored is what is stored of one function.
type Stored struct {
	Function faas.FunctionID
	First    time.Time // of its lines
	Last     time.Time
	Bytes    int64 // on disk
}

// Writer is one instance that wrote to a function's log.
type Writer struct {
	Version  string
	Instance string
	First    time.Time // of its lines that are stored
	Last     time.Time
}

// Stored returns the functions that have lines, sorted by name; empty fields of an
// id are any.
func (s *Store) Stored(ctx context.Context, id faas.FunctionID) ([]Stored, error) {
	if err := s.sync(ctx); err != nil {
		return nil, err
	}
	logs, err := s.matching(id)
	if err != nil {
		return nil, err
	}
	var all []Stored
	for _, fl := range logs {
		segments, err := fl.snapshot()
		if err != nil {
			return nil, err
		}
		if one, ok := summary(fl.id, segments); ok {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b Stored) int { return cmp.Compare(a.Function.Name, b.Function.Name) })
	return all, nil
}

func summary(id faas.FunctionID, segments []segment) (Stored, bool) {
	one := Stored{Function: id}
	for _, seg := range segments {
		if seg.size == 0 {
			continue
		}
		one.Bytes += seg.size
		if first := time.Unix(0, seg.first).UTC(); one.First.IsZero() || first.Before(one.First) {
			one.First = first
		}
		if last := time.Unix(0, seg.last).UTC(); last.After(one.Last) {
			one.Last = last
		}
	}
	return one, one.Bytes > 0
}

// Writers returns the instances that wrote what is stored of a function, in the order
// of their first lines.
func (s *Store) Writers(ctx context.Context, id faas.FunctionID) ([]Writer, error) {
	if err := s.sync(ctx); err != nil {
		return nil, err
	}
	fl := s.stored(id)
	if fl == nil {
		return nil, nil
	}
	segments, err := fl.snapshot()
	if err != nil {
		return nil, err
	}
	found := map[[2]string]*Writer{}
	for _, seg := range segments {
		if err := fl.writers(ctx, seg, found); err != nil {
			return nil, err
		}
	}
	all := make([]Writer, 0, len(found))
	for _, w := range found {
		all = append(all, *w)
	}
	slices.SortFunc(all, func(a, b Writer) int {
		return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Instance, b.Instance))
	})
	return all, nil
}

// writers adds those of a segment. What a full one has is remembered.
func (fl *functionLog) writers(ctx context.Context, seg segment, found map[[2]string]*Writer) error {
	fl.mu.Lock()
	known := fl.wrote[seg.seq]
	fl.mu.Unlock()
	if known == nil {
		var err error
		if known, err = fl.readWriters(ctx, seg); err != nil {
			return err
		}
		if seg.indexed {
			fl.mu.Lock()
			if fl.wrote == nil {
				fl.wrote = map[int][]Writer{}
			}
			fl.wrote[seg.seq] = known
			fl.mu.Unlock()
		}
	}
	for _, w := range known {
		addWriter(found, w)
	}
	return nil
}

func addWriter(found map[[2]string]*Writer, in Writer) {
	w := found[[2]string{in.Version, in.Instance}]
	if w == nil {
		found[[2]string{in.Version, in.Instance}] = &in
		return
	}
	if in.First.Before(w.First) {
		w.First = in.First
	}
	if in.Last.After(w.Last) {
		w.Last = in.Last
	}
}

func (fl *functionLog) readWriters(ctx context.Context, seg segment) ([]Writer, error) {
	found := map[[2]string]*Writer{}
	file, err := os.Open(fl.path(seg.seq, ".log"))
	if errors.Is(err, fs.ErrNotExist) {
		return []Writer{}, nil // the retention was faster
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	_, err = eachRecord(file, 0, seg.size, func(raw []byte) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if t, version, instance, ok := peekWriter(raw); ok {
			at := time.Unix(0, t).UTC()
			addWriter(found, Writer{Version: version, Instance: instance, First: at, Last: at})
		}
		return nil
	})
	all := make([]Writer, 0, len(found))
	for _, w := range found {
		all = append(all, *w)
	}
	return all, err
}

// peekWriter reads the time and the writer of a record without its lines. A quote in
// a string of a record is escaped, so that what is looked for is in none.
func peekWriter(raw []byte) (t int64, version, instance string, ok bool) {
	t, _, ok = peek(raw)
	_, rest, found := bytes.Cut(raw, []byte(`,"v":"`))
	v, rest, found2 := bytes.Cut(rest, []byte(`","i":"`))
	i, _, found3 := bytes.Cut(rest, []byte(`"`))
	if !ok || !found || !found2 || !found3 {
		return 0, "", "", false
	}
	if bytes.IndexByte(v, '\\') < 0 && bytes.IndexByte(i, '\\') < 0 {
		return t, string(v), string(i), true
	}
	rec, ok := parseRecord(raw)
	return rec.Time, rec.Version, rec.Instance, ok
}
