package runtimes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hearth/faas"
	"hearth/pool"
)

// web is the package of a Node.js server. It listens where Hearth says, after
// what goes before.
func web(before, handler string) map[string]string {
	return map[string]string{"bin/server": "#!/usr/bin/env node\nconst http = require('http');\n" + before + `
const server = http.createServer(async (req, res) => {
  const parts = []; for await (const part of req) parts.push(part);
  const body = Buffer.concat(parts).toString(); const id = req.headers['lambda-runtime-aws-request-id'];
` + handler + `
});
server.listen(+process.env.PORT, '127.0.0.1');
`}
}

func (b *bench) web(before, handler string) *faas.Version {
	v := b.version(faas.RuntimeHTTP, "bin/server", web(before, handler))
	v.Config.MemoryMB = 512
	return v
}

const proxied = `{"version":"2.0","rawPath":"/a%20b","rawQueryString":"q=1","headers":{"x-mine":"yes"},"requestContext":{"http":{"method":"PUT"}},"body":"hi"}`

var httpRows = []row{
	{name: "result", files: web("", `console.log('serving'); res.end(JSON.stringify([req.method, req.url, req.headers.host, id, JSON.parse(body)]))`),
		event: `{"a":1}`, want: `["POST","/","localhost","request-1",{"a":1}]`, log: "serving\n"},
	{name: "text", files: web("", `res.end('hello')`), want: `"hello"`},
	{name: "request and response", event: proxied,
		files: web("", `res.setHeader('set-cookie', ['a=1', 'b=2']); res.removeHeader('date'); res.sendDate = false; res.statusCode = 418; res.end([req.method, req.url, req.headers['x-mine'], body].join())`),
		want:  `{"statusCode":418,"headers":{},"cookies":["a=1","b=2"],"body":"PUT,/a%20b?q=1,yes,hi","isBase64Encoded":false}`},
	{name: "error status", files: web("", `res.statusCode = 500; res.end('it broke')`), error: "HTTP.500", want: `{"errorMessage":"it broke","errorType":"HTTP.500"}`},
	{name: "environment", files: web("", `res.end(JSON.stringify([process.env._HANDLER, process.cwd() === process.env.LAMBDA_TASK_ROOT,
		process.env.AWS_LAMBDA_RUNTIME_API ?? null, Number(process.env.PORT) > 0]))`), want: `["bin/server",true,null,true]`},
	{name: "exits", files: web("", `console.log('bye'); process.exit(4)`), exit: true, error: "Runtime.ExitError", want: "exit status 4", log: "bye\n"},
	{name: "killed", files: web("", `process.kill(process.pid, 'SIGKILL')`), exit: true, error: "Runtime.ExitError", want: "signal: killed"},
	{name: "uncaught", files: web("", `throw new Error('nobody caught this')`), exit: true, error: "Runtime.ExitError", want: "exit status 1", log: "nobody caught this"},
	{name: "answers and exits", files: web("", `res.end('"last"', () => process.exit(0))`), want: `"last"`},
	{name: "closes without an answer", files: web("", `req.socket.destroy()`), error: "HTTP.InvalidResponse", want: "could not be read"},
	{name: "closes in the middle", files: web("", `res.writeHead(200, {'content-length': 10}); res.write('1'); setTimeout(() => req.socket.destroy(), 20)`),
		error: "HTTP.InvalidResponse", want: "could not be read"},
	{name: "no HTTP", files: web("", `req.socket.end('hello\r\n\r\n')`), error: "HTTP.InvalidResponse", want: "malformed HTTP"},
	{name: "upgrade", files: web("", `req.socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n')`),
		error: "HTTP.InvalidResponse", want: "another protocol"},
	{name: "headers without end", files: web("", `req.socket.write('HTTP/1.1 200 OK\r\n'); const more = () => req.socket.write('a: b\r\n'.repeat(1000), (err) => err || more()); more()`),
		error: "HTTP.InvalidResponse", want: "longer than 65536 bytes"},
	{name: "body without end", files: web("", `req.socket.on('error', () => 0); res.writeHead(200); const part = Buffer.alloc(65536, 'x'); const more = () => res.write(part, (err) => err || more()); more()`),
		error: "Function.ResponseSizeTooLarge", want: "exceeded maximum allowed payload size"},
	{name: "too large", files: web("", `res.end('"' + 'x'.repeat(7000000) + '"')`), error: "Function.ResponseSizeTooLarge", want: "(7000002 bytes) exceeded maximum"},
	{name: "slow start", files: web("for (const end = Date.now() + 700; Date.now() < end;);", `res.end('1')`), want: `1`},
}

func TestHTTP(t *testing.T) {
	for driver, open := range benches(t) {
		b := open(t)
		for _, r := range httpRows {
			for _, concurrency := range []int{1, 10} {
				t.Run(fmt.Sprint(driver, "/", r.name, "/", concurrency), func(t *testing.T) {
					v := b.with(concurrency, b.version(faas.RuntimeHTTP, "bin/server", r.files))
					i := b.start(v)
					defer i.kill()
					i.ready()
					began := time.Now()
					checkRow(t, i, r)
					if took := time.Since(began); took >= patience {
						t.Errorf("it took %v: only the deadline ended it", took)
					}
				})
			}
		}
	}
}

var httpInitRows = []row{
	{name: "no executable", files: map[string]string{"other": "x"}, error: "Runtime.InvalidEntrypoint", want: "Couldn't find the executable of the handler: /var/task/bin/server", exit: true},
	{name: "not executable", files: map[string]string{"bin/server": "x"}, error: "Runtime.InvalidEntrypoint", want: "fork/exec /var/task/bin/server: permission denied", exit: true},
	{name: "no interpreter", files: map[string]string{"bin/server": "#!/no/such/shell\n"}, error: "Runtime.InvalidEntrypoint", want: "no such file", exit: true},
	{name: "outside", handler: "../../../bin/sh", files: map[string]string{"x": ""}, error: "Runtime.InvalidEntrypoint", want: "no path in the package", exit: true},
	{name: "exits", files: map[string]string{"bin/server": "#!/bin/sh\necho too bad; exit 7\n"}, error: "Runtime.ExitError", want: "exit status 7", exit: true, log: "too bad\n"},
}

func TestHTTPInit(t *testing.T) {
	for k := range httpInitRows {
		httpInitRows[k].handler = or(httpInitRows[k].handler, "bin/server")
	}
	runInitRows(t, faas.RuntimeHTTP, httpInitRows)
}

// A server that never listens is not ready when its limit ends; its log says why.
func TestHTTPNeverListens(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		v := b.version(faas.RuntimeHTTP, "server", map[string]string{"server": "#!/bin/sh\nexec sleep 1000\n"})
		v.Config.Environment = map[string]string{"PORT": "9000"}
		i := b.start(v)
		limit := errors.New("the limit of init")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, limit)
		defer cancel()
		if err := i.Init(ctx); err != limit {
			t.Errorf("init: %v", err)
		}
		if !strings.Contains(i.log.String(), "Nothing accepts connections at 127.0.0.1:") {
			t.Errorf("the log does not say why:\n%s", i.log)
		}
		i.kill()
	})
}

// Calls that wait for each other all end: the server has all of them at once.
func TestHTTPOverlaps(t *testing.T) {
	const calls = 200
	onEach(t, func(t *testing.T, b *bench) {
		i := b.start(b.with(calls, b.web("const waiting = []", `await new Promise((r) => { waiting.push(r); if (waiting.length % 200 === 0) waiting.splice(0).forEach((f) => f()) });
			res.end(JSON.stringify([process.pid, id, Number(req.headers['lambda-runtime-deadline-ms']) > Date.now(),
				req.headers['lambda-runtime-trace-id'], process.env.AWS_LAMBDA_MAX_CONCURRENCY]))`))).ready()
		if n, more := i.Slots(); n != calls || more != nil {
			t.Errorf("%d slots, %v; want %d", n, more, calls)
		}
		pids := map[int]bool{}
		for range 2 { // again, over the connections that are open
			for _, f := range i.overlap(calls, same("{}")) {
				var got struct{ pid int }
				var id, trace, concurrency string
				var deadline bool
				err := errors.Join(f.err, json.Unmarshal(f.out.Payload, &[]any{&got.pid, &id, &deadline, &trace, &concurrency}))
				if err != nil || id != f.id || !deadline || trace != "Root="+f.id || concurrency != "200" {
					t.Errorf("%s: %s, %v", f.id, f.out.Payload, err)
				}
				pids[got.pid] = true
			}
		}
		if len(pids) != 1 {
			t.Errorf("%d processes", len(pids))
		}
	})
}

// One that times out, and one that the server drops, do not touch the others.
func TestHTTPFailuresAreOfOneInvocation(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		i := b.start(b.with(3, b.web("const waiting = []", `if (body === '0') return;
			if (body === '1') return req.socket.destroy();
			setTimeout(() => res.end('"fine"'), 600)`))).ready()
		slow := make(chan finished, 1)
		go func() { slow <- i.invokeAs("slow", "0", 300*time.Millisecond) }()
		fine := make(chan finished, 1)
		go func() { fine <- i.invokeAs("fine", "2", patience) }()
		if f := i.invokeAs("dropped", "1", patience); f.err != nil || f.out.ErrorType != "HTTP.InvalidResponse" {
			t.Errorf("dropped: %s, %v", f.out.Payload, f.err)
		}
		if f := <-slow; !errors.Is(f.err, context.DeadlineExceeded) || !strings.Contains(f.tail, "Task timed out") {
			t.Errorf("slow: %v\n%s", f.err, f.tail)
		}
		if f := <-fine; f.err != nil || string(f.out.Payload) != `"fine"` {
			t.Errorf("fine: %s, %v", f.out.Payload, f.err)
		}
	})
}

// The end of the process is the end of all that it holds, and named.
func TestHTTPExitFailsAll(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		i := b.start(b.with(5, b.web("", `if (body === '4') process.exit(3); console.log('here')`))).ready()
		for _, f := range i.overlap(5, func(k int) string {
			if k == 4 {
				awaitLog(t, i, "here", 4)
			}
			return fmt.Sprint(k)
		}) {
			out, failed := f.failure()
			if !failed || !strings.Contains(string(out.Payload), "RequestId: "+f.id+" Error: Runtime exited with error: exit status 3") {
				t.Errorf("%s: %s, %v", f.id, out.Payload, f.err)
			}
		}
	})
}

// A sandbox has a port for itself: a server may listen where it always does.
func TestHTTPFixedPort(t *testing.T) {
	open, ok := drivers(t)["process"]
	if !ok {
		t.Skip("only the process driver has a network for each instance, and it needs root on linux")
	}
	b := newBench(t, open())
	v := b.version(faas.RuntimeHTTP, "scf_bootstrap", map[string]string{
		"scf_bootstrap": "#!/bin/sh\nexport PATH\nexec node app.js\n",
		"app.js":        "let n = 0; require('http').createServer((q, s) => s.end(`${process.env.PORT} ${++n}`)).listen(9000, '0.0.0.0')"})
	v.Config.Environment = map[string]string{"PORT": "9000"}
	one, two := b.start(v).ready(), b.start(v).ready()
	for _, i := range []*instance{one, two} {
		if out, _, err := i.invoke("{}"); err != nil || string(out.Payload) != `"9000 1"` {
			t.Errorf("%s, %v", out.Payload, err)
		}
	}
	v.Config.Environment = nil
	v.Config.InitTimeoutSeconds = 1
	i := b.start(v)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := i.Init(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another port than the one asked for: %v", err)
	}
}

// An instance that was frozen answers, over a new connection where the old one
// is too old.
func TestHTTPFreeze(t *testing.T) {
	open, ok := drivers(t)["process"]
	if !ok {
		t.Skip("only the process driver freezes, and it needs root on linux")
	}
	b := newBench(t, open())
	i := b.start(b.web("let n = 0", `res.end(String(++n))`)).ready()
	for want := 1; want <= 3; want++ {
		if out, _, err := i.invoke("{}"); err != nil || string(out.Payload) != fmt.Sprint(want) {
			t.Errorf("call %d: %s, %v", want, out.Payload, err)
		}
		if err := errors.Join(i.Freeze(), i.Thaw()); err != nil {
			t.Error(err)
		}
	}
}

const goServer = `package main

import (
	"io"
	"net/http"
	"os"
	"syscall"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/eat" {
			for all := [][]byte{}; ; {
				b := make([]byte, 1<<20)
				for i := range b {
					b[i] = 1
				}
				all = append(all, b)
			}
		}
		if r.URL.Path == "/abort" {
			syscall.Kill(os.Getpid(), syscall.SIGABRT)
			select {}
		}
		io.Copy(w, r.Body)
	})
	panic(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
`

func TestHTTPGoServer(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(goServer), 0o644); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "bootstrap")
	build := exec.Command("go", "build", "-o", binary, filepath.Join(dir, "main.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	onEach(t, func(t *testing.T, b *bench) {
		v := b.with(50, b.version(faas.RuntimeHTTP, "bootstrap", map[string]string{"README": "the binary is beside this"}))
		copyExecutable(t, binary, filepath.Join(b.code.dir, v.Code.SHA256, "bootstrap"))
		i := b.start(v).ready()
		payload := `{"n":"` + strings.Repeat("x", 5<<20) + `"}`
		for _, f := range i.overlap(4, same(payload)) {
			if f.err != nil || string(f.out.Payload) != payload {
				t.Errorf("%s: %d bytes, %v", f.id, len(f.out.Payload), f.err)
			}
		}
		event := func(path string) string {
			return `{"version":"2.0","rawPath":"` + path + `","requestContext":{"http":{"method":"GET"}}}`
		}
		if b.launcher.drivers[b.launcher.isolation].Name() == "process" {
			f := i.invokeAs("eat", event("/eat"), patience)
			var failure *pool.Failure
			if !errors.As(f.err, &failure) || failure.Kind != pool.FailedOOM || failure.Outcome.ErrorType != "Runtime.OutOfMemory" {
				t.Errorf("%s, %v", f.out.Payload, f.err)
			}
			i.kill()
			i = b.start(v).ready()
		}
		if out, failed := i.invokeAs("abort", event("/abort"), patience).failure(); !failed || out.ErrorType != "Runtime.ExitError" {
			t.Errorf("%+v", out)
		}
	})
}
