package runtimeapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"hearth/faas"
)

// ServerOptions configures a Server.
type ServerOptions struct {
	// MaxResponse bounds a response and an error document, in bytes; 0 = MaxResponse.
	MaxResponse int
	// Concurrency is the number of invocations that may be in flight; 0 = 1. It
	// decides how many connections are served at once; more wait unaccepted.
	Concurrency int
	// Extensions are served too, where they are not nil; with OnlyExtensions nothing
	// else is: the runtime is spoken to in another way.
	Extensions     *Extensions
	OnlyExtensions bool
	Logger         *slog.Logger // nil = discard
}

// Server is the Session with a runtime that speaks the Lambda Runtime API
// (2018-06-01) over HTTP. Several next polls may be parked at once; each takes
// one event. Safe for concurrent use.
type Server struct {
	limit int
	conns int
	log   *slog.Logger

	extensions *Extensions // nil where there can be none
	only       bool        // nothing but extensions is served

	ready   chan struct{} // closed at the first next poll, or at an init error
	gone    chan struct{} // closed by Close
	serving sync.WaitGroup

	mu        sync.Mutex
	firstByte time.Time
	isReady   bool
	initErr   *InitError
	closed    bool
	listener  net.Listener // nil before Serve
	open      map[*conn]struct{}
	calls     map[string]*served // every invocation that is not answered yet
	pending   []*served          // not delivered, oldest first
	polls     []*conn            // with a parked GET next, oldest first
	slots     slots
	past      pastIDs       // answered or given up
	posting   int           // posts whose body is being read
	idle      chan struct{} // a value when posting falls to zero; buffered by one
	exchange  exchange
}

// served is a call and how far it has come.
type served struct {
	call
	event  *faas.Event
	state  servedState
	stream context.Context // while Invoke waits; only where the event has a stream
	reads  *conn           // that the caller waits at; guarded by Server.mu
}

type servedState int

const (
	waiting   servedState = iota // for a poll
	delivered                    // to a poll, or about to be: its answer may come
	answering                    // its response is being read
)

// NewServer returns a Server that serves nothing yet.
func NewServer(opts ServerOptions) *Server {
	s := &Server{
		limit:      opts.MaxResponse,
		conns:      64 + 2*max(1, opts.Concurrency),
		log:        opts.Logger,
		extensions: opts.Extensions, only: opts.OnlyExtensions,
		ready: make(chan struct{}),
		gone:  make(chan struct{}),
		open:  make(map[*conn]struct{}, 2),
		calls: make(map[string]*served, 1),
		slots: newSlots(max(1, opts.Concurrency)),
		idle:  make(chan struct{}, 1),
	}
	s.exchange.allowed, s.exchange.rest = opts.Concurrency <= 1 && !opts.OnlyExtensions, restBetween
	if s.limit == 0 {
		s.limit = MaxResponse
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// Serve answers on the listener until Close, which closes it. It returns nil
// after Close, else why it stopped. Called at most once.
//
// Nothing has a time limit: a poll waits as long as it likes, an instance may be
// frozen in the middle of a request, and all of it ends with the sandbox.
func (s *Server) Serve(l net.Listener) error {
	l = limitConns(l, s.conns)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return l.Close()
	}
	s.listener = l
	s.serving.Add(1)
	s.mu.Unlock()
	defer s.serving.Done()
	for pause := minPause; ; {
		c, err := l.Accept()
		switch {
		case err == nil:
			s.serve(c)
			pause = minPause
		case errors.Is(err, net.ErrClosed):
			return nil
		case !scarce(err) || !s.wait(pause):
			return err
		default:
			s.log.Warn("the Runtime API cannot accept a connection and tries again", "err", err)
			pause = min(2*pause, maxPause)
		}
	}
}

// The first pause after a connection could not be accepted, and the longest.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// scarce says whether accepting failed for want of what others may give back.
func scarce(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// wait waits for so long; false where the server is closed.
func (s *Server) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.gone:
		return false
	}
}

// serve answers the requests of a connection, in a goroutine that Close waits for.
func (s *Server) serve(nc net.Conn) {
	c := s.newConn(nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = struct{}{}
	s.serveLocked(c)
}

// serveLocked has a goroutine answer the requests of an open connection.
func (s *Server) serveLocked(c *conn) {
	if s.closed {
		c.close()
		delete(s.open, c)
		return
	}
	s.serving.Go(func() {
		if c.serve() {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, c)
	})
}

// spawn runs f in a goroutine that Close waits for; false once the server is closed.
func (s *Server) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.serving.Go(f)
	return true
}

// FirstByte returns when the runtime's first request arrived; the zero time before.
func (s *Server) FirstByte() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.firstByte
}

// Init implements Session.
func (s *Server) Init(ctx context.Context) error {
	select {
	case <-s.ready:
	case <-s.gone:
		select {
		case <-s.ready:
		default:
			return ErrGone
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.initErr != nil {
		return s.initErr
	}
	return nil
}

// Slots implements Session: as many as polls were ever open at once, those that
// hold an invocation included. A runtime that polls in one loop has one.
func (s *Server) Slots() (int, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slots.n, s.slots.more
}

// Invoke implements Session.
func (s *Server) Invoke(ctx context.Context, event *faas.Event) (faas.Outcome, error) {
	c := &served{call: call{id: event.RequestID, answered: make(chan answer, 1)}, event: event}
	if event.Stream != nil {
		var end context.CancelFunc
		c.stream, end = context.WithCancel(ctx)
		defer end()
	}
	mine, err := s.offer(ctx, c)
	if err != nil {
		return faas.Outcome{}, err
	}
	if mine != nil && s.converse(ctx, c, mine) {
		return (<-c.answered).result()
	}
	a, err := c.await(ctx, s.gone, func() { s.giveUp(c) })
	if err != nil {
		return faas.Outcome{}, err
	}
	return a.result()
}

// offer hands the call to the oldest parked poll, or queues it for the next. Where the
// connection that it returns is not nil, the caller is to converse there itself.
func (s *Server) offer(ctx context.Context, c *served) (mine *conn, err error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrGone
	}
	if _, taken := s.calls[c.id]; taken || len(s.calls) >= maxInFlight {
		s.mu.Unlock()
		return nil, errors.New("runtimeapi: request id in use, or too many invocations in flight")
	}
	s.calls[c.id] = c
	poll := s.dispatchLocked(c, false)
	mine = s.takeLocked(ctx, c, poll)
	s.mu.Unlock()
	if poll != nil && poll == mine {
		poll.quiet() // if not, it cannot take the event
	}
	s.handOver(c, poll)
	return mine, nil
}

// handOver writes the event to the poll that has taken the call; where that fails, to
// the next one.
func (s *Server) handOver(c *served, poll *conn) {
	for poll != nil && poll.deliver(c) != nil {
		poll.close()
		poll = s.undeliver(c)
	}
}

// dispatchLocked gives a waiting call to a poll, which the caller hands it over to, else
// to the queue: at its head where the call comes back from a poll that could not take it.
func (s *Server) dispatchLocked(c *served, head bool) *conn {
	if len(s.polls) > 0 {
		poll := s.polls[0]
		s.removePollLocked(0)
		c.state = delivered // before the first byte: the answer may overtake the caller
		return poll
	}
	c.state = waiting
	if head {
		s.pending = append([]*served{c}, s.pending...)
	} else {
		s.pending = append(s.pending, c)
	}
	return nil
}

func (s *Server) removePollLocked(i int) {
	s.polls[i].parked = false
	s.polls = slices.Delete(s.polls, i, i+1)
}

// undeliver takes a call back from a poll whose connection failed, unless it was
// answered all the same or given up. It returns the poll that takes it now; else it is
// at the head of the queue.
func (s *Server) undeliver(c *served) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.id] != c || c.state != delivered {
		return nil
	}
	return s.dispatchLocked(c, true)
}

// giveUp ends a call whose caller waits no longer. A runtime that holds it may
// still answer: that answer is accepted and dropped.
func (s *Server) giveUp(c *served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked(c, pastDropped)
}

// releaseLocked removes the call from every place but the poll that may hold it.
func (s *Server) releaseLocked(c *served, how pastKind) {
	if s.calls[c.id] != c {
		return
	}
	delete(s.calls, c.id)
	if i := slices.Index(s.pending, c); i >= 0 {
		s.pending = slices.Delete(s.pending, i, i+1)
	}
	s.past.add(c.id, how)
}

// park returns the call that has waited for longest, which is to be handed over to the
// connection, or has its poll wait for one.
func (s *Server) park(on *conn) *served {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isReady {
		s.isReady = true
		close(s.ready)
	}
	s.showSlotsLocked()
	if len(s.pending) == 0 {
		on.parked = true
		s.polls = append(s.polls, on)
		return nil
	}
	c := s.pending[0]
	s.pending = slices.Delete(s.pending, 0, 1)
	c.state = delivered
	c.interruptLocked(on)
	return c
}

// received notes that a connection has a request, or has ended. It reports whether a
// poll was parked there, which is taken back: its client is gone, or does not wait for
// the answer, which no runtime client does and is not served.
func (s *Server) received(from *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.firstByte.IsZero() {
		s.firstByte = time.Now()
	}
	if !from.parked {
		return false
	}
	s.removePollLocked(slices.Index(s.polls, from))
	return true
}

// showSlotsLocked counts a poll that has just come, with those that are parked
// and those that hold an invocation.
func (s *Server) showSlotsLocked() {
	if s.slots.more == nil {
		return
	}
	n := 1 + len(s.polls)
	for _, c := range s.calls {
		if c.state != waiting {
			n++
		}
	}
	s.slots.show(n)
}

// Finish is called when the runtime's process has ended: posts that are being
// read are read to their end, for at most the time given.
func (s *Server) Finish(within time.Duration) {
	// What the process wrote before it died is in the kernel's buffers, perhaps
	// not seen by any goroutine yet: a short while for the poller to bring it.
	const notice = 10 * time.Millisecond
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	quiet := time.NewTimer(notice)
	defer quiet.Stop()
	for {
		select {
		case <-deadline.C:
			return
		case <-s.gone:
			return
		case <-quiet.C:
			s.mu.Lock()
			busy := s.posting > 0
			s.mu.Unlock()
			if !busy {
				return
			}
		case <-s.idle:
			quiet.Reset(notice)
		}
	}
}

// Broken implements what a Frames answers: an HTTP client that misbehaves gets
// its 4xx, and breaks nothing.
func (s *Server) Broken() bool { return false }

// Close implements Session: it closes the listener and every connection, and
// returns when Serve and what it began have.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.exchange.stopLocked()
	listener := s.listener
	for c := range s.open {
		c.close()
	}
	s.mu.Unlock()
	close(s.gone)
	var err error
	if listener != nil {
		err = listener.Close()
	}
	s.serving.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil // the sandbox closed the listener first
	}
	return err
}
