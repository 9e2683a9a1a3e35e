package invoke

import (
	"context"
	"sync"

	"hearth/faas"
	"hearth/internal/bounded"
)

// Stream is a client that gets the response of an invocation while its function
// produces it. Its methods are called by one goroutine at a time, and none after
// Invoke has returned.
type Stream interface {
	// Begin says that the function answers: once, before Write. An invocation that
	// fails before that has an error or a function error in its Result, and no Begin.
	Begin(head StreamHead)
	// Write passes the next part on and waits for the client as long as that is to
	// be. An error says that the client is gone: it gets no more, and the invocation
	// goes on.
	Write(part []byte) error
}

// StreamHead is what is known of a response before its first byte.
type StreamHead struct {
	ExecutedVersion string // Latest or a number
	// ContentType is the function's own; "" where it has none. With
	// faas.HTTPIntegration the response begins with the head of an HTTP response.
	ContentType string
}

// streamBuffer bounds what a function may be ahead of its client, in bytes: as much
// is held once more while it is written to the client.
const streamBuffer = 128 << 10

// stream runs an invocation whose response goes to req.Stream. Its instance and its
// leases are given back when the function has ended, and what the client has yet to
// read of the buffer is written after that.
func (s *Service) stream(ctx context.Context, req *Request, version *faas.Version) (*Result, error) {
	streamed := *req
	streamed.relay = &relay{to: req.Stream}
	res, err := s.call(ctx, &streamed, version)
	streamed.relay.finish(res, err)
	return res, err
}

// relay is the faas.ResponseStream of one invocation. A goroutine of its own writes to
// the client, from Open until finish returns: the function's time passes, and its
// instance is killed in time, whatever the client does.
type relay struct {
	to      Stream
	version string // set before the event is delivered

	mu     sync.Mutex
	ended  bool
	sent   int64         // bytes that the function wrote
	parts  *bounded.Pipe // nil until Open
	pumped chan struct{} // closed when the goroutine has ended
}

var _ faas.ResponseStream = (*relay)(nil)

// Open implements faas.ResponseStream.
func (r *relay) Open(contentType string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.parts != nil {
		return
	}
	r.parts, r.pumped = bounded.New(streamBuffer), make(chan struct{})
	go r.pump(StreamHead{ExecutedVersion: r.version, ContentType: contentType})
}

// Write implements faas.ResponseStream.
func (r *relay) Write(ctx context.Context, p []byte) error {
	r.mu.Lock()
	parts := r.parts
	if r.ended || parts == nil {
		r.mu.Unlock()
		return nil
	}
	r.sent += int64(len(p))
	r.mu.Unlock()
	return parts.Write(ctx, p)
}

// pump passes parts on until the end, or until the client is gone.
func (r *relay) pump(head StreamHead) {
	defer close(r.pumped)
	r.to.Begin(head)
	for spare := []byte(nil); ; {
		part, err := r.parts.Next(context.Background(), spare)
		if err != nil { // the end
			return
		}
		if r.to.Write(part) != nil {
			r.parts.Drop()
			return
		}
		spare = part
	}
}

// finish passes on what is left. The result of a function that did not stream is one
// part.
func (r *relay) finish(res *Result, err error) {
	r.mu.Lock()
	r.ended = true
	parts := r.parts
	r.mu.Unlock()
	switch {
	case parts != nil:
		parts.End()
		<-r.pumped
	case err == nil && res.Outcome.FunctionError == "":
		r.to.Begin(StreamHead{ExecutedVersion: res.ExecutedVersion, ContentType: "application/json"})
		_ = r.to.Write(res.Outcome.Payload) // a client that is gone is told nothing
		res.Outcome.Payload = nil
	}
}

// produced is how many bytes of response the invocation has.
func (r *relay) produced(out faas.Outcome) int64 {
	if r == nil {
		return int64(len(out.Payload))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.parts == nil || out.FunctionError != "" {
		return r.sent + int64(len(out.Payload))
	}
	return r.sent
}
