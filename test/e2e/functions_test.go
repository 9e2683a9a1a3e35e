package e2e

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// The test functions do the same in every language: they return the version of
// their code, how often this instance was called, the variable GREETING, the
// function's name and the event.

const nodeSource = `
let count = 0;
export const handler = async (event, context) => ({
  version: "VERSION", count: ++count, greeting: process.env.GREETING ?? "", name: context.functionName, event,
});
`

const pythonSource = `
import os

count = 0

def handler(event, context):
    global count
    count += 1
    return {"version": "VERSION", "count": count, "greeting": os.environ.get("GREETING", ""),
            "name": context.function_name, "event": event}
`

// language makes the deployment packages of one language.
type language struct {
	name    string
	runtime func(t *testing.T, s *Server) string
	handler string
	zip     func(t *testing.T, version string) []byte
}

var languages = []language{
	{"node", installed("nodejs"), "index.handler", func(t *testing.T, version string) []byte {
		return pack(t, map[string][]byte{"index.mjs": []byte(strings.ReplaceAll(nodeSource, "VERSION", version))})
	}},
	{"python", installed("python"), "app.handler", func(t *testing.T, version string) []byte {
		return pack(t, map[string][]byte{"app.py": []byte(strings.ReplaceAll(pythonSource, "VERSION", version))})
	}},
	{"provided-go", func(*testing.T, *Server) string { return "provided.al2023" }, "bootstrap", func(t *testing.T, version string) []byte {
		return pack(t, map[string][]byte{"bootstrap": goFunction(t), "version": []byte(version)})
	}},
}

// installed returns the newest runtime of a family that the machine has.
func installed(family string) func(*testing.T, *Server) string {
	return func(t *testing.T, s *Server) string { return s.Newest(t, family) }
}

// pack makes a zip of executable files.
func pack(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, content := range files {
		header := &zip.FileHeader{Name: name, Method: zip.Deflate}
		header.SetMode(0o755)
		f, err := w.CreateHeader(header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var buildGo = sync.OnceValues(func() ([]byte, error) {
	dir, err := buildDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "bootstrap")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	cmd.Dir = "testdata/go"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return os.ReadFile(path)
})

// goFunction is testdata/go, built statically.
func goFunction(t testing.TB) []byte {
	t.Helper()
	binary, err := buildGo()
	if err != nil {
		t.Fatalf("build the Go function: %v", err)
	}
	return binary
}
