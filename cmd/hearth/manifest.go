package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"

	"hearth/api/native"
	"hearth/faas"
)

// manifestName is the file that describes a function in its directory.
const manifestName = "hearth.toml"

// manifest is a function as its directory describes it: what deploy sends,
// without the code.
type manifest struct {
	Name                string            `toml:"name"`
	Runtime             string            `toml:"runtime"`
	Handler             string            `toml:"handler"`
	Description         string            `toml:"description"`
	Role                string            `toml:"role"`
	Memory              int               `toml:"memory"`  // MB
	Timeout             int               `toml:"timeout"` // seconds
	InitTimeout         int               `toml:"init_timeout"`
	Ephemeral           int               `toml:"ephemeral"` // MB of /tmp
	InstanceConcurrency int               `toml:"instance_concurrency"`
	Egress              string            `toml:"egress"`
	Isolation           string            `toml:"isolation"`
	DeadLetter          *string           `toml:"dead_letter"` // a function or a URL; "" removes it
	Environment         map[string]string `toml:"environment"`
	Layers              *[]string         `toml:"layers"` // name, name:version, ARN, or a path of a directory or zip
	// Code is what is uploaded, relative to the manifest: a directory, a file or
	// a zip. Empty is the manifest's own directory.
	Code string `toml:"code"`

	dir string
}

// readManifest reads the description of the function at path: a directory with
// or without a hearth.toml, a single file, or a zip. What is not said is found
// out from the files, or left to the server's defaults.
func readManifest(path string) (*manifest, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, usageError("there is no function at %s: %w", path, err)
	}
	m := &manifest{dir: path}
	if !info.IsDir() {
		m.dir, m.Code = filepath.Dir(path), filepath.Base(path)
		m.Name = strings.TrimSuffix(m.Code, filepath.Ext(m.Code))
		m.guess()
		return m, nil
	}
	file := filepath.Join(path, manifestName)
	meta, err := toml.DecodeFile(file, m)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, usageError("%s: %w", file, err)
	}
	if err == nil && len(meta.Undecoded()) > 0 {
		return nil, usageError("%s: there is no key %q", file, meta.Undecoded()[0].String())
	}
	if m.Name == "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		m.Name = filepath.Base(abs)
	}
	m.guess()
	return m, nil
}

// conventions are tried in order on the files of a function that does not name
// its runtime.
var conventions = []struct{ file, runtime, handler string }{
	{"bootstrap", "provided.al2023", "bootstrap"},
	{"index.mjs", "nodejs", "index.handler"},
	{"index.js", "nodejs", "index.handler"},
	{"lambda_function.py", "python", "lambda_function.lambda_handler"},
	{"app.py", "python", "app.handler"},
	{"main.py", "python", "main.handler"},
}

// guess fills in runtime and handler by the names of files. "nodejs" and
// "python" stand for whichever version the server has (see newest).
func (m *manifest) guess() {
	for _, c := range conventions {
		if _, err := os.Stat(filepath.Join(m.codePath(), c.file)); err != nil && filepath.Base(m.codePath()) != c.file {
			continue
		}
		if m.Runtime == "" {
			m.Runtime = c.runtime
		}
		if m.Handler == "" && strings.HasPrefix(m.Runtime, strings.TrimSuffix(c.runtime, ".al2023")) {
			m.Handler = c.handler
		}
		return
	}
}

func (m *manifest) codePath() string { return filepath.Join(m.dir, m.Code) }

// request is the deployment of the manifest with this code.
func (m *manifest) request(zip []byte) *native.DeployRequest {
	req := &native.DeployRequest{
		Runtime: optional(m.Runtime), Handler: optional(m.Handler), Description: optional(m.Description),
		Role: optional(m.Role), MemoryMB: optional(m.Memory), TimeoutSeconds: optional(m.Timeout),
		InitTimeoutSeconds: optional(m.InitTimeout), EphemeralMB: optional(m.Ephemeral),
		InstanceConcurrency: optional(m.InstanceConcurrency), Egress: optional(faas.Egress(m.Egress)),
		Isolation: optional(faas.Isolation(m.Isolation)), DeadLetter: (*faas.Destination)(m.DeadLetter), Zip: zip,
	}
	req.Layers = m.Layers
	if m.Environment != nil {
		req.Environment = &m.Environment
	}
	return req
}

func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// settle fills in what only the server's catalogue can tell: "nodejs" and "python"
// become the newest installed runtime of the family.
func (m *manifest) settle(catalogue []native.Runtime) error {
	if m.Runtime == "" {
		return usageError("no runtime is named and %s has none of %s: add a %s or say --runtime",
			m.codePath(), conventionFiles(), manifestName)
	}
	if m.Handler == "" && strings.HasPrefix(m.Runtime, "provided.") {
		m.Handler = "bootstrap" // a package's entry in these runtimes, whatever the handler says
	}
	if strings.ContainsAny(m.Runtime, "0123456789") {
		return nil
	}
	newest := ""
	for _, r := range catalogue { // newest first within a language
		if newest == "" && r.Installed && strings.HasPrefix(r.Name, m.Runtime) {
			newest = r.Name
		}
	}
	if newest == "" {
		return fmt.Errorf("no %s runtime is installed on the server; 'hearth runtimes' tells how to get one", m.Runtime)
	}
	m.Runtime = newest
	return nil
}

// mayKeep reports whether a function that is there already may keep the runtime that
// it has: nobody says another, and a package without a file of the conventions is
// no mistake, since the handler is said or the package is a zip.
func (m *manifest) mayKeep() bool {
	return m.Runtime == "" && (m.Handler != "" || filepath.Ext(m.Code) == ".zip")
}

func conventionFiles() string {
	var files []string
	for _, c := range conventions {
		files = append(files, c.file)
	}
	return strings.Join(files, ", ")
}
