package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func testFront(hosts []string) *front {
	answer := func(body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(body)) })
	}
	f := newFront(answer("lambda"), answer("native"), answer("metrics"), answer("url"), hosts)
	f.ready.Store(true)
	return f
}

const urlHost = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.localhost:9000"

func TestFrontRoutes(t *testing.T) {
	f := testFront(nil)
	for path, want := range map[string]string{
		"/2015-03-31/functions": "lambda",
		"/hearth/v1/functions":  "native",
		"/healthz":              "",
		"/metrics":              "metrics",
		"/lambda-url/x/y":       "url",
		"/":                     "lambda",
	} {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %q, want 200 %q", path, w.Code, w.Body, want)
		}
	}
}

func TestFrontRefusesBrowsersOfOtherOrigins(t *testing.T) {
	f := testFront(hostsOf(values{"listen": "127.0.0.1:9000"}))
	for _, test := range []struct {
		name, host string
		header     map[string]string
		want       int
	}{
		{"a client by address", "127.0.0.1:9000", nil, 200},
		{"a client by address, version 6", "[::1]:9000", nil, 200},
		{"a client by name", "localhost:9000", nil, 200},
		{"a client by a name below", "x.lambda-url.localhost:9000", nil, 200},
		{"a name that resolves to this machine", "attacker.example:9000", nil, 403},
		{"a page of another origin", "127.0.0.1:9000", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"an old browser's page of another origin", "127.0.0.1:9000", map[string]string{"Origin": "http://attacker.example"}, 403},
		{"a page of another origin at a function URL", urlHost, map[string]string{"Sec-Fetch-Site": "cross-site"}, 200},
		{"a function URL under a name that resolves to this machine", strings.ReplaceAll(urlHost, "localhost", "attacker.example"), nil, 403},
		{"a page of this origin", "127.0.0.1:9000", map[string]string{"Sec-Fetch-Site": "same-origin"}, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/2015-03-31/functions", strings.NewReader("{}"))
			r.Host = test.host
			for name, value := range test.header {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			f.ServeHTTP(w, r)
			if w.Code != test.want {
				t.Errorf("the answer is %d, want %d: %s", w.Code, test.want, w.Body)
			}
			if w.Code == 403 && !strings.Contains(w.Header().Get("Content-Type"), "json") {
				t.Errorf("the refusal is not JSON: %s", w.Header())
			}
		})
	}
}

func TestHealthFollowsTheLife(t *testing.T) {
	f := testFront(nil)
	health := func() int {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
		return w.Code
	}
	f.ready.Store(false)
	if got := health(); got != 503 {
		t.Errorf("before it is ready: %d, want 503", got)
	}
	f.ready.Store(true)
	if got := health(); got != 200 {
		t.Errorf("ready: %d, want 200", got)
	}
	f.draining.Store(true)
	if got := health(); got != 503 {
		t.Errorf("draining: %d, want 503", got)
	}
}

func TestIsLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:9000": true, "[::1]:0": true, "localhost:1": true, "127.9.9.9:1": true,
		"0.0.0.0:9000": false, ":9000": false, "[::]:1": false, "10.0.0.1:1": false, "nonsense": false,
	} {
		if got := isLoopback(address); got != want {
			t.Errorf("isLoopback(%q) = %v", address, got)
		}
	}
}
