package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"hearth/faas"
)

// installing is the prefix of folders in which an Add is at work.
const installing = ".adding-"

// extraCertificates names the file of a private authority, which npm needs to
// reach a registry through a proxy that has one.
const extraCertificates = "NODE_EXTRA_CA_CERTS"

// staleAfter is when such a folder belongs to nobody any more.
const staleAfter = 24 * time.Hour

// OpenCatalogue returns the catalogue of this machine: runtimes installed below
// dir, and interpreters along PATH. It removes what an interrupted Add left.
func OpenCatalogue(dir string) (*Catalogue, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("runtimes: %w", err)
	}
	leftovers, err := filepath.Glob(filepath.Join(dir, installing+"*"))
	if err != nil {
		return nil, fmt.Errorf("runtimes: %w", err)
	}
	for _, left := range leftovers {
		// Another process may be adding a runtime at this moment.
		if info, err := os.Stat(left); err == nil && time.Since(info.ModTime()) > staleAfter {
			if err := os.RemoveAll(left); err != nil {
				return nil, fmt.Errorf("runtimes: %w", err)
			}
		}
	}
	return NewCatalogue(CatalogueOptions{Dir: dir, SearchPath: os.Getenv("PATH")}), nil
}

// Add installs a runtime below the catalogue's folder and writes what happens to
// progress. Node.js comes as the official build that the npm registry carries,
// fetched and verified by the npm client. It is complete or absent: an
// interrupted Add leaves nothing that is used. One that is installed already is
// replaced; running instances keep the files that they have open.
func (c *Catalogue) Add(ctx context.Context, name string, progress io.Writer) error {
	k, err := lookup(name)
	if err != nil {
		return err
	}
	switch k.language {
	case languageProvided:
		return faas.Errorf(faas.CodeInvalid, "runtime", "%s needs nothing: the function brings its own bootstrap", name)
	case languageHTTP:
		return faas.Errorf(faas.CodeInvalid, "runtime", "%s needs nothing: the function brings its own server", name)
	case languagePython:
		return faas.Errorf(faas.CodeUnsupported, "runtime", "there is no build of Python that can be added; %s", c.hint(k))
	}
	if c.dir == "" {
		return faas.Errorf(faas.CodeUnsupported, "runtime", "this catalogue has no folder to install in")
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return fmt.Errorf("runtimes: %w", err)
	}
	temporary, err := os.MkdirTemp(c.dir, installing)
	if err != nil {
		return fmt.Errorf("runtimes: %w", err)
	}
	defer os.RemoveAll(temporary)
	tree, err := fetchNode(ctx, k, temporary, progress)
	if err != nil {
		return err
	}
	return c.adopt(k, tree, progress)
}

// nodePackage is the npm package with the official build for this machine.
func nodePackage() (string, error) {
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	system := map[string]string{"linux": "linux", "darwin": "darwin"}[runtime.GOOS]
	if arch == "" || system == "" {
		return "", faas.Errorf(faas.CodeUnsupported, "runtime",
			"there is no Node.js package for %s/%s; install Node.js so that it is in PATH", runtime.GOOS, runtime.GOARCH)
	}
	return "node-" + system + "-" + arch, nil
}

// fetchNode lets the npm client fetch the newest release of a major version, and
// returns the folder of it. No script of the package runs.
func fetchNode(ctx context.Context, k known, dir string, progress io.Writer) (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", faas.Errorf(faas.CodeRuntime, "npm",
			"adding %s needs the npm client: install it (on Debian and Ubuntu `apt-get install npm`) and try again", k.name)
	}
	name, err := nodePackage()
	if err != nil {
		return "", err
	}
	// A project of its own keeps npm in this folder. --prefix would too, but then npm
	// does not read the machine's own settings: registry, proxy, certificates.
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte("{}\n"), 0o644); err != nil {
		return "", fmt.Errorf("runtimes: %w", err)
	}
	fmt.Fprintf(progress, "fetching %s@%s with npm\n", name, k.version)
	cmd := exec.CommandContext(ctx, npm, "install", "--ignore-scripts", "--no-save", "--no-audit",
		"--no-fund", "--no-package-lock", "--loglevel", "error", name+"@"+k.version)
	cmd.Dir = dir
	cmd.Env = withoutInterpreterOptions(os.Environ())
	if certificates, ok := os.LookupEnv(extraCertificates); ok {
		cmd.Env = append(cmd.Env, extraCertificates+"="+certificates)
	}
	cmd.Stdout, cmd.Stderr = progress, progress
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", faas.Errorf(faas.CodeRuntime, k.name, "npm could not fetch %s@%s (its output says why): %w", name, k.version, err)
	}
	return filepath.Join(dir, "node_modules", name), nil
}

// adopt proves that the fetched tree runs and is of the version, and moves it to
// its place.
func (c *Catalogue) adopt(k known, tree string, progress io.Writer) error {
	binary := filepath.Join(tree, "bin", "node")
	found, err := ask(languageNode, binary)
	if err != nil {
		return faas.Errorf(faas.CodeRuntime, k.name, "the fetched Node.js does not run on this machine: %w", err)
	}
	if !found.matches(k.version) {
		return faas.Errorf(faas.CodeRuntime, k.name, "the fetched Node.js is %s, which is not %s", found.version, k.name)
	}
	if err := errors.Join(syncFile(binary), os.Chmod(tree, 0o755)); err != nil {
		return fmt.Errorf("runtimes: %w", err)
	}
	final := filepath.Join(c.dir, k.name)
	// A rename does not replace a folder with content: the old one steps aside.
	aside := filepath.Join(filepath.Dir(filepath.Dir(tree)), "replaced")
	if err := os.Rename(final, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("runtimes: %w", err)
	}
	if err := os.Rename(tree, final); err != nil {
		return fmt.Errorf("runtimes: %w", err)
	}
	if err := syncFile(c.dir); err != nil {
		return fmt.Errorf("runtimes: %w", err)
	}
	fmt.Fprintf(progress, "installed Node.js %s as %s\n", found.version, k.name)
	return nil
}

// syncFile makes a file's or a folder's own content durable.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Remove uninstalls a runtime that Add installed. Interpreters of the host are
// not Hearth's to remove.
func (c *Catalogue) Remove(name string) error {
	k, err := lookup(name)
	if err != nil {
		return err
	}
	final := filepath.Join(c.dir, k.name)
	if _, err := os.Stat(final); c.dir == "" || errors.Is(err, os.ErrNotExist) {
		return faas.Errorf(faas.CodeNotFound, k.name, "%s was not installed by `hearth runtimes add`", k.name)
	}
	aside, err := os.MkdirTemp(c.dir, installing)
	if err != nil {
		return fmt.Errorf("runtimes: %w", err)
	}
	defer os.RemoveAll(aside)
	if err := os.Rename(final, filepath.Join(aside, "removed")); err != nil {
		return fmt.Errorf("runtimes: %w", err)
	}
	return nil
}
