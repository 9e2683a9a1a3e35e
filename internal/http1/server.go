package http1

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// shutdownPoll is how often Shutdown looks whether the requests in flight ended.
const shutdownPoll = 5 * time.Millisecond

// Server serves the plain requests of a listener by itself and all others with
// net/http. Fields are set before Serve.
type Server struct {
	// Rest serves everything that is not plain; its Handler, its limits of time and
	// its log are this server's as well. ReadHeaderTimeout and IdleTimeout are above 0.
	Rest *http.Server
	// Direct picks the plain requests that are served here, by their path. Their
	// handler must not flush, hijack, or keep the header of the request.
	Direct func(path string) bool
	Logger *slog.Logger

	handed handover

	closing atomic.Bool // set with mu held

	mu       sync.Mutex
	listener net.Listener
	conns    map[*conn]struct{}
	serving  sync.WaitGroup // one for each conn
}

// Serve accepts connections until the listener fails or the server is shut down;
// then it returns http.ErrServerClosed.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		return http.ErrServerClosed
	}
	s.listener = l
	s.conns = map[*conn]struct{}{}
	s.handed = handover{addr: l.Addr(), conns: make(chan net.Conn), closed: make(chan struct{})}
	s.mu.Unlock()
	rest := make(chan error, 1)
	go func() { rest <- s.Rest.Serve(&s.handed) }()
	err := s.accept(l)
	_ = s.handed.Close() // never fails
	<-rest
	if s.closing.Load() && errors.Is(err, net.ErrClosed) {
		return http.ErrServerClosed
	}
	return err
}

// accept takes connections. A shortage of descriptors or memory passes: it waits a
// moment, as net/http does.
func (s *Server) accept(l net.Listener) error {
	var pause time.Duration
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			s.start(nc)
			continue
		}
		var passing interface{ Temporary() bool }
		if !errors.As(err, &passing) || !passing.Temporary() {
			return err
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.Logger.Warn("cannot accept a connection", "err", err, "retry", pause)
		time.Sleep(pause)
	}
}

func (s *Server) start(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.serving.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.serving.Done()
		defer s.forget(c)
		c.serve()
	}()
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// Shutdown stops to accept, closes idle connections and waits until the requests
// in flight are answered, or until ctx ends: then Close ends them.
func (s *Server) Shutdown(ctx context.Context) error {
	s.close((*conn).closeIdle)
	err := s.Rest.Shutdown(ctx)
	tick := time.NewTicker(shutdownPoll)
	defer tick.Stop()
	for s.left() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
	s.serving.Wait()
	return err
}

// Close ends the server and all its connections. It does not wait for handlers.
func (s *Server) Close() error {
	s.close((*conn).closeNow)
	return s.Rest.Close()
}

// close stops the accepting and does something to every connection.
func (s *Server) close(each func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing.Store(true)
	if s.listener != nil {
		s.listener.Close() // an error says that it is closed
	}
	for c := range s.conns {
		each(c)
	}
}

func (s *Server) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// handover is the listener of net/http: it accepts what the server hands over.
type handover struct {
	addr   net.Addr
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *handover) Addr() net.Addr { return h.addr }

// give hands a connection over, with what was read of it; it is closed where the
// server is.
func (h *handover) give(nc net.Conn, read []byte) {
	select {
	case h.conns <- &replayed{Conn: nc, rest: append([]byte(nil), read...)}:
	case <-h.closed:
		nc.Close()
	}
}

// replayed is a connection whose first bytes were read before.
type replayed struct {
	net.Conn
	rest []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		r.rest = nil
	}
	return n, nil
}

// CloseWrite lets net/http end an answer before the connection, so that a client
// that is still sending gets to read it.
func (r *replayed) CloseWrite() error {
	if half, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
