package logs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hearth/faas"
)

// Options configure a Store. Dir is needed; the zero value of any other field is
// its default.
type Options struct {
	Dir string // made where it is missing
	// Retention is how long lines are kept; default 7 days.
	Retention time.Duration
	// MaxBytesPerFunction bounds a function's segments on disk, oldest lines go
	// first; default 64 MiB. At least 1 MiB.
	MaxBytesPerFunction int64
	// Rate and Burst are the rate budget of a function, in bytes per second and
	// bytes; default 1 MiB and 8 MiB.
	Rate, Burst int64
	// Barrier is how long the end of an invocation waits at most for output that the
	// disk, or a flooder, holds up; default 50 ms.
	Barrier time.Duration
	// Clock stamps lines and decides on retention; default time.Now.
	Clock  func() time.Time
	Logger *slog.Logger // nil discards
}

const (
	defaultRetention = 7 * 24 * time.Hour
	defaultMaxBytes  = 64 << 20
	leastMaxBytes    = 1 << 20
	defaultRate      = 1 << 20
	defaultBurst     = 8 << 20
	defaultBarrier   = 50 * time.Millisecond
	// segmentsPerLog is into how many segments a log is cut: what is removed at
	// once is that part of it.
	segmentsPerLog = 8
	maxSegment     = 8 << 20
	maxSegmentAge  = 24 * time.Hour
)

// Store keeps the logs of all functions. Safe for concurrent use.
type Store struct {
	dir    string
	limits segmentLimits
	rate   int64
	burst  int64
	// barrier bounds how long a barrier waits for the disk or a flooder.
	barrier time.Duration
	clock   func() time.Time
	log     *slog.Logger

	kick   chan struct{} // 1-buffered: something is pending
	urgent chan struct{} // 1-buffered: a pending buffer is nearly full
	syncs  chan chan struct{}
	stop   chan struct{}
	done   chan struct{} // closed when the writer has ended

	queueMu sync.Mutex
	queue   []*Stream // with something pending, each once

	mu        sync.Mutex
	closed    bool
	functions map[faas.FunctionID]*functionLog
	drops     int
	changed   chan struct{} // closed and replaced whenever something was written
}

// ErrClosed is returned by the methods of a closed store.
var ErrClosed = errors.New("logs: store is closed")

const trashPrefix = ".gone-"

// Open starts a store over a directory. What is in it is read when it is asked for.
func Open(_ context.Context, o Options) (*Store, error) {
	if o.Dir == "" {
		return nil, errors.New("logs: Options.Dir is needed")
	}
	o.setDefaults()
	s := &Store{
		dir: o.Dir, rate: o.Rate, burst: o.Burst, barrier: o.Barrier, clock: o.Clock, log: o.Logger,
		limits: segmentLimits{
			retention: o.Retention, total: o.MaxBytesPerFunction,
			size: min(maxSegment, o.MaxBytesPerFunction/segmentsPerLog),
			age:  min(maxSegmentAge, o.Retention/segmentsPerLog),
		},
		kick: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
		syncs: make(chan chan struct{}), stop: make(chan struct{}), done: make(chan struct{}),
		functions: map[faas.FunctionID]*functionLog{}, changed: make(chan struct{}),
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	if err := s.emptyTrash(); err != nil {
		return nil, err
	}
	go newWriter(s).run()
	return s, nil
}

func (o *Options) setDefaults() {
	if o.Retention <= 0 {
		o.Retention = defaultRetention
	}
	if o.MaxBytesPerFunction <= 0 {
		o.MaxBytesPerFunction = defaultMaxBytes
	}
	o.MaxBytesPerFunction = max(o.MaxBytesPerFunction, leastMaxBytes)
	if o.Rate <= 0 {
		o.Rate = defaultRate
	}
	if o.Burst <= 0 {
		o.Burst = defaultBurst
	}
	if o.Barrier <= 0 {
		o.Barrier = defaultBarrier
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Close writes what is pending and stops. Streams must be closed before it;
// what one still gets after is discarded.
func (s *Store) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		close(s.stop)
	}
	<-s.done
	return nil
}

// Drop removes everything stored of a function. What its streams still read is
// discarded; a stream opened after Drop begins a new log.
func (s *Store) Drop(_ context.Context, id faas.FunctionID) error {
	fl := s.stored(id)
	if fl == nil {
		return nil
	}
	s.mu.Lock()
	s.drops++
	trash := filepath.Join(s.dir, fmt.Sprintf("%s%d-%d", trashPrefix, os.Getpid(), s.drops))
	s.mu.Unlock()
	if err := fl.drop(trash); err != nil {
		return fmt.Errorf("drop the log of %s: %w", id, err)
	}
	s.mu.Lock()
	if s.functions[id] == fl {
		delete(s.functions, id)
	}
	s.mu.Unlock()
	if err := os.RemoveAll(trash); err != nil {
		return fmt.Errorf("drop the log of %s: %w", id, err)
	}
	return nil
}

// emptyTrash finishes the drops that a crash cut short.
func (s *Store) emptyTrash() error {
	found, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, f := range found {
		if strings.HasPrefix(f.Name(), trashPrefix) {
			if err := os.RemoveAll(filepath.Join(s.dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// function returns a function's log. It touches no disk.
func (s *Store) function(id faas.FunctionID) *functionLog {
	s.mu.Lock()
	defer s.mu.Unlock()
	fl := s.functions[id]
	if fl == nil {
		fl = &functionLog{id: id, dir: s.path(id), limits: s.limits, budget: newBudget(s.rate, s.burst, time.Now())}
		s.functions[id] = fl
	}
	return fl
}

// stored returns a function's log where it has one, else nil: asking for unknown
// functions costs no memory.
func (s *Store) stored(id faas.FunctionID) *functionLog {
	s.mu.Lock()
	fl := s.functions[id]
	s.mu.Unlock()
	if fl != nil {
		return fl
	}
	if _, err := os.Stat(s.path(id)); err != nil {
		return nil
	}
	return s.function(id)
}

func (s *Store) path(id faas.FunctionID) string {
	return filepath.Join(s.dir, escape(id.Account), escape(id.Region), escape(id.Namespace), escape(id.Name))
}

// onDisk returns the functions that have a directory, for what must see all.
func (s *Store) onDisk() ([]faas.FunctionID, error) {
	paths, err := filepath.Glob(filepath.Join(globEscape(s.dir), "*", "*", "*", "*"))
	if err != nil {
		return nil, err
	}
	var ids []faas.FunctionID
	for _, path := range paths {
		rel, err := filepath.Rel(s.dir, path)
		if err != nil || strings.HasPrefix(rel, trashPrefix) {
			continue
		}
		if id, ok := unescapeID(strings.Split(rel, string(filepath.Separator))); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func unescapeID(parts []string) (faas.FunctionID, bool) {
	for i, part := range parts {
		if part == emptyName {
			parts[i] = ""
			continue
		}
		plain, err := url.PathUnescape(part)
		if err != nil {
			return faas.FunctionID{}, false
		}
		parts[i] = plain
	}
	scope := faas.Scope{Account: parts[0], Region: parts[1], Namespace: parts[2]}
	return faas.FunctionID{Scope: scope, Name: parts[3]}, true
}

// escape makes one file name of any name: what is not plain becomes %XX, so
// neither '.' nor a separator is left.
func escape(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() == 0 {
		return emptyName
	}
	return b.String()
}

// emptyName is what no escaped name is.
const emptyName = "%"

func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// wrote wakes everybody who follows.
func (s *Store) wrote() {
	s.mu.Lock()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
}

func (s *Store) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
