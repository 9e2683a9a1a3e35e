package runtimeapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hearth/faas"
)

// Go is the document that turns a booted runtime into one of a function. It
// carries everything that is not fixed at the process's exec, so that a direct
// start and a pre-booted runtime differ only in when it is sent.
type Go struct {
	Handler string `json:"handler"`
	// Environment is the whole environment of the function.
	Environment map[string]string `json:"environment"`
	TaskRoot    string            `json:"taskRoot"` // where the package is, as the runtime sees it
	// Layers is where the layers are, as the runtime sees it; "" for nowhere.
	Layers string `json:"layers,omitempty"`
	// Compiled is where compiled code of the package is, as the runtime sees it; ""
	// for nowhere.
	Compiled string `json:"compiled,omitempty"`
	// Concurrency is the number of invocations that may be in flight.
	Concurrency int `json:"concurrency"`
	// Wrapped: a wrapper started the runtime, and may have changed the environment and
	// in it the handler. What the process has is what counts.
	Wrapped bool `json:"wrapped,omitempty"`
}

// FramesOptions configures a Frames.
type FramesOptions struct {
	Go Go
	// MaxResponse bounds a response and an error document, in bytes; 0 = MaxResponse.
	MaxResponse int
}

// Frames is the Session with a managed runtime over the frame protocol. It owns
// the connection and one goroutine that reads from it, until the runtime is ready
// or, where it takes several invocations at once, until the session ends. With one
// at a time the caller of Invoke reads itself (exchange.go). Safe for concurrent use.
type Frames struct {
	conn        connection    // changed once, by the first exchange
	in          *bufio.Reader // the reading goroutine's, and after it the write token's
	limit       int
	concurrency atomic.Int32 // invocations that may be in flight; 0 before the go frame

	park       bool          // the runtime was told to park
	parked     chan struct{} // closed when it has
	firstByte  atomic.Int64  // monotonic nanoseconds since created, 0 before
	created    time.Time
	ready      chan struct{} // closed when ready or failed
	initErr    *InitError    // set before ready is closed
	gone       chan struct{} // closed by fail
	readerDone chan struct{}

	write chan struct{} // a token: who holds it writes

	writer []byte // frame under construction; guarded by the write token
	unsent []byte // the rest of a frame that was cut; guarded by the write token
	spent  bool   // an exchange was given up; guarded by the write token
	taken  bool   // it was tried to make conn a line; guarded by the write token

	// life ends with the session; streams wait for it.
	life context.Context
	end  context.CancelFunc

	mu        sync.Mutex
	cause     error     // why it is gone
	finishBy  time.Time // set by Finish; zero before
	streaming bool      // an exchange reads a streamed response
	calls     callTable
}

// connection is what a session needs of a net.Conn.
type connection interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// NewFrames begins the conversation: it sends the go frame and returns without
// waiting. It owns conn from then on. A failed write shows as ErrGone later.
func NewFrames(conn net.Conn, opts FramesOptions) *Frames {
	s := newFrames(conn, opts)
	s.concurrency.Store(int32(max(1, opts.Go.Concurrency)))
	go s.read()
	_ = s.sendGo(opts.Go) // it shows as ErrGone
	return s
}

func newFrames(conn net.Conn, opts FramesOptions) *Frames {
	s := &Frames{
		conn:       conn,
		in:         bufio.NewReaderSize(conn, 4096),
		limit:      opts.MaxResponse,
		created:    time.Now(),
		parked:     make(chan struct{}),
		ready:      make(chan struct{}),
		gone:       make(chan struct{}),
		readerDone: make(chan struct{}),
		write:      make(chan struct{}, 1),
		calls:      newCallTable(),
	}
	if s.limit == 0 {
		s.limit = MaxResponse
	}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// sendGo writes the go frame. The socket's buffer takes it whole while the
// runtime boots (environments are at most some KiB), so this does not block.
func (s *Frames) sendGo(doc Go) error {
	payload, err := json.Marshal(doc)
	if err == nil {
		err = s.send(context.Background(), frameGo, nil, payload)
	}
	if err != nil {
		s.fail(err)
	}
	return err
}

// FirstByte returns when the runtime's first byte arrived; the zero time before.
func (s *Frames) FirstByte() time.Time {
	if d := s.firstByte.Load(); d != 0 {
		return s.created.Add(time.Duration(d))
	}
	return time.Time{}
}

// Init implements Session.
func (s *Frames) Init(ctx context.Context) error {
	select {
	case <-s.ready:
	case <-s.gone:
		// The runtime may have reported and ended: what it said counts.
		select {
		case <-s.ready:
		default:
			return ErrGone
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.initErr != nil {
		return s.initErr
	}
	return nil
}

// Slots implements Session: a managed runtime takes all its calls from the first
// moment.
func (s *Frames) Slots() (int, <-chan struct{}) { return int(s.concurrency.Load()), nil }

// Invoke implements Session. A runtime that does not read its events is given up at
// the deadline of ctx, not before.
func (s *Frames) Invoke(ctx context.Context, event *faas.Event) (faas.Outcome, error) {
	if s.alone() {
		return s.exchange(ctx, event)
	}
	c := &call{id: event.RequestID, answered: make(chan answer, 1)}
	if err := s.begin(c); err != nil {
		return faas.Outcome{}, err
	}
	if err := s.send(ctx, frameInvoke, appendInvokeHeader(nil, event), event.Payload); err != nil {
		late := errors.Is(err, errNotBegun)
		s.withdraw(c, late)
		if late || errors.Is(err, os.ErrDeadlineExceeded) {
			<-ctx.Done() // at this very moment
			return faas.Outcome{}, context.Cause(ctx)
		}
		return faas.Outcome{}, ErrGone
	}
	a, err := c.await(ctx, s.gone, func() { s.forget(c) })
	if err == nil && a.inbound != nil {
		a, err = s.receive(ctx, c, event, a.inbound)
	}
	if err != nil {
		return faas.Outcome{}, err
	}
	return a.result()
}

func (s *Frames) begin(c *call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return ErrGone
	}
	return s.calls.add(c)
}

// withdraw takes a call back that was not written whole. Of one that was not even
// begun the runtime knows nothing: no answer is expected.
func (s *Frames) withdraw(c *call, unknown bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls.abandon(c)
	if unknown {
		s.calls.take(c.id)
	}
}

func (s *Frames) forget(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls.abandon(c)
}

// smallPayload is up to where a payload is copied behind its header, for one
// write of one buffer; above it two buffers are handed to one writev.
const smallPayload = 32 << 10

// errNotBegun: ctx ended before the first byte of the frame was written.
var errNotBegun = errors.New("runtimeapi: the frame was not begun")

// send writes one frame. Where the deadline of ctx comes while the runtime does not
// read, what is left of a frame that was begun goes out before the next one: the
// invocations beside this one still need the connection.
func (s *Frames) send(ctx context.Context, kind byte, header, payload []byte) error {
	select {
	case s.write <- struct{}{}:
	case <-ctx.Done():
		return errNotBegun
	case <-s.gone:
		return ErrGone
	}
	defer func() { <-s.write }()

	// Not context.AfterFunc, which made a third of the allocations of a call. An
	// error means that the connection is closed, and the write says so too.
	deadline, _ := ctx.Deadline()
	_ = s.conn.SetWriteDeadline(deadline)
	err := s.writeFrame(kind, header, payload)
	if err == nil || errors.Is(err, errNotBegun) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	s.fail(err)
	return err
}

func (s *Frames) writeFrame(kind byte, header, payload []byte) error {
	for len(s.unsent) > 0 {
		n, err := s.conn.Write(s.unsent)
		s.unsent = s.unsent[n:]
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errNotBegun
		} else if err != nil {
			return err
		}
	}
	s.unsent = nil // it may be large, and is rarely needed
	b, err := appendFrame(s.writer[:0], kind, header, len(payload))
	if err != nil {
		return err
	}
	small := len(payload) <= smallPayload
	if small {
		b = append(b, payload...)
	}
	s.writer = b
	var n int64
	if small {
		var written int
		written, err = s.conn.Write(b)
		n, payload = int64(written), nil
	} else {
		buffers := net.Buffers{b, payload}
		n, err = buffers.WriteTo(s.conn)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if n == 0 {
			return errNotBegun
		}
		s.unsent = slices.Concat(b, payload)[n:]
	}
	return err
}

// read is the goroutine that owns the reading side, until the session is gone.
func (s *Frames) read() {
	defer close(s.readerDone)
	if _, err := s.in.Peek(1); err != nil {
		s.fail(err)
		return
	}
	s.firstByte.Store(max(1, int64(time.Since(s.created))))
	state := awaitHello
	for state != serving || !s.alone() {
		f, err := readFrame(s.in, s.limit, "")
		if err == nil {
			state, err = s.accept(state, f)
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

// protocolState is where the runtime is in the order of frames that it must keep.
type protocolState int

const (
	awaitHello protocolState = iota
	awaitParked
	awaitReady
	serving
	failed // it reported an init error; only its end may follow
)

// accept takes one frame from the runtime and returns the state after it.
func (s *Frames) accept(state protocolState, f frame) (protocolState, error) {
	switch {
	case state == awaitHello && f.kind == frameHello:
		if s.park {
			return awaitParked, nil
		}
		return awaitReady, nil
	case state == awaitParked && f.kind == framePark:
		close(s.parked)
		return awaitReady, nil
	case state == awaitReady && f.kind == frameReady:
		close(s.ready)
		return serving, nil
	case state == awaitReady && f.kind == frameInitError:
		s.initErr = &InitError{Type: f.header, Payload: f.payload}
		if f.oversize > 0 {
			s.initErr.Payload = errorDocument(f.header, "the error document is too large")
		}
		close(s.ready)
		return failed, nil
	case state == serving && (f.kind == frameStream || f.kind == frameChunk):
		return state, s.acceptStream(f)
	case state == serving:
		id, a, err := s.answerOf(f)
		if err != nil {
			return state, err
		}
		return state, s.answer(id, a)
	}
	return state, fmt.Errorf("%w: frame %q in state %d", errProtocol, f.kind, state)
}

// answerOf is what a frame says of which invocation.
func (s *Frames) answerOf(f frame) (id string, a answer, err error) {
	switch f.kind {
	case frameResponse:
		return f.header, answer{outcome: s.response(f)}, nil
	case frameError, frameCrash:
		id, errorType, _ := strings.Cut(f.header, " ")
		return id, answer{outcome: s.functionError(errorType, f), crashed: f.kind == frameCrash}, nil
	}
	return "", answer{}, fmt.Errorf("%w: frame %q in state %d", errProtocol, f.kind, serving)
}

func (s *Frames) response(f frame) faas.Outcome {
	if f.oversize > 0 {
		return tooLarge(f.oversize, s.limit)
	}
	return faas.Outcome{Payload: f.payload}
}

func (s *Frames) functionError(errorType string, f frame) faas.Outcome {
	if f.oversize > 0 {
		return tooLarge(f.oversize, s.limit)
	}
	return faas.Outcome{Payload: f.payload, FunctionError: Unhandled, ErrorType: errorType}
}

// answer hands an outcome to the call that waits for it. An id that is not this
// session's own breaks it.
func (s *Frames) answer(id string, a answer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.calls.take(id)
	if !known {
		return errUnknownID
	}
	switch {
	case c == nil:
	case c.inbound != nil:
		c.inbound.last = a
		c.inbound.parts.End()
	default:
		c.answered <- a
	}
	return nil
}

// Cause says why the session is gone, for logs; nil while it is not.
func (s *Frames) Cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// Broken reports whether the runtime ended the session by breaking the protocol.
func (s *Frames) Broken() bool { return errors.Is(s.Cause(), errProtocol) }

// Finish is called when the runtime's process has ended: what it sent before is
// still read, for at most the time given, then the session is gone.
func (s *Frames) Finish(within time.Duration) {
	s.mu.Lock()
	var err error
	if !s.streaming { // it reads to the end, which is near: nobody writes any more
		s.finishBy = time.Now().Add(within)
		err = s.conn.SetReadDeadline(s.finishBy)
	}
	s.mu.Unlock()
	if err != nil { // the connection is closed, and the session gone, already
		return
	}
	<-s.readerDone
	if s.alone() {
		s.awaitExchange()
		s.fail(io.EOF)
	}
}

// Close implements Session. It returns when nobody reads any more.
func (s *Frames) Close() error {
	s.fail(net.ErrClosed)
	<-s.readerDone
	if s.alone() {
		s.awaitExchange()
	}
	return nil
}

// fail ends the session once; the first cause is kept.
func (s *Frames) fail(cause error) {
	s.mu.Lock()
	if s.cause != nil {
		s.mu.Unlock()
		return
	}
	if cause == nil {
		cause = io.EOF
	}
	s.cause = cause
	s.mu.Unlock()
	close(s.gone)
	s.end()
	s.conn.Close() // unblocks reads and writes; its error says nothing that cause does not
}
