package runtimeapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"hearth/faas"
)

// httpEvent is what is read of an event in API Gateway's payload format 2.0, as
// HTTP APIs and function URLs send it.
type httpEvent struct {
	Version        string            `json:"version"`
	RawPath        string            `json:"rawPath"`
	RawQuery       string            `json:"rawQueryString"`
	Headers        map[string]string `json:"headers"`
	Cookies        []string          `json:"cookies"`
	Body           string            `json:"body"`
	Base64         bool              `json:"isBase64Encoded"`
	RequestContext struct {
		HTTP *struct {
			Method string `json:"method"`
		} `json:"http"`
	} `json:"requestContext"`
}

// newHTTPRequest is the request that an event becomes: the one that it describes
// where it is an HTTP request in payload format 2.0, else a POST of the payload.
// The error says what is wrong with an event of that format; the server does not
// get it then.
func newHTTPRequest(event *faas.Event) (httpRequest, error) {
	in, ok := parseHTTPEvent(event.Payload)
	if !ok {
		req := request(http.MethodPost, "/", "", event.Payload)
		writeEventHeader(req.Header, event)
		return httpRequest{Request: cleaned(req)}, nil
	}
	req, err := in.request()
	if err != nil {
		return httpRequest{}, err
	}
	// What the caller sent by these names is not the platform's.
	for name := range req.Header {
		if strings.HasPrefix(name, "Lambda-Runtime-") || name == headerAttempt {
			delete(req.Header, name)
		}
	}
	contentType := req.Header["Content-Type"]
	writeEventHeader(req.Header, event)
	delete(req.Header, "Content-Type")
	if contentType != nil {
		req.Header["Content-Type"] = contentType
	}
	return httpRequest{Request: cleaned(req), proxied: true}, nil
}

func parseHTTPEvent(payload []byte) (e httpEvent, ok bool) {
	if !bytes.Contains(payload, []byte("requestContext")) { // spares most payloads the parse
		return e, false
	}
	if err := json.Unmarshal(payload, &e); err != nil { // another event that has fields of these names
		return e, false
	}
	return e, e.Version == "2.0" && e.RequestContext.HTTP != nil
}

func (e httpEvent) request() (*http.Request, error) {
	method := e.RequestContext.HTTP.Method
	if !isToken(method) || method == http.MethodConnect {
		return nil, fmt.Errorf("requestContext.http.method is %q: want a method such as GET", clipText(method, 64))
	}
	body := []byte(e.Body)
	if e.Base64 {
		var err error
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, errors.New("body is not base64, and isBase64Encoded is true")
		}
	}
	req := request(method, e.RawPath, e.RawQuery, body)
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		value := e.Headers[name]
		if !isToken(name) {
			return nil, fmt.Errorf("headers has a name that is none: %q", clipText(name, 64))
		}
		name = http.CanonicalHeaderKey(name)
		switch {
		case name == "Host":
			if !isHost(value) {
				return nil, fmt.Errorf("the header Host is %q: want a host and perhaps a port", clipText(value, 64))
			}
			req.Host = value
		case !ofConnection(name) && name != "Content-Length" && name != "Expect":
			req.Header.Set(name, value)
		}
	}
	if len(e.Cookies) > 0 {
		req.Header.Set("Cookie", strings.Join(e.Cookies, "; "))
	}
	return req, nil
}

// request is a request to the runtime's server without header fields.
func request(method, path, query string, body []byte) *http.Request {
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	// As it came where it is a path in its encoded form, else encoded.
	path = escape(path, "!$&'()*+,;=:@[]/%-._~")
	decoded, err := url.PathUnescape(path)
	if err != nil { // escape leaves nothing that cannot be decoded
		decoded = path
	}
	target := &url.URL{Scheme: "http", Host: "localhost", Path: decoded, RawPath: path,
		RawQuery: escape(query, "!$&'()*+,;=:@[]/%-._~?\"<>\\^`{|}")}
	req := &http.Request{Method: method, URL: target, Host: "localhost", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {""}}, ContentLength: int64(len(body))} // no User-Agent of Go's own
	if len(body) > 0 {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body, _ = req.GetBody()
	}
	return req
}

// escape encodes everything but letters, digits and what is allowed. A % stays
// where it begins an encoded byte.
func escape(s, allowed string) string {
	var b strings.Builder
	for i, c := range []byte(s) {
		switch {
		case c == '%' && (len(s) < i+3 || !isHex(s[i+1]) || !isHex(s[i+2])):
			b.WriteString("%25")
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', strings.IndexByte(allowed, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

// cleaned replaces the control characters in header values, which come from
// callers (JSON may be written over several lines), by spaces.
func cleaned(req *http.Request) *http.Request {
	for _, values := range req.Header {
		for i, value := range values {
			values[i] = strings.Map(func(c rune) rune {
				if c < ' ' && c != '\t' || c == 0x7f {
					return ' '
				}
				return c
			}, value)
		}
	}
	// It was set from the event's payload; the body has its own length.
	delete(req.Header, "Content-Length")
	return req
}

// ofConnection reports whether a header field is about one connection only.
func ofConnection(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

func isHost(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`/\?#@"<>`, c) })
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
	if len(e.ClientContext) > 0 {
		h.Set(headerClient, string(e.ClientContext))
	}
	if len(e.Cognito) > 0 {
		h.Set(headerCognito, string(e.Cognito))
	}
}
