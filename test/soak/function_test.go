package soak

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hearth/test/e2e"
)

// language makes the packages of one runtime.
type language struct {
	name, runtime, handler string
	files                  func(code string) map[string][]byte
}

// languages are the newest runtimes of the machine and a custom one, which is
// built into dir.
func languages(t *testing.T, s *e2e.Server, dir string) []language {
	t.Helper()
	node, python := read(t, "testdata/node/index.mjs"), read(t, "testdata/python/app.py")
	bootstrap := filepath.Join(dir, "bootstrap")
	build(t, bootstrap, "0", "-ldflags=-s -w", "./testdata/provided")
	binary := read(t, bootstrap)
	with := func(source []byte, code string) []byte { return bytes.Replace(source, []byte("CODE"), []byte(code), 1) }
	return []language{
		{"node", newest(t, s, "nodejs"), "index.handler", func(code string) map[string][]byte {
			return map[string][]byte{"index.mjs": with(node, code)}
		}},
		{"python", newest(t, s, "python"), "app.handler", func(code string) map[string][]byte {
			return map[string][]byte{"app.py": with(python, code)}
		}},
		{"provided", "provided.al2023", "bootstrap", func(code string) map[string][]byte {
			return map[string][]byte{"bootstrap": binary, "code": []byte(code)}
		}},
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// build builds a Go program.
func build(t *testing.T, path, cgo string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"build", "-o", path}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// newest is the newest runtime of a family that this machine has.
func newest(t *testing.T, s *e2e.Server, family string) string {
	t.Helper()
	out, err := s.Run(context.Background(), t, "runtimes", "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Name      string
		Installed bool
	}
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("hearth runtimes: %v in %s", err, out)
	}
	for _, r := range list {
		if r.Installed && strings.HasPrefix(r.Name, family) {
			return r.Name
		}
	}
	t.Fatalf("this machine has no %s runtime: %s", family, out)
	return ""
}

// pack makes a zip of executable files.
func pack(files map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, content := range files {
		header := &zip.FileHeader{Name: name, Method: zip.Deflate}
		header.SetMode(0o755)
		f, err := w.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(f, bytes.NewReader(content)); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

// function is one function of the workload.
type function struct {
	name    string
	lang    language
	wild    bool // has a short timeout, which calls overrun
	history *history
	deploys int
}

// timeoutSeconds: what has to be answered in time has time enough, also where the
// machine is busy.
func (f *function) timeoutSeconds() int {
	if f.wild {
		return 1
	}
	return 30
}

// functions are two of each language: a calm one and a wild one.
func functions(languages []language) []*function {
	var all []*function
	for _, l := range languages {
		for _, wild := range []bool{false, true} {
			name := map[bool]string{false: "calm-", true: "wild-"}[wild] + l.name
			all = append(all, &function{name: name, lang: l, wild: wild, history: newHistory()})
		}
	}
	return all
}

// nextCode names the code of the next deployment; no two have the same name.
func (f *function) nextCode() string {
	f.deploys++
	return fmt.Sprintf("%s/%d", f.name, f.deploys)
}
