package runtimes

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/faas"
	"hearth/pool"
	processdriver "hearth/sandbox/process"
)

// recorder is a Starter that remembers what it started.
type recorder struct {
	pool.Starter
	mu      sync.Mutex
	started []*process
}

func (r *recorder) Start(ctx context.Context, v *faas.Version, instance string) (pool.Runtime, error) {
	runtime, err := r.Starter.Start(ctx, v, instance)
	if p, ok := runtime.(*process); ok {
		r.mu.Lock()
		r.started = append(r.started, p)
		r.mu.Unlock()
	}
	return runtime, err
}

// rest is a pool over real sandboxes, for tests of what they do while nobody calls.
type rest struct {
	*bench
	*recorder
	pools *pool.Pools
	name  string // of its control groups
}

func newRest(t *testing.T, freezeAfter time.Duration, sandboxes int) *rest {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	id := fmt.Sprintf("fz%d-%d", os.Getpid(), isolatedCount.Add(1))
	d, err := processdriver.New(processdriver.Options{StateDir: t.TempDir(), DataID: id, MaxSandboxes: sandboxes, DeathLimit: patience})
	if err != nil {
		t.Fatal(err)
	}
	r := &rest{bench: newBench(t, d), name: id}
	r.recorder = &recorder{Starter: r.launcher}
	r.pools = pool.New(pool.Options{Starter: r.recorder, FreezeAfter: freezeAfter})
	t.Cleanup(func() { // before the driver is closed
		if err := r.pools.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// call runs one invocation and returns what came back, and whether its instance was
// thawed for it.
func (r *rest) call(v *faas.Version) (n int64, thawed bool) {
	r.t.Helper()
	h, err := r.pools.Acquire(r.t.Context(), v)
	if err != nil {
		r.t.Fatal(err)
	}
	defer h.Release()
	event := &faas.Event{RequestID: "r", Payload: []byte("{}"), InvokedARN: "arn"}
	out, err := h.Deliver(event)
	if err != nil || out.FunctionError != "" {
		r.t.Fatalf("%v %s", err, out.Payload)
	}
	h.Settle(&faas.Report{RequestID: "r", Start: faas.StartWarm, Status: "success"}, false)
	if err := json.Unmarshal(out.Payload, &n); err != nil {
		r.t.Fatalf("%v: %s", err, out.Payload)
	}
	return n, h.Timeline().Thaw > 0
}

// frozen waits until the kernel says that so many groups are frozen. Where it is the
// version 1 freezer the pool has waited for it already.
func (r *rest) frozen(v *faas.Version, want int) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		counted := r.pools.Function(v.ID.Function).Frozen
		groups, _ := filepath.Glob("/sys/fs/cgroup/*/hearth-" + r.name + "/*/run/cgroup.events")
		more, _ := filepath.Glob("/sys/fs/cgroup/hearth-" + r.name + "/*/run/cgroup.events")
		groups = append(groups, more...)
		said := 0
		for _, path := range groups {
			events, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(events), "frozen 1") {
				said++
			}
		}
		if counted == want && (said == want || len(groups) == 0) {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%d of %d instances are counted as frozen, %d are", counted, want, said)
		}
		pass(time.Millisecond)
	}
}

// pass lets real time pass: what the kernel does to a process has no fake clock. It
// is never waited for something that way, only for nothing to happen.
func pass(d time.Duration) { <-time.After(d) }

// used is the CPU time that the sandboxes have used so far.
func (r *rest) used() (sum time.Duration) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.started {
		u, err := p.box.Usage()
		if err != nil {
			r.t.Fatal(err)
		}
		sum += u.CPU
	}
	return sum
}

// Each works in the background for as long as it can, and answers how much of that
// was done once there was more of it.
const (
	restlessNode = `let n = 0; setInterval(() => { n++; }, 1);
exports.handler = async () => { const before = n; while (n === before) await new Promise((r) => setTimeout(r, 1)); return n; };`
	restlessPython = `import threading, time
n = 0
def work():
  global n
  while True: n += 1
threading.Thread(target=work, daemon=True).start()
def handler(e, c):
  before = n
  while n == before: time.sleep(0.001)
  return n`
	restlessShell = `#!/bin/bash
echo 0 >/tmp/n
{ n=0; while :; do n=$((n+1)); echo $n >/tmp/m; mv /tmp/m /tmp/n; done; } &
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
while true; do
  headers=$(mktemp)
  curl -sS -o /dev/null -D "$headers" "$api/invocation/next" || exit 1
  id=$(grep -i '^lambda-runtime-aws-request-id' "$headers" | tr -d '\r' | cut -d' ' -f2)
  before=$(cat /tmp/n); while [ "$(cat /tmp/n)" = "$before" ]; do :; done
  curl -sS -o /dev/null "$api/invocation/$id/response" -d "$(cat /tmp/n)"
done`
)

// TestNothingRunsWhileFrozen: no timer, thread or process of a function gets any CPU
// time between two calls, and all go on with the next one.
func TestNothingRunsWhileFrozen(t *testing.T) {
	for _, f := range []struct{ name, runtime, file, source string }{
		{"node timer", hostNode(t), "index.js", restlessNode},
		{"python thread", "python3.11", "index.py", restlessPython},
		{"shell process", "provided.al2023", "bootstrap", restlessShell},
	} {
		t.Run(f.name, func(t *testing.T) {
			r := newRest(t, 10*time.Millisecond, 2)
			v := r.version(f.runtime, "index.handler", map[string]string{f.file: f.source})
			v.Config.MemoryMB = 1769
			last, _ := r.call(v)
			for range 3 {
				r.frozen(v, 1)
				before := r.used()
				pass(100 * time.Millisecond) // in which it would work, if it could
				if after := r.used(); after != before {
					t.Errorf("it used %v of CPU time while it was frozen", after-before)
				}
				n, thawed := r.call(v)
				if !thawed || n <= last {
					t.Errorf("thawed %v; it had done %d, and %d by the next call", thawed, last, n)
				}
				last = n
			}
			r.frozen(v, 1)
		})
	}
}

// TestIdleInstancesUseNoCPU: twenty instances that would work all the time use no CPU
// time in a second.
func TestIdleInstancesUseNoCPU(t *testing.T) {
	const instances = 20
	r := newRest(t, 10*time.Millisecond, instances)
	v := r.version("python3.11", "index.handler", map[string]string{"index.py": `import threading, time
def work():
  while True: time.sleep(0.001)
threading.Thread(target=work, daemon=True).start()
def handler(e, c): pass`})
	var holds []*pool.Hold
	for range instances {
		h, err := r.pools.Acquire(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		holds = append(holds, h)
	}
	for _, h := range holds {
		h.Release()
	}
	r.frozen(v, instances)
	before := r.used()
	pass(time.Second)
	if used := r.used() - before; used != 0 {
		t.Errorf("%d frozen instances used %v", instances, used)
	}
}

// TestWakeUpRacesInRealSandboxes calls instances at intervals around the linger: every
// call is answered, whatever the freezer does at that moment.
func TestWakeUpRacesInRealSandboxes(t *testing.T) {
	const linger, callers, calls = time.Millisecond, 3, 400
	r := newRest(t, linger, 8)
	v := r.version("python3.11", "index.handler", map[string]string{"index.py": "def handler(e, c): return 1"})
	v.Config.MemoryMB = 1769
	var all sync.WaitGroup
	var mu sync.Mutex
	thaws := 0
	for caller := range callers {
		all.Go(func() {
			for i := range calls {
				pass(linger + time.Duration((i*7+caller)%21-10)*20*time.Microsecond)
				if _, thawed := r.call(v); thawed {
					mu.Lock()
					thaws++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	if n := len(r.started); n > callers {
		t.Errorf("%d starts for %d callers: an instance was lost", n, callers)
	}
	t.Logf("%d of %d calls thawed an instance", thaws, callers*calls)
}
