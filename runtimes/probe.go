package runtimes

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"hearth/sandbox"
)

// interpreter is an executable of this machine that was run and answered.
type interpreter struct {
	binary  string // absolute, symbolic links resolved
	version string // as it says itself, e.g. 3.11.2
	prefix  string // the tree that it needs, when it is not below /usr
}

// langDir is where an interpreter that is not below /usr is in a sandbox.
const langDir = "/var/lang"

// place says how the interpreter gets into a sandbox: its path inside, and the
// mount that puts it there, if it needs one.
func (i interpreter) place() (inside string, mounts []sandbox.Mount) {
	if strings.HasPrefix(i.binary, "/usr/") {
		return i.binary, nil
	}
	relative := strings.TrimPrefix(i.binary, i.prefix)
	return langDir + relative, []sandbox.Mount{{Source: i.prefix, Target: langDir}}
}

// matches reports whether the interpreter is of the version: all the parts that
// the version has are equal.
func (i interpreter) matches(version string) bool {
	return i.version == version || strings.HasPrefix(i.version, version+".")
}

// fileIdentity tells whether an executable is the one that was run before.
type fileIdentity struct {
	size     int64
	modified time.Time
}

// probe is what running an executable said.
type probe struct {
	identity    fileIdentity
	interpreter interpreter
	ok          bool
}

// probeTimeout bounds one run of an interpreter.
const probeTimeout = 10 * time.Second

// questions make an interpreter print its version, its own path and its prefix.
// Asking it, instead of looking at names, sees through links, wrappers and shims.
var questions = map[language][]string{
	languageNode: {"-p", `[process.versions.node, process.execPath, ''].join('\n')`},
	languagePython: {"-I", "-S", "-c",
		`import sys; print(".".join(map(str, sys.version_info[:3])), sys.executable, sys.base_prefix, sep="\n")`},
}

// probe runs an executable once and remembers what it said, for as long as the
// file is the same. The lock is held meanwhile: who asks for the same waits.
func (c *Catalogue) probe(l language, path string) (interpreter, bool) {
	identity, ok := isExecutable(path)
	if !ok {
		return interpreter{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, seen := c.probed[path]; seen && p.identity == identity {
		return p.interpreter, p.ok
	}
	found, err := ask(l, path)
	if err != nil {
		c.log.Info("an interpreter cannot be used", "path", path, "err", err)
	}
	c.probed[path] = probe{identity: identity, interpreter: found, ok: err == nil}
	return found, err == nil
}

func ask(l language, path string) (interpreter, error) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, questions[l]...)
	cmd.Env = withoutInterpreterOptions(os.Environ())
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return interpreter{}, err
	}
	lines := strings.Split(string(out), "\n")
	if len(lines) < 3 {
		return interpreter{}, fmt.Errorf("runtimes: unexpected answer %q", out)
	}
	binary, err := filepath.EvalSymlinks(lines[1])
	if err != nil {
		return interpreter{}, err
	}
	found := interpreter{version: lines[0], binary: binary, prefix: filepath.Dir(filepath.Dir(binary))}
	if lines[2] != "" {
		if found.prefix, err = filepath.EvalSymlinks(lines[2]); err != nil {
			return interpreter{}, err
		}
	}
	if found.prefix == "/" || !strings.HasPrefix(binary, found.prefix+"/") {
		return interpreter{}, fmt.Errorf("runtimes: %s is not below its prefix %s", binary, found.prefix)
	}
	return found, nil
}

// withoutInterpreterOptions drops what would change an interpreter's answer.
func withoutInterpreterOptions(env []string) []string {
	kept := make([]string, 0, len(env))
	for _, e := range env {
		if !strings.HasPrefix(e, "NODE_") && !strings.HasPrefix(e, "PYTHON") {
			kept = append(kept, e)
		}
	}
	return kept
}
