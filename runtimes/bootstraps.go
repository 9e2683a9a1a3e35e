package runtimes

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
)

//go:embed node/*.js node/*.mjs python/*.py
var sources embed.FS

// nodeEntry is the source of Node's program; its modules are written into it.
const nodeEntry = "node/bootstrap.js"

// bootstraps are the embedded programs, written out.
type bootstraps struct {
	dir string

	turn   *sync.Mutex          // guards failed and the making of byte code
	failed map[interpreter]bool // of which no byte code could be made
}

func newBootstraps(dir string) bootstraps {
	return bootstraps{dir: dir, turn: new(sync.Mutex), failed: map[interpreter]bool{}}
}

// entry is the program of a language, below its folder.
func (b bootstraps) entry(l language, found interpreter) string {
	if l == languageNode {
		return "bootstrap.js"
	}
	return b.compiled(found)
}

// folder is the host's folder that becomes /var/runtime for a language.
func (b bootstraps) folder(l language) string { return filepath.Join(b.dir, string(l)) }

// writeBootstraps writes the embedded programs below dir, in a folder named by
// their content: one that is there and complete is used as it is, and a new
// version of Hearth never changes files under a running instance.
func writeBootstraps(dir string) (bootstraps, error) {
	sum, err := digest()
	if err != nil {
		return bootstraps{}, err
	}
	final := filepath.Join(dir, "bootstraps-"+sum[:16])
	if complete(final) {
		return newBootstraps(final), nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return bootstraps{}, err
	}
	temporary, err := os.MkdirTemp(dir, ".bootstraps-")
	if err != nil {
		return bootstraps{}, err
	}
	defer os.RemoveAll(temporary)
	if err := writeSources(temporary); err != nil {
		return bootstraps{}, err
	}
	// What is there and not complete was damaged from outside.
	if err := os.RemoveAll(final); err != nil {
		return bootstraps{}, err
	}
	if err := os.Rename(temporary, final); err != nil && !complete(final) {
		return bootstraps{}, err
	}
	return newBootstraps(final), nil
}

func writeSources(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil { // MkdirTemp makes 0700
		return err
	}
	return eachSource(func(name string, content []byte) error {
		target := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o644)
	})
}

// complete reports whether the folder holds every source unchanged.
func complete(dir string) bool {
	return eachSource(func(name string, content []byte) error {
		got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err == nil && !bytes.Equal(got, content) {
			err = fmt.Errorf("runtimes: %s was changed", name)
		}
		return err
	}) == nil
}

func digest() (string, error) {
	h := sha256.New()
	err := eachSource(func(name string, content []byte) error {
		fmt.Fprintf(h, "%s %d\n", name, len(content))
		h.Write(content)
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// eachSource visits what is written, in a fixed order.
func eachSource(visit func(name string, content []byte) error) error {
	return fs.WalkDir(sources, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := sources.ReadFile(path.Clean(name))
		if name == nodeEntry {
			content, err = nodeProgram()
		}
		if err != nil {
			return err
		}
		return visit(name, content)
	})
}
