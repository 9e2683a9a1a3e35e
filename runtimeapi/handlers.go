package runtimeapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hearth/faas"
)

const (
	headerRequestID = "Lambda-Runtime-Aws-Request-Id"
	headerDeadline  = "Lambda-Runtime-Deadline-Ms"
	headerARN       = "Lambda-Runtime-Invoked-Function-Arn"
	headerTrace     = "Lambda-Runtime-Trace-Id"
	headerAttempt   = "Hearth-Attempt" // Hearth's own: the number of the try of an asynchronous invocation
	headerClient    = "Lambda-Runtime-Client-Context"
	headerCognito   = "Lambda-Runtime-Cognito-Identity"
	headerErrorType = "Lambda-Runtime-Function-Error-Type"
	headerErrorBody = "Lambda-Runtime-Function-Error-Body"
)

const (
	runtimePrefix    = "/2018-06-01/runtime/"
	invocationPrefix = runtimePrefix + "invocation/"
	maxErrorType     = 256 // bytes of an error type that are kept
	// drainLimit is how much of an oversized body is read, so that a client in the
	// middle of sending it hears the 413 and not a reset connection.
	drainLimit = 64 << 20
)

// routes is the whole surface. Paths are matched by hand: a mux would clean
// and redirect them, and a runtime client expects neither.
func (s *Server) routes() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			return
		}
		defer s.serving.Done()
		path := r.URL.Path
		switch {
		case path == invocationPrefix+"next" && r.Method == http.MethodGet:
			s.serveNext(w, r)
		case path == runtimePrefix+"init/error" && r.Method == http.MethodPost:
			s.serveInitError(w, r)
		case strings.HasPrefix(path, invocationPrefix) && r.Method == http.MethodPost:
			s.serveInvocation(w, r, path[len(invocationPrefix):])
		case path == "/2018-06-01/ping" && r.Method == http.MethodGet:
			w.Write([]byte("pong"))
		case unsupported(path):
			refuse(w, http.StatusNotImplemented, "NotSupported",
				"Hearth does not serve extensions and telemetry to this instance yet: "+path)
		default:
			refuse(w, http.StatusNotFound, "NotFound", "no such Runtime API operation: "+r.Method+" "+path)
		}
	})
}

// unsupported reports whether the path is of the extensions, logs or telemetry API.
func unsupported(path string) bool {
	return strings.HasPrefix(path, "/2020-01-01/extension/") || strings.HasPrefix(path, "/2020-08-15/logs") ||
		strings.HasPrefix(path, "/2022-07-01/telemetry") || strings.HasPrefix(path, runtimePrefix+"restore/")
}

// enter counts a request that is served; false once the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.firstByte.IsZero() {
		s.firstByte = time.Now()
	}
	s.serving.Add(1)
	return true
}

// serveNext parks the poll until there is an event for it, its client goes away
// or the server closes.
func (s *Server) serveNext(w http.ResponseWriter, r *http.Request) {
	if s.initFailed() {
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "next after init/error is not allowed")
		return
	}
	for {
		c, p := s.park()
		if p != nil {
			select {
			case c = <-p.call:
			case <-r.Context().Done():
				s.unpark(p)
				return
			case <-s.gone:
				return
			}
		}
		if r.Context().Err() != nil {
			s.giveBack(c)
			return
		}
		if s.deliver(w, c) {
			return
		}
	}
}

func (s *Server) initFailed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.initErr != nil
}

func (s *Server) giveBack(c *served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returnLocked(c)
}

// deliver writes the event to the poll. It is false where the call had been
// given up before: the poll goes on waiting.
func (s *Server) deliver(w http.ResponseWriter, c *served) bool {
	s.mu.Lock()
	if s.calls[c.id] != c {
		s.mu.Unlock()
		return false
	}
	c.state = delivered // before the first byte: the answer may overtake this goroutine
	s.mu.Unlock()

	writeEventHeader(w.Header(), c.event)
	_, err := w.Write(c.event.Payload)
	if err == nil {
		err = http.NewResponseController(w).Flush()
	}
	if err != nil {
		s.undeliver(c)
	}
	return true
}

// undeliver queues the call again, at the head, after its poll's connection
// failed; unless it was answered all the same.
func (s *Server) undeliver(c *served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.id] == c && c.state == delivered {
		s.returnLocked(c)
	}
}

func writeEventHeader(h http.Header, e *faas.Event) {
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(e.Payload)))
	h.Set(headerRequestID, e.RequestID)
	h.Set(headerDeadline, strconv.FormatInt(e.Deadline.UnixMilli(), 10))
	h.Set(headerARN, e.InvokedARN)
	if e.TraceID != "" {
		h.Set(headerTrace, e.TraceID)
	}
	if e.Attempt > 0 {
		h.Set(headerAttempt, strconv.Itoa(e.Attempt))
	}
	if len(e.ClientContext) > 0 {
		h.Set(headerClient, string(e.ClientContext))
	}
	if len(e.Cognito) > 0 {
		h.Set(headerCognito, string(e.Cognito))
	}
}

// serveInitError takes the runtime's report that init failed: once, and only
// before its first poll.
func (s *Server) serveInitError(w http.ResponseWriter, r *http.Request) {
	// Before the first poll no other post is read but one of these.
	if !s.beginPost(func() bool { return !s.isReady && s.posting == 0 }) {
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "init/error is only allowed once, and before the first next")
		return
	}
	defer s.endPost()
	body, err := readBody(r, s.limit)
	if err != nil {
		s.refuseBody(w, err)
		return
	}
	errorType := errorTypeOf(r.Header, body)
	if len(body) == 0 {
		body = errorDocument(errorType, "init failed")
	}
	s.mu.Lock()
	accepted := !s.isReady
	if accepted {
		s.isReady = true
		s.initErr = &InitError{Type: errorType, Payload: body}
		close(s.ready)
	}
	s.mu.Unlock()
	if !accepted {
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "init/error is only allowed once, and before the first next")
		return
	}
	accept(w)
}

// beginPost counts a post whose body will be read, where allowed (called with
// the lock held) says so.
func (s *Server) beginPost(allowed func() bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !allowed() {
		return false
	}
	s.posting++
	return true
}

func (s *Server) endPost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posting--
	if s.posting == 0 {
		select {
		case s.idle <- struct{}{}:
		default:
		}
	}
}

// serveInvocation takes {id}/response and {id}/error.
func (s *Server) serveInvocation(w http.ResponseWriter, r *http.Request, rest string) {
	id, operation, _ := strings.Cut(rest, "/")
	if operation != "response" && operation != "error" {
		refuse(w, http.StatusNotFound, "NotFound", "no such Runtime API operation: "+r.Method+" "+r.URL.Path)
		return
	}
	c, refusal := s.claim(id)
	if refusal != nil {
		refusal(w, r)
		return
	}
	defer s.endPost()
	body, err := readBody(r, s.limit)
	var size *oversizeError
	switch {
	case errors.As(err, &size):
		s.settle(c, tooLarge(size.atLeast, s.limit))
		s.refuseBody(w, err)
	case err != nil: // the client went away in the middle; it may try again
		s.unclaim(c)
		s.refuseBody(w, err)
	default:
		s.settle(c, outcomeOf(operation, r, body))
		accept(w)
	}
}

// claim marks the delivered call as being answered, so that only one body is
// read for it. Where that is not allowed, the refusal answers the request.
func (s *Server) claim(id string) (*served, http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.calls[id]
	if c == nil {
		return nil, s.refusePastLocked(id)
	}
	switch c.state {
	case delivered:
		c.state = answering
		s.posting++
		return c, nil
	case answering:
		return nil, func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusForbidden, "InvalidStateTransition", "the invocation is being answered already")
		}
	}
	return nil, refuseUnknown
}

// refusePastLocked answers for an invocation that is over. One that timed out or
// was cancelled is accepted and dropped: clients end their process on a 4xx,
// and would take every invocation beside it along.
func (s *Server) refusePastLocked(id string) http.HandlerFunc {
	switch {
	case s.past.kind(id) == pastDropped:
		s.past.set(id, pastAnswered)
		return func(w http.ResponseWriter, r *http.Request) {
			// An error here is the client's own connection: nothing to do about it.
			_, _ = io.CopyN(io.Discard, r.Body, drainLimit)
			accept(w)
		}
	case s.past.kind(id) == pastAnswered, !s.isReady:
		return func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusForbidden, "InvalidStateTransition", "the invocation is not waiting for an answer")
		}
	}
	return refuseUnknown
}

func refuseUnknown(w http.ResponseWriter, _ *http.Request) {
	refuse(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
}

func (s *Server) unclaim(c *served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.id] == c {
		c.state = delivered
	}
}

// settle hands the outcome to the call's waiter, unless it was given up while
// the body was read.
func (s *Server) settle(c *served, out faas.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.id] != c {
		return
	}
	s.releaseLocked(c, pastAnswered)
	c.answered <- answer{outcome: out}
}

// outcomeOf is what an accepted post says. A streamed response reports an error
// of the function in its trailers.
func outcomeOf(operation string, r *http.Request, body []byte) faas.Outcome {
	if operation == "response" {
		errorType := clip(r.Trailer.Get(headerErrorType))
		if errorType == "" {
			return faas.Outcome{Payload: body}
		}
		doc, err := base64.StdEncoding.DecodeString(r.Trailer.Get(headerErrorBody))
		if err != nil || !json.Valid(doc) {
			doc = errorDocument(errorType, "the response stream ended with an error")
		}
		return faas.Outcome{Payload: doc, FunctionError: Unhandled, ErrorType: errorType}
	}
	errorType := errorTypeOf(r.Header, body)
	if len(body) == 0 {
		body = errorDocument(errorType, "")
	}
	return faas.Outcome{Payload: body, FunctionError: Unhandled, ErrorType: errorType}
}

// errorTypeOf is the header's error type, else the document's own.
func errorTypeOf(h http.Header, body []byte) string {
	if t := clip(h.Get(headerErrorType)); t != "" {
		return t
	}
	var doc struct {
		Type string `json:"errorType"`
	}
	// A document that is no JSON has no type; that is all there is to know.
	if json.Unmarshal(body, &doc) == nil && doc.Type != "" {
		return clip(doc.Type)
	}
	return TypeUnknown
}

func clip(s string) string {
	if len(s) > maxErrorType {
		return s[:maxErrorType]
	}
	return s
}
