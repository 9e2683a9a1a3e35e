package runtimes

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hearth/faas"
)

var goLambdaRows = []row{
	{name: "result", event: `{"do":"answer"}`, want: `{"client":"v","deadline":true,"function":"fn","id":"request-1"}`, log: "doing answer\n"},
	{name: "error", event: `{"do":"fail"}`, error: "errorString", want: `{"errorMessage":"failed as told","errorType":"errorString"}`},
	{name: "panic", event: `{"do":"panic"}`, error: "string", want: `"errorMessage":"panicked as told"`, log: "panicked as told"},
	{name: "exit", event: `{"do":"exit"}`, exit: true, error: "Runtime.ExitError", want: "exit status 3"},
}

// buildGoLambda builds testdata/golambda: the unmodified aws-lambda-go, linked
// statically.
func buildGoLambda(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "bootstrap")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, ".")
	build.Dir = filepath.Join("testdata", "golambda")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// goLambda is a version of the binary.
func (b *bench) goLambda(binary string) *faas.Version {
	b.t.Helper()
	v := b.version("provided.al2023", "bootstrap", map[string]string{"README": "the binary is beside this"})
	copyExecutable(b.t, binary, filepath.Join(b.code.dir, v.Code.SHA256, "bootstrap"))
	return v
}

func TestGoLambda(t *testing.T) {
	binary := buildGoLambda(t)
	for driver, open := range benches(t) {
		b := open(t)
		v := b.goLambda(binary)
		for _, r := range goLambdaRows {
			t.Run(driver+"/"+r.name, func(t *testing.T) {
				i := b.start(v)
				defer i.kill()
				checkRow(t, i.ready(), r)
			})
		}
	}
}

func copyExecutable(t testing.TB, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestNodeRuntimeInterfaceClient runs npm's unmodified aws-lambda-ric, as a
// custom runtime on an added Node.js 22. It fetches both from the npm registry,
// and builds the client's native part, so only with HEARTH_LONG=1.
func TestNodeRuntimeInterfaceClient(t *testing.T) {
	if os.Getenv("HEARTH_LONG") == "" {
		t.Skip("set HEARTH_LONG=1 to fetch and build aws-lambda-ric")
	}
	c := NewCatalogue(CatalogueOptions{Dir: filepath.Join(t.TempDir(), "runtimes")})
	var progress strings.Builder
	if err := c.Add(t.Context(), "nodejs22.x", &progress); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	node := filepath.Join(c.dir, "nodejs22.x")
	modules := t.TempDir()
	install := exec.CommandContext(t.Context(), "npm", "install", "--no-audit", "--no-fund", "--prefix", modules, "aws-lambda-ric")
	install.Dir = modules
	install.Env = append(os.Environ(), "PATH="+node+"/bin:"+os.Getenv("PATH"), "npm_config_nodedir="+node)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	for driver, open := range benches(t) {
		t.Run(driver, func(t *testing.T) {
			b := open(t)
			v := b.version("provided.al2023", "index.handler", map[string]string{
				"index.js":  "exports.handler = async (e, c) => { console.log('hi'); return [e.n, c.functionName, c.awsRequestId, process.version.split('.')[0]] }",
				"bootstrap": "#!/bin/sh\nexec \"$LAMBDA_TASK_ROOT/node\" \"$LAMBDA_TASK_ROOT/node_modules/aws-lambda-ric/index.mjs\" \"$_HANDLER\"\n",
			})
			dir := filepath.Join(b.code.dir, v.Code.SHA256)
			copyExecutable(t, filepath.Join(node, "bin", "node"), filepath.Join(dir, "node"))
			if err := os.CopyFS(filepath.Join(dir, "node_modules"), os.DirFS(filepath.Join(modules, "node_modules"))); err != nil {
				t.Fatal(err)
			}
			checkRow(t, b.start(v).ready(), row{event: `{"n":1}`, want: `[1,"fn","request-1","v22"]`, log: "hi"})
		})
	}
}
