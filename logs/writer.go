package logs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hearth/faas"
)

const (
	// batchTime is how long lines wait for others before they are written.
	batchTime = 20 * time.Millisecond
	// batchBytes bounds one write, and so the writer's memory.
	batchBytes = 1 << 20
	// sweepTime is how often the retention is enforced.
	sweepTime = 10 * time.Minute
	// complainTime is how often a failing disk is logged.
	complainTime = time.Minute
)

// enqueue tells the writer that a stream has something pending.
func (s *Store) enqueue(st *Stream) {
	s.queueMu.Lock()
	s.queue = append(s.queue, st)
	first := len(s.queue) == 1
	s.queueMu.Unlock()
	if first {
		signal(s.kick)
	}
}

// hurry makes the writer write now.
func (s *Store) hurry() { signal(s.urgent) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sync returns when what was pending at its call is written.
func (s *Store) sync(ctx context.Context) error {
	written := make(chan struct{})
	select {
	case s.syncs <- written:
	case <-s.done:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-written:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// writer is the one goroutine that writes. Its fields are its own.
type writer struct {
	store     *Store
	batch     []*Stream
	records   []encoded
	buf       []byte
	sorted    []byte
	complaint time.Time
}

// encoded is one record in the writer's buffer.
type encoded struct {
	time     int64
	from, to int
}

func newWriter(s *Store) *writer { return &writer{store: s} }

func (w *writer) run() {
	s := w.store
	defer close(s.done)
	sweep := time.NewTicker(sweepTime)
	defer sweep.Stop()
	delay := time.NewTimer(0)
	<-delay.C
	for {
		select {
		case <-s.kick:
			delay.Reset(batchTime)
		case <-s.urgent:
			w.flush()
		case <-delay.C:
			w.flush()
		case written := <-s.syncs:
			w.flush()
			close(written)
		case <-sweep.C:
			w.sweep()
		case <-s.stop:
			w.flush()
			for _, fl := range s.known(faas.FunctionID{}) {
				fl.close()
			}
			return
		}
	}
}

// flush writes what all streams have pending, function by function.
func (w *writer) flush() {
	s := w.store
	s.queueMu.Lock()
	w.batch, s.queue = s.queue, w.batch[:0]
	s.queueMu.Unlock()
	if len(w.batch) == 0 {
		return
	}
	byLog := map[*functionLog][]*Stream{}
	for _, st := range w.batch {
		byLog[st.log] = append(byLog[st.log], st)
	}
	for fl, streams := range byLog {
		w.flushLog(fl, streams)
	}
	clear(w.batch)
	s.wrote()
}

func (w *writer) flushLog(fl *functionLog, streams []*Stream) {
	for _, st := range streams {
		p := st.take()
		if p == nil {
			continue
		}
		w.encode(fl, st, p)
		p.recycle()
	}
	w.write(fl)
	if err := fl.seal(); err != nil {
		w.complain(fl, "could not index a log segment", err)
	}
}

// encode turns a stream's pending blocks into records, and writes where they are many.
func (w *writer) encode(fl *functionLog, st *Stream, p *pending) {
	if p.dropped > 0 {
		w.encodeBlock(st, p.blocks[0].time, "", droppedLine(p.dropped))
	}
	data := p.data
	for _, b := range p.blocks {
		w.encodeBlock(st, b.time, b.request, data[:b.size])
		data = data[b.size:]
		if int64(len(w.buf)) >= min(batchBytes, fl.limits.size) {
			w.write(fl)
		}
	}
}

func droppedLine(n int64) []byte { return fmt.Appendf(nil, "%d bytes dropped\n", n) }

func (w *writer) encodeBlock(st *Stream, t int64, request string, block []byte) {
	from := len(w.buf)
	w.buf = appendRecord(w.buf, t, &st.src, request, block)
	w.records = append(w.records, encoded{t, from, len(w.buf)})
}

// write appends what is encoded, in the order of time, as several instances of
// a function print at once.
func (w *writer) write(fl *functionLog) {
	if len(w.records) == 0 {
		return
	}
	out := w.buf
	if byTime := func(a, b encoded) int { return int(a.time - b.time) }; !slices.IsSortedFunc(w.records, byTime) {
		slices.SortStableFunc(w.records, byTime)
		w.sorted = w.sorted[:0]
		for _, r := range w.records {
			w.sorted = append(w.sorted, w.buf[r.from:r.to]...)
		}
		out = w.sorted
	}
	first, last := w.records[0].time, w.records[len(w.records)-1].time
	if err := fl.append(out, first, last); err != nil {
		w.complain(fl, "could not write a log; its lines are dropped", err)
	}
	w.buf, w.sorted, w.records = reset(w.buf), reset(w.sorted), w.records[:0]
}

// reset empties a buffer and lets go of one that a flood made large.
func reset(b []byte) []byte {
	if cap(b) > 4*batchBytes {
		return nil
	}
	return b[:0]
}

// sweep enforces the retention on every function, those without instances too.
func (w *writer) sweep() {
	s := w.store
	ids, err := s.onDisk()
	if err != nil {
		s.log.Warn("could not list the logs", "error", err)
	}
	flushed := time.Now()
	for _, id := range ids {
		if isClosed(s.stop) {
			return
		}
		fl := s.function(id)
		if err := fl.sweep(s.clock()); err != nil {
			w.complain(fl, "could not enforce the retention of a log", err)
		}
		if time.Since(flushed) > batchTime { // a sweep of many functions holds up nobody
			w.flush()
			flushed = time.Now()
		}
	}
}

func (w *writer) complain(fl *functionLog, what string, err error) {
	if now := time.Now(); now.Sub(w.complaint) >= complainTime {
		w.complaint = now
		w.store.log.Warn(what, "function", fl.id.String(), "error", err)
	}
}
