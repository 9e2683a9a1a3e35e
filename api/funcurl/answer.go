package funcurl

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"hearth/auth"
	"hearth/faas"
)

// answer is an HTTP response that a function returned.
type answer struct {
	status  int
	headers map[string]string
	cookies []string
	body    []byte
}

// returned is a result in payload format 2.0.
type returned struct {
	StatusCode      json.RawMessage            `json:"statusCode"`
	Headers         map[string]json.RawMessage `json:"headers"`
	Cookies         []string                   `json:"cookies"`
	Body            *string                    `json:"body"`
	IsBase64Encoded bool                       `json:"isBase64Encoded"`
}

// parseAnswer reads what a function returned. A result without statusCode is
// itself the body of a JSON answer.
func parseAnswer(result []byte) (*answer, error) {
	var r returned
	if trimmed := bytes.TrimSpace(result); len(trimmed) == 0 || trimmed[0] != '{' {
		return &answer{status: http.StatusOK, body: result}, nil
	}
	var probe struct {
		StatusCode json.RawMessage `json:"statusCode"`
	}
	if err := json.Unmarshal(result, &probe); err != nil {
		return nil, err
	}
	if len(probe.StatusCode) == 0 || string(probe.StatusCode) == "null" {
		return &answer{status: http.StatusOK, body: result}, nil
	}
	if err := json.Unmarshal(result, &r); err != nil {
		return nil, err
	}
	a := &answer{cookies: r.Cookies}
	var err error
	if a.status, err = parseStatus(r.StatusCode); err != nil {
		return nil, err
	}
	if a.headers, err = parseHeaders(r.Headers); err != nil {
		return nil, err
	}
	if r.Body != nil {
		a.body = []byte(*r.Body)
		if r.IsBase64Encoded {
			if a.body, err = base64.StdEncoding.DecodeString(*r.Body); err != nil {
				return nil, fmt.Errorf("body is not base64: %w", err)
			}
		}
	}
	return a, nil
}

// parseStatus takes a number, or one in a string.
func parseStatus(raw json.RawMessage) (int, error) {
	status, err := strconv.Atoi(strings.Trim(string(raw), `"`))
	if err != nil || status < 200 || status > 599 {
		return 0, fmt.Errorf("statusCode %.20s is none of 200 to 599", raw)
	}
	return status, nil
}

// parseHeaders takes strings, numbers and booleans as values, and nothing that
// cannot be part of a header.
func parseHeaders(raw map[string]json.RawMessage) (map[string]string, error) {
	headers := make(map[string]string, len(raw))
	for name, value := range raw {
		var text string
		switch {
		case json.Unmarshal(value, &text) == nil:
		case len(value) > 0 && (value[0] == '{' || value[0] == '['):
			return nil, fmt.Errorf("header %.40q is not a string", name)
		default:
			text = string(value)
		}
		if !validHeaderName(name) || strings.ContainsAny(text, "\r\n\x00") {
			return nil, fmt.Errorf("header %.40q cannot be sent", name)
		}
		headers[name] = text
	}
	return headers, nil
}

func validHeaderName(name string) bool {
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return name != ""
}

// connectionHeaders are the server's to set.
var connectionHeaders = map[string]bool{
	"Connection": true, "Content-Length": true, "Keep-Alive": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Proxy-Connection": true,
}

// setHeaders sets what the function returned, but for what is not its own to set
// and what CORS has set already.
func (a *answer) setHeaders(header http.Header) {
	cors := header.Get("Access-Control-Allow-Origin") != ""
	for name, value := range a.headers {
		name = http.CanonicalHeaderKey(name)
		if connectionHeaders[name] || cors && strings.HasPrefix(name, "Access-Control-") {
			continue
		}
		header.Set(name, value)
	}
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/json")
	}
	for _, cookie := range a.cookies {
		if !strings.ContainsAny(cookie, "\r\n\x00") {
			header.Add("Set-Cookie", cookie)
		}
	}
}

func (a *answer) write(w http.ResponseWriter, r *http.Request) {
	a.setHeaders(w.Header())
	bodyless := a.status == http.StatusNoContent || a.status == http.StatusNotModified
	if !bodyless {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if !bodyless && r.Method != http.MethodHead {
		_, _ = w.Write(a.body) // a client that went away is told nothing
	}
}

// internalError is the answer where the function failed or returned nonsense: its
// log has the reason, which is not the caller's to read.
func internalError(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadGateway)
	_, _ = w.Write([]byte("Internal Server Error"))
}

// refuse answers with an error of the platform.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var refused *auth.Error
	if errors.As(err, &refused) {
		failCaller(w, refused)
		return
	}
	var e *faas.Error
	if !errors.As(err, &e) {
		e = &faas.Error{Code: faas.CodeInternal}
	}
	switch e.Code {
	case faas.CodeDenied:
		fail(w, http.StatusForbidden, "AccessDeniedException", e.Message)
	case faas.CodeThrottled:
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.")
	case faas.CodeNotFound:
		fail(w, http.StatusNotFound, "ResourceNotFoundException", e.Message)
	case faas.CodeTooLarge:
		fail(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", e.Message)
	case faas.CodeShuttingDown, faas.CodeNoCapacity, faas.CodeDiskFull:
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "ServiceException", e.Message)
	case faas.CodeInternal:
		h.log.Error("function URL failed", "host", r.Host, "path", r.URL.Path, "error", err)
		internalError(w)
	default:
		internalError(w)
	}
}

// failCaller answers who signed nothing, or not as it should be.
func failCaller(w http.ResponseWriter, e *auth.Error) {
	switch e.Kind {
	case auth.Missing:
		fail(w, http.StatusForbidden, auth.Denied.Exception(), "Forbidden")
	case auth.TooLarge:
		fail(w, http.StatusRequestEntityTooLarge, e.Kind.Exception(), e.Message)
	case auth.Unreadable:
		fail(w, http.StatusBadRequest, e.Kind.Exception(), e.Message)
	case auth.Busy:
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusTooManyRequests, e.Kind.Exception(), e.Message)
	default:
		fail(w, http.StatusForbidden, e.Kind.Exception(), e.Message)
	}
}

// fail answers with an error in the form of Lambda's.
func fail(w http.ResponseWriter, status int, name, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header()["x-amzn-ErrorType"] = []string{name}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct{ Message string }{message}) // a client that went away is told nothing
}
