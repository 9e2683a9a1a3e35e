package runtimeapi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"

	"hearth/faas"
)

// A lean HTTP/1.1 for one purpose: what runtime clients send, and nothing that they
// do not. It reads a request with few bytes of memory, whatever the client sends, and
// refuses what two readers could understand differently.

const (
	typeJSON   = "application/json"
	readBuffer = 4 << 10 // what a connection reads with
	// maxLine bounds a request line and a header that counts; of a longer one that does
	// not, the rest is passed over.
	maxLine = 64 << 10
	// maxHead bounds the bytes of a request's head or its trailers. aws-lambda-go sends
	// up to 1 MiB about an error in a header that is not kept here.
	maxHead = 2 << 20
	// drainLimit is how much of a body that is not wanted is read, so that a client in
	// the middle of sending it hears the answer and not a reset connection.
	drainLimit = 64 << 20
)

// query is the head of one HTTP request. What nobody asks for is not kept.
type query struct {
	method, path string
	length       int64 // of the body; -1 where it is chunked
	expects      bool  // to be told to go on before it sends the body
	last         bool  // the connection ends with it
	errorType    string
	contentType  string
	ended        trailer // how a streamed body ended
	extension    extensionHeaders
}

// extensionHeaders are what a request of an extension says in its head.
type extensionHeaders struct{ name, id, errorType, feature string }

// header keeps one of an extension's headers.
func (e *extensionHeaders) header(name, value []byte) {
	for _, field := range []struct {
		name string
		to   *string
	}{{headerExtensionName, &e.name}, {headerExtensionID, &e.id}, {headerExtensionErrorType, &e.errorType}, {headerExtensionFeature, &e.feature}} {
		if is(name, field.name) {
			*field.to = clip(string(value))
		}
	}
}

// trailer is what a runtime says of an error after a streamed body.
type trailer struct{ errorType, errorBody string }

// badRequest is a request that gets the status and then the end of its connection.
type badRequest struct {
	status int
	why    string
}

func (e *badRequest) Error() string { return e.why }

func bad(format string, args ...any) error { return &badRequest{400, fmt.Sprintf(format, args...)} }

// head reads lines of HTTP, at most maxHead bytes of them.
type head struct {
	r    *bufio.Reader
	left int
}

// line returns the next line without its end; it is valid until the next read. A line
// that is longer than maxLine is cut, and whole is false.
func (h *head) line() (line []byte, whole bool, err error) {
	line, err = h.r.ReadSlice('\n')
	h.left -= len(line)
	if errors.Is(err, bufio.ErrBufferFull) {
		line, whole, err = h.longLine(line)
	} else {
		whole = true
	}
	switch {
	case err != nil:
		return nil, false, unexpected(err)
	case !whole:
		return line, false, h.within()
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), true, h.within()
}

// longLine reads on in a line that is longer than the buffer.
func (h *head) longLine(start []byte) (line []byte, whole bool, err error) {
	line, whole = bytes.Clone(start), true
	for {
		more, err := h.r.ReadSlice('\n')
		h.left -= len(more)
		if whole = whole && len(line)+len(more) <= maxLine; whole {
			line = append(line, more...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, whole, err
		}
		if err := h.within(); err != nil {
			return nil, false, err
		}
	}
}

func (h *head) within() error {
	if h.left < 0 {
		return &badRequest{431, "the request's head is too long"}
	}
	return nil
}

// readRequest reads the head of the next request. io.EOF says that there is none.
func readRequest(r *bufio.Reader) (query, error) {
	h := head{r, maxHead}
	if _, err := r.Peek(1); err != nil {
		return query{}, err
	}
	line, whole, err := h.line()
	for err == nil && len(line) == 0 { // a client may send an empty line after a body
		line, whole, err = h.line()
	}
	switch {
	case err != nil:
		return query{}, err
	case !whole:
		return query{}, &badRequest{414, "the request line is too long"}
	}
	q, err := parseRequestLine(line)
	if err != nil {
		return query{}, err
	}
	return q, q.readHeaders(&h)
}

func parseRequestLine(line []byte) (q query, err error) {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, found := bytes.Cut(rest, []byte(" "))
	if !found || len(method) == 0 || len(target) == 0 {
		return q, bad("malformed request line")
	}
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		q.last = true
	default:
		return q, &badRequest{505, "only HTTP/1.1 is spoken here"}
	}
	switch string(method) { // those in use cost no memory
	case http.MethodGet:
		q.method = http.MethodGet
	case http.MethodPost:
		q.method = http.MethodPost
	default:
		q.method = string(method)
	}
	q.path, err = pathOf(string(target))
	return q, err
}

// pathOf is the decoded path of a request's target.
func pathOf(target string) (string, error) {
	if rest, found := strings.CutPrefix(target, "http://"); found { // as clients of a proxy send it
		_, path, _ := strings.Cut(rest, "/")
		target = "/" + path
	}
	if target[0] != '/' && target != "*" {
		return "", bad("malformed target")
	}
	target, _, _ = strings.Cut(target, "?")
	if strings.IndexByte(target, '%') < 0 {
		return target, nil
	}
	path, err := url.PathUnescape(target)
	if err != nil {
		return "", bad("malformed target")
	}
	return path, nil
}

// readHeaders reads to the end of the head.
func (q *query) readHeaders(h *head) error {
	framed, chunked := false, false
	for {
		name, value, err := h.header()
		switch {
		case err != nil:
			return err
		case name == nil && chunked && framed:
			return bad("both Content-Length and Transfer-Encoding")
		case name == nil && chunked:
			q.length = -1
			return nil
		case name == nil:
			return nil
		case is(name, "Content-Length"):
			n, err := strconv.ParseUint(string(value), 10, 63)
			if err != nil || framed && int64(n) != q.length {
				return bad("malformed Content-Length")
			}
			q.length, framed = int64(n), true
		case is(name, "Transfer-Encoding"):
			if chunked || !is(value, "chunked") {
				return &badRequest{501, "the only Transfer-Encoding is chunked"}
			}
			if q.last {
				return bad("Transfer-Encoding with HTTP/1.0")
			}
			chunked = true
		case is(name, "Expect"):
			if !is(value, "100-continue") {
				return &badRequest{417, "the only Expect is 100-continue"}
			}
			q.expects = true
		case is(name, "Connection"):
			q.last = q.last || hasToken(value, "close")
		case is(name, headerErrorType):
			q.errorType = clip(string(value))
		case is(name, "Content-Type"):
			q.contentType = mediaType(value)
		case len(name) > len("Lambda-Extension-") && is(name[:len("Lambda-Extension-")], "Lambda-Extension-"):
			q.extension.header(name, value)
		}
	}
}

// mediaType is the value of a Content-Type; those in use cost no memory.
func mediaType(value []byte) string {
	switch string(value) {
	case typeJSON:
		return typeJSON
	case faas.HTTPIntegration:
		return faas.HTTPIntegration
	}
	return clip(string(value))
}

// header reads one header; name is nil at the end. Both are valid until the next read.
func (h *head) header() (name, value []byte, err error) {
	line, whole, err := h.line()
	if err != nil || whole && len(line) == 0 {
		return nil, nil, err
	}
	name, value, found := bytes.Cut(line, []byte(":"))
	if !found || len(name) == 0 || bytes.ContainsAny(name, " \t") { // the start of a folded one, too
		return nil, nil, bad("malformed header")
	}
	if !whole && framing(name) {
		return nil, nil, &badRequest{431, "a header is too long"}
	}
	return name, bytes.TrimSpace(value), nil
}

// framing says whether the header must be understood to know where the request ends.
func framing(name []byte) bool {
	return is(name, "Content-Length") || is(name, "Transfer-Encoding") || is(name, "Connection") || is(name, "Expect")
}

func is(name []byte, want string) bool {
	return len(name) == len(want) && strings.EqualFold(string(name), want)
}

func hasToken(list []byte, token string) bool {
	for part := range bytes.SplitSeq(list, []byte(",")) {
		if is(bytes.TrimSpace(part), token) {
			return true
		}
	}
	return false
}

// oversizeError is a body over the limit.
type oversizeError struct {
	atLeast int64 // bytes: what was announced or read
	limit   int
}

func (e *oversizeError) Error() string {
	return fmt.Sprintf("Exceeded maximum allowed payload size (%d bytes).", e.limit)
}

// readBody reads a request's body of at most limit bytes and what follows it, else it
// returns an *oversizeError after reading on for a bounded while. Memory is taken as
// bytes arrive, not as they are announced.
func (q *query) readBody(r *bufio.Reader, limit int) ([]byte, error) {
	if q.length >= 0 {
		if q.length <= int64(limit) {
			body, err := readPayload(r, int(q.length))
			return body, unexpected(err)
		}
		if n, err := io.CopyN(io.Discard, r, min(q.length, int64(limit)+drainLimit)); n < q.length {
			q.last = true // what is left of the body is not read
			if err != nil {
				return nil, unexpected(err)
			}
		}
		return nil, &oversizeError{q.length, limit}
	}
	var buf bytes.Buffer
	chunks := httputil.NewChunkedReader(r)
	n, err := buf.ReadFrom(io.LimitReader(chunks, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if n > int64(limit) {
		q.last = true
		m, _ := io.CopyN(io.Discard, chunks, drainLimit) // the client's own error: it does not hear the answer then
		return nil, &oversizeError{n + m, limit}
	}
	return buf.Bytes(), q.readTrailers(r)
}

// readTrailers reads what follows the last chunk.
func (q *query) readTrailers(r *bufio.Reader) error {
	h := head{r, maxHead}
	for {
		name, value, err := h.header()
		switch {
		case err != nil || name == nil:
			return err
		case is(name, headerErrorType):
			q.ended.errorType = clip(string(value))
		case is(name, headerErrorBody):
			q.ended.errorBody = string(value)
		}
	}
}

// skipBody reads a body that nobody wants; a second call finds nothing.
func (q *query) skipBody(r *bufio.Reader) {
	defer func() { q.length = 0 }()
	switch {
	case q.length < 0:
		q.skipChunks(r, httputil.NewChunkedReader(r))
	case q.length > 0:
		n, _ := io.CopyN(io.Discard, r, min(q.length, drainLimit)) // less than that: the client's own error
		q.last = q.last || n < q.length
	}
}

// skipChunks reads what is left of a body in chunks.
func (q *query) skipChunks(r *bufio.Reader, chunks io.Reader) {
	_, err := io.CopyN(io.Discard, chunks, drainLimit)
	q.last = q.last || err != io.EOF || q.readTrailers(r) != nil
}
