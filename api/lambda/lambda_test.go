package lambda

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/invoke"
)

func send(h http.Handler, method, path string, body io.Reader) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, body))
	return w
}

func TestServes(t *testing.T) {
	for path, want := range map[string]bool{
		"/2015-03-31/functions": true, "/2015-03-31/": true, "/2017-03-31/tags/arn": true, linkPath + "x": true,
		"/": false, "": false, "/2015-03-31": false, "/2015-03-31x": false, "/201a-03-31/x": false, "/2015/03/31/x": false,
		"/healthz": false, "/hearth/v1/functions": false, "/----------/x": false,
	} {
		if Serves(path) != want {
			t.Errorf("Serves(%q) = %v", path, !want)
		}
	}
}

// Every operation of the model is found by its own method and path, and is either
// served or refused by its name.
func TestEveryOperationIsKnown(t *testing.T) {
	h, _, _ := newWorld()
	for i := range operations {
		op := &operations[i]
		path := strings.NewReplacer("{", "", "}", "").Replace(op.path)
		found, _, err := route(op.method, path+"/", op.query)
		if err != nil || found != op {
			t.Errorf("%s %s?%s: found %v, %v", op.method, path, op.query, found, err)
			continue
		}
		if op.input == nil {
			t.Errorf("%s has no shape", op.name)
		}
		_, served := h.endpoints[op.name]
		served = served || op.name == opInvoke || op.name == opInvokeAsync || op.name == opInvokeStream
		if served {
			continue
		}
		w := send(h, op.method, path+"?"+op.query, nil)
		if w.Code != http.StatusNotImplemented || !strings.Contains(w.Body.String(), op.name+" is not supported") {
			t.Errorf("%s: %d %s", op.name, w.Code, w.Body)
		}
	}
	known := slices.Collect(maps.Keys(h.endpoints))
	for _, name := range known {
		if !slices.ContainsFunc(operations, func(op operation) bool { return op.name == name }) {
			t.Errorf("%s is served and not in the model", name)
		}
	}
}

func TestModelPatternsCompile(t *testing.T) {
	seen := map[*shape]bool{}
	var walk func(*shape)
	walk = func(s *shape) {
		if s == nil || seen[s] {
			return
		}
		seen[s] = true
		if s.pattern != nil {
			s.pattern.matches("")
		}
		for _, m := range s.members {
			walk(m.shape)
		}
		walk(s.member)
		walk(s.key)
		walk(s.value)
	}
	for _, op := range operations {
		walk(op.input)
	}
	for _, c := range []struct {
		shape *shape
		text  string
		want  bool
	}{
		{shapeAlias, "live", true}, {shapeAlias, "2024", false}, {shapeAlias, "2024-01", true}, {shapeAlias, "a b", false},
		{shapeS3Bucket, "a.b", true}, {shapeS3Bucket, "a.", false},
		{shapeHandler, "a b", false}, {shapeHandler, "index.handler", true},
		{shapeKMSKeyArn, "", true},
		{shapeCollectionName, "orders", true}, {shapeCollectionName, "system.users", false}, {shapeCollectionName, "a$", false},
		{shapeFunctionUrlQualifier, "live", true}, {shapeFunctionUrlQualifier, "1", false}, {shapeFunctionUrlQualifier, "$LATEST", false},
		{shapeFunctionUrlFunctionName, "arn:aws:lambda:us-east-1:123456789012:function:1", true},
		{shapeFunctionUrlFunctionName, "f:live", true}, {shapeFunctionUrlFunctionName, "f:1", false},
	} {
		if c.shape.pattern.matches(c.text) != c.want {
			t.Errorf("%s matches %q: %v", c.shape.name, c.text, !c.want)
		}
	}
}

func TestRegionOfCredential(t *testing.T) {
	h := newHandler(Options{Registry: newFakeRegistry(), Invoker: &fakeInvoker{}, Regions: []string{"us-east-1"}})
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/2015-03-31/functions", nil)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=K/20260101/eu-west-1/lambda/aws4_request")
	if h.ServeHTTP(w, r); w.Code != 403 || !strings.Contains(w.Body.String(), "valid region, not 'eu-west-1'") {
		t.Errorf("a region that is not served: %d %s", w.Code, w.Body)
	}
}

func TestLinks(t *testing.T) {
	now := fakeNow
	r := newFakeRegistry()
	h := newHandler(Options{Registry: r, Invoker: &fakeInvoker{}, BaseURL: "https://hearth.example/", Clock: func() time.Time { return now }})
	body := `{"FunctionName":"f","Runtime":"nodejs22.x","Handler":"h","Role":"arn:aws:iam::000000000000:role/r","Code":{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}`
	if w := send(h, "POST", "/2015-03-31/functions", strings.NewReader(body)); w.Code != 201 {
		t.Fatal(w.Body)
	}
	link := func() string {
		var f functionOutput
		if err := json.Unmarshal(send(h, "GET", "/2015-03-31/functions/f", nil).Body.Bytes(), &f); err != nil {
			t.Fatal(err)
		}
		path, ok := strings.CutPrefix(f.Code.Location, "https://hearth.example")
		if !ok {
			t.Fatalf("location %s", f.Code.Location)
		}
		return path
	}
	path := link()
	expect := func(what, method, path string, status int) {
		t.Helper()
		if w := send(h, method, path, nil); w.Code != status {
			t.Errorf("%s: %d %s, want %d", what, w.Code, w.Body, status)
		}
	}
	expect("fresh", "GET", path, 200)
	expect("HEAD", "HEAD", path, 200)
	expect("POST", "POST", path, 405)
	expect("forged", "GET", path[:len(path)-2]+"xx", 403)
	expect("other key", "GET", linkPath+linkSigner{key: []byte("k")}.sign(linkClaim{Expires: 1 << 40}), 403)
	expect("nonsense", "GET", linkPath+"a.b.c", 403)
	expect("empty", "GET", linkPath, 403)
	send(h, "PUT", "/2015-03-31/functions/f/code", strings.NewReader(`{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAAE="}`))
	expect("after an update", "GET", path, 404)
	path = link()
	now = now.Add(linkLifetime - time.Second)
	expect("at the end", "GET", path, 200)
	now = now.Add(time.Second)
	expect("expired", "GET", path, 403)
	now = fakeNow
	send(h, "DELETE", "/2015-03-31/functions/f", nil)
	expect("deleted", "GET", path, 404)
}

func TestBodyBounds(t *testing.T) {
	h, _, invoker := newWorld()
	payload := func(n int) string { return `"` + strings.Repeat("a", n-2) + `"` }
	invoker.registry = nil
	for _, c := range []struct {
		name   string
		body   io.Reader
		status int
	}{
		{"at the bound", strings.NewReader(payload(maxPayload)), 200},
		{"over it", strings.NewReader(payload(maxPayload + 1)), 413},
		{"chunked, at the bound", io.MultiReader(strings.NewReader(payload(maxPayload))), 200},
		{"chunked, over it", io.MultiReader(strings.NewReader(payload(maxPayload + 1))), 413},
	} {
		w := send(h, "POST", "/2015-03-31/functions/f/invocations", c.body)
		if w.Code != c.status {
			t.Errorf("%s: %d %.200s", c.name, w.Code, w.Body)
		}
		if w.Code == 413 && w.Body.String() != `{"message":"Request must be smaller than 6291456 bytes for the InvokeFunction operation"}` {
			t.Errorf("%s: %s", c.name, w.Body)
		}
	}
	r := httptest.NewRequest("POST", "/2015-03-31/functions", strings.NewReader("{}"))
	r.ContentLength = maxRequest + 1
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 413 || !strings.Contains(w.Body.String(), "smaller than 70167211 bytes for the CreateFunction operation") {
		t.Errorf("announced too large: %d %s", w.Code, w.Body)
	}
	r = httptest.NewRequest("POST", "/2015-03-31/functions", strings.NewReader("{}"))
	r.ContentLength = 10
	w = httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 400 || !strings.Contains(w.Body.String(), "could not be read to its end") {
		t.Errorf("shorter than announced: %d %s", w.Code, w.Body)
	}
}

// stuckBody gives nothing until it is closed by the test.
type stuckBody struct{ release chan struct{} }

func (s stuckBody) Read([]byte) (int, error) { <-s.release; return 0, io.EOF }

func TestLargeRequestsWaitForAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(Options{Registry: newFakeRegistry(), Invoker: &fakeInvoker{}, MaxUploads: 1})
		stuck := stuckBody{make(chan struct{})}
		go send(h, "POST", "/2015-03-31/functions", stuck) // of unknown size
		synctest.Wait()

		began := time.Now()
		if w := send(h, "POST", "/2015-03-31/functions", io.MultiReader(strings.NewReader("{}"))); w.Code != 429 {
			t.Errorf("a second large request: %d %s", w.Code, w.Body)
		}
		if waited := time.Since(began); waited != uploadWait {
			t.Errorf("it waited %v", waited)
		}
		if w := send(h, "POST", "/2015-03-31/functions", strings.NewReader("{}")); w.Code != 400 || !strings.Contains(w.Body.String(), "validation") {
			t.Errorf("a small request meanwhile: %d %s", w.Code, w.Body)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r := httptest.NewRequestWithContext(ctx, "POST", "/2015-03-31/functions", io.MultiReader(strings.NewReader("{}")))
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusRequestTimeout {
			t.Errorf("a caller that left: %d", w.Code)
		}
		close(stuck.release)
		synctest.Wait()
		if w := send(h, "POST", "/2015-03-31/functions", io.MultiReader(strings.NewReader("{}"))); !strings.Contains(w.Body.String(), "validation") {
			t.Errorf("after the first has ended: %d %s", w.Code, w.Body)
		}
	})
}

func TestUpdateConfigurationPatchesOnlyWhatIsSent(t *testing.T) {
	h, r, _ := newWorld()
	id := faas.FunctionID{Scope: faas.Scope{Account: "123456789012", Region: "us-east-1", Namespace: "default"}, Name: "f"}
	create := `{"FunctionName":"f","Runtime":"nodejs22.x","Handler":"h","Role":"arn:aws:iam::000000000000:role/r","MemorySize":256,` +
		`"Environment":{"Variables":{"AB":"c"}},"LoggingConfig":{"LogFormat":"JSON","SystemLogLevel":"WARN","LogGroup":"/g"},"Code":{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}`
	if w := send(h, "POST", "/2015-03-31/functions", strings.NewReader(create)); w.Code != 201 {
		t.Fatal(w.Body)
	}
	for _, c := range []struct {
		body string
		want func(faas.Config) bool
	}{
		{`{}`, func(c faas.Config) bool {
			return c.MemoryMB == 256 && c.Environment["AB"] == "c" && c.Logging.Group == "/g"
		}},
		{`{"LoggingConfig":{"ApplicationLogLevel":"INFO"}}`, func(c faas.Config) bool {
			return c.Logging == faas.Logging{Format: "JSON", AppLevel: "INFO", SystemLevel: "WARN", Group: "/g"}
		}},
		{`{"LoggingConfig":{"LogFormat":"Text"}}`, func(c faas.Config) bool { return c.Logging == faas.Logging{Format: "Text", Group: "/g"} }},
		{`{"Environment":{}}`, func(c faas.Config) bool { return c.Environment != nil && len(c.Environment) == 0 }},
		{`{"Description":"","Timeout":9,"TracingConfig":{"Mode":"Active"}}`, func(c faas.Config) bool {
			return c.TimeoutSeconds == 9 && c.TracingMode == "Active" && c.MemoryMB == 256
		}},
	} {
		if w := send(h, "PUT", "/2015-03-31/functions/f/configuration", strings.NewReader(c.body)); w.Code != 200 {
			t.Errorf("%s: %d %s", c.body, w.Code, w.Body)
		}
		if got := r.functions[id].head.Config; !c.want(got) {
			t.Errorf("%s: %+v", c.body, got)
		}
	}
}

func BenchmarkInvoke(b *testing.B) {
	for _, size := range []int{2, 1 << 10, 100 << 10} {
		b.Run(fmt.Sprintf("payload=%d", size), func(b *testing.B) {
			result := &invoke.Result{Outcome: faas.Outcome{Payload: []byte(`{"ok":true}`)}, ExecutedVersion: faas.Latest}
			h := newHandler(Options{Registry: newFakeRegistry(), Invoker: constInvoker{result}})
			payload := []byte(`"` + strings.Repeat("a", size-2) + `"`)
			r := httptest.NewRequest("POST", "/2015-03-31/functions/hello/invocations", nil)
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0")
			r.ContentLength = int64(size)
			w := &discardWriter{header: http.Header{}}
			body := bytes.NewReader(payload)
			r.Body = io.NopCloser(body)
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(payload)
				clear(w.header)
				h.ServeHTTP(w, r)
			}
			if w.written == 0 {
				b.Fatal("nothing was answered")
			}
		})
	}
}

type constInvoker struct{ result *invoke.Result }

func (c constInvoker) Invoke(context.Context, *invoke.Request) (*invoke.Result, error) {
	return c.result, nil
}

type discardWriter struct {
	header  http.Header
	written int
}

func (d *discardWriter) Header() http.Header { return d.header }
func (d *discardWriter) WriteHeader(int)     {}
func (d *discardWriter) Write(p []byte) (int, error) {
	d.written += len(p)
	return len(p), nil
}
