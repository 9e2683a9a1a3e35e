package soak

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
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
	files                  func(code string) map[string]string
}

// languages are the newest runtimes of the machine and a custom one.
func languages(t *testing.T, s *e2e.Server) []language {
	t.Helper()
	node, python, bootstrap := read(t, "node/index.mjs"), read(t, "python/app.py"), read(t, "provided/bootstrap")
	with := func(source, code string) string { return strings.Replace(source, "CODE", code, 1) }
	return []language{
		{"node", s.Newest(t, "nodejs"), "index.handler", func(code string) map[string]string {
			return map[string]string{"index.mjs": with(node, code)}
		}},
		{"python", s.Newest(t, "python"), "app.handler", func(code string) map[string]string {
			return map[string]string{"app.py": with(python, code)}
		}},
		{"provided", "provided.al2023", "bootstrap", func(code string) map[string]string {
			return map[string]string{"app.py": with(python, code), "bootstrap": bootstrap}
		}},
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// raceBinary builds the binary with the race detector, into dir.
func raceBinary(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "hearth")
	cmd := exec.Command("go", "build", "-race", "-o", path, "hearth/cmd/hearth")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the binary: %v\n%s", err, out)
	}
	return path
}

// pack makes a zip of executable files.
func pack(files map[string]string) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, content := range files {
		header := &zip.FileHeader{Name: name, Method: zip.Deflate}
		header.SetMode(0o755)
		f, err := w.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(f, strings.NewReader(content)); err != nil {
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

// functions are two of each language, a calm one and a wild one, in any order.
func functions(languages []language, rng *rand.Rand) []*function {
	var all []*function
	for _, l := range languages {
		all = append(all,
			&function{name: "calm-" + l.name, lang: l, history: newHistory()},
			&function{name: "wild-" + l.name, lang: l, wild: true, history: newHistory()})
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// nextCode names the code of the next deployment; no two have the same name.
func (f *function) nextCode() string {
	f.deploys++
	return fmt.Sprintf("%s/%d", f.name, f.deploys)
}
