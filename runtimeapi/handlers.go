package runtimeapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

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
)

// route answers one request. Paths are matched as they are: a runtime client expects
// none to be cleaned or redirected.
func (s *Server) route(c *conn, q *query) {
	switch {
	case s.extensions != nil && (strings.HasPrefix(q.path, extensionPrefix) || q.path == telemetryPath || q.path == logsPath):
		s.extensions.route(c, q)
	case s.only:
		c.refuse(q, http.StatusForbidden, "InvalidStateTransition", "the runtime of this instance speaks to Hearth in another way: "+q.path)
	case q.path == invocationPrefix+"next" && q.method == http.MethodGet:
		s.serveNext(c, q)
	case q.path == runtimePrefix+"init/error" && q.method == http.MethodPost:
		s.serveInitError(c, q)
	case strings.HasPrefix(q.path, invocationPrefix) && q.method == http.MethodPost:
		s.serveInvocation(c, q, q.path[len(invocationPrefix):])
	case q.path == "/2018-06-01/ping" && q.method == http.MethodGet:
		c.dismiss(q, http.StatusOK, []byte("pong"))
	case unsupported(q.path):
		c.refuse(q, http.StatusNotImplemented, "NotSupported",
			"Hearth does not serve extensions and telemetry to this instance yet: "+q.path)
	default:
		c.refuse(q, http.StatusNotFound, "NotFound", "no such Runtime API operation: "+q.method+" "+q.path)
	}
}

// unsupported reports whether the path is of the extensions, logs or telemetry API.
func unsupported(path string) bool {
	return strings.HasPrefix(path, "/2020-01-01/extension/") || strings.HasPrefix(path, "/2020-08-15/logs") ||
		strings.HasPrefix(path, "/2022-07-01/telemetry") || strings.HasPrefix(path, runtimePrefix+"restore/")
}

// serveNext hands over an event that waits for a poll, or parks the poll until there is
// one; its connection goes on to see whether the client goes away.
func (s *Server) serveNext(c *conn, q *query) {
	q.skipBody(c.r)
	if s.initFailed() {
		c.refuse(q, http.StatusForbidden, "InvalidStateTransition", "next after init/error is not allowed")
		return
	}
	if call := s.park(c); call != nil {
		s.handOver(call, c)
	}
}

func (s *Server) initFailed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.initErr != nil
}

// serveInitError takes the runtime's report that init failed: once, and only
// before its first poll.
func (s *Server) serveInitError(c *conn, q *query) {
	// Before the first poll no other post is read but one of these.
	if !s.beginPost(func() bool { return !s.isReady && s.posting == 0 }) {
		c.refuse(q, http.StatusForbidden, "InvalidStateTransition", "init/error is only allowed once, and before the first next")
		return
	}
	defer s.endPost()
	body, err := c.body(q)
	if err != nil {
		c.refuseBody(q, err)
		return
	}
	errorType := errorTypeOf(q, body)
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
		c.refuse(q, http.StatusForbidden, "InvalidStateTransition", "init/error is only allowed once, and before the first next")
		return
	}
	c.accept()
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
func (s *Server) serveInvocation(c *conn, q *query, rest string) {
	id, operation, _ := strings.Cut(rest, "/")
	if operation != "response" && operation != "error" {
		c.refuse(q, http.StatusNotFound, "NotFound", "no such Runtime API operation: "+q.method+" "+q.path)
		return
	}
	call, refusal := s.claim(c, id)
	if refusal != nil {
		refusal(c, q)
		return
	}
	defer s.endPost()
	if call.streams(operation, q) {
		s.serveStream(c, q, call)
		return
	}
	body, err := c.body(q)
	var size *oversizeError
	switch {
	case errors.As(err, &size):
		s.settle(call, tooLarge(size.atLeast, s.limit))
		c.refuseBody(q, err)
	case err != nil: // the client went away in the middle; it may try again
		s.unclaim(call)
		c.refuseBody(q, err)
	default:
		s.settle(call, outcomeOf(operation, q, body))
		c.accept()
	}
}

// claim marks the delivered call as being answered, so that only one body is
// read for it. Where that is not allowed, the refusal answers the request.
func (s *Server) claim(on *conn, id string) (*served, refusal) {
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
		c.interruptLocked(on)
		return c, nil
	case answering:
		return nil, func(c *conn, q *query) {
			c.refuse(q, http.StatusForbidden, "InvalidStateTransition", "the invocation is being answered already")
		}
	}
	return nil, refuseUnknown
}

// refusal answers a request whose body is not wanted.
type refusal func(c *conn, q *query)

// refusePastLocked answers for an invocation that is over. One that timed out or
// was cancelled is accepted and dropped: clients end their process on a 4xx,
// and would take every invocation beside it along.
func (s *Server) refusePastLocked(id string) refusal {
	switch {
	case s.past.kind(id) == pastDropped:
		s.past.set(id, pastAnswered)
		return func(c *conn, q *query) { c.dismiss(q, http.StatusAccepted, acceptance) }
	case s.past.kind(id) == pastAnswered, !s.isReady:
		return func(c *conn, q *query) {
			c.refuse(q, http.StatusForbidden, "InvalidStateTransition", "the invocation is not waiting for an answer")
		}
	}
	return refuseUnknown
}

func refuseUnknown(c *conn, q *query) {
	c.refuse(q, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
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
func (s *Server) settle(c *served, out faas.Outcome) { s.answer(c, answer{outcome: out}) }

func (s *Server) answer(c *served, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.id] != c {
		return
	}
	s.releaseLocked(c, pastAnswered)
	c.answered <- a
}

// outcomeOf is what an accepted post says. A streamed response reports an error
// of the function in its trailers.
func outcomeOf(operation string, q *query, body []byte) faas.Outcome {
	if operation == "response" {
		if q.ended.errorType == "" {
			return faas.Outcome{Payload: body}
		}
		doc, err := base64.StdEncoding.DecodeString(q.ended.errorBody)
		if err != nil || !json.Valid(doc) {
			doc = errorDocument(q.ended.errorType, "the response stream ended with an error")
		}
		return faas.Outcome{Payload: doc, FunctionError: Unhandled, ErrorType: q.ended.errorType}
	}
	errorType := errorTypeOf(q, body)
	if len(body) == 0 {
		body = errorDocument(errorType, "")
	}
	return faas.Outcome{Payload: body, FunctionError: Unhandled, ErrorType: errorType}
}

// errorTypeOf is the header's error type, else the document's own.
func errorTypeOf(q *query, body []byte) string {
	if q.errorType != "" {
		return q.errorType
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
