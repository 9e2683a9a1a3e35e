package runtimes

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hearth/faas"
	"hearth/pool"
)

// extension is an external extension in a shell, with curl: it registers under its own
// name, does what is said after each event, and ends when it is told to.
func extension(events, each string) string {
	return `#!/bin/bash
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
name=$(basename $0)
id=$(curl -sS -D - -o /tmp/registered "$api/register" -H "Lambda-Extension-Name: $name" -H 'Lambda-Extension-Accept-Feature: accountId' \
  -d '{"events":[` + events + `]}' | tr -d '\r' | sed -n 's/^[Ll]ambda-[Ee]xtension-[Ii]dentifier: //p')
call() { curl -sS -H "Lambda-Extension-Identifier: $id" "$@"; }
while true; do
  event=$(call "$api/event/next") || exit 1
  ` + each + `
  case "$event" in *SHUTDOWN*) echo "$name ends"; exit 0;; esac
done
`
}

const allEvents = `"INVOKE","SHUTDOWN"`

// layeredWith are a function of each kind of runtime, which answers what is in /tmp.
func layeredWith(b *bench, files map[string]string) map[string]*faas.Version {
	renamed := map[string]string{}
	for name, text := range files {
		renamed["extensions/"+name] = text
	}
	return map[string]*faas.Version{
		"node": b.withLayers(b.version(hostNode(b.t), "index.handler", js(`const fs = require('fs');
exports.handler = async () => [fs.existsSync('/tmp/registered') && JSON.parse(fs.readFileSync('/tmp/registered')), process.env.AWS_LAMBDA_RUNTIME_API]`)), renamed),
		"provided": b.withLayers(b.version("provided.al2023", "some.handler", sh(shellLoop+
			`  curl -sS -o /dev/null "$api/invocation/$id/response" -d "[$(cat /tmp/registered),\"$AWS_LAMBDA_RUNTIME_API\"]"; done`)), renamed),
	}
}

func TestExtensionLife(t *testing.T) {
	onIsolated(t, func(t *testing.T, b *bench) {
		b.cells = false // none can become an instance with extensions
		for kind, v := range layeredWith(b, map[string]string{"watcher": extension(allEvents, `echo "event $event"; until test -e /opt/answered; do sleep 0.01; done`)}) {
			i := b.start(v)
			if way := i.Parts(); way.Way == faas.WayCell {
				t.Errorf("%s: started of a cell", kind)
			}
			i.ready()
			out, _, err := i.invoke(`{}`)
			want := `[{"functionName":"fn","functionVersion":"$LATEST","handler":"` + v.Config.Handler + `","accountId":"000000000000"},"127.0.0.1:9001"]`
			if err != nil || strings.ReplaceAll(string(out.Payload), "\n", "") != want {
				t.Errorf("%s: answered %s, %v; want %s", kind, out.Payload, err, want)
			}
			lingering := i.Runtime.(pool.Lingerer).Lingering()
			if lingering == nil {
				t.Fatalf("%s: the answer waited for the extension", kind)
			}
			if err := os.WriteFile(filepath.Join(b.code.dir, "layers-"+v.Config.Layers[0].Code.SHA256, "answered"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			<-lingering
			if again := i.Runtime.(pool.Lingerer).Lingering(); again != nil {
				t.Errorf("%s: it works on after it was done", kind)
			}
			if err := i.Kill("idle", patience); err != nil {
				t.Error(err)
			}
			log := b.allLogs()
			for _, want := range []string{"EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE, SHUTDOWN]", `"eventType":"INVOKE","deadlineMs":`,
				`"requestId":"request-1","invokedFunctionArn":"arn:aws:lambda:eu-central-1:000000000000:function:fn","tracing":{"type":"X-Amzn-Trace-Id","value":"Root=1-`,
				`{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":`, "watcher ends\n"} {
				if !strings.Contains(log, want) {
					t.Errorf("%s: no %q in\n%s", kind, want, log)
				}
			}
		}
	})
}

// allLogs is what all streams hold together, the extensions' too.
func (b *bench) allLogs() string {
	b.logs.mu.Lock()
	defer b.logs.mu.Unlock()
	var all strings.Builder
	for _, s := range b.logs.streams {
		all.WriteString(s.String())
	}
	return all.String()
}

func TestExtensionFailures(t *testing.T) {
	onIsolated(t, func(t *testing.T, b *bench) {
		b.cells = false // none can become an instance with extensions
		for _, c := range []struct {
			name, script, errorType, reason string
			kind                            pool.FailureKind
		}{
			{"crash before registering", "#!/bin/bash\nexit 3\n", "Extension.Crash", "Error: exit code 3", pool.FailedExit},
			{"crash before it is ready", strings.Replace(extension(allEvents, ""), "while true", "kill -9 $$\nwhile true", 1), "Extension.Crash", "Error: signal: killed", pool.FailedExit},
			{"no executable", "text", "Extension.LaunchError", "Error: fork/exec /opt/extensions/watcher: permission denied", pool.FailedInit},
			{"init error", strings.Replace(extension(allEvents, ""), "while true", `call "$api/init/error" -H 'Lambda-Extension-Function-Error-Type: Watcher.NoKey' -d '{}'; exit 1`+"\nwhile true", 1),
				"Extension.InitError", "Error: Watcher.NoKey", pool.FailedInit},
		} {
			for kind, v := range layeredWith(b, map[string]string{"watcher": c.script}) {
				i := b.start(v)
				var failure *pool.Failure
				if err := i.init(); !errors.As(err, &failure) || failure.Kind != c.kind || failure.Outcome.ErrorType != c.errorType ||
					!strings.Contains(string(failure.ForRequest("r").Payload), "RequestId: r "+c.reason) {
					t.Errorf("%s, %s: %v %+v", c.name, kind, err, failure)
				}
				i.kill()
			}
		}
	})
}

// An extension that ends during an invocation ends the instance, and one that is not
// done with an invocation in time does too.
func TestExtensionEndsItsInstance(t *testing.T) {
	onIsolated(t, func(t *testing.T, b *bench) {
		b.cells = false // none can become an instance with extensions
		slow := js(`exports.handler = async () => new Promise((done) => setTimeout(done, 60000))`)
		crash := b.withLayers(b.version(hostNode(t), "index.handler", slow), map[string]string{"extensions/watcher": extension(allEvents, "exit 4")})
		i := b.start(crash).ready()
		_, tail, err := i.invoke("{}")
		var failure *pool.Failure
		if !errors.As(err, &failure) || failure.Outcome.ErrorType != "Extension.Crash" || !strings.Contains(string(failure.Outcome.Payload), "Error: exit code 4") {
			t.Errorf("%v\n%s", err, tail)
		}
		i.kill()
		stuck := b.withLayers(b.version(hostNode(t), "index.handler", js("exports.handler = async () => 1")),
			map[string]string{"extensions/watcher": extension(allEvents, `case "$event" in *INVOKE*) sleep 1000;; esac`)})
		i = b.start(stuck).ready()
		i.timeout = 5 * time.Second
		if _, _, err := i.invoke("{}"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-i.Done():
		case <-time.After(patience):
			t.Error("an instance whose extension is stuck lives on")
		}
	})
}

// Whatever its instance ends of, an extension is told and has two seconds.
func TestExtensionIsToldOfFailures(t *testing.T) {
	onIsolated(t, func(t *testing.T, b *bench) {
		b.cells = false // none can become an instance with extensions
		for cause, reason := range map[string]string{"timeout": "timeout", "oom": "failure"} {
			v := b.withLayers(b.version(hostNode(t), "index.handler", js("exports.handler = async () => 1")),
				map[string]string{"extensions/watcher": extension(`"SHUTDOWN"`, `echo "$event"`)})
			i := b.start(v).ready()
			if err := i.Kill(cause, 0); err != nil {
				t.Error(err)
			}
			if log := b.allLogs(); !strings.Contains(log, `"shutdownReason":"`+reason+`"`) || !strings.Contains(log, "watcher ends\n") {
				t.Errorf("%s: the extension was not told:\n%s", cause, log)
			}
		}
	})
}

// An extension inside the runtime registers for invocations, as long as it is init.
func TestInternalExtension(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		v := b.version("provided.al2023", "x", sh(`#!/bin/bash
base="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
refused=$(curl -sS "$base/register" -H 'Lambda-Extension-Name: inside' -d '{"events":["SHUTDOWN"]}')
xid=$(curl -sS -D - -o /dev/null "$base/register" -H 'Lambda-Extension-Name: inside' -d '{"events":["INVOKE"]}' | tr -d '\r' | sed -n 's/^[Ll]ambda-[Ee]xtension-[Ii]dentifier: //p')
(while curl -sS -H "Lambda-Extension-Identifier: $xid" "$base/event/next"; do echo; done) &
`+strings.TrimPrefix(shellLoop, "#!/bin/bash\n")+`  late=$(curl -sS "$base/register" -H 'Lambda-Extension-Name: late' -d '{"events":["INVOKE"]}')
  curl -sS -o /dev/null "$api/invocation/$id/response" -d "[$refused,$late]"; done`))
		i := b.start(v)
		if err := i.init(); err != nil {
			t.Fatalf("%v\n%s", err, i.log)
		}
		out, _, err := i.invoke("{}")
		if err != nil || !strings.Contains(string(out.Payload), "Extension.InvalidEventType") || !strings.Contains(string(out.Payload), "Extension.RegistrationClosed") {
			t.Errorf("answered %s, %v", out.Payload, err)
		}
		if lingering := i.Runtime.(pool.Lingerer).Lingering(); lingering != nil {
			<-lingering
		}
		i.kill()
		if log := i.log.String(); !strings.Contains(log, `{"eventType":"INVOKE"`) {
			t.Errorf("the extension was not told:\n%s", log)
		}
	})
}

func TestExtensionsNeedIsolation(t *testing.T) {
	b := newBench(t, drivers(t)["none"]())
	v := layeredWith(b, map[string]string{"watcher": extension(allEvents, "")})["node"]
	if _, err := b.launcher.Start(t.Context(), v, "x"); !faas.IsCode(err, faas.CodeUnsupported) || !strings.Contains(err.Error(), "watcher") {
		t.Errorf("started: %v", err)
	}

}
