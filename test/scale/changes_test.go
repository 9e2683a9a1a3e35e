package scale

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hearth/test/e2e"
)

// lambda sends a request of the Lambda API, which has to succeed.
func (w *world) lambda(t *testing.T, method, path, body string) {
	t.Helper()
	req, err := http.NewRequest(method, w.URL+"/2015-03-31/functions/"+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	res, err := w.client.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer res.Body.Close()
	if answer, _ := io.ReadAll(res.Body); res.StatusCode >= 300 {
		t.Errorf("%s %s: %s %s", method, path, res.Status, answer)
	}
}

// deploySource deploys a function with code of its own.
func (w *world) deploySource(t *testing.T, name, source, settings string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "index.mjs"), source)
	write(t, filepath.Join(dir, "hearth.toml"), fmt.Sprintf("name = %q\negress = \"none\"\ninit_timeout = 60\n%s\n", name, settings))
	if _, err := w.Run(context.Background(), t, "deploy", dir); err != nil {
		t.Error(err)
	}
}

// quota runs a command that changes quotas and has to succeed.
func (a *attack) quota(args ...string) {
	if _, err := a.Run(context.Background(), a.t, append([]string{"quota"}, args...)...); err != nil {
		a.t.Error(err)
	}
}

// TestChangesUnderFlood lowers, raises and ends quotas, deploys, publishes and moves
// an alias while calls press on: each is answered by the function or refused by
// name, and in the end nothing is in use.
func TestChangesUnderFlood(t *testing.T) {
	w := start(t)
	w.deployNode(t, "", "changing")
	w.lambda(t, "POST", "changing/versions", "{}")
	w.lambda(t, "POST", "changing/aliases", `{"Name":"live","FunctionVersion":"1"}`)
	a := w.attack(t, lasting())
	a.callers(30, "changing", 50*time.Millisecond, 0.3)
	a.callers(10, "changing:live", 50*time.Millisecond, 0.3)
	steps := []func(){
		func() { a.quota("maximum", "changing", "3") },
		func() { a.quota("reserve", "changing", "4") },
		func() { a.quota("reserve", "changing", "0") },
		func() { a.quota("reserve", "changing", "1280MB") },
		func() { a.quota("unreserve", "changing") },
		func() { a.quota("maximum", "changing", "30") },
		func() { a.quota("account", "--memory", "12800", "--executions", "100") },
		func() { a.quota("account", "--memory", "128000", "--executions", "1000") },
	}
	versions := 1
	a.again(200*time.Millisecond, func(round int) {
		steps[round%len(steps)]()
		if round%4 == 0 {
			w.deploySource(t, "changing", nodeHolder+fmt.Sprintf("// %d\n", round), "timeout = 120")
			w.lambda(t, "POST", "changing/versions", "{}")
			versions++
			w.lambda(t, "PUT", "changing/aliases/live", fmt.Sprintf(`{"FunctionVersion":"%d"}`, versions))
		}
	})
	a.wg.Wait()
	w.hearth(t, "quota", "unreserve", "changing")
	w.settled(t)
	if len(a.failed) > 0 || len(a.other) > 0 {
		t.Errorf("function errors %v, others %v", a.failed, a.other)
	}
	apart(t, byInstance(append(a.ran["changing"], a.ran["changing:live"]...)))
	// What was refused for good would be here still.
	if got := a.post(context.Background(), "changing:live", `{"Hold":1}`); got == nil || got.result.Instance == "" {
		t.Errorf("afterwards: %+v", got)
	}
	t.Logf("%d changes; %d and %d calls ran, refused %v", versions, len(a.ran["changing"]), len(a.ran["changing:live"]), a.refused)
}

// TestProvisionedUnderFlood kills provisioned instances while they serve, and moves
// their alias to a version whose init crashes and back.
func TestProvisionedUnderFlood(t *testing.T) {
	const kept = 3
	w := start(t)
	w.deployNode(t, "", "kept")
	w.lambda(t, "POST", "kept/versions", "{}")
	w.lambda(t, "POST", "kept/aliases", `{"Name":"live","FunctionVersion":"1"}`)
	w.hearth(t, "quota", "provision", "kept", "live", fmt.Sprint(kept), "--wait")
	a := w.attack(t, lasting())
	a.callers(2*kept, "kept:live", 30*time.Millisecond, 0.2)
	a.again(400*time.Millisecond, func(int) { a.killOne() })
	a.wg.Wait()
	if len(a.ran["kept:live"]) == 0 || len(a.other) > 0 {
		t.Errorf("%d calls ran; others %v", len(a.ran["kept:live"]), a.other)
	}
	w.deploySource(t, "kept", "process.exit(3);\n", "timeout = 120")
	w.lambda(t, "POST", "kept/versions", "{}")
	w.lambda(t, "PUT", "kept/aliases/live", `{"FunctionVersion":"2"}`)
	if got := a.post(context.Background(), "kept:live", `{"Hold":1}`); got == nil || got.failed == "" {
		t.Errorf("a version whose init crashes: %+v", got)
	}
	w.lambda(t, "PUT", "kept/aliases/live", `{"FunctionVersion":"1"}`)
	w.hearth(t, "quota", "provision", "kept", "live", fmt.Sprint(kept), "--wait")
	if n := w.maxima(t, "kept", func(l load) levels { return l.Provisioned }); n != kept {
		t.Errorf("at most %d were provisioned, %d are configured", n, kept)
	}
	w.hearth(t, "quota", "unprovision", "kept", "live")
	w.settled(t)
	t.Logf("%d calls ran, failed %v, refused %v", len(a.ran["kept:live"]), a.failed, a.refused)
}

// killOne kills the process of some instance.
func (a *attack) killOne() {
	var nodes []e2e.Process
	for _, p := range a.Processes() {
		if strings.Contains(p.Name, "node") {
			nodes = append(nodes, p)
		}
	}
	if len(nodes) == 0 {
		return // they are being replaced
	}
	victim := nodes[a.random.upTo(time.Duration(len(nodes)))]
	_ = syscall.Kill(victim.PID, syscall.SIGKILL) // it may have ended meanwhile
}

// nodeEnder ends its instance in the way that the event says.
const nodeEnder = nodeHolder + `
const hoard = [];
const holder = handler;
export const ender = async (event) => {
  switch (event.End) {
    case "exit": process.exit(1);
    case "timeout": await new Promise(() => setInterval(() => {}, 1000));
    case "memory": for (;;) hoard.push(Buffer.alloc(8 << 20, 1));
    case "throw": throw new Error("no");
  }
  return holder(event);
};
`

// TestEndsOfSharedInstances has invocations end the instances that they share with
// many others in every way: each call is answered, and nothing stays in use.
func TestEndsOfSharedInstances(t *testing.T) {
	w := start(t)
	w.deploySource(t, "shared", nodeEnder, "handler = \"index.ender\"\ntimeout = 2\ninstance_concurrency = 200")
	a := w.attack(t, lasting())
	a.callers(60, "shared", 100*time.Millisecond, 0.1)
	ends := []string{"exit", "timeout", "memory", "throw"}
	a.again(500*time.Millisecond, func(round int) {
		began := time.Now()
		got := a.post(context.Background(), "shared", fmt.Sprintf(`{"End":%q}`, ends[round%len(ends)]))
		if got == nil || got.failed == "" && got.refusal.Limit == "" {
			t.Errorf("%s: %+v", ends[round%len(ends)], got)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("%s was answered after %v", ends[round%len(ends)], took)
		}
	})
	a.wg.Wait()
	w.settled(t)
	if len(a.ran["shared"]) == 0 || len(a.other) > 0 {
		t.Errorf("%d calls ran; others %v", len(a.ran["shared"]), a.other)
	}
	t.Logf("%d calls ran, failed %v, refused %v", len(a.ran["shared"]), a.failed, a.refused)
}
