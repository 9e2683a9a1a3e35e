package runtimes

import (
	"bytes"
	"fmt"
)

// nodeModules are the modules of Node's bootstrap that instances may need. They are
// written into the program itself: to find, read and compile each as a file of its own
// takes 0.2 ms, and a start needs most.
var nodeModules = [...]string{"binding", "heap", "frames", "trace", "calls", "compiled", "console", "errors", "handler", "output", "stream"}

const (
	// bundleHead begins the program. A module is a function that is called when it is
	// first required.
	bundleHead = `'use strict';
// Made of the files beside it; load is their require.
const sources = {
`
	bundleMiddle = `};
const modules = {};
const load = Object.assign((name) => {
  if (!sources[name]) return require(name);
  if (!modules[name]) {
    modules[name] = { exports: {} };
    sources[name](load, modules[name]);
  }
  return modules[name].exports;
}, require);
((require) => {
`
	bundleTail = "})(load);\n"
)

// nodeProgram returns Node's bootstrap with its modules in it.
func nodeProgram() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(bundleHead)
	for _, name := range nodeModules {
		source, err := sources.ReadFile("node/" + name + ".js")
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "'./%s.js'(require, module) {\n%s},\n", name, source)
	}
	source, err := sources.ReadFile(nodeEntry)
	if err != nil {
		return nil, err
	}
	b.WriteString(bundleMiddle)
	b.Write(source)
	b.WriteString(bundleTail)
	return b.Bytes(), nil
}
