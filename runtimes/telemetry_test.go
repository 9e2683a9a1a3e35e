package runtimes

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"hearth/faas"
	"hearth/logs"
)

// subscriber is an external extension in Python: it listens at a port, subscribes to
// everything there, and writes what it hears to its output, each event after "heard ".
// The function's own lines are not subscribed to as extension: they would echo.
const subscriber = `#!/usr/bin/python3 -S
import http.server, json, os, socketserver, sys, threading, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]
name = os.path.basename(sys.argv[0])
protocol = "PROTOCOL"
def call(method, path, body=None, **headers):
    request = urllib.request.Request(base + path, method=method, data=None if body is None else json.dumps(body).encode())
    for key, value in headers.items():
        request.add_header("Lambda-Extension-" + key, value)
    with urllib.request.urlopen(request) as answer:
        return answer.headers, answer.read()
def hear(events):
    for event in events:
        print("heard", json.dumps(event), flush=True)
class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        hear(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            hear([json.loads(line)])
if protocol == "HTTP":
    server = http.server.ThreadingHTTPServer(("sandbox.localdomain", 4243), Web)
    destination = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243/hook"}
else:
    server = socketserver.ThreadingTCPServer(("sandbox.localdomain", 4243), Lines)
    destination = {"protocol": "TCP", "port": 4243}
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
headers, _ = call("POST", "/2020-01-01/extension/register", {"events": ["INVOKE", "SHUTDOWN"]}, Name=name)
identifier = headers["Lambda-Extension-Identifier"]
call("PUT", "/2022-07-01/telemetry", {"schemaVersion": "2022-12-13", "types": ["platform", "function"],
    "buffering": {"timeoutMs": 25}, "destination": destination}, Identifier=identifier)
while True:
    _, event = call("GET", "/2020-01-01/extension/event/next", Identifier=identifier)
    if json.loads(event)["eventType"] == "SHUTDOWN":
        break
`

// heard are the events that a subscriber has written, and what it has written of the
// function's log.
func heard(t *testing.T, store *logs.Store, id faas.FunctionID) (types []string, records map[string][]json.RawMessage) {
	t.Helper()
	lines, err := store.Find(t.Context(), logs.Query{Function: id})
	if err != nil {
		t.Fatal(err)
	}
	records = map[string][]json.RawMessage{}
	for _, line := range lines {
		text, ok := strings.CutPrefix(line.Text, "heard {")
		if !ok {
			continue
		}
		var event struct {
			Time   time.Time
			Type   string
			Record json.RawMessage
		}
		if err := json.Unmarshal([]byte("{"+text), &event); err != nil || event.Time.IsZero() {
			t.Errorf("%v in %s", err, line.Text)
		}
		types = append(types, event.Type)
		records[event.Type] = append(records[event.Type], event.Record)
	}
	return types, records
}

func TestTelemetry(t *testing.T) {
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		t.Fatal("this test needs /usr/bin/python3: apt-get install python3")
	}
	for _, protocol := range []string{"HTTP", "TCP"} {
		for driver, open := range drivers(t) {
			if driver == "none" {
				continue
			}
			t.Run(protocol, func(t *testing.T) {
				store := openLogs(t)
				b := newBenchWith(t, open(), Options{DefaultIsolation: faas.IsolationProcess, Logs: storedLogs{store}})
				v := b.withLayers(b.version(hostNode(t), "index.handler",
					js(`exports.handler = async (e) => { console.log("a line of the function"); process.stdout.write('{"level":"info","n":' + e.n + '}\n'); if (e.n === 2) throw new RangeError("as you wish"); return e.n }`)),
					map[string]string{"extensions/subscriber": strings.ReplaceAll(subscriber, "PROTOCOL", protocol)})
				i := b.start(v).ready()
				for _, payload := range []string{`{"n":1}`, `{"n":2}`} {
					if _, _, err := i.invoke(payload); err != nil {
						t.Fatal(err)
					}
					if lingering := i.Runtime.(interface{ Lingering() <-chan struct{} }).Lingering(); lingering != nil {
						<-lingering
					}
				}
				awaitHeard(t, store, v.ID.Function)
				if err := i.Kill("idle", patience); err != nil {
					t.Error(err)
				}
				checkHeard(t, store, v.ID.Function)
			})
		}
	}
}

// expected are how many events of each type come of two invocations at least.
var expected = map[string]int{"platform.initStart": 1, "platform.telemetrySubscription": 1, "platform.initRuntimeDone": 1,
	"platform.initReport": 1, "platform.extension": 1, "platform.start": 2, "platform.runtimeDone": 2, "platform.report": 2, "function": 5}

// awaitHeard waits until the subscriber has heard all: at the end of its instance it
// is not waited for longer than two seconds.
func awaitHeard(t *testing.T, store *logs.Store, id faas.FunctionID) {
	t.Helper()
	tick, timeout := time.NewTicker(10*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for {
		_, records := heard(t, store, id)
		missing := false
		for name, n := range expected {
			missing = missing || len(records[name]) < n
		}
		if !missing {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			return // what is missing is told by checkHeard
		}
	}
}

func checkHeard(t *testing.T, store *logs.Store, id faas.FunctionID) {
	t.Helper()
	types, records := heard(t, store, id)
	for name, n := range expected {
		if len(records[name]) < n {
			t.Errorf("heard %d of %s, want %d: %v", len(records[name]), name, n, types)
			return
		}
	}
	at := func(name string) int { return slices.Index(types, name) }
	if !(at("platform.initStart") < at("platform.telemetrySubscription") && at("platform.telemetrySubscription") < at("platform.initRuntimeDone") &&
		at("platform.initReport") < at("platform.start") && at("platform.start") < at("platform.runtimeDone") && at("platform.runtimeDone") < at("platform.report")) {
		t.Errorf("heard in the order %v", types)
	}
	for name, want := range map[string][]string{
		"platform.initStart":             {`"initializationType":"on-demand"`, `"phase":"init"`, `"functionName":"fn"`},
		"platform.telemetrySubscription": {`"name":"subscriber"`, `"state":"Subscribed"`, `["function","platform"]`},
		"platform.extension":             {`"name":"subscriber"`, `"state":"Ready"`, `["INVOKE","SHUTDOWN"]`},
		"platform.initReport":            {`"durationMs":`, `"status":"success"`},
		"platform.start":                 {`"requestId":"request-1"`, `"version":"$LATEST"`, `"requestId":"request-2"`},
		"platform.runtimeDone":           {`"status":"success"`, `"producedBytes":1`, `"status":"error"`, `"errorType":"RangeError"`},
		"platform.report":                {`"memorySizeMB":256`, `"billedDurationMs":`},
		"function":                       {`a line of the function"`, `{"level":"info","n":1}`},
	} {
		var all strings.Builder
		for _, r := range records[name] {
			all.WriteString(strings.ReplaceAll(strings.ReplaceAll(string(r), `": `, `":`), `", "`, `","`))
		}
		for _, part := range want {
			if !strings.Contains(strings.ReplaceAll(all.String(), `, "`, `,"`), part) {
				t.Errorf("%s has no %s: %s", name, part, all.String())
			}
		}
	}
}
