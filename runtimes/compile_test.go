package runtimes

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hearth/faas"
)

// padding makes a file large enough to be compiled ahead, in both languages.
func padding(comment string) string {
	return strings.Repeat(comment+strings.Repeat(" padding", 16)+"\n", 200)
}

// onIsolated runs the test on the drivers that have paths of their own.
func onIsolated(t *testing.T, test func(t *testing.T, b *bench)) {
	onEach(t, func(t *testing.T, b *bench) {
		if strings.HasSuffix(t.Name(), "/none") {
			return
		}
		test(t, b)
	})
}

// compile compiles the version's package and returns where to, "" for nowhere.
func (b *bench) compile(v *faas.Version) string {
	b.t.Helper()
	if err := b.launcher.Compile(b.t.Context(), v); err != nil {
		b.t.Fatal("compile:", err)
	}
	p, err := b.launcher.plan(v, "")
	if err != nil {
		b.t.Fatal(err)
	}
	dir, _ := b.code.Acquire(b.t.Context(), v.Code)
	defer dir.Release()
	path, ok := dir.Derived(p.compiledName())
	if !ok {
		return ""
	}
	return path
}

func hello(t *testing.T, i *instance, want string) {
	t.Helper()
	if out, tail, err := i.invoke("{}"); err != nil || string(out.Payload) != want {
		t.Errorf("answer %s, %v, want %s\n%s", out.Payload, err, want, tail)
	}
}

// A cache is taken only by V8's own check: what it rejects is compiled anew, and a
// test of the answer alone would not notice. So the function looks.
func TestNodeUsesItsCodeCache(t *testing.T) {
	onIsolated(t, func(t *testing.T, b *bench) {
		v := b.version(hostNode(t), "index.handler", map[string]string{
			"index.js": `const vm = require('vm');
				require('worker_threads'); // V8 has the flag of the heap's limit again
				const compile = vm.compileFunction;
				const seen = [];
				vm.compileFunction = (...a) => { const f = compile(...a); seen.push(a[2].filename + ' ' + f.cachedDataRejected); return f; };
				const big = require('./lib/big.js');
				exports.handler = async () => [seen, big.answer(), await require('./lib/late.js')(), big.itself === module.children[0], big.main];`,
			"lib/big.js": `exports.answer = () => require('../small.js');
				exports.itself = module;
				exports.main = require.main === module;
				` + padding("//"),
			"small.js":       "module.exports = 42",
			"lib/late.js":    "module.exports = async () => (await import('./late.mjs')).default\n" + padding("//"),
			"lib/late.mjs":   "export default 'late'",
			"lib/module.mjs": padding("//"),
			"broken.js":      "this is not JavaScript\n" + padding("//"),
		})
		path := b.compile(v)
		if path == "" {
			t.Fatal("nothing was compiled")
		}
		if list := files(t, path); fmt.Sprint(list) != "[lib/big.js.v8]" {
			t.Errorf("compiled %v", list)
		}
		hello(t, b.start(v).ready(), `[["/var/task/lib/big.js false"],42,"late",true,false]`)
		larger := *v
		larger.Config.MemoryMB *= 2
		hello(t, b.start(&larger).ready(), `[["/var/task/lib/big.js false"],42,"late",true,false]`)
	})
}

func TestPythonUsesItsByteCode(t *testing.T) {
	onIsolated(t, func(t *testing.T, b *bench) {
		v := b.version("python3.11", "index.handler", map[string]string{
			"index.py":        "import lib.big\ndef handler(e, c):\n  return [lib.big.__cached__, lib.big.answer(), __file__]\n",
			"lib/__init__.py": "",
			"lib/big.py":      "def answer():\n  return 42\n" + padding("#"),
			"lib/broken.py":   "def (:\n",
		})
		path := b.compile(v)
		if path == "" {
			t.Fatal("nothing was compiled")
		}
		want := "[var/task/index.cpython-311.pyc var/task/lib/__init__.cpython-311.pyc var/task/lib/big.cpython-311.pyc]"
		if list := files(t, path); fmt.Sprint(list) != want {
			t.Errorf("compiled %v", list)
		}
		// Proof that the byte code is what runs: it answers in place of the source.
		source := filepath.Join(b.code.dir, v.Code.SHA256, "lib/big.py")
		if err := os.WriteFile(source, []byte("def answer():\n  return 'from source'\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		hello(t, b.start(v).ready(), `["/var/compiled/var/task/lib/big.cpython-311.pyc", 42, "/var/task/index.py"]`)
	})
}

func TestCompilesOnlyWhatIsWorthIt(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		small := b.version(hostNode(t), "index.handler", js("exports.handler = async () => 1"))
		custom := b.version("provided.al2023", "x", map[string]string{"bootstrap": "#!/bin/sh\n" + padding("#")})
		for _, v := range []*faas.Version{small, custom} {
			if err := b.launcher.Compile(t.Context(), v); err != nil {
				t.Errorf("%s: %v", v.Config.Runtime, err)
			}
		}
		if left, _ := filepath.Glob(b.code.dir + "/*.derived-*"); len(left) != 0 {
			t.Errorf("compiled %v", left)
		}
	})
}

// Whoever finds nothing compiled has it compiled behind its back, once.
func TestAStartHasItsPackageCompiled(t *testing.T) {
	onIsolated(t, func(t *testing.T, b *bench) {
		v := b.version("python3.11", "index.handler", map[string]string{"index.py": "def handler(e, c):\n  return __cached__\n" + padding("#")})
		hello(t, b.start(v).ready(), `"/var/task/__pycache__/index.cpython-311.pyc"`)
		if err := b.launcher.Compile(t.Context(), v); err != nil { // waits for the one in the background, or is it
			t.Fatal(err)
		}
		hello(t, b.start(v).ready(), `"/var/compiled/var/task/index.cpython-311.pyc"`)
	})
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(dir, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func record(name, data string) string {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
	return string(binary.BigEndian.AppendUint32(head, uint32(len(data)))) + name + data
}

func TestReceiveCompiled(t *testing.T) {
	long := strings.Repeat("x", maxCompiledName+1)
	for _, tt := range []struct{ name, stream, fault string }{
		{"nothing", "", ""},
		{"two", record("a", "1") + record("b/c", "2"), ""},
		{"empty", record("a", ""), ""},
		{"above", record("../a", "1"), "has the name"},
		{"absolute", record("/etc/a", "1"), "has the name"},
		{"no name", record("", "1"), "has the name"},
		{"twice", record("a", "1") + record("a", "2"), "exists"},
		{"file as directory", record("a", "1") + record("a/b", "2"), "exists"},
		{"cut in the head", record("a", "1")[:5], "unexpected EOF"},
		{"cut in the name", record("abc", "1")[:10], "cut off"},
		{"cut in the data", record("a", "12345")[:11], "EOF"},
		{"too large", record("a", strings.Repeat("x", 1001)), "over the limit"},
		{"too large together", record("a", strings.Repeat("x", 600)) + record("b", strings.Repeat("x", 600)), "over the limit"},
		{"long name", record(long, "1"), "over the limit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := receiveCompiled(strings.NewReader(tt.stream), t.TempDir(), 1000)
			if tt.fault == "" && err != nil || tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
				t.Errorf("error %v, want %q", err, tt.fault)
			}
		})
	}
}

func FuzzReceiveCompiled(f *testing.F) {
	f.Add([]byte(record("a", "1") + record("b/c", "2")))
	f.Add([]byte(record("../a", "1")))
	f.Fuzz(func(t *testing.T, stream []byte) {
		outer := t.TempDir()
		dir := filepath.Join(outer, "in")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		_ = receiveCompiled(bytes.NewReader(stream), dir, 1<<16)
		if entries, _ := os.ReadDir(outer); len(entries) != 1 {
			t.Errorf("written outside: %v", entries)
		}
	})
}
