package runtimeapi

import (
	"context"
	"net"
)

// NewParked begins the conversation with a runtime that boots before it is known
// for which function: it is told to park. It owns conn from then on; Begin sends
// the go frame.
func NewParked(conn net.Conn) *Frames {
	s := newFrames(conn, FramesOptions{})
	s.park = true
	go s.read()
	if err := s.send(context.Background(), framePark, nil, nil); err != nil {
		s.fail(err)
	}
	return s
}

// AwaitParked waits until the runtime has parked: it has done all that it can do
// before its go frame, and waits for that. ErrGone where it ended.
func (s *Frames) AwaitParked(ctx context.Context) error {
	select {
	case <-s.parked:
		return nil
	case <-s.gone:
		return ErrGone
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Begin sends the go frame to a runtime that has parked, once, and returns without
// waiting. ErrGone where the runtime had ended before: then nothing of the function
// has run.
func (s *Frames) Begin(doc Go) error {
	s.concurrency.Store(int32(max(1, doc.Concurrency)))
	if s.sendGo(doc) != nil {
		return ErrGone
	}
	return nil
}
