package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// patience bounds a test, but for what takes long by itself: on a busy machine a call
// of the vendor's command alone takes seconds.
const patience = 5 * time.Minute

func TestMain(m *testing.M) {
	code := m.Run()
	CleanUp()
	os.Exit(code)
}

// TestClients takes a function of each language through its life with each of the
// vendor's clients.
func TestClients(t *testing.T) {
	for _, c := range []struct {
		name string
		new  newClient
	}{
		{"aws-sdk-go-v2", newGoClient},
		{"aws-cli", newCLIClient},
		{"client-lambda", newJSClient},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Start(t)
			client := c.new(t, s)
			for _, l := range languages {
				t.Run(l.name, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					live(ctx, t, s, client, l)
				})
			}
		})
	}
}

// life is one function on its way through TestClients.
type life struct {
	t      *testing.T
	ctx    context.Context
	client client
	name   string
	lang   language
}

func live(ctx context.Context, t *testing.T, s *Server, c client, l language) {
	f := &life{t: t, ctx: ctx, client: c, name: "life-" + l.name, lang: l}
	f.create(l.runtime(t, s))
	f.update()
	f.release()
	f.end()
}

// ok ends the test where a step failed.
func (f *life) ok(what string, err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatalf("%s: %v", what, err)
	}
}

// result is what the test functions return.
type result struct {
	Version, Greeting, Name string
	Count                   int
	Event                   map[string]any
}

// invoke calls the function and checks what every answer must have.
func (f *life) invoke(qualifier string) (answer, result) {
	f.t.Helper()
	a, err := f.client.invoke(f.ctx, f.name, qualifier, `{"text":"häl\u2028lo","n":[1,2.5]}`)
	f.ok("invoke", err)
	if a.functionError != "" {
		f.t.Fatalf("the function failed: %s %s\n%s", a.functionError, a.payload, a.log)
	}
	var r result
	if err := json.Unmarshal([]byte(a.payload), &r); err != nil {
		f.t.Fatalf("%v in %s", err, a.payload)
	}
	if r.Name != f.name || r.Event["text"] != "häl\u2028lo" || fmt.Sprint(r.Event["n"]) != "[1 2.5]" {
		f.t.Errorf("the function got %+v", r)
	}
	if !strings.Contains(a.log, "REPORT RequestId: ") {
		f.t.Errorf("no REPORT line in the log's tail %q", a.log)
	}
	return a, r
}

func (f *life) create(runtime string) {
	f.t.Helper()
	state, err := f.client.create(f.ctx, function{name: f.name, runtime: runtime, handler: f.lang.handler, zip: f.lang.zip(f.t, "one")})
	f.ok("create", err)
	if state != "Pending" {
		f.t.Errorf("created in state %s", state)
	}
	f.ok("wait until active", f.client.waitActive(f.ctx, f.name))
	names, err := f.client.list(f.ctx)
	if f.ok("list", err); !slices.Contains(names, f.name) {
		f.t.Errorf("the list has %v", names)
	}
	// A counter of the module counts on in one instance.
	for call := 1; call <= 3; call++ {
		a, r := f.invoke("")
		if r.Version != "one" || r.Count != call || a.version != "$LATEST" {
			f.t.Errorf("call %d: %+v from version %s", call, r, a.version)
		}
		if cold := strings.Contains(a.log, "Init Duration: "); cold != (call == 1) {
			f.t.Errorf("call %d: cold is %v in %q", call, cold, a.log)
		}
	}
}

func (f *life) update() {
	f.t.Helper()
	f.ok("update the code", f.client.updateCode(f.ctx, f.name, f.lang.zip(f.t, "two")))
	f.ok("wait until updated", f.client.waitUpdated(f.ctx, f.name))
	if _, r := f.invoke(""); r.Version != "two" || r.Count != 1 {
		f.t.Errorf("after the update: %+v", r)
	}
	f.ok("set the environment", f.client.setEnvironment(f.ctx, f.name, map[string]string{"GREETING": "grüß dich"}))
	f.ok("wait until updated", f.client.waitUpdated(f.ctx, f.name))
	if _, r := f.invoke(""); r.Greeting != "grüß dich" || r.Version != "two" {
		f.t.Errorf("after the change of the environment: %+v", r)
	}
}

func (f *life) release() {
	f.t.Helper()
	one, err := f.client.publish(f.ctx, f.name)
	f.ok("publish", err)
	f.ok("update the code", f.client.updateCode(f.ctx, f.name, f.lang.zip(f.t, "three")))
	f.ok("wait until updated", f.client.waitUpdated(f.ctx, f.name))
	two, err := f.client.publish(f.ctx, f.name)
	f.ok("publish again", err)
	if one != "1" || two != "2" {
		f.t.Errorf("published %q and %q", one, two)
	}
	if again, err := f.client.publish(f.ctx, f.name); err != nil || again != two {
		f.t.Errorf("publishing what has not changed: %q, %v", again, err)
	}
	if a, r := f.invoke("1"); r.Version != "two" || a.version != "1" {
		f.t.Errorf("version 1: %+v from %s", r, a.version)
	}
	f.ok("create the alias", f.client.createAlias(f.ctx, f.name, "live", "1", map[string]float64{"2": 1}))
	if a, r := f.invoke("live"); r.Version != "three" || a.version != "2" {
		f.t.Errorf("the alias with all its weight on version 2: %+v from %s", r, a.version)
	}
	f.ok("update the alias", f.client.updateAlias(f.ctx, f.name, "live", map[string]float64{"2": 0}))
	if a, r := f.invoke("live"); r.Version != "two" || a.version != "1" {
		f.t.Errorf("the alias with no weight on version 2: %+v from %s", r, a.version)
	}
}

func (f *life) end() {
	f.t.Helper()
	f.ok("delete", f.client.remove(f.ctx, f.name))
	_, err := f.client.invoke(f.ctx, f.name, "", "{}")
	if code := f.client.errorCode(err); code != "ResourceNotFoundException" {
		f.t.Errorf("invoking a deleted function: %q, %v", code, err)
	}
	_, err = f.client.create(f.ctx, function{name: "bad name", runtime: "nodejs22.x", handler: "h", zip: f.lang.zip(f.t, "bad")})
	if code := f.client.errorCode(err); code != "ValidationException" {
		f.t.Errorf("creating a function with a bad name: %q, %v", code, err)
	}
}

// TestWeightedAlias: the share of calls that goes to the second version.
func TestWeightedAlias(t *testing.T) {
	s := Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := newGoClient(t, s)
	l := languages[2]
	f := &life{t: t, ctx: ctx, client: c, name: "weights", lang: l}
	_, err := c.create(ctx, function{name: f.name, runtime: l.runtime(t, s), handler: l.handler, zip: l.zip(t, "one")})
	f.ok("create", err)
	f.ok("wait", c.waitActive(ctx, f.name))
	_, err = c.publish(ctx, f.name)
	f.ok("publish", err)
	f.ok("update", c.updateCode(ctx, f.name, l.zip(t, "two")))
	f.ok("wait", c.waitUpdated(ctx, f.name))
	_, err = c.publish(ctx, f.name)
	f.ok("publish", err)
	f.ok("alias", c.createAlias(ctx, f.name, "live", "1", map[string]float64{"2": 0.25}))
	const calls = 400
	seen := map[string]int{}
	for range calls {
		a, r := f.invoke("live")
		if want := map[string]string{"1": "one", "2": "two"}[a.version]; r.Version != want {
			t.Fatalf("version %s answered %q", a.version, r.Version)
		}
		seen[a.version]++
	}
	// 100 of 400 are expected, with a standard deviation of 8.7.
	if n := seen["2"]; n < 55 || n > 145 {
		t.Errorf("%d of %d calls went to the version with a weight of 0.25", n, calls)
	}
}

// TestCodeLocation: what was uploaded comes back from the link, without credentials.
func TestCodeLocation(t *testing.T) {
	s := Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := newGoClient(t, s).(goClient)
	l := languages[1]
	code := l.zip(t, "one")
	if _, err := c.create(ctx, function{name: "located", runtime: l.runtime(t, s), handler: l.handler, zip: code}); err != nil {
		t.Fatal(err)
	}
	out, err := c.sdk.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("located")})
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(*out.Code.Location)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || !bytes.Equal(body, code) {
		t.Errorf("status %d, %d bytes of %d, %v", response.StatusCode, len(body), len(code), err)
	}
}

// TestRestart: what was deployed is there after kill -9, and works.
func TestRestart(t *testing.T) {
	data := t.TempDir()
	s := Open(t, data)
	defer func() { s.Stop(t) }()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l := languages[1]
	f := &life{t: t, ctx: ctx, client: newGoClient(t, s), name: "lasting", lang: l}
	f.create(l.runtime(t, s))
	running := s.Processes()
	if len(running) == 0 {
		t.Error("the instance has no process")
	}
	s.Kill()
	s = Open(t, data)
	for _, left := range orphans(running) {
		t.Errorf("left by the killed server: %s", left)
	}
	f.client = newGoClient(t, s)
	if _, r := f.invoke(""); r.Version != "one" || r.Count != 1 {
		t.Errorf("after the restart: %+v", r)
	}
}
