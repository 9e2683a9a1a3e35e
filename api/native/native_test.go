package native

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hearth/faas"
	"hearth/invoke"
	"hearth/logs"
	"hearth/registry"
)

// backend is a control and data plane of a single function, with the error that
// a test wants.
type backend struct {
	version *faas.Version // nil: the function does not exist
	err     error
	calls   []string
	created registry.CreateInput
	patch   registry.ConfigPatch
	request *invoke.Request
	query   logs.Query
	silent  bool // there are no log lines, and following waits for ever
}

func (b *backend) called(what string) error { b.calls = append(b.calls, what); return b.err }

func (b *backend) Create(_ context.Context, in registry.CreateInput) (*faas.Version, error) {
	if err := b.called("Create"); err != nil {
		return nil, err
	}
	b.created = in
	b.version = &faas.Version{ID: faas.VersionID{Function: in.Function, Number: faas.Latest}, Config: in.Config, State: faas.StateActive}
	return b.version, nil
}

func (b *backend) UpdateCode(context.Context, registry.UpdateCodeInput) (*faas.Version, error) {
	return b.version, b.called("UpdateCode")
}

func (b *backend) UpdateConfig(_ context.Context, _ faas.FunctionID, patch registry.ConfigPatch, _ string) (*faas.Version, error) {
	b.patch = patch
	return b.version, b.called("UpdateConfig")
}

func (b *backend) Get(_ context.Context, id faas.FunctionID, _ string) (*registry.Function, error) {
	if b.version == nil {
		return nil, faas.Errorf(faas.CodeNotFound, id.Name, "function %s does not exist", id.Name)
	}
	return &registry.Function{ID: id, Version: b.version}, nil
}

func (b *backend) Delete(context.Context, faas.FunctionID, string) error { return b.called("Delete") }

func (b *backend) List(context.Context, faas.Scope, bool, string, int) (registry.Page[*faas.Version], error) {
	return registry.Page[*faas.Version]{Items: []*faas.Version{b.version}, Next: "more"}, b.called("List")
}

func (b *backend) Publish(context.Context, registry.PublishInput) (*faas.Version, error) {
	v := *b.version
	v.ID.Number = "1"
	return &v, b.called("Publish")
}

func (b *backend) ListVersions(context.Context, faas.FunctionID, string, int) (registry.Page[*faas.Version], error) {
	return registry.Page[*faas.Version]{Items: []*faas.Version{b.version}}, nil
}

func (b *backend) ListAliases(context.Context, faas.FunctionID, string, string, int) (registry.Page[*faas.Alias], error) {
	return registry.Page[*faas.Alias]{Items: []*faas.Alias{{Name: "live", Version: "1"}}}, nil
}

func (b *backend) CreateAlias(_ context.Context, a faas.Alias) (*faas.Alias, error) {
	return &a, b.called("CreateAlias")
}

func (b *backend) UpdateAlias(_ context.Context, id faas.FunctionID, name string, _ registry.AliasPatch) (*faas.Alias, error) {
	if name != "live" {
		return nil, faas.Errorf(faas.CodeNotFound, name, "function %s has no alias %s", id.Name, name)
	}
	return &faas.Alias{Name: name, Version: "1"}, b.called("UpdateAlias")
}

func (b *backend) DeleteAlias(context.Context, faas.FunctionID, string) error {
	return b.called("DeleteAlias")
}

func (b *backend) Invoke(_ context.Context, req *invoke.Request) (*invoke.Result, error) {
	b.request = req
	if err := b.called("Invoke"); err != nil {
		return nil, err
	}
	return &invoke.Result{Outcome: faas.Outcome{Payload: req.Payload}, ExecutedVersion: "7", LogTail: []byte("log"),
		Report: faas.Report{RequestID: req.RequestID}}, nil
}

func (b *backend) Recent(faas.FunctionID) []faas.Report { return nil }

func (b *backend) Count(faas.FunctionID) InstanceCount { return InstanceCount{Idle: 2} }

func (b *backend) Find(_ context.Context, q logs.Query) ([]logs.Line, error) {
	b.query = q
	if b.silent {
		return nil, b.err
	}
	return []logs.Line{{Text: "one"}, {Text: "two"}}, b.err
}

func (b *backend) Follow(ctx context.Context, q logs.Query, line func(logs.Line) error) error {
	b.query = q
	if b.silent {
		<-ctx.Done()
		return ctx.Err()
	}
	return line(logs.Line{Text: "live"})
}

type catalogue struct{}

func (catalogue) List() []Runtime { return []Runtime{{Name: "nodejs22.x", Installed: true}} }

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func newAPI(b *backend) *API {
	return New(Options{Registry: b, Invoker: b, Instances: b, Logs: b, Runtimes: catalogue{},
		Account: "000000000000", Region: "us-east-1", Isolation: "process", Now: func() time.Time { return noon }})
}

func existing() *faas.Version {
	id := faas.FunctionID{Scope: faas.Scope{Account: "000000000000", Region: "us-east-1", Namespace: "default"}, Name: "f"}
	return &faas.Version{ID: faas.VersionID{Function: id, Number: faas.Latest}, State: faas.StateActive, Update: faas.UpdateSuccessful}
}

func send(a *API, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(method, "/hearth/v1/"+path, strings.NewReader(body)))
	return w
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder, status int) T {
	t.Helper()
	var out T
	if w.Code != status {
		t.Fatalf("the answer is %d, want %d: %s", w.Code, status, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return out
}

func TestEveryCodeHasAStatus(t *testing.T) {
	for _, code := range faas.Codes() {
		if status[code] < 400 {
			t.Errorf("code %s has no status", code)
		}
	}
}

func TestDeployCreates(t *testing.T) {
	b := &backend{}
	out := decode[Deployed](t, send(newAPI(b), "PUT", "functions/f", `{"runtime":"nodejs22.x","memoryMB":256,"egress":"none","zip":"UEs=","publish":true}`), 201)
	if !out.Created || out.Published != "1" || out.Version.Config.MemoryMB != 256 || out.Version.Config.Egress != faas.EgressNone {
		t.Errorf("deployed %+v", out)
	}
	if got := strings.Join(b.calls, " "); got != "Create Publish" {
		t.Errorf("the registry was called with %s", got)
	}
}

func TestDeployUpdatesConfigurationBeforeCode(t *testing.T) {
	b := &backend{version: existing()}
	decode[Deployed](t, send(newAPI(b), "PUT", "functions/f", `{"memoryMB":512,"zip":"UEs="}`), 200)
	if got := strings.Join(b.calls, " "); got != "UpdateConfig UpdateCode" {
		t.Errorf("the registry was called with %s", got)
	}
	if b.patch.MemoryMB == nil || *b.patch.MemoryMB != 512 || b.patch.Runtime != nil {
		t.Errorf("the patch is %+v", b.patch)
	}
}

func TestDeployThatChangesNothingCallsNothing(t *testing.T) {
	b := &backend{version: existing()}
	decode[Deployed](t, send(newAPI(b), "PUT", "functions/f", `{}`), 200)
	if len(b.calls) > 0 {
		t.Errorf("the registry was called with %v", b.calls)
	}
}

func TestDeployTellsOfFailure(t *testing.T) {
	failed := existing()
	failed.State, failed.StateReason = faas.StateFailed, "no room on the disk"
	b := &backend{version: failed}
	out := decode[Error](t, send(newAPI(b), "PUT", "functions/f", `{"memoryMB":512}`), 409)
	if !strings.Contains(out.Error.Message, "no room on the disk") {
		t.Errorf("the error is %+v", out)
	}
}

func TestRefusals(t *testing.T) {
	throttled := faas.Errorf(faas.CodeThrottled, "reserved", "no more")
	wrongMemory := faas.FieldErrors{{Field: "memorySize", Value: "1", Constraint: "must be more"}}.Err()
	for _, test := range []struct {
		name, method, path, body string
		backend                  *backend
		status                   int
		code                     faas.ErrorCode
		subject                  string
	}{
		{"no JSON", "PUT", "functions/f", "{", &backend{}, 400, faas.CodeInvalidBody, "body"},
		{"wrong type", "PUT", "functions/f", `{"memoryMB":"much"}`, &backend{}, 400, faas.CodeInvalidBody, "memoryMB"},
		{"no such field", "PUT", "functions/f", `{"memory":512}`, &backend{}, 400, faas.CodeInvalidBody, "memory"},
		{"not base64", "PUT", "functions/f", `{"zip":"!"}`, &backend{}, 400, faas.CodeInvalidBody, "zip"},
		{"zero", "PUT", "functions/f", `{"zip":"UEs=","timeoutSeconds":0}`, &backend{}, 400, faas.CodeInvalid, "timeoutSeconds"},
		{"two documents", "PUT", "functions/f", `{"zip":"UEs="}{}`, &backend{}, 400, faas.CodeInvalidBody, "body"},
		{"another's name", "PUT", "functions/f", `{"memoryMB":1}`, &backend{version: existing(), err: wrongMemory}, 400, faas.CodeInvalid, "memoryMB"},
		{"no code", "PUT", "functions/f", "{}", &backend{}, 400, faas.CodeInvalid, "zip"},
		{"not there", "GET", "functions/f", "", &backend{}, 404, faas.CodeNotFound, "f"},
		{"bad page", "GET", "functions?max=0", "", &backend{version: existing()}, 400, faas.CodeInvalid, "max"},
		{"throttled", "POST", "functions/f/invoke", "{}", &backend{err: throttled}, 429, faas.CodeThrottled, "reserved"},
		{"internal", "DELETE", "functions/f", "", &backend{err: errors.New("secret path")}, 500, faas.CodeInternal, ""},
		{"no function", "GET", "logs", "", &backend{}, 400, faas.CodeInvalid, "function"},
		{"bad time", "GET", "logs?function=f&since=yesterday", "", &backend{}, 400, faas.CodeInvalid, "since"},
		{"bad tail", "GET", "logs?function=f&tail=-1", "", &backend{}, 400, faas.CodeInvalid, "tail"},
		{"no such function's log", "GET", "logs?function=f", "", &backend{silent: true}, 404, faas.CodeNotFound, "f"},
		{"no such function to follow", "GET", "logs?function=f&follow=1", "", &backend{silent: true}, 404, faas.CodeNotFound, "f"},
		{"no region", "GET", "functions?region=a/b", "", &backend{version: existing()}, 400, faas.CodeInvalid, "region"},
		{"no namespace", "GET", "functions?namespace=a/b", "", &backend{version: existing()}, 400, faas.CodeInvalid, "namespace"},
		{"not this server's isolation", "PUT", "functions/f", `{"isolation":"none"}`, &backend{version: existing()}, 501, faas.CodeUnsupported, "isolation"},
		{"no such path", "GET", "nothing", "", &backend{}, 404, faas.CodeNotFound, "path"},
		{"no such method", "PATCH", "functions/f", "", &backend{}, 404, faas.CodeNotFound, "path"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := send(newAPI(test.backend), test.method, test.path, test.body)
			out := decode[Error](t, w, test.status)
			if out.Error.Code != test.code || out.Error.Subject != test.subject || out.Error.Message == "" {
				t.Errorf("the error is %+v", out.Error)
			}
			if strings.Contains(w.Body.String(), "secret") {
				t.Error("an internal error's text reached the caller")
			}
		})
	}
}

func TestBodiesAreBounded(t *testing.T) {
	b := &backend{}
	r := httptest.NewRequest("POST", "/hearth/v1/functions/f/invoke", bytes.NewReader(make([]byte, maxPayload+1)))
	w := httptest.NewRecorder()
	newAPI(b).ServeHTTP(w, r)
	if out := decode[Error](t, w, http.StatusRequestEntityTooLarge); out.Error.Code != faas.CodeTooLarge {
		t.Errorf("the error is %+v", out.Error)
	}
	if b.request != nil {
		t.Error("the function was called all the same")
	}
}

func TestInvoke(t *testing.T) {
	b := &backend{}
	out := decode[Invoked](t, send(newAPI(b), "POST", "functions/f/invoke?qualifier=live&tail=1&region=eu-west-1", `{"a":1}`), 200)
	if string(out.Payload) != `{"a":1}` || out.Version != "7" || out.LogTail != "log" || out.RequestID == "" {
		t.Errorf("invoked %+v", out)
	}
	if b.request.Function.Region != "eu-west-1" || b.request.Qualifier != "live" || !b.request.LogTail {
		t.Errorf("the request is %+v", b.request)
	}
	// A custom runtime may answer with what is no JSON: it becomes a JSON string.
	out = decode[Invoked](t, send(newAPI(b), "POST", "functions/f/invoke", `plain "text"`), 200)
	if string(out.Payload) != `"plain \"text\""` {
		t.Errorf("the payload is %s", out.Payload)
	}
}

func TestRegionsServed(t *testing.T) {
	a := newAPI(&backend{version: existing()})
	a.Regions = []string{"us-east-1", "eu-west-1"}
	decode[Description](t, send(a, "GET", "functions/f", ""), 200)
	decode[Description](t, send(a, "GET", "functions/f?region=eu-west-1", ""), 200)
	out := decode[Error](t, send(a, "GET", "functions/f?region=mars-1", ""), 400)
	if out.Error.Subject != "region" || !strings.Contains(out.Error.Message, "us-east-1, eu-west-1") {
		t.Errorf("the error is %+v", out.Error)
	}
}

func TestDescribe(t *testing.T) {
	out := decode[Description](t, send(newAPI(&backend{version: existing()}), "GET", "functions/f", ""), 200)
	if out.Name != "f" || out.Instances.Idle != 2 || len(out.Versions) != 1 || len(out.Aliases) != 1 || out.Recent == nil {
		t.Errorf("described %+v", out)
	}
}

func TestLogs(t *testing.T) {
	b := &backend{}
	w := send(newAPI(b), "GET", "logs?function=f&since=10m&until=2026-01-02T11:59:00Z&tail=5&contains=x&requestId=r", "")
	if got := strings.Count(w.Body.String(), "\n"); w.Code != 200 || got != 2 {
		t.Errorf("%d with %d lines: %s", w.Code, got, w.Body)
	}
	want := logs.Query{Function: existing().ID.Function, RequestID: "r", Contains: "x", Tail: 5,
		Since: noon.Add(-10 * time.Minute), Until: noon.Add(-time.Minute)}
	if b.query != want {
		t.Errorf("the query is %+v, want %+v", b.query, want)
	}
	if w = send(newAPI(b), "GET", "logs?function=f&follow=1", ""); !strings.Contains(w.Body.String(), `"text":"live"`) {
		t.Errorf("followed: %s", w.Body)
	}
}

// A server that stops must not wait for those who follow a log.
func TestEndStreams(t *testing.T) {
	a := newAPI(&backend{version: existing(), silent: true})
	answered := make(chan int)
	go func() { answered <- send(a, "GET", "logs?function=f&follow=1", "").Code }()
	a.EndStreams()
	if code := <-answered; code != 200 {
		t.Errorf("the stream ended with %d", code)
	}
}
