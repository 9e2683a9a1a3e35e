package funcurl

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"hearth/faas"
	"hearth/invoke"
	"hearth/registry"
)

const urlID = "abcdefghijklmnopqrstuvwxyz012345"

// place is one function with a URL, which answers what it is told to.
type place struct {
	target  registry.URLTarget
	permits []faas.Statement
	answer  string
	failure string // the function error
	err     error
	calls   []*invoke.Request
	parts   []string // streamed, where the request has a stream
	kind    string   // their content type
}

func newPlace() *place {
	return &place{answer: `"hello"`, target: registry.URLTarget{
		Function: faas.FunctionID{Scope: faas.Scope{Account: "123456789012", Region: "eu-west-1", Namespace: faas.DefaultNamespace}, Name: "web"},
		URL:      faas.FunctionURL{ID: urlID, Qualifier: "live", Auth: faas.URLAuthNone, Mode: faas.URLBuffered},
	}}
}

func (p *place) ResolveURL(id string) (registry.URLTarget, bool) {
	return p.target, id == p.target.URL.ID
}

func (p *place) Permits(_ faas.FunctionID, _ string, a faas.Access) bool {
	return slices.ContainsFunc(p.permits, func(s faas.Statement) bool { return s.Allows(a) })
}

func (p *place) Invoke(_ context.Context, req *invoke.Request) (*invoke.Result, error) {
	p.calls = append(p.calls, req)
	if p.err != nil {
		return nil, p.err
	}
	if req.Stream != nil && len(p.parts) > 0 {
		req.Stream.Begin(invoke.StreamHead{ContentType: p.kind})
		for _, part := range p.parts {
			if req.Stream.Write([]byte(part)) != nil {
				break
			}
		}
	}
	return &invoke.Result{Outcome: faas.Outcome{Payload: []byte(p.answer), FunctionError: p.failure}}, nil
}

var now = time.Date(2026, 11, 20, 19, 30, 15, 123e6, time.UTC)

// send sends a request as it travels: its lines end in \n here.
func (p *place) send(t *testing.T, raw string, o Options) *http.Response {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(raw, "\n", "\r\n"))))
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = "192.0.2.7:4711"
	o.URLs, o.Invoker, o.Clock = p, p, func() time.Time { return now }
	w := httptest.NewRecorder()
	New(o).ServeHTTP(w, r)
	return w.Result()
}

const byHost = "GET / HTTP/1.1\nHost: " + urlID + ".lambda-url.eu-west-1.localhost:9000\n"

func TestEvent(t *testing.T) {
	p := newPlace()
	p.send(t, "POST /a%20b/c?x=1&y=2&x=%203&z HTTP/1.1\nHost: "+urlID+".lambda-url.eu-west-1.localhost:9000\n"+
		"Cookie: a=1; b=2\nCookie: c=3\nX-Many: 1\nX-Many: 2\nUser-Agent: test\nContent-Type: text/plain\nContent-Length: 5\n\nhello", Options{})
	want := `{"version":"2.0","routeKey":"$default","rawPath":"/a%20b/c","rawQueryString":"x=1&y=2&x=%203&z","cookies":["a=1","b=2","c=3"],` +
		`"headers":{"content-length":"5","content-type":"text/plain","cookie":"a=1; b=2,c=3","host":"` + urlID + `.lambda-url.eu-west-1.localhost:9000","user-agent":"test",` +
		`"x-forwarded-for":"192.0.2.7","x-forwarded-proto":"http","x-many":"1,2"},"queryStringParameters":{"x":"1, 3","y":"2","z":""},` +
		`"requestContext":{"accountId":"anonymous","apiId":"` + urlID + `","domainName":"` + urlID + `.lambda-url.eu-west-1.localhost","domainPrefix":"` + urlID + `",` +
		`"http":{"method":"POST","path":"/a b/c","protocol":"HTTP/1.1","sourceIp":"192.0.2.7","userAgent":"test"},"requestId":"ID","routeKey":"$default","stage":"$default",` +
		`"time":"20/Nov/2026:19:30:15 +0000","timeEpoch":1795203015123},"body":"hello","isBase64Encoded":false}`
	req := p.calls[0]
	var plain bytes.Buffer // the encoder writes & as \u0026
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(json.RawMessage(req.Payload)); err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(strings.TrimSpace(plain.String()), `\u0026`, "&")
	if got = strings.Replace(got, req.RequestID, "ID", 1); got != want {
		t.Errorf("event\n%s\nwant\n%s", got, want)
	}
	if req.Function != p.target.Function || req.Qualifier != "live" || req.InvokedARN != "arn:aws:lambda:eu-west-1:123456789012:function:web:live" {
		t.Errorf("request: %+v", req)
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		target, host string
		status       int
		rawPath      string
	}{
		{"/", urlID + ".lambda-url.eu-west-1.localhost", 200, "/"},
		{"/lambda-url/x", urlID + ".lambda-url.eu-west-1.localhost", 200, "/lambda-url/x"},
		{"/", urlID + ".lambda-url.us-east-1.localhost", 404, ""},
		{"/", strings.Repeat("a", 32) + ".lambda-url.eu-west-1.localhost", 404, ""},
		{"/lambda-url/" + urlID, "127.0.0.1:9000", 200, "/"},
		{"/lambda-url/" + urlID + "/", "127.0.0.1:9000", 200, "/"},
		{"/lambda-url/" + urlID + "/a/b%2Fc?q", "127.0.0.1:9000", 200, "/a/b%2Fc"},
		{"/lambda-url/none/a", "127.0.0.1:9000", 404, ""},
	} {
		p := newPlace()
		got := p.send(t, "GET "+c.target+" HTTP/1.1\nHost: "+c.host+"\n\n", Options{})
		if got.StatusCode != c.status {
			t.Errorf("%s at %s: %d", c.target, c.host, got.StatusCode)
			continue
		}
		var e event
		if c.status == 200 && (json.Unmarshal(p.calls[0].Payload, &e) != nil || e.RawPath != c.rawPath) {
			t.Errorf("%s at %s: rawPath %q", c.target, c.host, e.RawPath)
		}
	}
}

func TestBodiesInBase64(t *testing.T) {
	for kind, encoded := range map[string]bool{
		"text/html": false, "application/json; charset=utf-8": false, "application/problem+json": false, "image/svg+xml": false,
		"application/x-www-form-urlencoded": true, "application/octet-stream": true, "": true,
	} {
		p := newPlace()
		p.send(t, "POST /lambda-url/"+urlID+" HTTP/1.1\nHost: x\nContent-Type: "+kind+"\nContent-Length: 2\n\nhi", Options{})
		var e event
		if err := json.Unmarshal(p.calls[0].Payload, &e); err != nil {
			t.Fatal(err)
		}
		if e.IsBase64Encoded != encoded || *e.Body != map[bool]string{true: "aGk=", false: "hi"}[encoded] {
			t.Errorf("%q: %v %q", kind, e.IsBase64Encoded, *e.Body)
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name, result, failure string
		status                int
		body                  string
		headers               map[string]string
	}{
		{"a string", `"hello"`, "", 200, `"hello"`, map[string]string{"Content-Type": "application/json"}},
		{"an object", `{"a":1}`, "", 200, `{"a":1}`, nil},
		{"null as status", `{"statusCode":null}`, "", 200, `{"statusCode":null}`, nil},
		{"a response", `{"statusCode":201,"headers":{"content-type":"text/html","x-n":7,"x-b":true},"body":"<p>","cookies":["a=1"]}`, "", 201, "<p>",
			map[string]string{"Content-Type": "text/html", "X-N": "7", "X-B": "true", "Set-Cookie": "a=1"}},
		{"a status as text", `{"statusCode":"404"}`, "", 404, "", map[string]string{"Content-Length": "0"}},
		{"base64", `{"statusCode":200,"body":"aGk=","isBase64Encoded":true}`, "", 200, "hi", nil},
		{"no base64", `{"statusCode":200,"body":"?","isBase64Encoded":true}`, "", 502, "Internal Server Error", nil},
		{"no status", `{"statusCode":99}`, "", 502, "Internal Server Error", nil},
		{"no header", `{"statusCode":200,"headers":{"a\nb":"c"}}`, "", 502, "Internal Server Error", nil},
		{"a header with lines", `{"statusCode":200,"headers":{"a":"b\r\nc: d"}}`, "", 502, "Internal Server Error", nil},
		{"headers of the connection", `{"statusCode":200,"headers":{"content-length":"7","connection":"close"},"body":"x"}`, "", 200, "x",
			map[string]string{"Content-Length": "1", "Connection": ""}},
		{"no content", `{"statusCode":204,"body":"x"}`, "", 204, "", nil},
		{"an error", `{"errorMessage":"secret"}`, "Unhandled", 502, "Internal Server Error", nil},
	} {
		p := newPlace()
		p.answer, p.failure = c.result, c.failure
		got := p.send(t, byHost+"\n", Options{})
		var body bytes.Buffer
		_, _ = body.ReadFrom(got.Body)
		if got.StatusCode != c.status || body.String() != c.body {
			t.Errorf("%s: %d %q", c.name, got.StatusCode, body.String())
		}
		for name, value := range c.headers {
			if got.Header.Get(name) != value {
				t.Errorf("%s: %s is %q", c.name, name, got.Header.Get(name))
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	for err, status := range map[error]int{
		faas.Errorf(faas.CodeThrottled, "x", "full"):      429,
		faas.Errorf(faas.CodeNotFound, "x", "gone"):       404,
		faas.Errorf(faas.CodeShuttingDown, "x", "closed"): 503,
		errors.New("broken"):                              502,
	} {
		p := newPlace()
		p.err = err
		if got := p.send(t, byHost+"\n", Options{}); got.StatusCode != status {
			t.Errorf("%v: %d", err, got.StatusCode)
		}
	}
	p := newPlace()
	if got := p.send(t, byHost+"Content-Length: 6291457\n\n"+strings.Repeat("x", 6291457), Options{}); got.StatusCode != 413 || len(p.calls) > 0 {
		t.Errorf("a large body: %d, %d calls", got.StatusCode, len(p.calls))
	}
}

func TestAuthorization(t *testing.T) {
	ada := Identity{Account: "123456789012", ARN: "arn:aws:iam::123456789012:user/ada", AccessKey: "AKIA", UserID: "ada"}
	bob := Identity{Account: "444455556666", ARN: "arn:aws:iam::444455556666:user/bob"}
	allowed := func(i Identity) Identity { i.Allowed = true; return i }
	public := faas.Statement{Action: faas.ActionInvokeURL, Principal: "*", URLAuth: faas.URLAuthNone}
	forBob := faas.Statement{Action: faas.ActionInvokeURL, Principal: "444455556666", URLAuth: faas.URLAuthIAM}
	unsigned := faas.Errorf(faas.CodeDenied, "signature", "Missing Authentication Token")
	for _, c := range []struct {
		name    string
		auth    faas.URLAuth
		permits []faas.Statement
		who     Identity
		err     error
		status  int
	}{
		{"public without a policy", faas.URLAuthNone, nil, Identity{}, nil, 403},
		{"public with a policy", faas.URLAuthNone, []faas.Statement{public}, Identity{}, nil, 200},
		{"signed by the account", faas.URLAuthIAM, nil, allowed(ada), nil, 200},
		{"signed without the right", faas.URLAuthIAM, nil, ada, nil, 403},
		{"another account", faas.URLAuthIAM, nil, allowed(bob), nil, 403},
		{"another account that the policy lets", faas.URLAuthIAM, []faas.Statement{forBob}, bob, nil, 200},
		{"not signed", faas.URLAuthIAM, []faas.Statement{public}, Identity{}, unsigned, 403},
	} {
		p := newPlace()
		p.target.URL.Auth, p.permits = c.auth, c.permits
		got := p.send(t, byHost+"\n", Options{Identify: func(_ *http.Request, action, arn string) (Identity, error) {
			if action != faas.ActionInvokeURL || arn != "arn:aws:lambda:eu-west-1:123456789012:function:web:live" {
				t.Errorf("asked for %s on %s", action, arn)
			}
			return c.who, c.err
		}})
		if got.StatusCode != c.status || len(p.calls) != map[bool]int{true: 1, false: 0}[c.status == 200] {
			t.Errorf("%s: %d, %d calls", c.name, got.StatusCode, len(p.calls))
		}
		if c.status == 200 && c.auth == faas.URLAuthIAM {
			var e event
			if err := json.Unmarshal(p.calls[0].Payload, &e); err != nil {
				t.Fatal(err)
			}
			if e.RequestContext.AccountID != c.who.Account || e.RequestContext.Authorizer.IAM.UserARN != c.who.ARN {
				t.Errorf("%s: the event says %+v", c.name, e.RequestContext)
			}
		}
	}
}

func TestCORS(t *testing.T) {
	age := 600
	sites := &faas.CORS{
		AllowOrigins: []string{"https://app.example.com", "https://*.example.org"}, AllowMethods: []string{"GET", "PUT"},
		AllowHeaders: []string{"x-one"}, ExposeHeaders: []string{"x-two"}, MaxAgeSeconds: &age, AllowCredentials: true,
	}
	open := &faas.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"*"}, AllowHeaders: []string{"*"}}
	for _, c := range []struct {
		name    string
		cors    *faas.CORS
		request string
		calls   int
		headers map[string]string // of Access-Control-
	}{
		{"no CORS", nil, "OPTIONS / HTTP/1.1\nOrigin: https://app.example.com\nAccess-Control-Request-Method: GET\n", 1, nil},
		{"a preflight", sites, "OPTIONS / HTTP/1.1\nOrigin: https://app.example.com\nAccess-Control-Request-Method: PUT\n", 0, map[string]string{
			"Allow-Origin": "https://app.example.com", "Allow-Methods": "GET,PUT", "Allow-Headers": "x-one", "Max-Age": "600",
			"Allow-Credentials": "true", "Expose-Headers": "x-two"}},
		{"a pattern", sites, "GET / HTTP/1.1\nOrigin: https://a.example.org\n", 1, map[string]string{
			"Allow-Origin": "https://a.example.org", "Allow-Credentials": "true", "Expose-Headers": "x-two"}},
		{"another origin", sites, "OPTIONS / HTTP/1.1\nOrigin: https://evil.example\nAccess-Control-Request-Method: PUT\n", 0, nil},
		{"another method", sites, "OPTIONS / HTTP/1.1\nOrigin: https://app.example.com\nAccess-Control-Request-Method: DELETE\n", 0, map[string]string{
			"Allow-Origin": "https://app.example.com", "Allow-Credentials": "true", "Expose-Headers": "x-two"}},
		{"everybody", open, "OPTIONS / HTTP/1.1\nOrigin: https://app.example.com\nAccess-Control-Request-Method: DELETE\n", 0, map[string]string{
			"Allow-Origin": "*", "Allow-Methods": "*", "Allow-Headers": "*"}},
		{"plain OPTIONS", open, "OPTIONS / HTTP/1.1\n", 1, nil},
	} {
		p := newPlace()
		p.target.URL.CORS = c.cors
		p.answer = `{"statusCode":200,"headers":{"access-control-max-age":"1"}}`
		head, rest, _ := strings.Cut(c.request, "\n")
		got := p.send(t, head+"\nHost: "+urlID+".lambda-url.eu-west-1.localhost\n"+rest+"\n", Options{})
		said := map[string]string{}
		for name := range got.Header {
			if short, ok := strings.CutPrefix(name, "Access-Control-"); ok {
				said[short] = got.Header.Get(name)
			}
		}
		if got.Header.Get("Access-Control-Allow-Origin") == "" {
			delete(said, "Max-Age") // the function's own
		}
		if !maps.Equal(said, c.headers) || len(p.calls) != c.calls {
			t.Errorf("%s: %v, %d calls", c.name, said, len(p.calls))
		}
	}
}

// FuzzAnswer sends whatever a function returns: each is an answer that a client can
// read, with no header of the function's making that is two.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"statusCode":200,"headers":{"a":"b"},"cookies":["c=d"],"body":"e"}`))
	f.Add([]byte(`{"statusCode":"204"}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, result []byte) {
		p := newPlace()
		p.answer = string(result)
		r := httptest.NewRequest("GET", "/lambda-url/"+urlID+"/", nil)
		w := httptest.NewRecorder()
		New(Options{URLs: p, Invoker: p}).ServeHTTP(w, r)
		var wire bytes.Buffer
		if err := w.Result().Write(&wire); err != nil {
			t.Fatal(err)
		}
		got, err := http.ReadResponse(bufio.NewReader(&wire), r)
		if err != nil || got.StatusCode < 200 || got.StatusCode > 599 {
			t.Fatalf("%q became %v, %v", result, got, err)
		}
	})
}
