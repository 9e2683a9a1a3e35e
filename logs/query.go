package logs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"hearth/faas"
)

// Query says which lines are wanted. Empty fields want all.
type Query struct {
	// Function may have empty fields: all functions that agree in the others.
	Function  faas.FunctionID
	Version   string
	Instance  string
	RequestID string
	Since     time.Time // not before
	Until     time.Time // before; not for Follow
	Contains  string
	// Limit bounds the lines, the first ones that match; default and at most
	// 10,000. With Tail it has no effect.
	Limit int
	// Skip leaves out the first lines that match, so that a reader goes on where it
	// was among the lines of one instant. With Tail it has no effect.
	Skip int
	// Tail wants the last lines that match, this many at most.
	Tail int
}

const (
	maxLines = 10_000
	// maxResult bounds the text of all lines of one answer, in bytes.
	maxResult = 16 << 20
)

var errEnough = errors.New("logs: enough")

// Find returns the lines that match, in the order of time, those included that
// were handed over before the call. Fewer than Limit are returned where their
// text would be over 16 MiB; ask again with Since.
func (s *Store) Find(ctx context.Context, q Query) ([]Line, error) {
	if err := s.sync(ctx); err != nil {
		return nil, err
	}
	lines, _, err := s.find(ctx, q)
	return lines, err
}

// Follow calls visit, from one goroutine and in order, with every line that is
// stored (the last 10,000, or as many as Tail says) and then with every one that
// comes. It returns when ctx ends (its cause), visit fails or the store closes.
// A visitor that is slow is behind, and reads from disk what the retention left.
func (s *Store) Follow(ctx context.Context, q Query, visit func(Line) error) error {
	if !q.Until.IsZero() {
		return faas.Errorf(faas.CodeInvalid, "until", "following has no end; leave until away")
	}
	if q.Tail <= 0 {
		q.Tail = maxLines
	}
	if err := s.sync(ctx); err != nil {
		return err
	}
	lines, at, err := s.find(ctx, q)
	if err != nil {
		return err
	}
	for _, line := range lines {
		if err := visit(line); err != nil {
			return err
		}
	}
	for {
		changed := s.changes()
		if err := s.advance(ctx, q, at, visit); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.done:
			if err := s.advance(ctx, q, at, visit); err != nil {
				return err
			}
			return ErrClosed
		}
	}
}

// cursor is a place in a function's log: the beginning of a record.
type cursor struct {
	log    *functionLog
	seq    int
	offset int64
}

// find returns the lines of all functions of a query, and where each log ended.
func (s *Store) find(ctx context.Context, q Query) ([]Line, map[faas.FunctionID]cursor, error) {
	logs, err := s.matching(q.Function)
	if err != nil {
		return nil, nil, err
	}
	if oldest := s.clock().Add(-s.limits.retention); q.Since.Before(oldest) {
		q.Since = oldest // segments are removed whole, and so a little late
	}
	r := result{tail: min(q.Tail, maxLines), limit: maxLines}
	if q.Limit > 0 {
		r.limit = min(q.Limit, maxLines)
	}
	r.limit += q.Skip
	ends := map[faas.FunctionID]cursor{}
	for _, fl := range logs {
		segments, err := fl.snapshot()
		if err != nil {
			return nil, nil, err
		}
		end := cursor{log: fl}
		if k := len(segments); k > 0 {
			end.seq, end.offset = segments[k-1].seq, segments[k-1].size
		}
		ends[fl.id] = end
		if err := fl.read(ctx, segments, q, &r); err != nil {
			return nil, nil, err
		}
	}
	if r.tail == 0 {
		r.lines = r.lines[min(q.Skip, len(r.lines)):]
	}
	return r.lines, ends, nil
}

// matching are the logs that a query is about. One that is named needs no disk.
func (s *Store) matching(id faas.FunctionID) ([]*functionLog, error) {
	if id.Account != "" && id.Region != "" && id.Namespace != "" && id.Name != "" {
		if fl := s.stored(id); fl != nil {
			return []*functionLog{fl}, nil
		}
		return nil, nil
	}
	ids, err := s.onDisk()
	if err != nil {
		return nil, err
	}
	for _, have := range ids {
		if covers(id, have) {
			s.function(have)
		}
	}
	return s.known(id), nil
}

// known are the matching logs that this run has used or looked at.
func (s *Store) known(id faas.FunctionID) (logs []*functionLog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for have, fl := range s.functions {
		if covers(id, have) {
			logs = append(logs, fl)
		}
	}
	return logs
}

func covers(want, have faas.FunctionID) bool {
	return agrees(want.Account, have.Account) && agrees(want.Region, have.Region) &&
		agrees(want.Namespace, have.Namespace) && agrees(want.Name, have.Name)
}

func agrees(want, have string) bool { return want == "" || want == have }

// advance visits what was written after the cursors and moves them.
func (s *Store) advance(ctx context.Context, q Query, at map[faas.FunctionID]cursor, visit func(Line) error) error {
	for _, fl := range s.known(q.Function) {
		c := at[fl.id]
		if c.log != fl { // new, or dropped and made again
			c = cursor{log: fl}
		}
		segments, err := fl.snapshot()
		if err != nil {
			return err
		}
		for _, seg := range segments {
			if seg.seq < c.seq {
				continue
			}
			if seg.seq > c.seq {
				c.seq, c.offset = seg.seq, 0
			}
			if err := fl.scan(ctx, seg, c.offset, q, visit); err != nil {
				return err
			}
			c.offset = seg.size
		}
		at[fl.id] = c
	}
	return nil
}

// read adds a log's matching lines to a result: from the front, or with Tail
// from the back, segment by segment.
func (fl *functionLog) read(ctx context.Context, segments []segment, q Query, r *result) error {
	if r.tail > 0 {
		slices.Reverse(segments)
	}
	mine := result{tail: r.tail, limit: r.limit}
	for _, seg := range segments {
		if !fl.mayHave(seg, q) {
			continue
		}
		part := result{tail: mine.tail, limit: mine.limit}
		err := fl.scan(ctx, seg, 0, q, part.add)
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		mine.merge(part.lines)
		if mine.full() {
			break
		}
	}
	r.merge(mine.lines)
	return nil
}

// mayHave reports whether a segment can have lines that match.
func (fl *functionLog) mayHave(seg segment, q Query) bool {
	if seg.size == 0 || !q.Since.IsZero() && seg.last < q.Since.UnixNano() ||
		!q.Until.IsZero() && seg.first >= q.Until.UnixNano() {
		return false
	}
	if q.RequestID == "" || !seg.indexed {
		return true
	}
	_, f, err := readIndex(fl.path(seg.seq, ".idx"), true)
	return err != nil || f.has(written(q.RequestID))
}

// scan visits the lines of a segment that match, from an offset on.
func (fl *functionLog) scan(ctx context.Context, seg segment, from int64, q Query, visit func(Line) error) error {
	if from >= seg.size {
		return nil
	}
	file, err := os.Open(fl.path(seg.seq, ".log"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the retention was faster
	}
	if err != nil {
		return err
	}
	defer file.Close()
	request := written(q.RequestID)
	_, err = eachRecord(file, from, seg.size, func(raw []byte) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		t, id, ok := peek(raw)
		if !ok || len(request) > 0 && !bytes.Equal(id, request) || !q.Since.IsZero() && t < q.Since.UnixNano() {
			return nil
		}
		rec, ok := parseRecord(raw)
		if !ok || !q.wants(&rec) {
			return nil
		}
		return fl.visitLines(&rec, q, visit)
	})
	return err
}

func (fl *functionLog) visitLines(rec *record, q Query, visit func(Line) error) error {
	line := Line{Time: time.Unix(0, rec.Time).UTC(), Function: fl.id, Version: rec.Version,
		Instance: rec.Instance, RequestID: rec.Request}
	for _, text := range rec.Lines {
		if !strings.Contains(text, q.Contains) {
			continue
		}
		line.Text = text
		if err := visit(line); err != nil {
			return err
		}
	}
	return nil
}

func (q *Query) wants(r *record) bool {
	t := time.Unix(0, r.Time)
	return agrees(q.Version, r.Version) && agrees(q.Instance, r.Instance) && agrees(validString(q.RequestID), r.Request) &&
		!t.Before(q.Since) && (q.Until.IsZero() || t.Before(q.Until))
}

// result is a bounded list of lines in the order of time: the first that came,
// or with tail > 0 the last.
type result struct {
	tail, limit int
	lines       []Line
	bytes       int
}

func (r *result) most() int {
	if r.tail > 0 {
		return r.tail
	}
	return r.limit
}

func (r *result) full() bool { return len(r.lines) >= r.most() || r.bytes >= maxResult }

// add appends the next line of a segment.
func (r *result) add(line Line) error {
	r.lines = append(r.lines, line)
	r.bytes += len(line.Text)
	if r.tail == 0 && r.full() {
		r.cut()
		return errEnough
	}
	if len(r.lines) >= 2*r.most() || r.bytes >= 2*maxResult {
		r.cut()
	}
	return nil
}

// merge adds the lines of another segment (with tail the one before) or function.
func (r *result) merge(lines []Line) {
	if r.tail > 0 {
		r.lines = slices.Concat(lines, r.lines)
	} else {
		r.lines = append(r.lines, lines...)
	}
	slices.SortStableFunc(r.lines, func(a, b Line) int { return a.Time.Compare(b.Time) })
	r.cut()
}

// cut keeps what fits, from the end that counts.
func (r *result) cut() {
	if r.tail > 0 {
		slices.Reverse(r.lines)
		defer func() { slices.Reverse(r.lines) }()
	}
	r.bytes = 0
	for i, line := range r.lines {
		if i == r.most() || i > 0 && r.bytes+len(line.Text) > maxResult {
			clear(r.lines[i:])
			r.lines = r.lines[:i]
			break
		}
		r.bytes += len(line.Text)
	}
}
