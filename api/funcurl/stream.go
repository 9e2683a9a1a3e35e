package funcurl

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"

	"hearth/faas"
	"hearth/invoke"
)

// maxPrelude bounds the head of an HTTP response that a function streams, in bytes.
const maxPrelude = 64 << 10

// preludeEnd is between the head and the body.
var preludeEnd = make([]byte, 8)

// streamed passes a streamed response on to the client of a function URL. It belongs
// to one goroutine at a time, as invoke.Stream says.
type streamed struct {
	w    http.ResponseWriter
	r    *http.Request
	head bool   // a head is awaited
	held []byte // of it, as far as it came
	// begun: the status was sent. Before that the answer can still be another.
	begun bool
	err   error // the function sent no head that could be understood
}

var _ invoke.Stream = (*streamed)(nil)

// Begin implements invoke.Stream.
func (s *streamed) Begin(head invoke.StreamHead) {
	if s.head = head.ContentType == faas.HTTPIntegration; s.head {
		return
	}
	kind := head.ContentType
	if kind == "" {
		kind = "application/octet-stream"
	}
	s.begin(&answer{status: http.StatusOK, headers: map[string]string{"Content-Type": kind}})
}

func (s *streamed) begin(a *answer) {
	a.setHeaders(s.w.Header())
	s.w.WriteHeader(a.status)
	s.begun = true
}

// Write implements invoke.Stream.
func (s *streamed) Write(part []byte) error {
	if s.head {
		var err error
		if part, err = s.readHead(part); err != nil {
			s.err = err
			return err
		}
	}
	if s.head {
		return nil
	}
	if s.r.Method != http.MethodHead {
		if _, err := s.w.Write(part); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
			return err
		}
	}
	return http.NewResponseController(s.w).Flush()
}

// readHead takes parts until the head is whole, begins the response, and returns
// what is behind it.
func (s *streamed) readHead(part []byte) (rest []byte, err error) {
	s.held = append(s.held, part...)
	head, rest, whole := bytes.Cut(s.held, preludeEnd)
	switch {
	case !whole && len(s.held) > maxPrelude, len(head) > maxPrelude:
		return nil, errors.New("the head of the response is longer than 64 KiB")
	case !whole:
		return nil, nil
	}
	var r returned
	if err := json.Unmarshal(head, &r); err != nil {
		return nil, err
	}
	a := &answer{status: http.StatusOK, cookies: r.Cookies}
	if len(r.StatusCode) > 0 {
		if a.status, err = parseStatus(r.StatusCode); err != nil {
			return nil, err
		}
	}
	if a.headers, err = parseHeaders(r.Headers); err != nil {
		return nil, err
	}
	s.head, s.held = false, nil
	s.begin(a)
	return rest, nil
}

// end answers where nothing was sent yet. A response that broke off is broken off
// for the client too: an end that looks like one would be a lie.
func (s *streamed) end(functionError string) {
	if !s.begun {
		internalError(s.w)
		return
	}
	if functionError != "" || s.err != nil {
		panic(http.ErrAbortHandler)
	}
}
