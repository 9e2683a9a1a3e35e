package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ricRuntime is the installed Node that the runtime interface client runs on.
const ricRuntime = "nodejs22.x"

// TestNodeRIC: npm's aws-lambda-ric, AWS's own runtime interface client, runs
// unmodified as a provided function, with the Node that 'hearth runtimes add'
// installs. Its native part is compiled by its own install script, once for each
// machine: about a minute.
func TestNodeRIC(t *testing.T) {
	s := Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	node := addRuntime(ctx, t, s, ricRuntime)
	client, err := ricInstalled(ctx, node)
	if err != nil {
		t.Fatal(err)
	}
	c := newGoClient(t, s)
	f := &life{t: t, ctx: ctx, client: c, name: "ric"}
	_, err = c.create(ctx, function{name: "ric", runtime: "provided.al2023", handler: "index.handler", zip: ricPackage(t, node, client)})
	f.ok("create", err)
	f.ok("wait until active", c.waitActive(ctx, "ric"))
	for call := 1; call <= 3; call++ {
		if a, r := f.invoke(""); r.Version != "ric" || r.Count != call {
			t.Errorf("call %d: %+v\n%s", call, r, a.log)
		}
	}
	failed, err := c.invoke(ctx, "ric", "", `{"fail":true}`)
	f.ok("invoke", err)
	var thrown struct{ ErrorType, ErrorMessage string }
	if err := json.Unmarshal([]byte(failed.payload), &thrown); err != nil || failed.functionError != "Unhandled" ||
		thrown.ErrorType != "RangeError" || thrown.ErrorMessage != "out of bounds" {
		t.Errorf("a thrown error came back as %s %s (%v)", failed.functionError, failed.payload, err)
	}
	streamRIC(f, c.(goClient), ricPackage(t, node, client))
}

// streamRIC streams a response of the runtime interface client.
func streamRIC(f *life, c goClient, zip []byte) {
	f.t.Helper()
	_, err := c.create(f.ctx, function{name: "ric-stream", runtime: "provided.al2023", handler: "index.stream", zip: zip})
	f.ok("create", err)
	f.ok("wait until active", c.waitActive(f.ctx, "ric-stream"))
	head := `{"statusCode":201}` + strings.Repeat("\x00", 8)
	if got, err := c.stream(f.ctx, "ric-stream", "{}"); err != nil || got.text != head+"one two" || got.errorCode != "" {
		f.t.Errorf("streamed %+v, %v", got, err)
	}
	if got, err := c.stream(f.ctx, "ric-stream", `{"fail":true}`); err != nil || got.text != head+"one " || got.errorCode != "RangeError" ||
		!strings.Contains(got.details, `"errorMessage":"out of bounds"`) {
		f.t.Errorf("streamed %+v, %v", got, err)
	}
	if got, err := c.invoke(f.ctx, "ric-stream", "", "{}"); err != nil || got.payload != head+"one two" {
		f.t.Errorf("collected %+v, %v", got, err)
	}
}

// addRuntime installs a runtime below the server's data directory and returns the
// path of its interpreter.
func addRuntime(ctx context.Context, t *testing.T, s *Server, name string) string {
	t.Helper()
	if _, err := s.Run(ctx, t, "runtimes", "add", name); err != nil {
		t.Fatal(err)
	}
	out, err := s.Run(ctx, t, "runtimes", "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ Name, Path string }
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("hearth runtimes: %v in %s", err, out)
	}
	for _, r := range list {
		if r.Name == name && r.Path != "" {
			return r.Path
		}
	}
	t.Fatalf("%s was added and is not there: %s", name, out)
	return ""
}

// ricInstalled returns a folder with aws-lambda-ric in its node_modules, built for
// the given Node. It is kept in the user's cache, under a name that changes with
// what it is made from.
func ricInstalled(ctx context.Context, node string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	lock, err := os.ReadFile("testdata/ric/package-lock.json")
	if err != nil {
		return "", err
	}
	version, err := exec.CommandContext(ctx, node, "--version").Output()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(lock, version...))
	dir := filepath.Join(cache, "hearth-e2e", "ric-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "building-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := buildRIC(ctx, node, work); err != nil {
		return "", err
	}
	return dir, os.Rename(work, dir) // only what is whole gets the name
}

func buildRIC(ctx context.Context, node, dir string) error {
	if _, err := exec.LookPath("cmake"); err != nil {
		return fmt.Errorf("aws-lambda-ric compiles its native part; apt-get install cmake g++ make: %w", err)
	}
	if err := os.CopyFS(dir, os.DirFS("testdata/ric")); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = dir
	home := filepath.Dir(filepath.Dir(node)) // DIR/bin/node, with the headers in DIR/include
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(node)+":"+os.Getenv("PATH"), "npm_config_nodedir="+home, "npm_config_fetch_retries=5")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in testdata/ric: %w\n%s", err, out)
	}
	return nil
}

const ricBootstrap = `#!/bin/sh
exec ./node node_modules/aws-lambda-ric/index.mjs "$_HANDLER"
`

const ricHandler = `
let count = 0;
exports.handler = async (event, context) => {
  if (event.fail) throw new RangeError("out of bounds");
  return { version: "ric", count: ++count, greeting: "", name: context.functionName, event };
};
exports.stream = awslambda.streamifyResponse(async (event, stream) => {
  stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
  stream.write("one ");
  if (event.fail) throw new RangeError("out of bounds");
  stream.end("two");
});
`

// ricPackage holds the interpreter, the client as it was installed and a handler.
func ricPackage(t *testing.T, node, client string) []byte {
	t.Helper()
	files := map[string][]byte{"bootstrap": []byte(ricBootstrap), "index.js": []byte(ricHandler)}
	read := func(name, path string) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = content
	}
	read("node", node)
	root := filepath.Join(client, "node_modules", "aws-lambda-ric")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(client, path)
		if err == nil && !strings.Contains(name, filepath.Join("aws-lambda-ric", "deps")) && d.Type().IsRegular() {
			read(filepath.ToSlash(name), path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pack(t, files)
}
