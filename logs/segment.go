package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hearth/faas"
)

// functionLog is one function's log on disk: segments, of which the last one is
// appended to. Its methods that touch the disk are for the writer and for queries.
type functionLog struct {
	id     faas.FunctionID
	dir    string
	limits segmentLimits
	budget *budget

	mu       sync.Mutex
	loaded   bool
	dropped  bool // the function is gone: what still comes is discarded
	segments []segment
	seq      int              // the highest so far: followers count on its growth
	active   *os.File         // the last segment, open for appending; nil where it is not
	failed   int64            // bytes that could not be written since the last success
	idle     int              // sweeps since the last append
	wrote    map[int][]Writer // whose lines are in full segments, by seq
}

// segmentLimits bound a function's log.
type segmentLimits struct {
	retention time.Duration
	total     int64         // bytes of all segments
	size      int64         // bytes of one
	age       time.Duration // of one, first record to last
}

type segment struct {
	seq         int
	size        int64 // whole records only
	first, last int64 // times of its records; 0 where it has none
	indexed     bool  // has an index on disk
}

func (fl *functionLog) path(seq int, ext string) string {
	return filepath.Join(fl.dir, fmt.Sprintf("%08d%s", seq, ext))
}

// loadLocked reads what is on disk, once. It surveys segments without an index
// (the last one, and any that a crash left) and cuts a torn tail off.
func (fl *functionLog) loadLocked() error {
	if fl.loaded {
		return nil
	}
	found, err := os.ReadDir(fl.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fl.segments = nil
	for _, f := range found { // sorted by name, and so by sequence
		name, ok := strings.CutSuffix(f.Name(), ".log")
		seq, err := strconv.Atoi(name)
		if !ok || err != nil {
			continue
		}
		s, err := fl.loadSegment(seq)
		if err != nil {
			return err
		}
		fl.segments = append(fl.segments, s)
		fl.seq = max(fl.seq, seq)
	}
	slices.SortFunc(fl.segments, func(a, b segment) int { return a.seq - b.seq })
	fl.loaded = true
	return nil
}

func (fl *functionLog) loadSegment(seq int) (segment, error) {
	path := fl.path(seq, ".log")
	info, err := os.Stat(path)
	if err != nil {
		return segment{}, err
	}
	if x, _, err := readIndex(fl.path(seq, ".idx"), false); err == nil && x.Size == info.Size() {
		return segment{seq: seq, size: x.Size, first: x.First, last: x.Last, indexed: true}, nil
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return segment{}, err
	}
	defer file.Close()
	x, _, end, err := survey(file, info.Size())
	if err != nil {
		return segment{}, err
	}
	if end < info.Size() {
		if err := file.Truncate(end); err != nil {
			return segment{}, err
		}
	}
	return segment{seq: seq, size: end, first: x.First, last: x.Last}, nil
}

// append writes encoded records with times from first to last. What it cannot
// write is gone, and counted: the next append that succeeds says so.
func (fl *functionLog) append(records []byte, first, last int64) (err error) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.dropped {
		return nil
	}
	fl.idle = 0
	lost, given := fl.failed, int64(len(records))
	if lost > 0 {
		note := appendRecord(nil, first, &Source{}, "", droppedLine(lost))
		records = append(note, records...)
	}
	defer func() {
		fl.failed = 0
		if err != nil {
			fl.failed = lost + given
		}
	}()
	if err := fl.openLocked(int64(len(records)), last); err != nil {
		return err
	}
	s := &fl.segments[len(fl.segments)-1]
	if n, err := fl.active.Write(records); err != nil {
		fl.undoLocked(s, n)
		return err
	}
	s.size += int64(len(records))
	if s.first == 0 || first < s.first {
		s.first = first
	}
	s.last = max(s.last, last)
	return nil
}

// undoLocked takes back a write that was cut short. Where even that fails the
// segment is left behind: its torn record is skipped by readers.
func (fl *functionLog) undoLocked(s *segment, written int) {
	if written == 0 {
		return
	}
	if err := fl.active.Truncate(s.size); err != nil {
		fl.closeLocked()
		fl.loaded = false
	}
}

// openLocked makes the last segment ready for n more bytes at a time.
func (fl *functionLog) openLocked(n, now int64) error {
	if err := fl.loadLocked(); err != nil {
		return err
	}
	if k := len(fl.segments); k > 0 && !fl.fullLocked(fl.segments[k-1], n, now) {
		if fl.active != nil {
			return nil
		}
		file, err := os.OpenFile(fl.path(fl.segments[k-1].seq, ".log"), os.O_WRONLY|os.O_APPEND, 0)
		fl.active = file
		return err
	}
	fl.closeLocked()
	fl.trimLocked(now, max(n, fl.limits.size))
	if err := os.MkdirAll(fl.dir, 0o700); err != nil {
		return err
	}
	seq := fl.seq + 1
	file, err := os.OpenFile(fl.path(seq, ".log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	fl.active, fl.seq = file, seq
	fl.segments = append(fl.segments, segment{seq: seq})
	return nil
}

func (fl *functionLog) fullLocked(s segment, n, now int64) bool {
	if s.indexed {
		return true
	}
	return s.size > 0 && (s.size+n > fl.limits.size || now-s.first > int64(fl.limits.age))
}

func (fl *functionLog) close() {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.closeLocked()
}

func (fl *functionLog) closeLocked() {
	if fl.active != nil {
		fl.active.Close() // nothing of it is buffered here
		fl.active = nil
	}
}

// trimLocked removes the segments that are too old, or too much with need more bytes.
func (fl *functionLog) trimLocked(now, need int64) {
	total := need
	for _, s := range fl.segments {
		total += s.size
	}
	keep := 0
	for _, s := range fl.segments {
		old := s.last != 0 && now-s.last > int64(fl.limits.retention)
		if !old && total <= fl.limits.total {
			break
		}
		if keep == len(fl.segments)-1 {
			fl.closeLocked()
		}
		if !fl.removeLocked(s.seq) {
			break // tried again at the next sweep
		}
		total -= s.size
		keep++
	}
	fl.segments = slices.Delete(fl.segments, 0, keep)
}

func (fl *functionLog) removeLocked(seq int) bool {
	for _, ext := range []string{".idx", ".log"} {
		if err := os.Remove(fl.path(seq, ext)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	delete(fl.wrote, seq)
	return true
}

// seal indexes the full segments that have no index yet. It reads them without
// the lock: nothing writes to them any more.
func (fl *functionLog) seal() error {
	fl.mu.Lock()
	var todo []segment
	if k := len(fl.segments); k > 0 && !fl.dropped {
		for _, s := range fl.segments[:k-1] {
			if !s.indexed {
				todo = append(todo, s)
			}
		}
	}
	fl.mu.Unlock()
	for _, s := range todo {
		if err := fl.sealOne(s); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (fl *functionLog) sealOne(s segment) error {
	file, err := os.Open(fl.path(s.seq, ".log"))
	if err != nil {
		return err
	}
	defer file.Close()
	x, f, _, err := survey(file, s.size)
	if err != nil {
		return err
	}
	if err := writeIndex(fl.path(s.seq, ".idx"), x, f); err != nil {
		return err
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	for i := range fl.segments {
		if fl.segments[i].seq == s.seq {
			fl.segments[i].indexed = true
		}
	}
	return nil
}

// sweep enforces the retention and closes a file that nobody appends to.
func (fl *functionLog) sweep(now time.Time) error {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.dropped {
		return nil
	}
	if !fl.loaded {
		return fl.sweepUnread(now)
	}
	fl.trimLocked(now.UnixNano(), 0)
	if len(fl.segments) == 0 {
		_ = os.Remove(fl.dir) // of a function that may be gone; refused while it has files
	}
	if fl.idle++; fl.idle > 1 {
		fl.closeLocked()
	}
	return nil
}

// sweepUnread enforces the retention on a log that this run has not read, by the
// times of its files: reading every log of the node would take minutes.
func (fl *functionLog) sweepUnread(now time.Time) error {
	found, err := os.ReadDir(fl.dir)
	if err != nil {
		return err
	}
	kept := 0
	for _, f := range found {
		info, err := f.Info()
		if err == nil && now.Sub(info.ModTime()) > fl.limits.retention {
			err = os.Remove(filepath.Join(fl.dir, f.Name()))
		} else {
			kept++
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if kept == 0 {
		return os.Remove(fl.dir)
	}
	return nil
}

// snapshot is the log as it is now, for a reader.
func (fl *functionLog) snapshot() ([]segment, error) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.dropped {
		return nil, nil
	}
	if err := fl.loadLocked(); err != nil {
		return nil, err
	}
	return slices.Clone(fl.segments), nil
}

// drop sets the log aside under another name and discards what still comes.
func (fl *functionLog) drop(trash string) error {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.closeLocked()
	if err := os.Rename(fl.dir, trash); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fl.dropped, fl.segments = true, nil
	return nil
}
