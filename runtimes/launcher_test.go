package runtimes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hearth/faas"
	"hearth/pool"
)

// onEach runs the test on every driver.
func onEach(t *testing.T, test func(t *testing.T, b *bench)) {
	for name, open := range benches(t) {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func TestModuleStateLivesInOneInstance(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		for _, v := range []*faas.Version{
			b.version(hostNode(t), "index.handler", js("let n = 0; exports.handler = async () => ++n")),
			b.version("python3.11", "index.handler", py("n = 0\ndef handler(e, c):\n  global n\n  n += 1\n  return n")),
		} {
			one, two := b.start(v).ready(), b.start(v).ready()
			for want := 1; want <= 3; want++ {
				if out, _, err := one.invoke("{}"); err != nil || string(out.Payload) != fmt.Sprint(want) {
					t.Errorf("call %d: %s, %v", want, out.Payload, err)
				}
			}
			if out, _, err := two.invoke("{}"); err != nil || string(out.Payload) != "1" {
				t.Errorf("the other instance: %s, %v", out.Payload, err)
			}
		}
	})
}

func TestErrorsLeaveTheInstanceUsable(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		for _, v := range []*faas.Version{
			b.version(hostNode(t), "index.handler", js("exports.handler = async (e) => { if (e.bad) throw new Error('x'); return 'fine' }")),
			b.version("python3.11", "index.handler", py("def handler(e, c):\n  return e['good'] and 'fine'")),
		} {
			i := b.start(v).ready()
			if out, _, err := i.invoke(`{"bad":1}`); err != nil || out.FunctionError == "" {
				t.Errorf("%+v, %v", out, err)
			}
			if out, _, err := i.invoke(`{"good":1}`); err != nil || string(out.Payload) != `"fine"` {
				t.Errorf("%s, %v", out.Payload, err)
			}
		}
	})
}

// A call that is given up is killed with its instance, and its log still ends.
func TestTimeoutThenKillThenSettle(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		for _, v := range []*faas.Version{
			b.version(hostNode(t), "index.handler", js("exports.handler = () => { console.log('looping'); for (;;); }")),
			b.version("python3.11", "index.handler", py("import signal\ndef handler(e, c):\n  signal.signal(15, signal.SIG_IGN)\n  print('looping')\n  while True: pass")),
		} {
			i := b.start(v).ready()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			_, err := i.Invoke(ctx, &faas.Event{RequestID: "slow", Payload: []byte("{}"), Deadline: time.Now().Add(300 * time.Millisecond)})
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("invoke: %v", err)
			}
			i.kill()
			select {
			case <-i.Done():
			default:
				t.Error("killed, and not done")
			}
			tail := string(i.Settle(&faas.Report{RequestID: "slow", Status: "timeout", Duration: 300 * time.Millisecond}, true))
			for _, want := range []string{"START RequestId: slow", "looping\n", " slow Task timed out after 3.00 seconds\n", "END RequestId: slow\n", "Status: timeout\t"} {
				if !strings.Contains(tail, want) {
					t.Errorf("no %q in:\n%s", want, tail)
				}
			}
		}
	})
}

func TestKillWithGrace(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		i := b.start(b.version(hostNode(t), "index.handler",
			js("process.on('SIGTERM', () => { console.log('told to end'); process.exit(0) }); exports.handler = async () => 1"))).ready()
		if err := i.Kill("shutdown", patience); err != nil {
			t.Error(err)
		}
		if !strings.Contains(i.log.String(), "told to end") {
			t.Errorf("the runtime was not told:\n%s", i.log)
		}
		// One that does not listen lives no longer than its grace, and a Kill without
		// grace cuts that short.
		deaf := b.start(b.version("python3.11", "index.handler", py("import signal\nsignal.signal(15, signal.SIG_IGN)\ndef handler(e, c): pass"))).ready()
		first := make(chan error, 1)
		go func() { first <- deaf.Kill("shutdown", time.Hour) }()
		if err := deaf.Kill("now", 0); err != nil {
			t.Error(err)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
		if _, _, err := deaf.invoke("{}"); err == nil {
			t.Error("a killed runtime took an event")
		}
	})
}

func TestPartsOfAStart(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		i := b.start(b.version("python3.11", "index.handler", py("import time\ntime.sleep(0.05)\ndef handler(e, c): pass"))).ready()
		p := i.Parts()
		// The two meet at the first byte, which a busy machine sees late: only their sum
		// holds the whole of what the module waits.
		if p.Sandbox <= 0 || (p.Runtime <= 0) != (p.Way == faas.WayCell) || p.Code <= 0 || p.Init <= 0 ||
			p.Runtime+p.Init < 50*time.Millisecond || p.Init > patience {
			t.Errorf("parts %+v", p)
		}
		if i.MaxMemory() <= 0 {
			t.Error("no memory use is known")
		}
	})
}

func TestStartRefuses(t *testing.T) {
	b := newBench(t, drivers(t)["none"]())
	ctx := t.Context()
	v := b.version("nodejs24.x", "index.handler", js(""))
	b.launcher.catalogue = &Catalogue{}
	if _, err := b.launcher.Start(ctx, v, "a"); !faas.IsCode(err, faas.CodeRuntime) {
		t.Errorf("missing runtime: %v", err)
	}
	b.launcher.catalogue = sharedCatalogue()
	v = b.version(hostNode(t), "index.handler", js(""))
	v.Config.Isolation = "vm"
	if _, err := b.launcher.Start(ctx, v, "b"); !faas.IsCode(err, faas.CodeUnsupported) {
		t.Errorf("unknown isolation: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	v.Config.Isolation = faas.IsolationNone
	if _, err := b.launcher.Start(canceled, v, "c"); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestOutOfMemory(t *testing.T) {
	open, ok := drivers(t)["process"]
	if !ok {
		t.Skip("only the process driver limits memory, and it needs root on linux")
	}
	b := newBench(t, open())
	for _, v := range []*faas.Version{
		b.version(hostNode(t), "index.handler", js("exports.handler = () => { const a = []; for (;;) a.push(Buffer.alloc(1 << 20, 1)) }")),
		b.version("python3.11", "index.handler", py("def handler(e, c):\n  a = []\n  while True: a.append(b'x' * (1 << 20))")),
	} {
		v.Config.MemoryMB = 128
		i := b.start(v).ready()
		_, tail, err := i.invoke("{}")
		var failure *pool.Failure
		if !errors.As(err, &failure) || failure.Kind != pool.FailedOOM || failure.Outcome.ErrorType != "Runtime.OutOfMemory" {
			t.Errorf("%v\n%s", err, tail)
		}
		i.kill()
	}
}

// Memory that runs out ends every invocation that the instance holds.
func TestOutOfMemoryFailsAll(t *testing.T) {
	open, ok := drivers(t)["process"]
	if !ok {
		t.Skip("only the process driver limits memory, and it needs root on linux")
	}
	b := newBench(t, open())
	for _, v := range []*faas.Version{
		b.version(hostNode(t), "index.handler", js(`exports.handler = async (e) => { if (!e.last) { console.log('here'); return new Promise(() => {}) }
			const a = []; for (;;) a.push(Buffer.alloc(1 << 20, 1)) }`)),
		b.version("python3.11", "index.handler", py("import time\ndef handler(e, c):\n  a = []\n  if not e.get('last'): print('here')\n  while not e.get('last'): time.sleep(1)\n  while True: a.append(b'x' * (1 << 20))")),
	} {
		v.Config.MemoryMB = 128
		i := b.start(b.with(4, v)).ready()
		for _, f := range i.overlap(4, func(k int) string {
			if k < 3 {
				return "{}"
			}
			awaitLog(t, i, "here", 3)
			return `{"last":true}`
		}) {
			var failure *pool.Failure
			if !errors.As(f.err, &failure) || failure.Kind != pool.FailedOOM || failure.Outcome.ErrorType != "Runtime.OutOfMemory" ||
				!strings.Contains(string(failure.Outcome.Payload), "RequestId: "+f.id+" ") {
				t.Errorf("%s %s: %v\n%s", v.Config.Runtime, f.id, f.err, f.tail)
			}
		}
		i.kill()
	}
}

// BenchmarkStart is a direct cold start, from nothing to ready.
func BenchmarkStart(b *testing.B) {
	for name, open := range drivers(b) {
		bench := newBench(b, open())
		for _, v := range []*faas.Version{
			bench.version(hostNode(b), "index.handler", js("exports.handler = async () => 1")),
			bench.version("python3.11", "index.handler", py("def handler(e, c): pass")),
		} {
			v.Config.MemoryMB = 1769
			b.Run(name+"/"+v.Config.Runtime, func(b *testing.B) {
				var sum faas.Timeline
				for b.Loop() {
					i := bench.start(v).ready()
					p := i.Parts()
					sum.Sandbox, sum.Runtime, sum.Init = sum.Sandbox+p.Sandbox, sum.Runtime+p.Runtime, sum.Init+p.Init
					b.StopTimer()
					i.kill()
					b.StartTimer()
				}
				b.ReportMetric(float64(sum.Sandbox.Microseconds())/float64(b.N)/1000, "sandbox-ms")
				b.ReportMetric(float64(sum.Runtime.Microseconds())/float64(b.N)/1000, "runtime-ms")
				b.ReportMetric(float64(sum.Init.Microseconds())/float64(b.N)/1000, "init-ms")
			})
		}
	}
}

// BenchmarkInvoke is a warm invocation through the whole launcher.
func BenchmarkInvoke(b *testing.B) {
	for name, open := range drivers(b) {
		bench := newBench(b, open())
		for _, v := range []*faas.Version{
			bench.version(hostNode(b), "index.handler", js("exports.handler = async () => 1")),
			bench.version("python3.11", "index.handler", py("def handler(e, c): return 1")),
		} {
			b.Run(name+"/"+v.Config.Runtime, func(b *testing.B) {
				i := bench.start(v)
				if err := i.init(); err != nil { // without Ready: the CPU quota is not what is measured
					b.Fatal(err)
				}
				e := &faas.Event{RequestID: "warm", Payload: []byte("{}"), Deadline: time.Now().Add(time.Hour), InvokedARN: "arn:x"}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := i.session().Invoke(b.Context(), e); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkInvokeOverlapping is the throughput of one instance that holds several
// invocations, log lines of the platform included.
func BenchmarkInvokeOverlapping(b *testing.B) {
	for name, open := range drivers(b) {
		bench := newBench(b, open())
		for _, code := range []struct {
			runtime string
			files   map[string]string
		}{
			{hostNode(b), js("exports.handler = async () => 1")},
			{"python3.11", py("def handler(e, c): return 1")},
		} {
			for _, c := range []int{1, 10, 100} {
				b.Run(fmt.Sprintf("%s/%s/%d", name, code.runtime, c), func(b *testing.B) {
					i := bench.start(bench.with(c, bench.version(code.runtime, "index.handler", code.files)))
					if err := i.init(); err != nil { // without Ready: the CPU quota is not what is measured
						b.Fatal(err)
					}
					var calls atomic.Int64
					var callers sync.WaitGroup
					b.ReportAllocs()
					b.ResetTimer()
					for range c {
						callers.Go(func() {
							for n := calls.Add(1); n <= int64(b.N); n = calls.Add(1) {
								e := &faas.Event{RequestID: fmt.Sprint("warm-", n), Payload: []byte("{}"), Deadline: time.Now().Add(time.Hour), InvokedARN: "arn:x"}
								ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
								if _, err := i.Invoke(ctx, e); err != nil {
									b.Error(err)
								}
								cancel()
								i.Settle(&faas.Report{RequestID: e.RequestID, Status: "success"}, false)
							}
						})
					}
					callers.Wait()
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
					b.StopTimer()
					i.kill()
				})
			}
		}
	}
}

// session is the conversation below the runtime's log.
func (i *instance) session() conversation { return i.Runtime.(*process).session }

// Nothing of a start is left in this process after the kill.
func TestStartsLeaveNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		versions := []*faas.Version{
			b.version("python3.11", "index.handler", py("def handler(e, c): return 1")),
			b.version("python3.11", "index.handler", py("raise Exception()")),
			b.version("provided.al2023", "x", map[string]string{"other": ""}),
			b.version("provided.al2023", "x", sh(shellLoop+`  curl -sS -o /dev/null "$api/invocation/$id/response" -d "$event"; done`)),
		}
		cycle := func(v *faas.Version) {
			i := b.start(v)
			if i.init() == nil {
				if _, _, err := i.invoke("{}"); err != nil {
					t.Error(err)
				}
			}
			i.kill()
		}
		for _, v := range versions { // fills caches
			cycle(v)
		}
		var all []*instance
		for range 5 { // fills the driver's pools: as many at once as it keeps the room of
			all = append(all, b.start(versions[0]))
		}
		for _, i := range all {
			i.kill()
		}
		stand := func() { // as many cells wait before as after
			for _, v := range versions {
				b.park(v)
			}
		}
		stand()
		goroutines, files := runtime.NumGoroutine(), openFiles(t)
		for range 5 {
			for _, v := range versions {
				cycle(v)
			}
		}
		stand()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		// What the driver keeps may not have been back in its pools before. A leak is
		// one for each of the 20 starts.
		const stock = 8
		for runtime.NumGoroutine() > goroutines || openFiles(t) > files+stock {
			select {
			case <-time.After(5 * time.Millisecond): // slots are cleaned in the background
			case <-ctx.Done():
				t.Fatalf("goroutines %d → %d, files %d → %d", goroutines, runtime.NumGoroutine(), files, openFiles(t))
			}
		}
	})
}

// openFiles counts this process's descriptors, where the system shows them.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
