package runtimeapi

import (
	"net/http"
	"net/http/httputil"

	"hearth/faas"
)

// TypeTruncated is a streamed response that broke off while its runtime lived on.
const TypeTruncated = "Runtime.TruncatedResponse"

// streams reports whether a response goes on part by part while it is read. Whether
// the runtime says that it streams does not count: aws-lambda-go never does, and
// sends all in chunks.
func (c *served) streams(operation string, q *query) bool {
	return c.event.Stream != nil && operation == "response" && q.length < 0
}

// serveStream passes a response in chunks on as it comes. Its connection's goroutine
// waits for the client, and so does the runtime, whose connection is read no further.
func (s *Server) serveStream(c *conn, q *query, call *served) {
	if err := c.goOn(q); err != nil {
		s.truncated(call, err)
		q.last = true
		return
	}
	k := newSink(call.event.Stream, s.limit, q.contentType)
	chunks := httputil.NewChunkedReader(c.r)
	err := k.copy(call.stream, chunks)
	if err == nil {
		err = q.readTrailers(c.r)
	}
	switch {
	case err == nil:
		s.settle(call, k.finish(outcomeOf("response", q, nil)))
		c.accept()
	case k.full():
		s.settle(call, k.finish(faas.Outcome{}))
		q.skipChunks(c.r, chunks)
		c.refuseBody(q, &oversizeError{k.size, int(k.limit)})
	case call.stream.Err() != nil: // it was given up: nobody wants the rest
		q.skipChunks(c.r, chunks)
		c.reply(http.StatusAccepted, acceptance, q.last)
	default:
		s.truncated(call, err)
		c.refuseBody(q, err)
	}
}

// truncated ends a call whose response broke off. That its runtime ended is the
// reason more often than not, and is looked at first.
func (s *Server) truncated(call *served, cause error) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed { // that is what Invoke says
		return
	}
	s.answer(call, answer{truncated: &AnswerError{Cause: cause, Outcome: faas.Outcome{
		Payload:       errorDocument(TypeTruncated, "the response stream ended before it was complete"),
		FunctionError: Unhandled, ErrorType: TypeTruncated,
	}}})
}
