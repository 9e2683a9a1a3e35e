package network

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// maxQueries bounds the queries that one instance has under way. One more is
	// not read until another is answered: who asks too much waits.
	maxQueries = 32
	// maxStreams bounds an instance's TCP connections to the resolver.
	maxStreams = 8
	// streamIdle is how long such a connection may be silent.
	streamIdle = 10 * time.Second
	// readPause is waited after an error of a socket that is still open.
	readPause = 50 * time.Millisecond
)

// server is the resolver inside one namespace. It lives as long as the namespace;
// its tenants change by reset.
type server struct {
	resolver *resolver
	packets  net.PacketConn
	streams  net.Listener
	queries  chan struct{} // holds one entry for each query under way
	own      chan struct{} // likewise, for those of ownForwards
	stop     chan struct{} // closed by close
	wg       sync.WaitGroup

	mu     sync.Mutex
	ctx    context.Context // of the present tenant
	cancel context.CancelFunc
	conns  map[net.Conn]struct{}
	closed bool
}

// serve starts answering on two sockets, which it owns from now on.
func (r *resolver) serve(packets net.PacketConn, streams net.Listener) *server {
	s := &server{resolver: r, packets: packets, streams: streams, queries: make(chan struct{}, maxQueries), own: make(chan struct{}, ownForwards),
		stop: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.servePackets)
	s.wg.Go(s.serveStreams)
	return s
}

// close stops answering and waits until nothing of the server runs.
func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	s.packets.Close()
	s.streams.Close()
	s.drop()
	s.wg.Wait()
}

// reset ends everything that the present tenant has under way.
func (s *server) reset() {
	s.drop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx, s.cancel = context.WithCancel(context.Background())
}

func (s *server) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel()
	for conn := range s.conns {
		conn.Close()
	}
}

func (s *server) tenant() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ctx
}

func (s *server) servePackets() {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := s.packets.ReadFrom(buf)
		if err != nil {
			if s.ended(err) {
				return
			}
			continue
		}
		select {
		case s.queries <- struct{}{}:
		case <-s.stop:
			return
		}
		message, ctx := append([]byte(nil), buf[:n]...), s.tenant()
		s.wg.Go(func() {
			defer func() { <-s.queries }()
			if answer := s.resolver.answer(ctx, "udp", message, s.own); answer != nil && ctx.Err() == nil {
				_, _ = s.packets.WriteTo(answer, from) // a client that is gone misses nothing
			}
		})
	}
}

func (s *server) serveStreams() {
	slots := make(chan struct{}, maxStreams)
	for {
		select {
		case slots <- struct{}{}:
		case <-s.stop:
			return
		}
		conn, err := s.streams.Accept()
		if err != nil {
			<-slots
			if s.ended(err) {
				return
			}
			continue
		}
		ctx, ok := s.admit(conn)
		if !ok {
			conn.Close()
			return
		}
		s.wg.Go(func() {
			defer func() { <-slots }()
			s.serveStream(ctx, conn)
		})
	}
}

func (s *server) admit(conn net.Conn) (context.Context, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	s.conns[conn] = struct{}{}
	return s.ctx, true
}

// serveStream answers the queries of one connection, one after the other.
func (s *server) serveStream(ctx context.Context, conn net.Conn) {
	defer func() {
		conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	buf := make([]byte, maxMessage)
	for ctx.Err() == nil {
		_ = conn.SetDeadline(time.Now().Add(streamIdle + answerTimeout)) // fails only when closed
		message, err := readMessage(conn, "tcp", buf)
		if err != nil {
			return
		}
		answer := s.resolver.answer(ctx, "tcp", message, s.own)
		if answer == nil || writeMessage(conn, "tcp", answer) != nil {
			return
		}
	}
}

// ended reports whether a socket's error is its end; it pauses after another, so
// that an error that lasts costs little.
func (s *server) ended(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return true
	}
	pause := time.NewTimer(readPause)
	defer pause.Stop()
	select {
	case <-s.stop:
		return true
	case <-pause.C:
		return false
	}
}
