package funcurl

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hearth/faas"
)

// TestStreams calls a URL that streams through a real connection.
func TestStreams(t *testing.T) {
	const end = "\x00\x00\x00\x00\x00\x00\x00\x00"
	for _, c := range []struct {
		name    string
		kind    string
		parts   []string
		failure string
		err     error
		status  int
		body    string
		broken  bool // the body does not end as it should
		headers map[string]string
	}{
		{name: "plain", kind: "text/plain", parts: []string{"ab", "", "c"}, status: 200, body: "abc", headers: map[string]string{"Content-Type": "text/plain"}},
		{name: "without a type", parts: []string{"x"}, status: 200, body: "x", headers: map[string]string{"Content-Type": "application/octet-stream"}},
		{name: "with a head", kind: faas.HTTPIntegration, parts: []string{`{"statusCode":404,"headers":{"x-a":"b"},`, `"cookies":["c=d"]}` + end[:3], end[3:] + "bo", "dy"},
			status: 404, body: "body", headers: map[string]string{"X-A": "b", "Set-Cookie": "c=d", "Content-Type": "application/json"}},
		{name: "with an empty head", kind: faas.HTTPIntegration, parts: []string{"{}" + end}, status: 200},
		{name: "without content", kind: faas.HTTPIntegration, parts: []string{`{"statusCode":204}` + end}, status: 204},
		{name: "a head that is none", kind: faas.HTTPIntegration, parts: []string{"hello" + end + "x"}, status: 502, body: "Internal Server Error"},
		{name: "a head without end", kind: faas.HTTPIntegration, parts: []string{`{"statusCode":200}`}, status: 502, body: "Internal Server Error"},
		{name: "a head too long", kind: faas.HTTPIntegration, parts: []string{strings.Repeat(" ", maxPrelude+1), "{}" + end}, status: 502, body: "Internal Server Error"},
		{name: "an error at once", failure: "Unhandled", status: 502, body: "Internal Server Error"},
		{name: "an error in the middle", kind: "text/plain", parts: []string{"ab"}, failure: "Unhandled", status: 200, body: "ab", broken: true},
		{name: "refused", err: faas.Errorf(faas.CodeThrottled, "x", "full"), status: 429, body: `{"Message":"Rate Exceeded."}` + "\n"},
		{name: "broken", err: errors.New("broken"), status: 502, body: "Internal Server Error"},
	} {
		p := newPlace()
		p.target.URL.Mode = faas.URLStreamed
		p.kind, p.parts, p.failure, p.err = c.kind, c.parts, c.failure, c.err
		server := httptest.NewServer(New(Options{URLs: p, Invoker: p}))
		got, err := http.Get(server.URL + "/lambda-url/" + urlID + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(got.Body)
		got.Body.Close()
		server.Close()
		if got.StatusCode != c.status || string(body) != c.body || (err != nil) != c.broken {
			t.Errorf("%s: %d %q, %v", c.name, got.StatusCode, body, err)
		}
		for name, value := range c.headers {
			if got.Header.Get(name) != value {
				t.Errorf("%s: %s is %q", c.name, name, got.Header.Get(name))
			}
		}
	}
}
