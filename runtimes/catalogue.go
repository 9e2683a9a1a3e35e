package runtimes

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"hearth/faas"
)

// language is what a runtime is written for; it decides how it is started.
type language string

const (
	languageNode     language = "node"
	languagePython   language = "python"
	languageProvided language = "provided"
	languageHTTP     language = "http"
)

// known is one runtime of the catalogue.
type known struct {
	name     string
	language language
	version  string // the interpreter's: major for Node, major.minor for Python; "" for custom ones
}

// catalogue lists every runtime, in the order in which people read them. Each
// name stands for its own version and never for another.
var catalogue = [...]known{
	{"nodejs24.x", languageNode, "24"},
	{"nodejs22.x", languageNode, "22"},
	{"nodejs20.x", languageNode, "20"},
	{"nodejs18.x", languageNode, "18"},
	{"python3.14", languagePython, "3.14"},
	{"python3.13", languagePython, "3.13"},
	{"python3.12", languagePython, "3.12"},
	{"python3.11", languagePython, "3.11"},
	{"python3.10", languagePython, "3.10"},
	{"python3.9", languagePython, "3.9"},
	{"python3.8", languagePython, "3.8"},
	{"provided.al2023", languageProvided, ""},
	{"provided.al2", languageProvided, ""},
	{faas.RuntimeHTTP, languageHTTP, ""},
}

// custom reports whether the package brings the runtime with it.
func (k known) custom() bool { return k.language == languageProvided || k.language == languageHTTP }

func lookup(name string) (known, error) {
	names := make([]string, 0, len(catalogue))
	for _, k := range catalogue {
		if k.name == name {
			return k, nil
		}
		names = append(names, k.name)
	}
	all := strings.Join(names, ", ")
	return known{}, &faas.Error{
		Code: faas.CodeInvalid, Subject: "runtime", Message: fmt.Sprintf("there is no runtime %q; use one of %s", name, all),
		Cause: faas.FieldErrors{{Field: "runtime", Value: name, Constraint: "must satisfy enum value set: [" + all + "]"}},
	}
}

// CatalogueOptions configures a Catalogue.
type CatalogueOptions struct {
	// Dir is where added runtimes are installed, one folder each; created when needed.
	Dir string
	// SearchPath lists the folders in which the host's interpreters are looked
	// for, as in $PATH. /usr/bin and /usr/local/bin come before them.
	SearchPath string
	// AddFlags follow "hearth runtimes add NAME" where a missing runtime's error
	// says how to get it: without them it might go to another server's Dir.
	AddFlags string
	Logger   *slog.Logger // nil = discard
}

// Catalogue finds the interpreter of each runtime on this machine. Safe for
// concurrent use.
type Catalogue struct {
	dir  string
	path []string
	log  *slog.Logger

	addFlags string

	mu     sync.Mutex
	probed map[string]probe // by path of the executable
}

// NewCatalogue returns a Catalogue. It runs nothing yet.
func NewCatalogue(opts CatalogueOptions) *Catalogue {
	c := &Catalogue{dir: opts.Dir, addFlags: opts.AddFlags, log: opts.Logger, probed: make(map[string]probe)}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	// Interpreters below /usr are in every sandbox's own root and need no mount.
	c.path = append([]string{"/usr/bin", "/usr/local/bin"}, filepath.SplitList(opts.SearchPath)...)
	return c
}

// Info describes a runtime for people.
type Info struct {
	Name      string `json:"name"`
	Installed bool   `json:"installed"`
	Version   string `json:"version,omitempty"` // e.g. 22.23.3
	Path      string `json:"path,omitempty"`    // of the interpreter
	Hint      string `json:"hint,omitempty"`    // how to get it, where it is missing
}

// List describes every runtime, newest first within a language. The first call
// runs each interpreter that it finds once, some 50 ms each.
func (c *Catalogue) List() []Info {
	infos := make([]Info, 0, len(catalogue))
	for _, k := range catalogue {
		info := Info{Name: k.name}
		switch found, err := c.find(k); {
		case k.custom():
			info.Installed = true
		case err == nil:
			info.Installed, info.Version, info.Path = true, found.version, found.binary
		default:
			info.Hint = c.hint(k)
		}
		infos = append(infos, info)
	}
	return infos
}

// Check implements registry.Runtimes.
func (c *Catalogue) Check(name string) error {
	k, err := lookup(name)
	if err != nil {
		return err
	}
	_, err = c.find(k)
	return err
}

// find returns the interpreter of a runtime: the zero one for custom runtimes,
// a faas.CodeRuntime error where it is missing.
func (c *Catalogue) find(k known) (interpreter, error) {
	if k.custom() {
		return interpreter{}, nil
	}
	for _, candidate := range c.candidates(k) {
		p, ok := c.probe(k.language, candidate)
		if ok && p.matches(k.version) {
			return p, nil
		}
	}
	return interpreter{}, faas.Errorf(faas.CodeRuntime, k.name, "runtime %s is not installed on this machine: %s", k.name, c.hint(k))
}

// candidates are the executables that may be the runtime's, the best first: what
// was added for it, then the host's.
func (c *Catalogue) candidates(k known) []string {
	names := []string{"node", "nodejs", "node" + k.version, "nodejs" + k.version}
	if k.language == languagePython {
		names = []string{"python" + k.version, "python3", "python"}
	}
	var found []string
	if c.dir != "" {
		found = append(found, filepath.Join(c.dir, k.name, "bin", names[0]))
	}
	for _, dir := range c.path {
		if !filepath.IsAbs(dir) {
			continue
		}
		for _, name := range names {
			found = append(found, filepath.Join(dir, name))
		}
	}
	return found
}

// hint says how to get a missing runtime.
func (c *Catalogue) hint(k known) string {
	if k.language == languageNode {
		return "run `" + strings.TrimSpace("hearth runtimes add "+k.name+" "+c.addFlags) + "`"
	}
	return fmt.Sprintf("install Python %s on this machine (on Debian and Ubuntu `apt-get install python%s`, where the "+
		"release carries it; else a build of your own with its bin folder in PATH)", k.version, k.version)
}

// isExecutable reports what identifies an executable file's content.
func isExecutable(path string) (fileIdentity, bool) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return fileIdentity{}, false
	}
	return fileIdentity{size: info.Size(), modified: info.ModTime()}, true
}
