package lambda

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"

	"hearth/auth"
	"hearth/invoke"
)

// The callers of the tests: ada may do everything in her account, and bob invoke one
// function, list them, and neither delete any.
var callers = map[string]auth.Credentials{
	"ada": {KeyID: "HEARTHADA", Secret: "ada's secret"},
	"bob": {KeyID: "HEARTHBOB", Secret: "bob's secret"},
	"eve": {KeyID: "HEARTHEVE", Secret: "eve's secret"}, // of a key that was deleted
	"tmp": {KeyID: "HEARTHTMP", Secret: "tmp's secret", Token: "token"},
}

const bobsPolicy = `{"Version":"2012-10-17","Statement":[
	{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:*:*:function:hello"},
	{"Effect":"Allow","Action":["lambda:ListFunctions","lambda:DeleteFunction"],"Resource":"*"},
	{"Effect":"Deny","Action":"lambda:Delete*","Resource":"*"}]}`

// newGuardedWorld is newWorld with a verifier in front, in one region.
func newGuardedWorld(t testing.TB, now func() time.Time) *Handler {
	t.Helper()
	policy, err := auth.ParsePolicy([]byte(bobsPolicy))
	if err != nil {
		t.Fatal(err)
	}
	regions := []string{"us-east-1"}
	ring := auth.Ring{}
	for name, in := range map[string]auth.NewKey{
		"ada": {Account: "123456789012", Name: "ada"},
		"bob": {Account: "123456789012", Name: "bob", Policy: policy},
		"tmp": {Account: "123456789012", Expires: fakeNow.Add(time.Minute)},
	} {
		ring[callers[name].KeyID] = auth.KeyOf(callers[name], in)
	}
	r := newFakeRegistry()
	return newHandler(Options{
		Registry: r, Invoker: &fakeInvoker{registry: r}, LinkKey: []byte("golden"), Clock: now, Regions: regions,
		Auth: auth.NewVerifier(auth.VerifierOptions{Keys: ring, Regions: regions, Clock: now}),
	})
}

// signer signs what its header Sign asks for: "CALLER [SERVICE [REGION]]". Age is
// how long ago that was.
type signer struct{ next http.Handler }

func (s signer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if ask := strings.Fields(r.Header.Get("Sign")); len(ask) > 0 {
		ask = append(ask, []string{"lambda", "us-east-1"}[len(ask)-1:]...)
		age, _ := time.ParseDuration(r.Header.Get("Age"))
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		unsigned := r.Header.Get("Later")
		for _, name := range []string{"Sign", "Age", "Later"} {
			r.Header.Del(name)
		}
		auth.Sign(r, body, callers[ask[0]], ask[2], ask[1], fakeNow.Add(-age))
		if unsigned != "" {
			r.Header.Set("X-Amz-Log-Type", unsigned)
		}
	}
	s.next.ServeHTTP(w, r)
}

// TestGoldenCallers is TestGolden for testdata/callers.txt, with a verifier.
func TestGoldenCallers(t *testing.T) {
	const file = "testdata/callers.txt"
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(raw, []byte("# source: ")) {
		t.Error("the file does not name its source")
	}
	got := play(t, signer{newGuardedWorld(t, func() time.Time { return fakeNow })}, string(raw))
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != string(raw) {
		t.Errorf("answers differ\n%s", difference(string(raw), got))
	}
}

// TestEveryOperationIsGuarded sends every operation without a signature, and as
// somebody who may do next to nothing.
func TestEveryOperationIsGuarded(t *testing.T) {
	h := signer{newGuardedWorld(t, func() time.Time { return fakeNow })}
	for i := range operations {
		op := &operations[i]
		path := strings.NewReplacer("{FunctionName}", "hello", "{LayerName}", "l", "{VersionNumber}", "1", "{UUID}", "6f1d0c7e-5b5a-4e0c-9f2d-0c1b2a3d4e5f").Replace(op.path)
		target := path
		if op.query != "" {
			target += "?" + op.query
		}
		for caller, want := range map[string]string{"": "MissingAuthenticationTokenException", "eve": "UnrecognizedClientException", "bob": "AccessDeniedException"} {
			r := httptest.NewRequest(op.method, target, strings.NewReader(`{"FunctionName":"other","Runtime":"nodejs22.x","Role":"arn:aws:iam::123456789012:role/r","Code":{"ZipFile":""}}`))
			if caller != "" {
				r.Header.Set("Sign", caller)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			got := w.Header()[headerErrorType]
			if caller == "bob" && (op.name == opInvoke || op.name == "InvokeWithResponseStream" || op.name == "ListFunctions" || w.Code == http.StatusNotImplemented) {
				continue // his right, or nobody's
			}
			if len(got) != 1 || got[0] != want {
				t.Errorf("%s %s as %q: %d %v %s", op.name, target, caller, w.Code, got, w.Body)
			}
		}
	}
}

func TestActionsAndResources(t *testing.T) {
	who := &auth.Identity{Account: "123456789012", Region: "us-east-1"}
	h, _, _ := newWorld()
	scope, err := h.scope(who)
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"GET /2015-03-31/functions":                          "lambda:ListFunctions *",
		"GET /2015-03-31/functions/hello":                    "lambda:GetFunction arn:aws:lambda:us-east-1:123456789012:function:hello",
		"GET /2015-03-31/functions/hello?Qualifier=2":        "lambda:GetFunction arn:aws:lambda:us-east-1:123456789012:function:hello:2",
		"GET /2015-03-31/functions/hello:live/configuration": "lambda:GetFunctionConfiguration arn:aws:lambda:us-east-1:123456789012:function:hello:live",
		"GET /2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A210987654321%3Afunction%3Ax/policy": "lambda:GetPolicy arn:aws:lambda:us-east-1:210987654321:function:x",
		"GET /2015-03-31/functions/a%20b":                                                       "lambda:GetFunction *",
		"POST /2021-11-15/functions/hello/response-streaming-invocations":                       "lambda:InvokeFunction arn:aws:lambda:us-east-1:123456789012:function:hello",
		"POST /2014-11-13/functions/hello/invoke-async":                                         "lambda:InvokeAsync arn:aws:lambda:us-east-1:123456789012:function:hello",
		"DELETE /2015-03-31/event-source-mappings/u":                                            "lambda:DeleteEventSourceMapping arn:aws:lambda:us-east-1:123456789012:event-source-mapping:u",
		"GET /2018-10-31/layers":                                                                "lambda:ListLayers *",
		"GET /2018-10-31/layers/l/versions":                                                     "lambda:ListLayerVersions *",
		"POST /2018-10-31/layers/l/versions":                                                    "lambda:PublishLayerVersion arn:aws:lambda:us-east-1:123456789012:layer:l",
		"GET /2018-10-31/layers/l/versions/3":                                                   "lambda:GetLayerVersion arn:aws:lambda:us-east-1:123456789012:layer:l:3",
		"GET /2018-10-31/layers?find=LayerVersion&Arn=arn:aws:lambda:us-east-1:1:layer:l:3":     "lambda:GetLayerVersion arn:aws:lambda:us-east-1:1:layer:l:3",
		"GET /2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ahello": "lambda:ListTags arn:aws:lambda:us-east-1:123456789012:function:hello",
	} {
		method, path, _ := strings.Cut(target, " ")
		r := httptest.NewRequest(method, path, nil)
		op, vars, err := route(method, r.URL.EscapedPath(), r.URL.RawQuery)
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		c := &call{op: op, vars: vars, scope: scope, who: who, r: r}
		if got := actionOf(op.name) + " " + c.resource(); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

// TestLinksNeedNoSignature opens the package that a signed GetFunction named.
func TestLinksNeedNoSignature(t *testing.T) {
	h := newGuardedWorld(t, time.Now)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	client := func(name string) *sdk.Client {
		c := callers[name]
		return sdk.New(sdk.Options{BaseEndpoint: &server.URL, Region: "us-east-1", RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(c.KeyID, c.Secret, c.Token)})
	}
	ctx := context.Background()
	if _, err := client("ada").CreateFunction(ctx, createInput("hello")); err != nil {
		t.Fatal(err)
	}
	got, err := client("ada").GetFunction(ctx, &sdk.GetFunctionInput{FunctionName: aws.String("arn:aws:lambda:us-east-1:123456789012:function:hello")})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Get(*got.Code.Location)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("the link answers %s", answer.Status)
	}
	if _, err := client("bob").Invoke(ctx, &sdk.InvokeInput{FunctionName: aws.String("hello"), Payload: []byte(`{}`)}); err != nil {
		t.Errorf("bob's right: %v", err)
	}
	if _, err := client("bob").GetFunction(ctx, &sdk.GetFunctionInput{FunctionName: aws.String("hello")}); err == nil {
		t.Error("bob may not")
	}
}

// BenchmarkGuardedInvoke is BenchmarkInvoke with a signature that is verified.
func BenchmarkGuardedInvoke(b *testing.B) {
	h := newGuardedWorld(b, func() time.Time { return fakeNow })
	h.invoker = constInvoker{&invoke.Result{ExecutedVersion: "$LATEST"}}
	payload := bytes.Repeat([]byte("a"), 1024)
	r := httptest.NewRequest("POST", "/2015-03-31/functions/hello/invocations", nil)
	auth.Sign(r, payload, callers["ada"], "us-east-1", "lambda", fakeNow)
	w := &discardWriter{header: http.Header{}}
	body := bytes.NewReader(payload)
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(payload)
		r.Body, r.ContentLength = io.NopCloser(body), int64(len(payload))
		clear(w.header)
		if h.ServeHTTP(w, r); w.Header()[headerErrorType] != nil {
			b.Fatal("refused")
		}
	}
}

// TestAnotherAccountInvokes calls a function of another account: as its resource
// policy says, and never by the path of one's own.
func TestAnotherAccountInvokes(t *testing.T) {
	w := newRealWorld(t)
	send := func(account, method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+account+"/20261120/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0")
		got := httptest.NewRecorder()
		w.ServeHTTP(got, r)
		return got
	}
	const owner, friend, stranger = "123456789012", "210987654321", "444455556666"
	if got := send(owner, "POST", "/2015-03-31/functions", `{"FunctionName":"f","Runtime":"python3.12","Role":"arn:aws:iam::123456789012:role/r",
		"Handler":"a.b","Code":{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}`); got.Code != 201 {
		t.Fatal(got.Body)
	}
	const function = "/2015-03-31/functions/arn:aws:lambda:us-east-1:123456789012:function:f"
	invoke := func(account, qualifier string) int {
		got := send(account, "POST", function+qualifier+"/invocations", "{}")
		if got.Code == 403 && !strings.Contains(got.Body.String(), "is not authorized to perform: lambda:InvokeFunction on resource: arn:aws:lambda:us-east-1:123456789012:function:f") {
			t.Errorf("the refusal says %s", got.Body)
		}
		return got.Code
	}
	if code := invoke(friend, ""); code != 403 {
		t.Errorf("without a policy: %d", code)
	}
	if got := send(owner, "POST", function+"/policy", `{"StatementId":"s","Action":"lambda:InvokeFunction","Principal":"210987654321"}`); got.Code != 201 {
		t.Fatal(got.Body)
	}
	for _, c := range []struct {
		account, qualifier string
		code               int
	}{{owner, "", 200}, {friend, "", 200}, {stranger, "", 403}, {friend, ":live", 403}} {
		if code := invoke(c.account, c.qualifier); code != c.code {
			t.Errorf("%s invokes %q: %d, want %d", c.account, c.qualifier, code, c.code)
		}
	}
	if got := send(friend, "GET", function, ""); got.Code != 403 {
		t.Errorf("reading it: %d", got.Code)
	}
}
