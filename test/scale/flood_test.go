package scale

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/test/e2e"
)

func TestMain(m *testing.M) {
	code := m.Run()
	e2e.CleanUp()
	os.Exit(code)
}

// nodeHolder holds each event for as long as that says and answers who it is.
const nodeHolder = `
import { randomUUID } from "node:crypto";
const instance = randomUUID();
export const handler = async ({ Hold }) => {
  const begun = Date.now();
  await new Promise((done) => setTimeout(done, Hold));
  return { instance, begun, ended: Date.now() };
};
`

// world is a server and a client with room for every call at once.
type world struct {
	*e2e.Server
	client *http.Client
}

func start(t *testing.T, args ...string) *world {
	t.Helper()
	w := &world{Server: e2e.Start(t, args...),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2000}}}
	t.Cleanup(w.client.CloseIdleConnections)
	return w
}

// hearth runs a command of the binary that has to succeed.
func (w *world) hearth(t *testing.T, args ...string) {
	t.Helper()
	if _, err := w.Run(context.Background(), t, args...); err != nil {
		t.Fatal(err)
	}
}

// deployNode deploys holders of Node by these names. Settings are lines of hearth.toml.
func (w *world) deployNode(t *testing.T, settings string, names ...string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "index.mjs"), nodeHolder)
	for _, name := range names {
		write(t, filepath.Join(dir, "hearth.toml"), fmt.Sprintf("name = %q\ntimeout = 120\negress = \"none\"\n%s\n", name, settings))
		w.hearth(t, "deploy", dir)
	}
}

// deployStatic deploys the holder that is a static binary.
func (w *world) deployStatic(t *testing.T, settings, name string) {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", filepath.Join(dir, "bootstrap"), "./testdata/holder")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	write(t, filepath.Join(dir, "hearth.toml"), fmt.Sprintf(
		"name = %q\nruntime = \"provided.al2023\"\nhandler = \"bootstrap\"\ntimeout = 120\negress = \"none\"\n%s\n", name, settings))
	w.hearth(t, "deploy", dir)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// answer is what one call came to.
type answer struct {
	status  int
	body    string
	result  result
	refusal refusal // zero where it was not refused
	failed  string  // the error of the function, "" where it had none
}

// result is what a holder answers. Times are Unix milliseconds.
type result struct {
	Instance     string
	Begun, Ended int64
}

// refusal is how the native API explains one.
type refusal struct {
	Limit, Unit, Subject, Raise string
	Value, Use                  int
}

// call is one call to be made.
type call struct {
	function string
	hold     time.Duration
}

// repeat is n calls of a function.
func repeat(n int, function string, hold time.Duration) []call {
	calls := make([]call, n)
	for i := range calls {
		calls[i] = call{function, hold}
	}
	return calls
}

// flood makes all the calls at once and returns when all are answered.
func (w *world) flood(t *testing.T, calls []call) []answer {
	t.Helper()
	answers := make([]answer, len(calls))
	var wg sync.WaitGroup
	for i, c := range calls {
		wg.Go(func() {
			a, err := w.invoke(c)
			if err != nil {
				t.Errorf("call %d of %s: %v", i, c.function, err)
			}
			answers[i] = a
		})
	}
	wg.Wait()
	return answers
}

func (w *world) invoke(c call) (answer, error) {
	body := fmt.Sprintf(`{"Hold":%d}`, c.hold.Milliseconds())
	res, err := w.client.Post(w.URL+"/hearth/v1/functions/"+c.function+"/invoke", "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: res.StatusCode, body: string(raw)}
	var doc struct {
		FunctionError string
		Payload       result
		Error         struct{ Refusal refusal }
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return a, fmt.Errorf("%w in %.300s", err, raw)
	}
	a.result, a.refusal = doc.Payload, doc.Error.Refusal
	if doc.FunctionError != "" {
		return a, fmt.Errorf("function error: %.300s", raw)
	}
	return a, nil
}

// split tells the calls that ran from those that were refused; any other answer
// fails the test.
func split(t *testing.T, answers []answer) (ran []result, refused []refusal) {
	t.Helper()
	for _, a := range answers {
		switch {
		case a.status == http.StatusOK && a.result.Instance != "":
			ran = append(ran, a.result)
		case a.status == http.StatusTooManyRequests && a.refusal.Limit != "":
			refused = append(refused, a.refusal)
		default:
			t.Errorf("answer %d %.400s", a.status, a.body)
		}
	}
	return ran, refused
}

// byInstance groups what ran by the instance that ran it.
func byInstance(ran []result) map[string][]result {
	groups := map[string][]result{}
	for _, r := range ran {
		groups[r.Instance] = append(groups[r.Instance], r)
	}
	return groups
}

// overlap reports whether two invocations of one instance overlapped, by more than
// the millisecond that their clock tells.
func overlap(of []result) bool {
	for i, a := range of {
		for _, b := range of[:i] {
			if a.Begun < b.Ended && b.Begun < a.Ended {
				return true
			}
		}
	}
	return false
}

// all checks that every refusal names the limit, with its value and use.
func all(t *testing.T, refused []refusal, limit, unit string, value, use int) {
	t.Helper()
	for _, r := range refused {
		if r.Limit != limit || r.Unit != unit || r.Value != value || r.Use != use || r.Subject == "" || !strings.Contains(r.Raise, "hearth quota") {
			t.Fatalf("refusal %+v, not by %s with %d of %d %s in use and how to raise it", r, limit, use, value, unit)
		}
	}
}
