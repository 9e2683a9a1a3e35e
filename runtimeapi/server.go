package runtimeapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
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
	Logger      *slog.Logger // nil = discard
}

// Server is the Session with a runtime that speaks the Lambda Runtime API
// (2018-06-01) over HTTP. Several next polls may be parked at once; each takes
// one event. Safe for concurrent use.
type Server struct {
	limit int
	conns int
	log   *slog.Logger
	http  *http.Server

	ready   chan struct{} // closed at the first next poll, or at an init error
	gone    chan struct{} // closed by Close
	serving sync.WaitGroup

	mu        sync.Mutex
	firstByte time.Time
	isReady   bool
	initErr   *InitError
	closed    bool
	calls     map[string]*served // every invocation that is not answered yet
	pending   []*served          // not delivered, oldest first
	polls     []*poll            // parked, oldest first
	slots     slots
	past      pastIDs       // answered or given up
	posting   int           // posts whose body is being read
	idle      chan struct{} // a value when posting falls to zero; buffered by one
}

// served is a call and how far it has come.
type served struct {
	call
	event    *faas.Event
	state    servedState
	released chan struct{} // closed when it was answered or given up
}

type servedState int

const (
	waiting   servedState = iota // for a poll
	handed                       // to a poll, and not written yet
	delivered                    // the poll's client has it
	answering                    // its response is being read
)

// poll is one parked GET next.
type poll struct {
	call chan *served // buffered by one; sent to at most once
}

// NewServer returns a Server that serves nothing yet.
func NewServer(opts ServerOptions) *Server {
	s := &Server{
		limit: opts.MaxResponse,
		conns: 64 + 2*max(1, opts.Concurrency),
		log:   opts.Logger,
		ready: make(chan struct{}),
		gone:  make(chan struct{}),
		calls: make(map[string]*served, 1),
		slots: newSlots(max(1, opts.Concurrency)),
		idle:  make(chan struct{}, 1),
	}
	if s.limit == 0 {
		s.limit = MaxResponse
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.http = &http.Server{
		Handler: s.routes(),
		// No timeouts: a poll waits as long as it likes, an instance may be frozen
		// in the middle of a request, and all of it ends with the sandbox.
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers on the listener until Close, which closes it. It returns nil
// after Close, else why it stopped.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return l.Close()
	}
	s.serving.Add(1)
	s.mu.Unlock()
	defer s.serving.Done()
	err := s.http.Serve(limitConns(l, s.conns))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
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
	c := &served{
		call:     call{id: event.RequestID, answered: make(chan answer, 1)},
		event:    event,
		released: make(chan struct{}),
	}
	if err := s.offer(c); err != nil {
		return faas.Outcome{}, err
	}
	return c.await(ctx, s.gone, func() { s.giveUp(c) })
}

// offer hands the call to the oldest parked poll, or queues it for the next.
func (s *Server) offer(c *served) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrGone
	}
	if _, taken := s.calls[c.id]; taken || len(s.calls) >= maxInFlight {
		return errors.New("runtimeapi: request id in use, or too many invocations in flight")
	}
	s.calls[c.id] = c
	s.dispatchLocked(c, false)
	return nil
}

// dispatchLocked gives a waiting call to a poll, else to the queue: at its head
// where the call comes back from a poll that could not take it.
func (s *Server) dispatchLocked(c *served, head bool) {
	if len(s.polls) > 0 {
		p := s.polls[0]
		s.polls = s.polls[1:]
		c.state = handed
		p.call <- c
		return
	}
	if head {
		s.pending = append([]*served{c}, s.pending...)
		return
	}
	s.pending = append(s.pending, c)
}

// giveUp ends a call whose caller waits no longer. A runtime that holds it may
// still answer: that answer is accepted and dropped.
func (s *Server) giveUp(c *served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked(c, pastDropped)
}

// releaseLocked removes the call from every place but the poll that may hold it,
// which looks at released.
func (s *Server) releaseLocked(c *served, how pastKind) {
	if s.calls[c.id] != c {
		return
	}
	delete(s.calls, c.id)
	for i, p := range s.pending {
		if p == c {
			s.pending = append(s.pending[:i], s.pending[i+1:]...)
			break
		}
	}
	s.past.add(c.id, how)
	close(c.released)
}

// park returns a call that waits, or a parked poll that will get one.
func (s *Server) park() (*served, *poll) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isReady {
		s.isReady = true
		close(s.ready)
	}
	s.showSlotsLocked()
	if len(s.pending) > 0 {
		c := s.pending[0]
		s.pending = s.pending[1:]
		c.state = handed
		return c, nil
	}
	p := &poll{call: make(chan *served, 1)}
	s.polls = append(s.polls, p)
	return nil, p
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

// unpark takes back a poll whose client is gone; a call that it was given in the
// meantime goes to another one.
func (s *Server) unpark(p *poll) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.polls {
		if other == p {
			s.polls = append(s.polls[:i], s.polls[i+1:]...)
			return
		}
	}
	select {
	case c := <-p.call:
		s.returnLocked(c)
	default:
	}
}

func (s *Server) returnLocked(c *served) {
	if s.calls[c.id] != c {
		return // given up meanwhile
	}
	c.state = waiting
	s.dispatchLocked(c, true)
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
// returns when Serve and the handlers have.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.gone)
	err := s.http.Close()
	s.serving.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil // the sandbox closed the listener first
	}
	return err
}
