package runtimeapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"hearth/faas"
	"hearth/internal/bounded"
)

// A managed runtime streams a response as a stream frame, chunk frames, and at last
// the response frame without a payload, or an error.
//
// Where it takes one invocation at a time, the socket between the two is what slows
// it down: the caller of Invoke reads no further while its client does not. Where it
// takes several, one goroutine reads for all of them and must not wait for anyone:
// there the runtime has a window for each response, and credit frames move it.

// StreamWindow is how many bytes of one response a runtime that takes several
// invocations at once may send ahead of credit frames.
const StreamWindow = 256 << 10

// whileOpen bounds ctx by the session, whose end has the cause ErrGone, unless over
// says that all has arrived.
func (s *Frames) whileOpen(ctx context.Context, over func() bool) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.life, func() {
		if !over() {
			cancel(ErrGone)
		}
	})
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// exchangeStream reads a streamed response to its end, f being its first frame. An
// error is what a read of the connection would have: os.ErrDeadlineExceeded where
// ctx has ended.
func (s *Frames) exchangeStream(ctx context.Context, event *faas.Event, f frame) (answer, error) {
	s.setStreaming(true)
	defer s.setStreaming(false)
	within, stop := s.whileOpen(ctx, func() bool { return false })
	defer stop()
	k := newSink(event.Stream, s.limit, contentTypeOf(f))
	for {
		f, err := readFrame(s.in, s.limit, event.RequestID)
		if err != nil {
			return answer{}, err
		}
		if f.kind != frameChunk {
			return s.lastOf(k, event.RequestID, f)
		}
		if err := checkChunk(f, event.RequestID); err != nil {
			return answer{}, err
		}
		switch err := k.write(within, f.payload); {
		case err != nil && ctx.Err() != nil:
			return answer{}, os.ErrDeadlineExceeded
		case err != nil:
			return answer{}, err
		}
	}
}

// setStreaming says whether an exchange reads a response that its client may slow
// down: what the runtime had sent before its end is read to its end then.
func (s *Frames) setStreaming(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streaming = on
}

// lastOf is the answer that the last frame of a streamed response makes of it.
func (s *Frames) lastOf(k *sink, id string, f frame) (answer, error) {
	got, a, err := s.answerOf(f)
	if err == nil && got != id {
		err = errUnknownID
	}
	if err == nil {
		a.outcome = k.finish(a.outcome)
	}
	return a, err
}

var errUnknownID = fmt.Errorf("%w: answer to an invocation that it does not hold", errProtocol)

// contentTypeOf is what a stream frame says behind the request id.
func contentTypeOf(f frame) string {
	_, contentType, _ := strings.Cut(f.header, " ")
	return contentType
}

func checkChunk(f frame, id string) error {
	if f.header != id {
		return errUnknownID
	}
	if f.oversize > 0 {
		return fmt.Errorf("%w: a chunk of %d bytes", errProtocol, f.oversize)
	}
	return nil
}

// inbound is a streamed response of a runtime that takes several invocations at once,
// between the goroutine that reads and the caller of Invoke.
type inbound struct {
	contentType string
	parts       *bounded.Pipe
	last        answer // set before parts end
}

// acceptStream takes a stream or chunk frame. It never waits.
func (s *Frames) acceptStream(f frame) error {
	id, contentType, _ := strings.Cut(f.header, " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.calls.calls[id]
	switch {
	case !known:
		return errUnknownID
	case c == nil: // it was given up
		return nil
	case f.kind == frameStream && c.inbound == nil:
		c.inbound = &inbound{contentType: contentType, parts: bounded.New(StreamWindow)}
		c.answered <- answer{inbound: c.inbound}
		return nil
	case f.kind == frameStream || c.inbound == nil:
		return fmt.Errorf("%w: frame %q of an invocation out of order", errProtocol, f.kind)
	case f.oversize > 0 || !c.inbound.parts.Put(f.payload):
		return fmt.Errorf("%w: more of a response than the window has room for", errProtocol)
	}
	return nil
}

// receive passes a streamed response on until its end, which is the outcome.
func (s *Frames) receive(ctx context.Context, c *call, event *faas.Event, in *inbound) (answer, error) {
	within, stop := s.whileOpen(ctx, in.parts.Ended)
	defer stop()
	k := newSink(event.Stream, s.limit, in.contentType)
	for spare := []byte(nil); ; {
		part, err := in.parts.Next(within, spare)
		if err == io.EOF {
			a := in.last
			a.outcome = k.finish(a.outcome)
			return a, nil
		}
		if err == nil {
			err = k.write(within, part)
		}
		if err == nil && !in.parts.Ended() {
			err = s.send(within, frameCredit, []byte(c.id), strconv.AppendInt(nil, int64(len(part)), 10))
		}
		if err != nil && !in.parts.Ended() || ctx.Err() != nil {
			s.forget(c)
			return answer{}, s.streamFault(ctx, err)
		}
		spare = part
	}
}

// streamFault is why a response was not received to its end.
func (s *Frames) streamFault(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
	case s.life.Err() != nil, !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, errNotBegun):
		return ErrGone
	}
	<-ctx.Done() // at this very moment
	return context.Cause(ctx)
}
