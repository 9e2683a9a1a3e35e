package runtimes

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hearth/faas"
)

// withLayers gives a version layers with these files, in this order.
func (b *bench) withLayers(v *faas.Version, layers ...map[string]string) *faas.Version {
	b.t.Helper()
	for _, files := range layers {
		code := b.version("", "", files).Code
		var contents faas.Contents
		for name := range files {
			contents.Libraries = contents.Libraries || strings.HasPrefix(name, "lib/")
			contents.Extensions = contents.Extensions || strings.HasPrefix(name, "extensions/")
		}
		v.Config.Layers = append(v.Config.Layers, faas.Layer{ARN: "arn:" + code.SHA256, Code: code, Contents: contents})
	}
	return v
}

const say = "#!/bin/sh\nexec printf "

// layered are functions that use their layers in every way that a language has, and
// what they answer. Of two layers with the same file the second wins.
var layered = []struct {
	name, runtime, handler string
	files                  map[string]string
	layers                 []map[string]string
	want                   string
}{
	{"node", "", "index.handler", map[string]string{"index.js": `const fs = require('fs'), { execFileSync } = require('child_process');
const missing = (run) => { try { run(); return 'found'; } catch (e) { return e.code; } };
exports.handler = async () => [require('both'), require('one'), require('versioned'), require('tasks'),
  await import('one').then(() => 'found', (e) => e.code), execFileSync('tool', ['ran']).toString(),
  missing(() => fs.writeFileSync(require.resolve('one'), 'x')) === 'found' ? 'written' : 'refused'].join(' ')`, "node_modules/tasks/index.js": "module.exports = 'task'"},
		[]map[string]string{
			{"nodejs/node_modules/both/index.js": "module.exports = 'first'", "nodejs/node_modules/one/index.js": "module.exports = 'one'",
				"nodejs/node_modules/tasks/index.js": "module.exports = 'layer'", "bin/tool": say + "$1"},
			{"nodejs/node_modules/both/index.js": "module.exports = 'second'", "nodejs/nodeVERSION/node_modules/versioned/index.js": "module.exports = 'versioned'"},
		}, `"second one versioned task ERR_MODULE_NOT_FOUND ran refused"`},
	{"python", "python3.11", "index.handler", map[string]string{"index.py": `
import subprocess, both, one, packaged, tasks
def handler(event, context):
    try:
        open(one.__file__, 'w')
        return 'written'
    except OSError:
        pass
    return ' '.join([both.name, one.name, packaged.name, tasks.name, subprocess.check_output(['tool', 'ran']).decode()])`, "tasks.py": "name = 'task'"},
		[]map[string]string{
			{"python/both.py": "name = 'first'", "python/one.py": "name = 'one'", "python/tasks.py": "name = 'layer'", "bin/tool": say + "$1"},
			{"python/both.py": "name = 'second'", "python/lib/python3.11/site-packages/packaged.py": "name = 'site'"},
		}, `"second one site task ran"`},
	{"provided", "provided.al2023", "x", map[string]string{"word": "package"},
		[]map[string]string{
			{"bootstrap": "#!/bin/bash\nexit 3\n", "word": "first", "bin/tool": say + "$1"},
			{"bootstrap": shellLoop + `  curl -sS -o /dev/null "$api/invocation/$id/response" -d "\"$(cat word) $(cat $(dirname $0)/word) $(tool ran)\""; done`,
				"word": "second"},
		}, `"package second ran"`},
}

func TestLayers(t *testing.T) {
	node := hostNode(t)
	for driver, open := range benches(t) {
		b := open(t)
		for _, c := range layered {
			t.Run(driver+"/"+c.name, func(t *testing.T) {
				b.t = t
				runtime := or(c.runtime, node)
				var layers []map[string]string
				for _, files := range c.layers {
					major := strings.TrimSuffix(strings.TrimPrefix(node, "nodejs"), ".x")
					renamed := map[string]string{}
					for name, content := range files {
						renamed[strings.ReplaceAll(name, "nodeVERSION", "node"+major)] = content
					}
					layers = append(layers, renamed)
				}
				want := c.want
				if driver == "none" { // it mounts nothing, so nothing is read-only
					want = strings.ReplaceAll(want, "refused", "written")
					if c.name == "python" {
						want = `"written"`
					}
				}
				i := b.start(b.withLayers(b.version(runtime, c.handler, c.files), layers...))
				defer i.kill()
				out, tail, err := i.ready().invoke("{}")
				if err != nil || string(out.Payload) != want {
					t.Errorf("answer %s, %v; want %s\n%s", out.Payload, err, want, tail)
				}
			})
		}
		b.t = t
	}
}

// What was booted has looked for the libraries of layers already, so a function that
// has some is started directly. A bootstrap of the package's own has not.
func TestLibrariesOfLayers(t *testing.T) {
	libraries, err := filepath.Glob("/lib/x86_64-linux-gnu/libz.so.1")
	if err != nil || len(libraries) == 0 {
		libraries, _ = filepath.Glob("/usr/lib*/*/libz.so.1")
	}
	if len(libraries) == 0 {
		t.Fatal("this machine has no libz.so.1 to copy")
	}
	library, err := os.ReadFile(libraries[0])
	if err != nil {
		t.Fatal(err)
	}
	layer := map[string]string{"lib/libofthelayer.so": string(library)}
	for driver, open := range benches(t) {
		b := open(t)
		cells := b.cells
		b.cells = false // whether it is one is looked at below
		v := b.withLayers(b.version("python3.11", "index.handler", py("import ctypes\ndef handler(e, c):\n    ctypes.CDLL('libofthelayer.so')\n    return 'loaded'")), layer)
		i := b.start(v)
		if parts := i.Parts(); parts.Way == faas.WayCell || cells && parts.WayReason != "libraries of a layer" {
			t.Errorf("%s: started %q (%s)", driver, parts.Way, parts.WayReason)
		}
		out, tail, err := i.ready().invoke("{}")
		if err != nil || string(out.Payload) != `"loaded"` {
			t.Errorf("%s: %s, %v\n%s", driver, out.Payload, err, tail)
		}
		i.kill()
		p, err := b.launcher.plan(b.withLayers(b.version("provided.al2023", "x", sh("x")), layer), "x")
		if err != nil {
			t.Fatal(err)
		}
		if _, reason := b.launcher.cells.classOf(p); slices.Contains([]string{"libraries of a layer"}, reason) {
			t.Errorf("%s: a custom runtime takes the direct start: %s", driver, reason)
		}
	}
}
