package runtimes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/faas"
	"hearth/pool"
)

// streamRow is a streaming handler and what must come of it: to a caller who wants
// the response whole, and to one who gets it as it comes.
type streamRow struct {
	row
	contentType string // "-" where the response must not begin
	streamed    string // what was streamed, where that is not want
}

func streaming(body string) map[string]string {
	return js("const {pipeline} = require('stream/promises'); const {Readable} = require('stream');\n" +
		"exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {" + body + "})")
}

const octets = "application/octet-stream"

var nodeStreamRows = []streamRow{
	{row{name: "parts", files: streaming("stream.write('a'); await new Promise(r => setTimeout(r, 5)); stream.write(Buffer.from('b')); stream.end('c')"), want: "abc"}, octets, ""},
	{row{name: "nothing", files: streaming("stream.end()"), want: ""}, octets, ""},
	{row{name: "content type", files: streaming("stream.setContentType('text/html'); stream.write('x'); stream.end()"), want: "x"}, "text/html", ""},
	{row{name: "objects", files: streaming("stream.write({a: event.n}); stream.end([1])"), event: `{"n":1}`, want: `{"a":1}[1]`}, octets, ""},
	{row{name: "metadata", files: streaming("stream = awslambda.HttpResponseStream.from(stream, {statusCode: 201, headers: {a: 'b'}}); stream.write('x'); stream.end()"),
		want: `{"statusCode":201,"headers":{"a":"b"}}` + strings.Repeat("\x00", 8) + "x"}, faas.HTTPIntegration, ""},
	{row{name: "metadata alone", files: streaming("awslambda.HttpResponseStream.from(stream, {statusCode: 204}).end()"),
		want: `{"statusCode":204}` + strings.Repeat("\x00", 8)}, faas.HTTPIntegration, ""},
	{row{name: "pipeline", files: streaming("await pipeline(Readable.from(['a', 'b']), stream)"), want: "ab"}, octets, ""},
	{row{name: "ends before the handler", files: streaming("stream.end('x'); await new Promise(r => setTimeout(r, 20)); console.log('later')"), want: "x", log: "INFO\tlater"}, octets, ""},
	{row{name: "return value", files: streaming("stream.end('x'); return 7"), want: "x", log: "WARN\tStreaming handlers ignore return values."}, octets, ""},
	{row{name: "large", files: streaming("for (let i = 0; i < 40; i++) if (!stream.write('x'.repeat(1e5))) await new Promise(r => stream.once('drain', r)); stream.end()"),
		want: strings.Repeat("x", 40e5)}, octets, ""},
	{row{name: "throws first", files: streaming("throw new RangeError('no')"), error: "RangeError", want: `"errorMessage":"no"`, log: "ERROR\tInvoke Error"}, "-", ""},
	{row{name: "throws in the middle", files: streaming("stream.write('ab'); throw new RangeError('no')"), error: "RangeError", want: `"errorMessage":"no"`}, octets, "ab"},
	{row{name: "throws behind much", files: streaming("stream.write('x'.repeat(1e6)); throw new RangeError('no')"), error: "RangeError", want: `"errorMessage":"no"`}, octets, strings.Repeat("x", 1e6)},
	{row{name: "source fails", files: streaming("await pipeline(Readable.from((function* () { yield 'ab'; throw new TypeError('source') })()), stream)"),
		error: "TypeError", want: `"errorMessage":"source"`}, "", ""},
	{row{name: "too late", files: streaming("stream.write('a'); stream.setContentType('b')"), error: "Runtime.InvalidStreamingOperation", want: "Cannot set content-type, too late."}, octets, "a"},
	{row{name: "no promise", files: js("exports.handler = awslambda.streamifyResponse((e, stream) => { stream.end('x') })"), error: "Error",
		want: "Streaming does not support non-async handlers."}, "", ""},
	{row{name: "never ends", alone: true, files: streaming("stream.write('a')"), error: "Error", want: "Response stream is not finished."}, octets, "a"},
	{row{name: "exits", exit: true, files: streaming("stream.write('a'); await new Promise(r => setTimeout(r, 5)); process.exit(3)"), error: "Runtime.ExitError", want: "exit status 3"}, octets, "a"},
	{row{name: "uncaught", exit: true, files: streaming("stream.write('a'); setTimeout(() => { throw new RangeError('later') }, 5); await new Promise(() => {})"), error: "RangeError", want: "later"}, octets, "a"},
}

// How the instance was isolated has no part in it: one row shows that for each way.
func TestNodeStreaming(t *testing.T) {
	runtime := hostNode(t)
	for driver, open := range benches(t) {
		b := open(t)
		t.Run(driver, func(t *testing.T) { runStreamRow(t, b, runtime, 1, nodeStreamRows[0]) })
	}
	b := newBenchWithLogs(t, drivers(t)["none"](), storedLogs{openLogs(t)})
	for _, r := range nodeStreamRows {
		t.Run("one/"+r.name, func(t *testing.T) { runStreamRow(t, b, runtime, 1, r) })
		if !r.alone {
			t.Run("ten/"+r.name, func(t *testing.T) { runStreamRow(t, b, runtime, 10, r) })
		}
	}
}

func runStreamRow(t *testing.T, b *bench, runtime string, concurrency int, r streamRow) {
	v := b.with(concurrency, b.version(runtime, "index.handler", r.files))
	i := b.start(v).ready()
	checkRow(t, i, r.row)
	if r.exit {
		i.kill()
		i = b.start(v).ready()
	}
	defer i.kill()
	to := &kept{}
	out, err := i.stream(or(r.event, "{}"), to)
	checkStreamed(t, r, to, out, err)
}

func checkStreamed(t *testing.T, r streamRow, to *kept, out faas.Outcome, err error) {
	t.Helper()
	var failure *pool.Failure
	if errors.As(err, &failure) && r.exit {
		out, err = failure.Outcome, nil
	}
	want := r.want
	if r.error != "" || r.streamed != "" {
		want = r.streamed
	}
	if err != nil || out.ErrorType != r.error || r.error != "" && !strings.Contains(string(out.Payload), r.want) {
		t.Errorf("%s %.200s, %v", out.ErrorType, out.Payload, err)
	}
	if r.contentType == "" { // when it failed decides how much came
		return
	}
	if opened := r.contentType != "-"; to.opened != opened || opened && to.contentType != r.contentType || to.String() != want {
		t.Errorf("streamed %v %q %.200q, want %q %.200q", to.opened, to.contentType, to, r.contentType, want)
	}
}

// kept is a client who keeps what it gets.
type kept struct {
	mu          sync.Mutex
	opened      bool
	contentType string
	got         bytes.Buffer
	some        chan struct{} // where it is not nil, Write waits for a value of it
}

func (k *kept) Open(contentType string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.opened, k.contentType = true, contentType
}

func (k *kept) Write(ctx context.Context, p []byte) error {
	if k.some != nil {
		select {
		case <-k.some:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.got.Write(p)
	return nil
}

func (k *kept) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.got.String()
}

// stream delivers an event whose response goes to a stream, and settles it.
func (i *instance) stream(payload string, to faas.ResponseStream) (faas.Outcome, error) {
	event := i.event(payload)
	event.Stream = to
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := i.Invoke(ctx, event)
	i.Settle(&faas.Report{RequestID: event.RequestID, Start: faas.StartWarm, Status: "success", MemoryMB: 256}, false)
	return out, err
}

// A client who does not read holds the handler up: what it has written and is not
// read is in buffers, and they are bounded.
func TestNodeStreamingBackPressure(t *testing.T) {
	const total, most = 20 << 20, 4 << 20
	b := newBenchWithLogs(t, drivers(t)["none"](), storedLogs{openLogs(t)})
	for _, concurrency := range []int{1, 10} {
		i := b.start(b.with(concurrency, b.version(hostNode(t), "index.handler", js(fmt.Sprintf(`
			let written = 0;
			exports.handler = awslambda.streamifyResponse(async (event, stream) => {
				setTimeout(() => require('fs').writeFileSync(event.file, String(written)), 300);
				while (written < %d) {
					written += 65536;
					if (!stream.write(Buffer.alloc(65536))) await new Promise(r => stream.once('drain', r));
				}
				stream.end();
			});`, total))))).ready()
		file := t.TempDir() + "/written"
		to := &kept{some: make(chan struct{})}
		done := make(chan error, 1)
		go func() {
			_, err := i.stream(fmt.Sprintf(`{"file":%q}`, file), to)
			done <- err
		}()
		if written := awaitNumber(t, file); written > most {
			t.Errorf("%d: the handler has written %d bytes to a client that reads none", concurrency, written)
		}
		close(to.some)
		if err := <-done; err != nil || to.got.Len() != total {
			t.Errorf("%d: %d bytes, %v", concurrency, to.got.Len(), err)
		}
		i.kill()
	}
}

var goStreamRows = []streamRow{
	{row{name: "reader", event: `{"do":"stream"}`, want: "one two"}, octets, ""},
	{row{name: "metadata", event: `{"do":"url"}`, want: `{"statusCode":201,"headers":{"a":"b"},"cookies":["k=v"]}` + strings.Repeat("\x00", 8) + "one two"}, faas.HTTPIntegration, ""},
	{row{name: "value", event: `{"do":"answer"}`, want: `{"client":"v","deadline":true,"function":"fn","id":"request-1"}`}, "application/json",
		`{"client":"v","deadline":true,"function":"fn","id":"request-2"}`},
	{row{name: "fails in the middle", event: `{"do":"break"}`, error: "errorString", want: `"errorMessage":"broke as told"`}, octets, "one two"},
	{row{name: "fails first", event: `{"do":"fail"}`, error: "errorString", want: "failed as told"}, "-", ""},
	{row{name: "exits in the middle", event: `{"do":"leave"}`, exit: true, error: "Runtime.ExitError", want: "exit status 4"}, octets, "one two"},
}

// TestGoLambdaStreaming: the unmodified aws-lambda-go, whose handler returns a reader.
func TestGoLambdaStreaming(t *testing.T) {
	binary := buildGoLambda(t)
	b := newBenchWithLogs(t, drivers(t)["none"](), storedLogs{openLogs(t)})
	v := b.goLambda(binary)
	for _, r := range goStreamRows {
		t.Run(r.name, func(t *testing.T) {
			i := b.start(v).ready()
			checkRow(t, i, r.row)
			if r.exit {
				i.kill()
				i = b.start(v).ready()
			}
			defer i.kill()
			to := &kept{}
			out, err := i.stream(r.event, to)
			checkStreamed(t, r, to, out, err)
		})
	}
}

// awaitNumber waits for a file with a number in it.
func awaitNumber(t *testing.T, file string) int {
	t.Helper()
	for timeout := time.After(patience); ; {
		if text, err := os.ReadFile(file); err == nil && len(text) > 0 {
			n, err := strconv.Atoi(string(text))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-timeout:
			t.Fatal("the handler wrote no file")
		}
	}
}
