package runtimeapi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"hearth/faas"
	"hearth/internal/deadline"
	"hearth/internal/line"
)

// Where a runtime takes one invocation at a time, its caller writes the event and
// reads the answer itself: no goroutine hands it over, which would wake another
// thread for each call. The write token is then held for the whole of a call.
//
// So nobody reads while the runtime holds no invocation. What it sends then is seen
// by the next one, which finds the session broken; its end is seen by who watches
// its process.

// alone reports whether callers read for themselves, once the runtime is ready.
func (s *Frames) alone() bool { return s.concurrency.Load() == 1 }

// exchange runs one invocation. When it was given up, because ctx has ended, the
// session takes no other: the runtime is to be killed. The connection stays open
// until then, so that the runtime does nothing about its end.
func (s *Frames) exchange(ctx context.Context, event *faas.Event) (faas.Outcome, error) {
	if err := s.beginExchange(ctx); err != nil {
		return faas.Outcome{}, err
	}
	defer func() { <-s.write }()
	if s.spent {
		return faas.Outcome{}, ErrGone
	}
	if !s.taken {
		s.taken = true
		s.takeLine()
	}
	if err := s.limitExchange(ctx); err != nil {
		return faas.Outcome{}, err
	}
	if _, timed := deadline.Of(ctx); !timed { // it may end earlier
		stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })
		defer stop()
	}
	err := s.writeEvent(event)
	if err == nil {
		var a answer
		if a, err = s.readAnswer(ctx, event); err == nil {
			return a.result()
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && s.gaveUp(ctx) {
		s.spent = true
		return faas.Outcome{}, context.Cause(ctx)
	}
	s.fail(err)
	return faas.Outcome{}, ErrGone
}

// takeLine makes a line of the connection, where it can be one.
func (s *Frames) takeLine() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil || s.in.Buffered() > 0 {
		return
	}
	if conn, ok := s.conn.(net.Conn); ok {
		if l := line.Take(conn, 1); l != nil {
			s.conn = l
			s.in.Reset(l)
		}
	}
}

// beginExchange takes the write token, when the runtime is ready.
func (s *Frames) beginExchange(ctx context.Context) error {
	select {
	case s.write <- struct{}{}:
	default: // the go frame is being written, or the caller has no right to call
		select {
		case s.write <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.gone:
			return ErrGone
		}
	}
	select {
	case <-s.readerDone:
		return nil
	default:
	}
	select {
	case <-s.readerDone:
		return nil
	case <-ctx.Done():
		<-s.write
		return context.Cause(ctx)
	}
}

// limitExchange sets the connection's deadline: that of ctx, or that of Finish
// where it is earlier.
func (s *Frames) limitExchange(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return ErrGone
	}
	at, _ := ctx.Deadline()
	if !s.finishBy.IsZero() && (at.IsZero() || s.finishBy.Before(at)) {
		at = s.finishBy
	}
	_ = s.conn.SetDeadline(at) // an error means that it is closed: the write says so, too
	return nil
}

// gaveUp tells the end of ctx from that of Finish, after the connection's deadline.
func (s *Frames) gaveUp(ctx context.Context) bool {
	s.mu.Lock()
	finishing := !s.finishBy.IsZero()
	s.mu.Unlock()
	if finishing {
		return ctx.Err() != nil
	}
	<-ctx.Done() // at this very moment
	return true
}

// writeEvent writes an invoke frame: one write, of two buffers where the event is large.
func (s *Frames) writeEvent(event *faas.Event) error {
	b := appendInvokeHeader(append(s.writer[:0], make([]byte, framePrefix)...), event)
	header := len(b) - framePrefix
	length := 4 + int64(header) + int64(len(event.Payload))
	if header > maxUint24 || length > 1<<32-1 {
		return fmt.Errorf("runtimeapi: frame of %d and %d bytes is too large", header, len(event.Payload))
	}
	binary.BigEndian.PutUint32(b, uint32(length))
	binary.BigEndian.PutUint32(b[4:], frameInvoke<<24|uint32(header))
	if len(event.Payload) > smallPayload {
		s.writer = b
		buffers := net.Buffers{b, event.Payload}
		_, err := buffers.WriteTo(s.conn)
		return err
	}
	s.writer = append(b, event.Payload...)
	_, err := s.conn.Write(s.writer)
	return err
}

// readAnswer reads the answer to the one invocation that the runtime holds.
func (s *Frames) readAnswer(ctx context.Context, event *faas.Event) (answer, error) {
	f, err := readFrame(s.in, s.limit, event.RequestID)
	if err != nil {
		return answer{}, err
	}
	if f.kind == frameStream && strings.HasPrefix(f.header, event.RequestID+" ") {
		return s.exchangeStream(ctx, event, f)
	}
	got, a, err := s.answerOf(f)
	if err == nil && got != event.RequestID {
		err = errUnknownID
	}
	return a, err
}

// awaitExchange waits until no exchange is under way; the connection is closed, or
// has a deadline that is soon.
func (s *Frames) awaitExchange() {
	s.write <- struct{}{}
	<-s.write
}
