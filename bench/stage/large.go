package stage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hearth/code"
)

// LargeNode is a function whose package has about so many bytes of source: bundles
// as a bundler makes them, of many small modules, all of which are loaded at init
// and most of whose functions are never called. It answers as the measured function
// does.
func (s *Stage) LargeNode(l *Language, size int) (Function, error) {
	const perBundle = 4 << 20
	files := map[string]string{}
	var index strings.Builder
	for n, left := 0, size; left > 0; n, left = n+1, left-perBundle {
		name := fmt.Sprintf("bundle%d.js", n)
		files[name] = nodeBundle(n, min(left, perBundle))
		fmt.Fprintf(&index, "total += require('./%s').total;\n", name)
	}
	files["index.js"] = "let total = 0;\n" + index.String() + `
exports.handler = async (event) => ({
  greeting: 'hello, ' + event.name, count: event.items.length, sum: event.items.reduce((a, b) => a + b, 0) + total * 0,
});
`
	return s.pack(l, "index.handler", files)
}

// nodeBundle is one bundle of modules that register functions and a class each.
func nodeBundle(n, size int) string {
	var b strings.Builder
	b.WriteString("'use strict';\nconst modules = {}, cache = {};\n" +
		"const load = (id) => cache[id] || (modules[id](cache[id] = {}), cache[id]);\n")
	count := 0
	for ; b.Len() < size; count++ {
		fmt.Fprintf(&b, nodeModule, count, n)
	}
	fmt.Fprintf(&b, "let total = 0;\nfor (let id = 0; id < %d; id++) total += load(id).weigh(id);\nexports.total = total;\n", count)
	return b.String()
}

// nodeModule is a module of about 1 KB; its number is the first argument.
const nodeModule = `modules[%[1]d] = (exports) => {
  const table = { name: 'module-%[2]d-%[1]d', kinds: ['alpha', 'beta', 'gamma'], limit: %[1]d, nested: { deep: [1, 2, %[1]d] } };
  class Shape%[1]d {
    constructor(width, height) { this.width = width; this.height = height; this.tags = new Map(); }
    area() { return this.width * this.height; }
    scale(by) { const next = new Shape%[1]d(this.width * by, this.height * by); for (const [k, v] of this.tags) next.tags.set(k, v); return next; }
    describe() { return this.tags.size > 0 ? [...this.tags.keys()].join(', ') : table.name + ' of ' + this.area(); }
  }
  function parse%[1]d(text) {
    const out = []; let word = '';
    for (const c of text) { if (c === ' ' || c === ',') { if (word !== '') out.push(word); word = ''; } else { word += c; } }
    return word === '' ? out : [...out, word];
  }
  function merge%[1]d(a, b) {
    const result = { ...a };
    for (const key of Object.keys(b)) { result[key] = typeof b[key] === 'object' && b[key] !== null ? merge%[1]d(result[key] || {}, b[key]) : b[key]; }
    return result;
  }
  exports.Shape = Shape%[1]d; exports.parse = parse%[1]d; exports.merge = merge%[1]d;
  exports.weigh = (n) => table.limit + n;
};
`

// pythonModules is how many modules of its own the heavy Python function imports.
const pythonModules = 200

// HeavyPython is a function that imports many modules, of its own and of the
// standard library. It answers as the measured function does.
func (s *Stage) HeavyPython(l *Language) (Function, error) {
	files := map[string]string{}
	var app strings.Builder
	app.WriteString("import asyncio, csv, decimal, difflib, email.message, http.client, logging.handlers, multiprocessing, sqlite3, ssl, statistics, unittest, urllib.request, xml.dom.minidom\n\ntotal = 0\n")
	for n := range pythonModules {
		name := fmt.Sprintf("heavy%d", n)
		files[name+".py"] = pythonModule(n)
		fmt.Fprintf(&app, "import %s\ntotal += %[1]s.TOTAL\n", name)
	}
	app.WriteString(`

def handler(event, context):
    items = event["items"]
    return {"greeting": "hello, " + event["name"], "count": len(items), "sum": sum(items)}
`)
	files["app.py"] = app.String()
	return s.pack(l, "app.handler", files)
}

// pythonModule is a module of about 15 KB of classes and functions.
func pythonModule(n int) string {
	var b strings.Builder
	b.WriteString("from dataclasses import field\n")
	for i := range 24 {
		fmt.Fprintf(&b, `
class Record%[1]d:
    """One of the records of module %[2]d."""

    kinds = ("alpha", "beta", "gamma", "%[2]d")

    def __init__(self, name, values=()):
        self.name = name
        self.values = list(values)
        self.index = {value: i for i, value in enumerate(self.values)}

    def merge(self, other):
        for value in other.values:
            if value not in self.index:
                self.index[value] = len(self.values)
                self.values.append(value)
        return self

    def describe(self, limit=%[1]d):
        return ", ".join(str(value) for value in self.values[:limit]) or self.name
`, i, n)
	}
	fmt.Fprintf(&b, "\n\nTOTAL = len([%s])\n", strings.Repeat("1, ", n%7))
	return b.String()
}

// pack writes files into a directory and makes a package of them.
func (s *Stage) pack(l *Language, handler string, files map[string]string) (Function, error) {
	dir, err := os.MkdirTemp(s.Dir, "large-")
	if err != nil {
		return Function{}, err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return Function{}, err
		}
	}
	zip, err := code.Pack(dir)
	return Function{Runtime: l.Function.Runtime, Handler: handler, Zip: zip, InitSeconds: 60}, err
}
