package runtimes

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"hearth/pool"
)

// row is a package, an event, and what must come of them.
type row struct {
	name    string
	files   map[string]string
	handler string // default index.handler
	event   string // default {}
	want    string // the result, or a part of the error document
	error   string // the error type of a function error
	log     string // a part of the log, where "\t" matters
	exit    bool   // the runtime ended instead of answering
	alone   bool   // holds only where an instance has one invocation at a time
}

var nodeRows = []row{
	{name: "async", files: js("exports.handler = async (e) => ({got: e.n + 1})"), event: `{"n":41}`, want: `{"got":42}`},
	{name: "promise", files: js("exports.handler = (e) => Promise.resolve([1, 2])"), want: `[1,2]`},
	{name: "callback", files: js("exports.handler = (e, c, cb) => { setTimeout(() => cb(null, 'late'), 5) }"), want: `"late"`},
	{name: "callback sync", files: js("exports.handler = (e, c, cb) => cb(null, 7)"), want: `7`},
	{name: "callback waits for the event loop", alone: true,
		files: js("exports.handler = (e, c, cb) => { const r = {a: 1}; setTimeout(() => { r.a = 2 }, 30); cb(null, r) }"), want: `{"a":2}`},
	{name: "callback that does not wait",
		files: js("exports.handler = (e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 60000); cb(null, 'now') }"), want: `"now"`},
	{name: "context.succeed", files: js("exports.handler = (e, c) => c.succeed('s')"), want: `"s"`},
	{name: "context.done", files: js("exports.handler = (e, c) => c.done(null, 'd')"), want: `"d"`},
	{name: "context.fail", files: js("exports.handler = (e, c) => c.fail(new TypeError('f'))"), error: "TypeError", want: `"errorMessage":"f"`},
	{name: "undefined", files: js("exports.handler = async () => {}"), want: `null`},
	{name: "never answers", alone: true, files: js("exports.handler = (e, c) => {}"), want: `null`},
	{name: "async that never settles", alone: true, files: js("exports.handler = async () => new Promise(() => {})"), error: "Runtime.NodeJsExit", want: `"trace"`},
	{name: "throws", files: js("exports.handler = async () => { throw new RangeError('no') }"), error: "RangeError", want: `"errorMessage":"no"`,
		log: "\tERROR\tInvoke Error \t{\"errorType\":\"RangeError\""},
	{name: "throws at once", files: js("exports.handler = () => { throw new Error('sync') }"), error: "Error", want: `"errorMessage":"sync"`},
	{name: "rejects with text", files: js("exports.handler = async () => { throw 'text' }"), error: "string", want: `{"errorType":"string","errorMessage":"text","trace":[]}`},
	{name: "rejects with nothing", files: js("exports.handler = async () => { throw undefined }"), error: "string", want: `"handled"`},
	{name: "callback error", files: js("exports.handler = (e, c, cb) => cb('bad')"), error: "string", want: `"bad"`},
	{name: "bigint", files: js("exports.handler = async () => 1n"), error: "Runtime.MarshalError", want: "BigInt"},
	{name: "circular", files: js("exports.handler = async () => { const a = {}; a.a = a; return a }"), error: "Runtime.MarshalError", want: "circular"},
	{name: "esm", files: map[string]string{"index.mjs": "export const handler = async () => 'esm'"}, want: `"esm"`},
	{name: "esm by package", files: map[string]string{"index.js": "export const handler = async () => 'pkg'", "package.json": `{"type":"module"}`}, want: `"pkg"`},
	{name: "top-level await", files: map[string]string{"index.mjs": "const v = await Promise.resolve(5); export const handler = async () => v"}, want: `5`},
	{name: "top-level await of an import", files: map[string]string{"index.mjs": "import { runs } from './dep.mjs'; globalThis.own = (globalThis.own ?? 0) + 1; export const handler = async () => [own, runs]",
		"dep.mjs": "globalThis.dep = (globalThis.dep ?? 0) + 1; export const runs = await Promise.resolve(globalThis.dep);"}, want: `[1,1]`},
	{name: "esm with a default export", files: map[string]string{"index.mjs": "export const handler = async () => typeof (await import('./index.mjs')).default; export default () => {}"}, want: `"function"`},
	{name: "cjs extension", files: map[string]string{"index.cjs": "exports.handler = async () => 'cjs'", "package.json": `{"type":"module"}`}, want: `"cjs"`},
	{name: "default export", files: map[string]string{"index.mjs": "export default { handler: async () => 'default' }"}, want: `"default"`},
	{name: "nested", handler: "src/lib/app.api.get", files: map[string]string{"src/lib/app.js": "exports.api = {get: async () => 'nested'}"}, want: `"nested"`},
	{name: "directory", handler: "app.handler", files: map[string]string{"app/index.js": "exports.handler = async () => 'dir'"}, want: `"dir"`},
	{name: "dependency", files: map[string]string{"index.js": "const d = require('dep'); exports.handler = async () => d",
		"node_modules/dep/index.js": "module.exports = 'dep'"}, want: `"dep"`},
	{name: "V8 takes the code that Node brings compiled", files: js(`const v8 = require('v8'), { execFileSync } = require('child_process');
		exports.handler = async () => v8.cachedDataVersionTag() === Number(execFileSync(process.execPath, ['-p', 'v8.cachedDataVersionTag()']));`), want: `true`},
	{name: "a worker's heap has the same limit", files: js(`const v8 = require('v8'), { Worker } = require('worker_threads');
		exports.handler = () => new Promise((done) => new Worker("require('worker_threads').parentPort.postMessage(require('v8').getHeapStatistics().heap_size_limit)", { eval: true })
			.on('message', (limit) => done(limit === v8.getHeapStatistics().heap_size_limit)));`), want: `true`},
	{name: "chdir and an import of it", files: map[string]string{"index.mjs": "import process, { chdir } from 'node:process';\n" +
		"export const handler = async () => { chdir('/tmp'); const first = process.cwd(); process.chdir('/'); return [first, process.cwd()] }"}, want: `["/tmp","/"]`},
	{name: "the program is one file", files: js("const path = require('path'), own = __filename; exports.handler = async () => Object.keys(require.cache).filter((f) => f !== own).map((f) => path.basename(f))"),
		want: `["bootstrap.js"]`},
	{name: "context", files: js(`exports.handler = async (e, c) => [c.functionName, c.functionVersion, c.memoryLimitInMB, c.awsRequestId,
		c.invokedFunctionArn.split(':').pop(), c.logGroupName, c.logStreamName.includes('[$LATEST]'), c.clientContext.custom.k,
		c.getRemainingTimeInMillis() > 10000 && c.getRemainingTimeInMillis() <= 60000]`),
		want: `["fn","$LATEST","256","request-1","fn","/aws/lambda/fn",true,"v",true]`},
	{name: "environment", alone: true, files: js(`exports.handler = async () => { const e = process.env; return [e.AWS_REGION, e._HANDLER, e.TZ,
		e.AWS_EXECUTION_ENV, e.LAMBDA_TASK_ROOT === process.cwd(), e._X_AMZN_TRACE_ID.slice(0, 5), e.AWS_LAMBDA_RUNTIME_API] }`),
		want: `["eu-central-1","index.handler",":UTC","AWS_Lambda_RUNTIME",true,"Root=",null]`},
	{name: "trace id", alone: true, files: js(`exports.handler = async () => { const e = process.env, n = '_X_AMZN_TRACE_ID', id = e[n];
		const child = require('child_process').execFileSync('env').toString();
		const seen = [n in e, Object.keys(e).includes(n), ({...e})[n] === id, child.includes(n + '=' + id), n in process.report.getReport().environmentVariables];
		delete e[n]; seen.push(n in e, e[n] ?? null); e[n] = 5; return [...seen, e[n], { ...e }[n]] }`),
		want: `[true,true,true,true,false,false,null,"5","5"]`},
	{name: "console", files: js("exports.handler = async () => { console.log('hi %s', 'you'); console.error(new Error('e')); return 1 }"), want: "1",
		log: "\trequest-1\tINFO\thi you\n"},
	{name: "stdout", files: js("exports.handler = async () => { process.stdout.write('raw\\n'); console.warn('w'); return 1 }"), want: "1", log: "raw\n"},
	{name: "large event and result", files: js("exports.handler = async (e) => e"), event: `"` + strings.Repeat("ü", 1<<20) + `"`,
		want: `"` + strings.Repeat("ü", 1<<20) + `"`},
	{name: "result over the limit", files: js("exports.handler = async () => 'x'.repeat(7 * 1024 * 1024)"), error: "Function.ResponseSizeTooLarge",
		want: "Response payload size (7340034 bytes) exceeded maximum allowed payload size (6291556 bytes)."},
	{name: "uncaught exception", files: js("exports.handler = () => { setTimeout(() => { throw new Error('later') }, 1); return new Promise(() => {}) }"),
		exit: true, error: "Error", want: `"errorMessage":"later"`, log: "Uncaught Exception"},
	{name: "unhandled rejection", files: js("exports.handler = () => { Promise.reject(new Error('r')); return new Promise(r => setTimeout(r, 1000)) }"),
		exit: true, error: "Runtime.UnhandledPromiseRejection", want: `"Error: r"`, log: "Unhandled Promise Rejection"},
	{name: "uncaught exception, then exit", files: js("process.on('exit', () => console.log('last words')); exports.handler = () => { setTimeout(() => { throw new Error('later') }, 1); return new Promise(() => {}) }"),
		exit: true, error: "Error", want: `"errorMessage":"later"`, log: "last words"},
	{name: "exit 0", files: js("exports.handler = () => process.exit(0)"), exit: true, error: "Runtime.ExitError",
		want: `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: request-1 Error: Runtime exited without providing a reason"}`},
	{name: "exit 3", files: js("exports.handler = () => process.exit(3)"), exit: true, error: "Runtime.ExitError",
		want: `RequestId: request-1 Error: Runtime exited with error: exit status 3`, log: "Error: Runtime exited with error: exit status 3 Runtime.ExitError"},
	{name: "killed", files: js("exports.handler = () => process.kill(process.pid, 'SIGKILL')"), exit: true, error: "Runtime.ExitError",
		want: `Runtime exited with error: signal: killed`},
	{name: "closes its socket", files: js("exports.handler = () => { require('fs').closeSync(3); return new Promise(r => setTimeout(r, 60000)) }"),
		exit: true, error: "Runtime.ExitError", want: "RequestId: request-1 Error: Runtime closed its connection"},
	{name: "writes rubbish to its socket", files: js("exports.handler = () => { require('fs').writeSync(3, 'rubbish rubbish rubbish'); return new Promise(r => setTimeout(r, 60000)) }"),
		exit: true, error: "Runtime.ExitError", want: "RequestId: request-1 Error: Runtime sent an invalid message"},
}

var nodeInitRows = []row{
	{name: "missing module", files: js(""), handler: "other.handler", error: "Runtime.ImportModuleError", want: "Cannot find module 'other'"},
	{name: "missing dependency", files: js("require('nope')"), error: "Runtime.ImportModuleError", want: "Cannot find module 'nope'"},
	{name: "syntax error", files: js("exports.handler = ("), error: "Runtime.UserCodeSyntaxError", want: "SyntaxError"},
	{name: "not exported", files: js("exports.other = 1"), error: "Runtime.HandlerNotFound", want: "index.handler is undefined or not exported"},
	{name: "syntax error says where", files: js("\n  exports.handler = ("), error: "Runtime.UserCodeSyntaxError", want: "index.js:2",
		log: "INIT_REPORT Init Duration: "},
	{name: "not a function", files: js("exports.handler = 1"), error: "Runtime.HandlerNotFound", want: "index.handler is not a function"},
	{name: "malformed", files: js(""), handler: "index", error: "Runtime.MalformedHandlerName", want: "Bad handler"},
	{name: "upwards", files: js(""), handler: "../index.handler", error: "Runtime.MalformedHandlerName", want: "is not a valid handler name"},
	{name: "throws", files: js("throw new TypeError('at init')"), error: "TypeError", want: "at init", log: "undefined\tERROR\tUncaught Exception"},
	{name: "streaming requests", files: js("exports.handler = async () => {}; exports.handler[Symbol.for('aws.lambda.runtime.handler.streaming')] = 'request'"),
		error: "Runtime.MalformedStreamingHandler", want: "Only response streaming is supported."},
	{name: "exits", files: js("process.exit(5)"), exit: true, error: "Runtime.ExitError", want: "Runtime exited with error: exit status 5",
		log: "\tPhase: init\tStatus: error\tError Type: Runtime.ExitError\t"},
}

func js(source string) map[string]string { return map[string]string{"index.js": source} }

func TestNode(t *testing.T) { runRows(t, hostNode(t), nodeRows) }

func TestNodeInit(t *testing.T) { runInitRows(t, hostNode(t), nodeInitRows) }

// A socket is made of the connection when an answer first has to wait for room.
func TestNodeAnswersOnAfterALargeAnswer(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		i := b.start(b.version(hostNode(t), "index.handler", js("exports.handler = async (n) => 'x'.repeat(n)"))).ready()
		defer i.kill()
		for _, n := range []int{1, 4 << 20, 2, 5 << 20, 3} {
			if out, _, err := i.invoke(strconv.Itoa(n)); err != nil || len(out.Payload) != n+2 {
				t.Errorf("%d: %d bytes, %v", n, len(out.Payload), err)
			}
		}
	})
}

// runRows invokes each row's handler, in an instance that holds one invocation
// and in one that may hold ten.
func runRows(t *testing.T, runtime string, rows []row) {
	for driver, open := range benches(t) {
		b := open(t)
		for _, r := range rows {
			t.Run(driver+"/"+r.name, func(t *testing.T) { runRow(t, b, runtime, 1, r) })
		}
	}
	b := newBenchWithLogs(t, drivers(t)["none"](), storedLogs{openLogs(t)})
	for _, r := range rows {
		if !r.alone {
			t.Run("ten/"+r.name, func(t *testing.T) { runRow(t, b, runtime, 10, r) })
		}
	}
}

func runRow(t *testing.T, b *bench, runtime string, concurrency int, r row) {
	r.want = strings.ReplaceAll(r.want, "AWS_Lambda_RUNTIME", "AWS_Lambda_"+runtime)
	i := b.start(b.with(concurrency, b.version(runtime, or(r.handler, "index.handler"), r.files)))
	defer i.kill()
	checkRow(t, i.ready(), r)
}

func checkRow(t *testing.T, i *instance, r row) {
	t.Helper()
	out, tail, err := i.invoke(or(r.event, "{}"))
	var failure *pool.Failure
	if errors.As(err, &failure) {
		if !r.exit {
			t.Fatalf("the runtime failed: %v\n%s", err, tail)
		}
		out = failure.Outcome
	} else if err != nil || r.exit {
		t.Fatalf("err = %v, want exit %v\n%s", err, r.exit, tail)
	}
	checkOutcome(t, r, string(out.Payload), out.ErrorType, out.FunctionError)
	if !strings.Contains(tail, r.log) {
		t.Errorf("log has no %q:\n%s", r.log, tail)
	}
	if !strings.HasPrefix(tail, "START RequestId: request-1 Version: $LATEST\n") || !strings.Contains(tail, "\nREPORT RequestId: request-1\t") {
		t.Errorf("log has no START or REPORT:\n%s", tail)
	}
}

func checkOutcome(t *testing.T, r row, payload, errorType, functionError string) {
	t.Helper()
	if errorType != r.error || (functionError != "") != (r.error != "") {
		t.Errorf("error %q (%q), want %q: %.300s", errorType, functionError, r.error, payload)
	}
	if r.error == "" && payload != r.want {
		t.Errorf("got %.300s, want %.300s", payload, r.want)
	}
	if r.error != "" && !strings.Contains(payload, r.want) {
		t.Errorf("got %.300s, want it to contain %.300s", payload, r.want)
	}
}

func runInitRows(t *testing.T, runtime string, rows []row) {
	for driver, open := range benches(t) {
		b := open(t)
		for _, r := range rows {
			t.Run(driver+"/"+r.name, func(t *testing.T) {
				i := b.start(b.version(runtime, or(r.handler, "index.handler"), r.files))
				defer i.kill()
				var failure *pool.Failure
				if err := i.init(); !errors.As(err, &failure) {
					t.Fatalf("init: %v, want a failure\n%s", err, i.log)
				}
				out := failure.Outcome
				checkOutcome(t, r, string(out.Payload), out.ErrorType, out.FunctionError)
				if r.exit {
					named := failure.ForRequest("abc")
					if !strings.Contains(string(named.Payload), "RequestId: abc Error: ") {
						t.Errorf("failure does not name its request: %s", named.Payload)
					}
				}
				i.kill()
				if !strings.Contains(i.log.String(), r.log) {
					t.Errorf("log has no %q:\n%s", r.log, i.log)
				}
			})
		}
	}
}
