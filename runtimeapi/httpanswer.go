package runtimeapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"hearth/faas"
)

// Error types of what goes wrong between an invocation and an HTTP server. An
// answer with a status that is none of success has the type HTTP.<status>.
const (
	typeInvalidEvent    = "HTTP.InvalidEvent"
	typeInvalidResponse = "HTTP.InvalidResponse"
)

// maxErrorText bounds the text of an error answer that becomes an errorMessage,
// in bytes.
const maxErrorText = 32 << 10

func httpFailure(errorType, message string) faas.Outcome {
	return faas.Outcome{Payload: errorDocument(errorType, message), FunctionError: Unhandled, ErrorType: errorType}
}

// outcome is what an answer means for its invocation: a response in payload
// format 2.0 where the event was one, else the body as result.
func (a httpAnswer) outcome(proxied bool, limit int) faas.Outcome {
	var out faas.Outcome
	switch {
	case a.oversize > 0:
		return tooLarge(a.oversize, limit)
	case proxied:
		out.Payload = a.response()
	case a.status >= 300:
		errorType := "HTTP." + strconv.Itoa(a.status)
		text := strings.TrimSpace(clipText(string(a.body), maxErrorText))
		if text == "" || !utf8.Valid(a.body) {
			text = strings.TrimSpace(strconv.Itoa(a.status) + " " + http.StatusText(a.status))
		}
		return httpFailure(errorType, text)
	case len(a.body) == 0:
		out.Payload = []byte("null")
	case json.Valid(a.body):
		out.Payload = a.body
	case utf8.Valid(a.body):
		out.Payload = jsonText(string(a.body))
	default:
		return httpFailure(typeInvalidResponse,
			"the function's HTTP server answered neither JSON nor text in UTF-8, which is no result of an invocation")
	}
	if len(out.Payload) > limit {
		return tooLarge(int64(len(out.Payload)), limit)
	}
	return out
}

// httpResponse is a response in API Gateway's payload format 2.0.
type httpResponse struct {
	httpHead
	Body   string `json:"body"`
	Base64 bool   `json:"isBase64Encoded"`
}

type httpHead struct {
	Status  int               `json:"statusCode"`
	Headers map[string]string `json:"headers"`
	Cookies []string          `json:"cookies,omitempty"`
}

func (a httpAnswer) response() []byte {
	out := httpResponse{httpHead: a.head(), Body: string(a.body)}
	if !utf8.Valid(a.body) {
		out.Body, out.Base64 = base64.StdEncoding.EncodeToString(a.body), true
	}
	return document(out)
}

// stream passes the answer's body on as it comes, behind its head where the event was
// an HTTP request.
func (a *httpAnswer) stream(ctx context.Context, req httpRequest, body io.Reader) error {
	a.streamed = newSink(req.stream, 0, a.header.Get("Content-Type"))
	if req.proxied {
		a.streamed.contentType = faas.HTTPIntegration
		if err := a.streamed.write(ctx, append(document(a.head()), make([]byte, 8)...)); err != nil {
			return err
		}
	}
	err := a.streamed.copy(ctx, body)
	if err == errFull {
		return nil // its outcome says so
	}
	return err
}

// head is the answer without its body.
func (a httpAnswer) head() httpHead {
	out := httpHead{Status: a.status, Headers: make(map[string]string, len(a.header))}
	named := namedByConnection(a.header)
	for name, values := range a.header {
		switch {
		case name == "Set-Cookie":
			out.Cookies = values
		// The length is the body's own, and whoever sends it on says it.
		case !ofConnection(name) && name != "Content-Length" && !slices.Contains(named, name):
			out.Headers[strings.ToLower(name)] = strings.Join(values, ",")
		}
	}
	return out
}

func document(v any) []byte {
	doc, err := json.Marshal(v)
	if err != nil { // strings always marshal
		return []byte("{}")
	}
	return doc
}

// namedByConnection are the fields that a Connection field names.
func namedByConnection(h http.Header) (names []string) {
	for _, value := range h["Connection"] {
		for name := range strings.SplitSeq(value, ",") {
			names = append(names, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	return names
}

func jsonText(s string) []byte {
	doc, err := json.Marshal(s)
	if err != nil { // strings always marshal
		return []byte("null")
	}
	return doc
}

// clipText cuts a text to so many bytes, between characters.
func clipText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
