package runtimes

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"hearth/faas"
	"hearth/runtimes/cell"
)

func TestWhatACellCanBecome(t *testing.T) {
	base := faas.Config{MemoryMB: 1769, EphemeralMB: 512, Egress: faas.EgressNone}
	for _, c := range []struct {
		name    string
		known   known
		change  func(*plan)
		env     map[string]string
		memory  int
		runtime string
		reason  string
	}{
		{name: "node", known: known{"nodejs20.x", languageNode, "20"}, memory: 1769, runtime: "nodejs20.x"},
		{name: "python", known: known{"python3.11", languagePython, "3.11"}, runtime: "python3.11"},
		{name: "provided", known: known{"provided.al2", languageProvided, ""}, runtime: "provided"},
		{name: "http", known: known{"http", languageHTTP, ""}, runtime: "http"},
		{name: "other /tmp", known: known{"python3.11", languagePython, "3.11"}, reason: "size of /tmp",
			change: func(p *plan) { p.version.Config.EphemeralMB = 1024 }},
		{name: "other isolation", known: known{"python3.11", languagePython, "3.11"}, reason: "isolation none",
			change: func(p *plan) { p.isolation = faas.IsolationNone }},
		{name: "node options", known: known{"nodejs20.x", languageNode, "20"}, env: map[string]string{"NODE_OPTIONS": "", "TZ": "Asia/Tokyo"},
			reason: "variable NODE_OPTIONS"},
		{name: "node's late variables", known: known{"nodejs20.x", languageNode, "20"}, memory: 1769, runtime: "nodejs20.x",
			env: map[string]string{"NODE_ENV": "production", "NODE_TLS_REJECT_UNAUTHORIZED": "0", "TZ": "Asia/Tokyo", "PYTHONPATH": "x"}},
		{name: "a wrapper", known: known{"python3.11", languagePython, "3.11"}, reason: "variable AWS_LAMBDA_EXEC_WRAPPER",
			env: map[string]string{"AWS_LAMBDA_EXEC_WRAPPER": "/opt/agent"}},
		{name: "a wrapper of nothing", known: known{"provided.al2", languageProvided, ""}, runtime: "provided",
			env: map[string]string{"AWS_LAMBDA_EXEC_WRAPPER": "/opt/agent"}},
		{name: "the first by name", known: known{"python3.11", languagePython, "3.11"}, reason: "variable LC_ALL",
			env: map[string]string{"PYTHONHASHSEED": "1", "LC_ALL": "C", "LD_PRELOAD": "x"}},
		{name: "a default that is set", known: known{"python3.11", languagePython, "3.11"}, runtime: "python3.11",
			env: map[string]string{"LANG": "en_US.UTF-8"}},
		{name: "another locale", known: known{"python3.11", languagePython, "3.11"}, reason: "variable LANG", env: map[string]string{"LANG": "C"}},
		{name: "nothing was booted", known: known{"provided.al2", languageProvided, ""}, runtime: "provided",
			env: map[string]string{"LD_PRELOAD": "x", "NODE_OPTIONS": "y"}},
	} {
		config := base.Clone()
		config.Environment = c.env
		p := plan{version: &faas.Version{Config: config}, known: c.known, isolation: faas.IsolationProcess}
		if c.change != nil {
			c.change(&p)
		}
		class, reason := new(cells).classOf(p)
		if reason != c.reason || class.MemoryMB != c.memory || class.Runtime != c.runtime {
			t.Errorf("%s: %+v, %q; want %q, %d MB, %q", c.name, class, reason, c.runtime, c.memory, c.reason)
		}
	}
	if _, reason := (*cells)(nil).classOf(plan{version: &faas.Version{}}); reason != "cells are off" {
		t.Errorf("without cells: %q", reason)
	}
}

func TestCellPolicy(t *testing.T) {
	for _, c := range []struct {
		most, instances, memory int
		want                    cell.Policy
	}{
		{0, 1000, 24 << 10, cell.Policy{Floor: 2, Most: 16, Total: 64}},
		{0, 8, 24 << 10, cell.Policy{Floor: 2, Most: 16, Total: 2}},
		{1, 1000, 2 << 10, cell.Policy{Floor: 1, Most: 1, Total: 5}},
		{0, 1000, 0, cell.Policy{Floor: 2, Most: 16, Total: 16}},
	} {
		if got := CellPolicy(c.most, c.instances, c.memory); got != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

// self is what a function sees of itself and its process, of which nothing may tell
// how its instance was started.
var self = map[string]row{
	"node": {files: js(`const os = require('os'), path = require('path');
const globals = Object.getOwnPropertyNames(globalThis).sort(), aws = Object.keys(globalThis.awslambda);
exports.handler = async () => ({ env: process.env, argv: process.argv, execArgv: process.execArgv, title: process.title, cwd: process.cwd(),
  main: require.main?.id, mainPaths: require.main?.paths, paths: module.paths, parent: module.parent?.id, globalPaths: require('module').globalPaths,
  children: (require.main?.children ?? []).map((c) => c.id).filter((id) => !id.startsWith('/var/runtime/')),
  cached: Object.keys(require.cache).filter((id) => !id.startsWith('/var/runtime/')), globals, aws,
  umask: process.umask(), home: os.homedir(), user: os.userInfo().username.length, tz: Intl.DateTimeFormat().resolvedOptions().timeZone,
  locale: Intl.DateTimeFormat().resolvedOptions().locale, date: new Date(0).toString(), heap: require('v8').getHeapStatistics().heap_size_limit,
  listeners: process.eventNames().map(String).sort(), handles: process._getActiveHandles().length, ids: [process.getuid() > 0, process.pid > 1],
  proc: require('fs').readdirSync('/proc/self/fd').length > 3, files: require('fs').readdirSync('.') })`)},
	"python": {files: py(`import builtins, gc, locale, os, signal, sys, time
def handler(event, context):
    return {"env": dict(os.environ), "argv": sys.argv, "orig": sys.orig_argv, "path": sys.path, "cwd": os.getcwd(), "flags": str(sys.flags),
        "main": sorted(k for k in vars(sys.modules["__main__"]) if k.startswith("__")), "umask": os.umask(0o22), "home": os.path.expanduser("~"),
        "tz": time.tzname, "zone": time.strftime("%H %Z", time.localtime(0)), "locale": locale.setlocale(locale.LC_CTYPE), "prefix": sys.prefix,
        "executable": sys.executable, "encoding": [sys.getfilesystemencoding(), sys.stdout.encoding, sys.stderr.errors],
        "hooks": [type(h).__name__ for h in sys.meta_path if "Hook" not in type(h).__name__], "cache": sorted(p for p in sys.path_importer_cache if "task" in p),
        "child": os.popen("echo $TZ $MINE $LANG; pwd").read(), "pycache": sys.pycache_prefix, "signal": str(signal.getsignal(signal.SIGTERM)),
        "fds": sorted(os.listdir("/proc/self/fd"))[:4], "files": os.listdir(".")}`)},
}

// What a function sees is the same whichever way its instance was started.
func TestACellIsNoDifferentInside(t *testing.T) {
	open, ok := benches(t)["cell"]
	if !ok {
		t.Skip("needs the process driver")
	}
	cells := open(t)
	direct := newBench(t, drivers(t)["process"]())
	for name, runtime := range map[string]string{"node": hostNode(t), "python": "python3.11"} {
		for zone, env := range map[string]map[string]string{
			"plain": {"MINE": "x=y\n", "EMPTY": ""},
			"zone":  {"TZ": "Asia/Tokyo", "PATH": "/usr/bin", "HOME": "/tmp/home"},
		} {
			t.Run(name+"/"+zone, func(t *testing.T) {
				seen := make([]map[string]any, 2)
				for k, b := range []*bench{direct, cells} {
					v := b.version(runtime, "index.handler", self[name].files)
					v.Config.Environment = env
					i := b.start(v)
					out, tail, err := i.ready().invoke("{}")
					if err != nil || out.FunctionError != "" || json.Unmarshal(out.Payload, &seen[k]) != nil {
						t.Fatalf("%s, %v\n%s", out.Payload, err, tail)
					}
					delete(seen[k]["env"].(map[string]any), "AWS_LAMBDA_LOG_STREAM_NAME")
					i.kill()
				}
				for _, key := range slices.Sorted(maps.Keys(seen[0])) {
					a, _ := json.Marshal(seen[0][key])
					b, _ := json.Marshal(seen[1][key])
					if string(a) != string(b) {
						t.Errorf("%s differs: directly\n%s\nof a cell\n%s", key, a, b)
					}
				}
			})
		}
	}
}

// Cells boot each for itself: what is random in one is not what is in another.
func TestCellsDifferInChance(t *testing.T) {
	open, ok := benches(t)["cell"]
	if !ok {
		t.Skip("needs the process driver")
	}
	b := open(t)
	for runtime, files := range map[string]map[string]string{
		hostNode(t):  js(`exports.handler = async () => [Math.random(), require('crypto').randomUUID(), process.pid > 0]`),
		"python3.11": py("import random, uuid\ndef handler(e, c): return [hash('x'), random.random(), str(uuid.uuid4())]"),
	} {
		var first []any
		for n := range 2 {
			i := b.start(b.version(runtime, "index.handler", files))
			out, _, err := i.ready().invoke("{}")
			var got []any
			if err != nil || json.Unmarshal(out.Payload, &got) != nil {
				t.Fatalf("%s, %v", out.Payload, err)
			}
			for k := range 2 {
				if n == 1 && got[k] == first[k] {
					t.Errorf("%s: both cells have %v", runtime, got[k])
				}
			}
			first = got
			i.kill()
		}
	}
}

// A cell that is dead, or dies when it is to become an instance, costs no call.
func TestADeadCellLeadsToTheNextWay(t *testing.T) {
	open, ok := benches(t)["cell"]
	if !ok {
		t.Skip("needs the process driver")
	}
	b := open(t)
	b.cells = false
	for _, runtime := range []string{"python3.11", "provided.al2023"} {
		files := map[string]string{"index.py": "def handler(e, c): return 1", "bootstrap": shellLoop + `  curl -sS -o /dev/null "$api/invocation/$id/response" -d 1; done`}
		v := b.version(runtime, "index.handler", files)
		if !b.park(v) {
			t.Fatal("no cell is parked")
		}
		p, err := b.launcher.plan(v, "x")
		if err != nil {
			t.Fatal(err)
		}
		class, _ := b.launcher.cells.classOf(p)
		claimed := b.launcher.cells.Claim(class)
		if err := claimed.Body().box.Destroy("test"); err != nil {
			t.Fatal(err)
		}
		dir, err := b.code.Acquire(t.Context(), v.Code)
		if err != nil {
			t.Fatal(err)
		}
		r := &process{dir: dir, log: b.launcher.log, killed: make(chan struct{}), now: make(chan struct{})}
		if err := b.launcher.specialise(t.Context(), p, r, claimed.Body()); err == nil || r.box != nil || r.session != nil {
			t.Errorf("%s: a dead cell became an instance: %v", runtime, err)
		}
		claimed.Discard("test")
		dir.Release()
		i := b.start(v)
		out, _, err := i.ready().invoke("{}")
		if err != nil || string(out.Payload) != "1" {
			t.Errorf("%s: %s, %v", runtime, out.Payload, err)
		}
		i.kill()
	}
}

// The parts of a start are the time between its moments: nothing is left out and
// nothing is counted twice.
func TestPartsSumToTheStart(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		for runtime, files := range map[string]map[string]string{
			"python3.11":      py("def handler(e, c): return 1"),
			"provided.al2023": sh(shellLoop + `  curl -sS -o /dev/null "$api/invocation/$id/response" -d "$event"; done`),
		} {
			i := b.start(b.version(runtime, "index.handler", files)).ready()
			p, parts := i.Runtime.(*process), i.Parts()
			whole := p.inited.Sub(p.began)
			if sum := parts.Sandbox + parts.Runtime + parts.Code + parts.Init; sum != whole {
				t.Errorf("%s: %+v sums to %v of %v", runtime, parts, sum, whole)
			}
			i.kill()
		}
	})
}

// A start that no cell could serve says so in its REPORT line.
func TestTheReportTellsTheWay(t *testing.T) {
	for _, c := range []struct {
		way  faas.StartWay
		why  string
		want string
	}{{faas.WayCell, "", "\tWay: cell\t"}, {faas.WayEmpty, "", "\tWay: empty\t"}, {faas.WayDirect, "variable LANG", "\tWay: direct variable LANG\t"}, {"", "", ""}} {
		line := textReport(&faas.Report{Start: faas.StartCold, Cold: faas.ColdFirst, Status: "success", Timeline: faas.Timeline{Way: c.way, WayReason: c.why}})
		if !strings.Contains(line, c.want) || c.want == "" && strings.Contains(line, "Way:") {
			t.Errorf("%q in %q", c.want, line)
		}
	}
}

// What a cell rehearses is in no function's log.
func TestARehearsalLeavesNoLog(t *testing.T) {
	open, ok := benches(t)["cell"]
	if !ok {
		t.Skip("needs the process driver")
	}
	b := open(t)
	for runtime, files := range map[string]map[string]string{
		hostNode(t):  js(`exports.handler = async () => { console.log("its own"); }`),
		"python3.11": py("def handler(e, c): print('its own')"),
	} {
		i := b.start(b.version(runtime, "index.handler", files))
		if way := i.Parts().Way; way != faas.WayCell {
			t.Fatalf("%s: started %s", runtime, way)
		}
		out, tail, err := i.ready().invoke("{}")
		if err != nil || string(out.Payload) != "null" {
			t.Errorf("%s: %s, %v", runtime, out.Payload, err)
		}
		lines := strings.Split(strings.TrimSpace(tail), "\n")
		if len(lines) != 4 || !strings.HasPrefix(lines[0], "START ") || !strings.HasSuffix(lines[1], "its own") ||
			!strings.HasPrefix(lines[2], "END ") || !strings.HasPrefix(lines[3], "REPORT ") {
			t.Errorf("%s: the log of the first invocation is\n%s", runtime, tail)
		}
		i.kill()
	}
}
