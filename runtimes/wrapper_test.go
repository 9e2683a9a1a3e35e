package runtimes

import (
	"errors"
	"strings"
	"testing"

	"hearth/pool"
	"hearth/runtimeapi"
)

// wrapperOf is a wrapper as monitoring agents have it: it gives the interpreter
// another argument before the last, the function a variable, and another handler.
func wrapperOf(argument string) string {
	return `#!/bin/bash
export GREETING="hello $NAME" _HANDLER=agent.handler
args=("$@")
exec "${args[@]:0:$#-1}" ` + argument + ` "${args[@]: -1}"
`
}

func TestWrapper(t *testing.T) {
	node := hostNode(t)
	onEach(t, func(t *testing.T, b *bench) {
		for _, c := range []struct {
			name, runtime, argument string
			files                   map[string]string
		}{
			{"node", node, "--expose-gc", map[string]string{
				"index.js": "exports.handler = async () => 'the function'",
				"agent.js": "exports.handler = async () => [process.env.GREETING, typeof gc, await require('./index').handler()].join(', ')"}},
			{"python", "python3.11", "-X function", map[string]string{
				"index.py": "def handler(e, c): return 'the function'",
				"agent.py": `import os, sys, index
def handler(e, c): return ', '.join([os.environ['GREETING'], next(iter(sys._xoptions)), index.handler(e, c)])`}},
		} {
			for _, path := range []string{"/opt/wrap", "wrap", "/var/task/wrap"} {
				c.files["wrap"] = wrapperOf(c.argument)
				v := b.withLayers(b.version(c.runtime, "index.handler", c.files), map[string]string{"wrap": wrapperOf(c.argument)})
				v.Config.Environment = map[string]string{"AWS_LAMBDA_EXEC_WRAPPER": path, "NAME": "Ada"}
				i := b.start(v)
				out, tail, err := i.ready().invoke("{}")
				if want := `"hello Ada, function, the function"`; err != nil || string(out.Payload) != want {
					t.Errorf("%s, %s: answer %s, %v; want %s\n%s", c.name, path, out.Payload, err, want, tail)
				}
				i.kill()
			}
		}
	})
}

// A wrapper that is not there, or that is no program, is the function's mistake.
func TestWrapperThatCannotRun(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		for name, want := range map[string]string{"missing": "fork/exec /var/task/missing: no such file or directory", "text": "fork/exec /var/task/text: permission denied"} {
			v := b.version("python3.11", "index.handler", map[string]string{"index.py": "def handler(e, c): return 1", "text": "no program"})
			v.Config.Environment = map[string]string{"AWS_LAMBDA_EXEC_WRAPPER": name}
			i := b.start(v)
			var failure *pool.Failure
			if err := i.init(); !errors.As(err, &failure) || failure.Outcome.ErrorType != runtimeapi.TypeEntrypoint || !strings.Contains(string(failure.Outcome.Payload), want) {
				t.Errorf("%s: %v", name, err)
			}
			i.kill()
		}
	})
}
