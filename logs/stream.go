package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"hearth/faas"
	"hearth/internal/rawio"
)

// Source is where a stream's lines come from.
type Source struct {
	Function faas.FunctionID
	Version  string // Latest or a number
	Instance string
	Group    string // the log group that clients see; a label
}

const (
	// maxLine is the longest line; a longer one is split.
	maxLine = 256 << 10
	// readBytes is how much is read at once: what a pipe holds by default.
	readBytes = 64 << 10
	// barrierBytes bounds what a barrier reads: what a pipe can hold at most, and
	// so all that was written before the barrier.
	barrierBytes = 1 << 20
	// lineCost is what a line costs of the rate budget beyond its bytes: a flood of
	// empty lines is no cheaper to store.
	lineCost = 16
)

// Stream reads one instance's output and attributes it to the invocations that
// the instance holds. Safe for concurrent use; after Close lines by Hearth are
// still stored, for as long as the store is open.
type Stream struct {
	store *Store
	log   *functionLog
	src   Source
	pipe  *os.File
	raw   syscall.RawConn

	stop     chan struct{} // closed by Close
	stopOnce sync.Once
	done     chan struct{} // closed when the reader has ended
	room     chan struct{} // 1-buffered: the writer took what was pending

	mu       sync.Mutex
	pending  *pending // nil: nothing
	queued   bool     // the writer knows that something is pending
	partial  []byte   // the line that has no end yet
	parts    int      // bytes of the invocations' own unfinished lines
	scratch  []byte   // for one line by Hearth
	captures captures
	tap      func(request string, lines []byte)
	own      bool // what is added is Hearth's
	ended    bool // the pipe has no more
	// readLocked is readOnceLocked as RawConn wants it, made once: a closure per
	// barrier would be an allocation on the warm path. got and took are its results.
	readLocked func(fd uintptr)
	got        readResult
	took       int
}

type readResult int

const (
	readSome  readResult = iota // and there may be more
	readAll                     // the pipe is empty now
	readEnded                   // end of file, or broken
)

var readBuffers = sync.Pool{New: func() any { return new([readBytes]byte) }}

// Stream starts to read an instance's pipe, which must be non-blocking and which
// it owns from now on: Close closes it.
func (s *Store) Stream(src Source, pipe *os.File) *Stream {
	src.Version, src.Instance = validString(src.Version), validString(src.Instance)
	st := &Stream{
		store: s, log: s.function(src.Function), src: src, pipe: pipe,
		stop: make(chan struct{}), done: make(chan struct{}), room: make(chan struct{}, 1),
	}
	st.readLocked = func(fd uintptr) { st.got, st.took = st.readOnceLocked(fd) }
	raw, err := pipe.SyscallConn()
	if err != nil { // only a closed file
		st.ended = true
		close(st.done)
		return st
	}
	st.raw = raw
	go st.read()
	return st
}

// Tap has f see every whole line of output from now on, in order, with the invocation
// that it is attributed to. It must return at once, call nothing of the stream and
// keep nothing of lines.
func (st *Stream) Tap(f func(request string, lines []byte)) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.tap = f
}

// Begin says that an invocation is handed to the instance: output from now on
// belongs to it. The line is its START line; "" where the function's system log
// level hides it.
func (st *Stream) Begin(request, line string) {
	request = validString(request)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.drainLocked(st.store.barrier)
	if len(st.captures.flying) < 2 { // what comes next may be somebody else's
		st.flushRawLocked()
	}
	st.captures.begin(request)
	if line != "" {
		st.addLineLocked(request, line)
	}
}

// Settle is the barrier at the end of an invocation: all output that was in the
// pipe when it was called has been attributed when it returns, and the lines
// (END, REPORT) come after it. With a quiet instance that is one system call; a
// flooding one is waited for at most Options.Barrier, and what it printed beyond 1 MiB
// (64 KiB where the function is over its rate budget, nothing where the disk does
// not follow) counts as later output.
func (st *Stream) Settle(request string, lines ...string) {
	request = validString(request)
	st.mu.Lock()
	debt := st.drainLocked(st.store.barrier)
	if len(st.captures.flying) <= 2 {
		st.flushRawLocked()
	}
	st.flushPartLocked(st.captures.flying[request])
	for _, line := range lines {
		st.addLineLocked(request, line)
	}
	st.captures.settle(request)
	st.mu.Unlock()
	st.pay(debt)
}

// Tail returns the last 4 KiB of a settled invocation's log as text, its START,
// END and REPORT lines included. It is there once, until about as many later
// invocations have settled as were ever in flight at once; nil after that.
func (st *Stream) Tail(request string) []byte {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.captures.tail(validString(request))
}

// Platform adds a line by Hearth or by a runtime's own logging, after what was
// printed so far. Request may be "". A text of several lines becomes several.
func (st *Stream) Platform(request, line string) {
	request = validString(request)
	st.mu.Lock()
	debt := st.drainLocked(st.store.barrier)
	debt = max(debt, st.log.budget.take(len(line)+lineCost, time.Now()))
	st.addLineLocked(request, line)
	st.mu.Unlock()
	st.pay(debt)
}

// Close reads what is left in the pipe, at most 1 MiB and Options.Barrier long, closes it
// and waits for the reader. Idempotent.
func (st *Stream) Close() error {
	st.mu.Lock()
	if st.raw != nil {
		st.drainLocked(st.store.barrier)
	}
	st.flushPartialLocked()
	for _, c := range st.captures.flying {
		st.flushPartLocked(c)
	}
	st.mu.Unlock()
	st.stopOnce.Do(func() { close(st.stop) })
	err := st.pipe.Close()
	<-st.done
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// pay makes the caller wait for a flood's debt, within the bound of a barrier.
func (st *Stream) pay(debt time.Duration) {
	if debt > 0 {
		st.wait(min(debt, st.store.barrier), nil)
	}
}

// wait waits for a time, the stop or the signal.
func (st *Stream) wait(d time.Duration, signal <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-signal:
	case <-st.stop:
	}
}

// read is the reader goroutine: it sleeps in the poller until there is output,
// and reads slower than it could where the function is over its budget or the
// writer is behind.
func (st *Stream) read() {
	defer close(st.done)
	for {
		var got readResult
		var took int
		err := st.raw.Read(func(fd uintptr) bool {
			st.mu.Lock()
			defer st.mu.Unlock()
			got, took = st.readOnceLocked(fd)
			return got != readAll || took > 0
		})
		if err != nil && !isClosed(st.stop) {
			st.store.log.Error("cannot read an instance's output", "function", st.src.Function.String(),
				"instance", st.src.Instance, "error", err)
		}
		if err != nil || got == readEnded {
			break
		}
		if debt := st.log.budget.take(0, time.Now()); debt > 0 {
			st.wait(debt, nil)
		}
		st.awaitRoom(time.Second)
	}
	st.mu.Lock()
	st.ended = true
	st.flushPartialLocked()
	st.mu.Unlock()
}

// awaitRoom waits until the writer took what is pending, where that is much.
func (st *Stream) awaitRoom(most time.Duration) {
	deadline := time.Now().Add(most)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.awaitRoomLocked(deadline)
}

// awaitRoomLocked gives up the lock while it waits. Who was waiting tells the next
// that there is room.
func (st *Stream) awaitRoomLocked(deadline time.Time) {
	if !st.fullLocked() {
		return
	}
	for st.fullLocked() {
		left := time.Until(deadline)
		if left <= 0 || isClosed(st.stop) {
			return
		}
		st.mu.Unlock()
		st.wait(left, st.room)
		st.mu.Lock()
	}
	st.tellRoom()
}

// tellRoom wakes one of those who wait for room, now or soon.
func (st *Stream) tellRoom() {
	select {
	case st.room <- struct{}{}:
	default:
	}
}

func (st *Stream) fullLocked() bool {
	return st.pending != nil && len(st.pending.data) > pendingHigh
}

// drainLocked is the barrier: it reads until the pipe is empty, but no more than
// a pipe can hold and not for longer than most. It gives up the lock while it
// waits for the writer. It returns the debt of the function.
func (st *Stream) drainLocked(most time.Duration) (debt time.Duration) {
	if st.ended || st.raw == nil {
		return 0
	}
	var deadline time.Time
	for total := 0; total < barrierBytes; {
		if st.fullLocked() { // others may have read for their barriers meanwhile
			if deadline.IsZero() {
				deadline = time.Now().Add(most)
			}
			if st.awaitRoomLocked(deadline); st.fullLocked() {
				return debt
			}
		}
		st.got, st.took = readEnded, 0
		if err := st.raw.Control(st.readLocked); err != nil {
			return debt
		}
		total += st.took
		if st.took > 0 {
			debt = st.log.budget.take(0, time.Now())
		}
		if st.got != readSome || debt > 0 && total >= readBytes {
			return debt
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(most)
		}
		if time.Now().After(deadline) {
			return debt
		}
	}
	return debt
}

// readOnceLocked reads once and attributes what it got.
func (st *Stream) readOnceLocked(fd uintptr) (readResult, int) {
	buf := readBuffers.Get().(*[readBytes]byte)
	defer readBuffers.Put(buf)
	n, err := rawio.Read(fd, buf[:])
	switch {
	case err == syscall.EAGAIN:
		return readAll, 0
	case err != nil || n <= 0:
		return readEnded, 0
	}
	st.outputLocked(buf[:n])
	if n < len(buf) { // a pipe gives less than was asked for only when empty
		return readAll, n
	}
	return readSome, n
}

// outputLocked cuts output into lines.
func (st *Stream) outputLocked(data []byte) {
	lines := bytes.Count(data, newline)
	st.log.budget.take(len(data)+lines*lineCost, time.Now())
	if len(st.partial) > 0 && lines > 0 {
		first := bytes.IndexByte(data, '\n')
		st.appendPartialLocked(data[:first])
		st.flushPartialLocked()
		data = data[first+1:]
	}
	last := bytes.LastIndexByte(data, '\n') + 1
	if last > 0 {
		st.addOutputLocked(data[:last])
	}
	st.appendPartialLocked(data[last:])
}

func (st *Stream) appendPartialLocked(data []byte) {
	st.partial = append(st.partial, data...)
	for len(st.partial) > maxLine {
		rest := bytes.Clone(st.partial[maxLine:])
		st.partial = append(st.partial[:maxLine], '\n')
		st.addOutputLocked(st.partial)
		st.partial = append(st.partial[:0], rest...)
	}
}

// flushPartialLocked ends the line that has no end: what comes next belongs to
// somebody else.
func (st *Stream) flushPartialLocked() {
	if len(st.partial) == 0 {
		return
	}
	st.partial = append(st.partial, '\n')
	st.addOutputLocked(st.partial)
	st.partial = st.partial[:0]
	if cap(st.partial) > keptBytes {
		st.partial = nil
	}
}

// flushRawLocked ends the line that has no end, but for a frame in it: that one says
// whose it is, and its end, which the barrier did not come to, is still in the pipe.
func (st *Stream) flushRawLocked() {
	at := bytes.IndexByte(st.partial, frameStart)
	if at < 0 || !st.mayBeFrameLocked(st.partial[at:]) {
		st.flushPartialLocked()
		return
	}
	if at > 0 {
		st.addOutputLocked(append(bytes.Clone(st.partial[:at]), '\n'))
		st.partial = append(st.partial[:0], st.partial[at:]...)
	}
}

// addOutputLocked attributes whole lines: to the invocation that a frame names,
// else to the one in flight, or, with several, to the one that a JSON line names,
// else to none.
func (st *Stream) addOutputLocked(lines []byte) {
	if len(st.captures.flying) < 2 && bytes.IndexByte(lines, frameStart) < 0 {
		st.addLocked(st.captures.sole, "", lines)
		return
	}
	for len(lines) > 0 {
		line := lines[:bytes.IndexByte(lines, '\n')+1]
		if !st.addFramedLocked(line) {
			st.addPlainLocked(line)
		}
		lines = lines[len(line):]
	}
}

// addPlainLocked adds a line that no frame is around.
func (st *Stream) addPlainLocked(line []byte) {
	if len(st.captures.flying) < 2 {
		st.addLocked(st.captures.sole, "", line)
		return
	}
	st.addLocked(st.captures.flying[claimed(line)], "", line)
}

// claimed is the request id that a JSON log line carries, or "". A claim counts
// only for an invocation that the same instance holds.
func claimed(line []byte) string {
	if line[0] != '{' || !bytes.Contains(line, []byte(`"requestId"`)) {
		return ""
	}
	var claim struct {
		RequestID string `json:"requestId"`
	}
	if json.Unmarshal(line, &claim) != nil {
		return ""
	}
	return claim.RequestID
}

// addLineLocked adds a line by Hearth.
func (st *Stream) addLineLocked(request, line string) {
	st.scratch = append(st.scratch[:0], strings.TrimSuffix(line, "\n")...)
	st.scratch = append(st.scratch, '\n')
	st.own = true
	st.addLocked(st.captures.flying[request], request, st.scratch)
	st.own = false
	if cap(st.scratch) > keptBytes {
		st.scratch = nil
	}
}

// addLocked adds whole lines to what is pending, and to the invocation's tail
// where it is in flight.
func (st *Stream) addLocked(c *capture, request string, lines []byte) {
	if c != nil {
		request = c.request
		c.add(lines)
	}
	if st.tap != nil && !st.own {
		st.tap(request, lines)
	}
	if st.pending == nil {
		st.pending = pendings.Get().(*pending)
	}
	st.pending.add(st.store.clock().UnixNano(), request, lines)
	if !st.queued {
		st.queued = true
		st.store.enqueue(st)
	}
	if st.fullLocked() {
		st.store.hurry()
	}
}

// take hands what is pending to the writer.
func (st *Stream) take() *pending {
	st.mu.Lock()
	p := st.pending
	st.pending, st.queued = nil, false
	st.mu.Unlock()
	st.tellRoom()
	return p
}

// validString keeps what is written as a JSON string readable as one.
func validString(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
