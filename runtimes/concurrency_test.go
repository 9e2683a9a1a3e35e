package runtimes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/faas"
	"hearth/pool"
)

// finished is an invocation and what came of it.
type finished struct {
	id   string
	out  faas.Outcome
	tail string
	err  error
}

// failure is the document of an invocation whose runtime failed.
func (f finished) failure() (faas.Outcome, bool) {
	var failure *pool.Failure
	if !errors.As(f.err, &failure) {
		return faas.Outcome{}, false
	}
	return failure.Outcome, true
}

// invokeAs delivers one event and settles it. A call that outlasts the limit is
// given up, as the pool gives it up.
func (i *instance) invokeAs(id, payload string, limit time.Duration) finished {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	deadline, _ := ctx.Deadline()
	out, err := i.Invoke(ctx, &faas.Event{RequestID: id, Payload: []byte(payload), Deadline: deadline,
		InvokedARN: "arn:aws:lambda:eu-central-1:000000000000:function:fn", TraceID: "Root=" + id})
	status := "success"
	if errors.Is(err, context.DeadlineExceeded) {
		status = "timeout"
	} else if err != nil {
		status = "exit"
	}
	tail := i.Settle(&faas.Report{RequestID: id, Start: faas.StartWarm, Status: status, MemoryMB: 256}, true)
	return finished{id: id, out: out, tail: string(tail), err: err}
}

// overlap invokes n times at once; the payload may name the call.
func (i *instance) overlap(n int, payload func(k int) string) []finished {
	all := make([]finished, n)
	var calls sync.WaitGroup
	for k := range n {
		calls.Go(func() { all[k] = i.invokeAs(fmt.Sprintf("call-%03d", k), payload(k), patience) })
	}
	calls.Wait()
	return all
}

// same is a payload for all.
func same(payload string) func(int) string { return func(int) string { return payload } }

// with is a version that holds several invocations.
func (b *bench) with(concurrency int, v *faas.Version) *faas.Version {
	v.Config.InstanceConcurrency = concurrency
	return v
}

// awaitSlots waits until the runtime has shown that it holds so many.
func awaitSlots(t *testing.T, i *instance, want int) {
	t.Helper()
	timeout := time.After(patience)
	for {
		n, more := i.Slots()
		if n >= want {
			return
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("%d slots, want %d", n, want)
		}
	}
}

// nodeMeets answers when so many invocations as the event says are in the process.
const nodeMeets = `const waiting = [];
exports.handler = async (e, c) => {
  await new Promise((r) => { waiting.push(r); if (waiting.length === e.n) waiting.forEach((f) => f()) });
  return [process.pid, c.awsRequestId, c.getRemainingTimeInMillis() > 0, awslambda.InvokeStore.getXRayTraceId(), process.env._X_AMZN_TRACE_ID ?? null,
    process.env.AWS_LAMBDA_MAX_CONCURRENCY];
}`

const pythonMeets = `import os, threading
all = threading.Condition()
n = 0
def handler(e, c):
  global n
  with all:
    n += 1
    all.notify_all()
    all.wait_for(lambda: n >= e['n'], 60)
  return [os.getpid(), c.aws_request_id, c.get_remaining_time_in_millis() > 0, os.environ.get('_X_AMZN_TRACE_ID'), os.environ.get('_X_AMZN_TRACE_ID') and None,
    os.environ['AWS_LAMBDA_MAX_CONCURRENCY']]
`

// Invocations that wait for each other all end: they are in one process at once,
// and each has its own request id, deadline and trace id.
func TestInvocationsOverlap(t *testing.T) {
	nodes, threads := 200, 100
	if os.Getenv("HEARTH_LONG") != "" {
		nodes, threads = 1000, maxThreads
	}
	onEach(t, func(t *testing.T, b *bench) {
		for _, test := range []struct {
			v *faas.Version
			n int
		}{
			{b.version(hostNode(t), "index.handler", js(nodeMeets)), nodes},
			{b.version("python3.11", "index.handler", py(pythonMeets)), threads},
		} {
			test.v.Config.MemoryMB = 128
			i := b.start(b.with(test.n, test.v)).ready()
			if n, more := i.Slots(); n != test.n || more != nil {
				t.Errorf("%s: %d slots, want %d at once", test.v.Config.Runtime, n, test.n)
			}
			var pid any
			for _, f := range i.overlap(test.n, same(fmt.Sprintf(`{"n":%d}`, test.n))) {
				var got []any
				if err := json.Unmarshal(f.out.Payload, &got); err != nil || f.err != nil {
					t.Fatalf("%s %s: %s, %v", test.v.Config.Runtime, f.id, f.out.Payload, f.err)
				}
				if pid == nil {
					pid = got[0]
				}
				want := []any{pid, f.id, true, "Root=" + f.id, nil, fmt.Sprint(test.n)}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s: %v, want %v", test.v.Config.Runtime, got, want)
				}
			}
			t.Logf("%s: %d at once, peak %d MB", test.v.Config.Runtime, test.n, megabytes(i.MaxMemory()))
			i.kill()
		}
	})
}

// The unmodified aws-lambda-go opens as many polls as it is told, in one process.
func TestGoLambdaOverlaps(t *testing.T) {
	binary := buildGoLambda(t)
	onEach(t, func(t *testing.T, b *bench) {
		const n = 16
		i := b.start(b.with(n, b.goLambda(binary))).ready()
		began := time.Now()
		awaitSlots(t, i, n)
		t.Logf("%d slots %v after the first", n, time.Since(began))
		pid := ""
		for _, f := range i.overlap(n, same(fmt.Sprintf(`{"do":"meet","number":%d}`, n))) {
			if pid == "" {
				pid = string(f.out.Payload)
			}
			if f.err != nil || f.out.FunctionError != "" || string(f.out.Payload) != pid {
				t.Errorf("%s: %s, %v; want process %s", f.id, f.out.Payload, f.err, pid)
			}
		}
		if n, more := i.Slots(); n != 16 || more != nil {
			t.Errorf("%d slots after the calls", n)
		}
	})
}

// A custom runtime that polls in one loop holds one invocation, whatever its
// configuration allows.
func TestOneLoopHasOneSlot(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		v := b.version("provided.al2023", "x", sh(shellLoop+`  curl -sS -o /dev/null "$api/invocation/$id/response" -d "$event"; done`))
		i := b.start(b.with(10, v)).ready()
		for k := range 3 {
			if n, more := i.Slots(); n != 1 || more == nil {
				t.Errorf("%d slots before call %d, want 1 and perhaps more", n, k)
			}
			if out, _, err := i.invoke(`1`); err != nil || string(out.Payload) != "1" {
				t.Errorf("%s, %v", out.Payload, err)
			}
		}
		if n, _ := i.Slots(); n != 1 {
			t.Errorf("%d slots after three calls, want 1", n)
		}
	})
}

func TestThreadsAreBounded(t *testing.T) {
	for runtime, want := range map[string]string{"python3.11": "900", "nodejs22.x": "1000", "provided.al2023": "1000"} {
		s := testSetting(runtime, nil)
		s.version.Config.InstanceConcurrency = 1000
		if got := s.environment()["AWS_LAMBDA_MAX_CONCURRENCY"]; got != want {
			t.Errorf("%s: %s at once, want %s", runtime, got, want)
		}
	}
}

// nodeHolds and pythonHolds keep an invocation until another one releases it.
const nodeHolds = `const held = [];
exports.handler = async (e) => {
  console.log('doing ' + e.do);
  if (e.do === 'hold') await new Promise((r) => held.push(r)); else held.splice(0).forEach((r) => r());
  return 'done';
}`

const pythonHolds = `import threading
gate = threading.Event()
def handler(e, c):
  print('doing ' + e['do'])
  if e['do'] == 'hold': gate.wait()
  else: gate.set()
  return 'done'
`

// Of several invocations only the one that is too late fails. Its answer, when it
// comes, is dropped, and the runtime goes on.
func TestTimeoutOfOne(t *testing.T) {
	binary := buildGoLambda(t)
	onEach(t, func(t *testing.T, b *bench) {
		versions := []*faas.Version{
			b.version(hostNode(t), "index.handler", js(nodeHolds)),
			b.version("python3.11", "index.handler", py(pythonHolds)),
			b.goLambda(binary),
		}
		for _, v := range versions {
			i := b.start(b.with(4, v)).ready()
			awaitSlots(t, i, 4)
			held := make(chan finished, 1)
			go func() { held <- i.invokeAs("held", `{"do":"hold"}`, patience) }()
			awaitLog(t, i, "doing hold", 1)
			late := i.invokeAs("late", `{"do":"hold"}`, 80*time.Millisecond)
			if !errors.Is(late.err, context.DeadlineExceeded) || !strings.Contains(late.tail, "late Task timed out") {
				t.Errorf("late: %v\n%s", late.err, late.tail)
			}
			release := i.invokeAs("release", `{"do":"release"}`, patience) // now the late answer comes
			for _, f := range []finished{release, <-held, i.invokeAs("after", `{"do":"release"}`, patience)} {
				if f.err != nil || f.out.FunctionError != "" {
					t.Errorf("%s %s: %s, %v", v.Config.Runtime, f.id, f.out.Payload, f.err)
				}
			}
			select {
			case <-i.Done():
				t.Errorf("%s ended", v.Config.Runtime)
			default:
			}
			i.kill()
		}
	})
}

// What ends the process ends every invocation that it holds, each with a document
// of its own. Where it is an exception that nobody caught, the answer of the
// invocation whose code it was says so.
func TestEndOfTheProcessFailsAll(t *testing.T) {
	type program struct {
		runtime string
		files   map[string]string
	}
	node := func(do string) program {
		return program{hostNode(t), js("exports.handler = async (e) => { if (!e.last) { console.log('here'); return new Promise(() => {}) }; " + do + "; return new Promise(() => {}) }")}
	}
	python := func(do string) program {
		return program{"python3.11", py("import time, sys, os\ndef handler(e, c):\n  if not e.get('last'): print('here') or time.sleep(600)\n  " + do + "\n  time.sleep(600)")}
	}
	for name, test := range map[string]struct {
		program program
		culprit string // in the answer of the invocation that ended it all
		others  string // in the answers of the others
		log     string // in the culprit's log
	}{
		"node exit":          {node("process.exit(3)"), "exit status 3", "exit status 3", ""},
		"node exception":     {node("setTimeout(() => { throw new TypeError('later') }, 1)"), `"errorMessage":"later"`, "exit status 129", "Uncaught Exception"},
		"node rejection":     {node("Promise.reject(new Error('lost'))"), "Runtime.UnhandledPromiseRejection", "exit status 128", "Unhandled Promise Rejection"},
		"node microtask":     {node("queueMicrotask(() => { throw new TypeError('whose') })"), `"errorMessage":"whose"`, `"errorMessage":"whose"`, ""},
		"node kill":          {node("process.kill(process.pid, 'SIGKILL')"), "signal: killed", "signal: killed", ""},
		"python sys.exit":    {python("sys.exit(4)"), "exit status 4", "exit status 4", ""},
		"python exit text":   {python("sys.exit('so long')"), "exit status 1", "exit status 1", "so long"},
		"python base":        {python("raise KeyboardInterrupt()"), "exit status 1", "exit status 1", "KeyboardInterrupt"},
		"python os._exit":    {python("os._exit(5)"), "exit status 5", "exit status 5", ""},
		"python exit 0":      {python("sys.exit()"), "without providing a reason", "without providing a reason", ""},
		"python child exits": {python("os.fork() or os._exit(0); os.wait(); os._exit(6)"), "exit status 6", "exit status 6", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, drivers(t)["none"]())
			i := b.start(b.with(5, b.version(test.program.runtime, "index.handler", test.program.files))).ready()
			all := i.overlap(5, func(k int) string {
				if k < 4 {
					return "{}"
				}
				awaitLog(t, i, "here", 4)
				return `{"last":true}`
			})
			for k, f := range all {
				out, failed := f.failure()
				want := test.others
				if k == 4 {
					want = test.culprit
				}
				if !failed || !strings.Contains(string(out.Payload), want) {
					t.Errorf("%s: %s, %v; want %q", f.id, out.Payload, f.err, want)
				}
				if strings.Contains(want, "exit status") && !strings.Contains(string(out.Payload), "RequestId: "+f.id+" ") {
					t.Errorf("%s: the document is of another: %s", f.id, out.Payload)
				}
			}
			if !strings.Contains(i.log.String(), test.log) {
				t.Errorf("no %q in:\n%s", test.log, i.log)
			}
		})
	}
}

// awaitLog waits until the word is so many times in the log.
func awaitLog(t *testing.T, i *instance, word string, n int) {
	t.Helper()
	tick, timeout := time.NewTicker(time.Millisecond), time.After(patience)
	defer tick.Stop()
	for strings.Count(i.log.String(), word) < n {
		select {
		case <-tick.C:
		case <-timeout:
			t.Errorf("%q is not %d times in:\n%s", word, n, i.log)
			return
		}
	}
}

// With several invocations a callback answers at once: others keep the event loop
// busy, and nobody waits for them.
func TestCallbackDoesNotWaitForOthers(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		i := b.start(b.with(10, b.version(hostNode(t), "index.handler", js(`exports.handler = (e, c, cb) => {
			c.callbackWaitsForEmptyEventLoop = true;
			setTimeout(() => {}, 60000); cb(null, c.callbackWaitsForEmptyEventLoop) }`)))).ready()
		for _, f := range i.overlap(10, same("{}")) {
			if f.err != nil || string(f.out.Payload) != "false" {
				t.Errorf("%s: %s, %v", f.id, f.out.Payload, f.err)
			}
		}
	})
}

// Threads are used again, and nothing of one invocation is found by the next.
func TestPythonThreadsAreReusedClean(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		i := b.start(b.with(50, b.version("python3.11", "index.handler", py(`import contextvars, threading
mine = contextvars.ContextVar('mine', default='nobody')
mine.set('init')
def handler(e, c):
  before = mine.get()
  mine.set(c.aws_request_id)
  if e.get('bad'): raise ValueError('no')
  return [before, threading.active_count()]
`)))).ready()
		for k := range 20 {
			f := i.invokeAs(fmt.Sprint("one-", k), "{}", patience)
			var before string
			var threads int
			err := errors.Join(f.err, json.Unmarshal(f.out.Payload, &[]any{&before, &threads}))
			// The next event may come before the thread that answered is free again.
			if err != nil || before != "init" || threads > 5 {
				t.Errorf("%s: %s, %v; want what init set, and few threads", f.id, f.out.Payload, err)
			}
		}
		f := i.invokeAs("bad", `{"bad":1}`, patience)
		if want := `"requestId": "bad", "stackTrace": ["  File \"`; f.out.ErrorType != "ValueError" || !strings.Contains(string(f.out.Payload), want) ||
			strings.Contains(string(f.out.Payload), "hearth_") {
			t.Errorf("%s; want a stack of user code only", f.out.Payload)
		}
	})
}
