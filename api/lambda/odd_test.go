package lambda

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whatever is wrong with a request, the answer is JSON, has a request id and names
// an error; the content type says nothing.
func TestOddRequests(t *testing.T) {
	w := newRealWorld(t)
	prepare(t, w)
	const functions = "/2015-03-31/functions"
	for _, c := range []struct {
		name, method, path, contentType, body string
		status                                int
		want                                  string
	}{
		{"form", "PUT", functions + "/f/configuration", "application/x-www-form-urlencoded", `{"Timeout":4}`, 200, `"Timeout":4`},
		{"text", "PUT", "/2017-10-31/functions/f/concurrency", "text/html", `{"ReservedConcurrentExecutions":5}`, 200, "5"},
		{"form in fact", "PUT", "/2017-10-31/functions/f/concurrency", "application/x-www-form-urlencoded", "a=b", 400, "Could not parse request body into json"},
		{"page", "POST", functions, "text/html", "<html></html>", 400, "Could not parse request body into json"},
		{"cut", "POST", functions, "application/json", `{"FunctionName":`, 400, "unexpected end of JSON input"},
		{"UTF-16", "POST", functions, "application/json", "\xff\xfe{\x00}\x00", 400, "Could not parse request body into json"},
		{"deep", "POST", functions, "application/json", strings.Repeat("[", 20_000), 400, "Could not parse request body into json"},
		{"deep member", "PUT", "/2017-10-31/functions/f/concurrency", "", `{"Unknown":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + `,"ReservedConcurrentExecutions":6}`, 200, "6"},
		{"no path", "GET", "/2015-03-31/", "", "", 404, "UnknownOperationException"},
		{"unknown path", "GET", "/2015-03-31/function", "", "", 404, "UnknownOperationException"},
		{"markup in the path", "GET", "/2015-03-31/%3Cscript%3E", "", "", 404, "UnknownOperationException"},
		{"wrong date", "GET", "/2015-03-30/functions/f", "", "", 404, "UnknownOperationException"},
		{"patch", "PATCH", functions + "/f", "", "", 405, "MethodNotAllowedException"},
		{"options", "OPTIONS", functions, "", "", 405, "MethodNotAllowedException"},
		{"bad encoding", "GET", functions + "/f?Qualifier=%zz", "", "", 400, "InvalidParameterValueException"},
		{"slashes", "GET", functions + "//f", "", "", 404, "UnknownOperationException"},
		{"dots", "GET", functions + "/..%2f..%2fetc", "", "", 400, "ValidationException"},
		{"empty name", "GET", functions + "/%20", "", "", 400, "ValidationException"},
	} {
		r := httptest.NewRequest(c.method, "http://hearth.test/", strings.NewReader(c.body))
		path, query, _ := strings.Cut(c.path, "?")
		r.URL.RawPath, r.URL.RawQuery = path, query
		r.URL.Path = strings.NewReplacer("%2f", "/", "%3C", "<", "%3E", ">", "%20", " ").Replace(path)
		r.Header.Set("Accept", "text/html")
		if c.contentType != "" {
			r.Header.Set("Content-Type", c.contentType)
		}
		w.settle(t)
		got := httptest.NewRecorder()
		w.ServeHTTP(got, r)
		if got.Code != c.status || !strings.Contains(got.Body.String()+strings.Join(got.Header()[headerErrorType], ""), c.want) {
			t.Errorf("%s: %d %v %s, want %d %s", c.name, got.Code, got.Header(), got.Body, c.status, c.want)
		}
		if !json.Valid(got.Body.Bytes()) || len(got.Header()[headerRequestID]) != 1 || got.Header()["Content-Type"][0] != "application/json" {
			t.Errorf("%s: %v %s", c.name, got.Header(), got.Body)
		}
	}
}
