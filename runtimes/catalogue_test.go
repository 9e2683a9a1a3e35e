package runtimes

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hearth/faas"
)

// fakeInterpreter writes an executable that answers as an interpreter does.
func fakeInterpreter(t *testing.T, path, version string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho >> \"$0.runs\"\necho " + version + "\necho " + path + "\necho\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestCatalogueMapsToItsOwnVersion(t *testing.T) {
	dir := t.TempDir()
	fakeInterpreter(t, filepath.Join(dir, "a/bin/node"), "181.0.0") // begins with 18, and is not
	fakeInterpreter(t, filepath.Join(dir, "b/bin/node"), "18.20.1")
	fakeInterpreter(t, filepath.Join(dir, "c/bin/python3"), "3.10.4")
	fakeInterpreter(t, filepath.Join(dir, "d/bin/python3"), "3.1.4")
	path := strings.Join([]string{"", "relative", dir + "/a/bin", dir + "/b/bin", dir + "/c/bin", dir + "/d/bin"}, ":")
	c := NewCatalogue(CatalogueOptions{Dir: filepath.Join(dir, "added"), SearchPath: path})
	c.path = c.path[2:] // without the host's own
	for name, want := range map[string]string{"nodejs18.x": "b/bin/node", "python3.10": "c/bin/python3", "nodejs22.x": "", "python3.11": "", "python3.14": ""} {
		k, err := lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		found, err := c.find(k)
		if want == "" {
			if !faas.IsCode(err, faas.CodeRuntime) || !strings.Contains(err.Error(), "install") && !strings.Contains(err.Error(), "hearth runtimes add nodejs22.x") {
				t.Errorf("%s: %v, %v", name, found, err)
			}
			continue
		}
		if err != nil || found.binary != filepath.Join(dir, want) {
			t.Errorf("%s: %+v, %v, want %s", name, found, err, want)
		}
		inside, mounts := found.place()
		if len(mounts) != 1 || mounts[0].Source != filepath.Join(dir, want[:1]) || inside != langDir+want[1:] {
			t.Errorf("%s is placed at %s by %v", name, inside, mounts)
		}
	}
}

func TestCatalogueRunsAnInterpreterOnce(t *testing.T) {
	dir := t.TempDir()
	node := filepath.Join(dir, "bin/node")
	fakeInterpreter(t, node, "22.1.0")
	c := NewCatalogue(CatalogueOptions{SearchPath: dir + "/bin"})
	c.path = c.path[2:]
	for range 3 {
		if err := c.Check("nodejs22.x"); err != nil {
			t.Fatal(err)
		}
	}
	if runs, err := os.ReadFile(node + ".runs"); err != nil || len(runs) != 1 {
		t.Errorf("it ran %d times, want 1 (%v)", len(runs), err)
	}
	// Another file at the same path is asked again.
	fakeInterpreter(t, node, "20.1.0")
	if err := os.Chtimes(node, time.Now(), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := c.Check("nodejs22.x"); !faas.IsCode(err, faas.CodeRuntime) {
		t.Errorf("after the change: %v", err)
	}
}

func TestCatalogueRefusesWhatDoesNotAnswer(t *testing.T) {
	dir := t.TempDir()
	for name, script := range map[string]string{"node": "#!/bin/sh\nexit 1\n", "nodejs": "#!/bin/sh\necho hello\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := NewCatalogue(CatalogueOptions{SearchPath: dir})
	c.path = c.path[2:]
	if err := c.Check("nodejs20.x"); !faas.IsCode(err, faas.CodeRuntime) {
		t.Error(err)
	}
}

func TestCatalogueNames(t *testing.T) {
	c := sharedCatalogue()
	if err := c.Check("ruby3.3"); !faas.IsCode(err, faas.CodeInvalid) || !strings.Contains(err.Error(), "nodejs22.x") {
		t.Errorf("unknown: %v", err)
	}
	if err := c.Check("provided.al2023"); err != nil {
		t.Error(err)
	}
	installed := 0
	for _, info := range c.List() {
		if info.Installed {
			installed++
		} else if info.Hint == "" {
			t.Errorf("%s has no hint", info.Name)
		}
	}
	if installed < 3 {
		t.Errorf("%d runtimes installed, want at least one Python and the provided ones", installed)
	}
}

func TestAddRefuses(t *testing.T) {
	c := NewCatalogue(CatalogueOptions{Dir: t.TempDir()})
	for name, code := range map[string]faas.ErrorCode{"python3.12": faas.CodeUnsupported, "provided.al2": faas.CodeInvalid, "cobol": faas.CodeInvalid} {
		if err := c.Add(t.Context(), name, &bytes.Buffer{}); !faas.IsCode(err, code) {
			t.Errorf("%s: %v, want %s", name, err, code)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if err := c.Add(t.Context(), "nodejs22.x", &bytes.Buffer{}); !faas.IsCode(err, faas.CodeRuntime) || !strings.Contains(err.Error(), "apt-get install npm") {
		t.Errorf("without npm: %v", err)
	}
	if err := c.Remove("nodejs22.x"); !faas.IsCode(err, faas.CodeNotFound) {
		t.Errorf("remove: %v", err)
	}
	if left, err := os.ReadDir(c.dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// registry serves one package of the npm registry: a "Node.js" of the version.
func registry(t *testing.T, version string) *httptest.Server {
	t.Helper()
	name, err := nodePackage()
	if err != nil {
		t.Skip(err) // there is no build of Node.js for this system at all
	}
	// It asks the path that it is run by, as a real one knows its own.
	script := "#!/bin/sh\necho " + version + "\nreadlink -f \"$0\"\necho\n"
	manifest := fmt.Sprintf(`{"name":%q,"version":%q,"scripts":{"postinstall":"touch ../../../scripts-ran"}}`, name, version)
	var archive bytes.Buffer
	compressed := gzip.NewWriter(&archive)
	tarball := tar.NewWriter(compressed)
	for file, content := range map[string]string{"package/package.json": manifest, "package/bin/node": script} {
		if err := tarball.WriteHeader(&tar.Header{Name: file, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tarball.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tarball.Close(), compressed.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum512(archive.Bytes())
	server := httptest.NewUnstartedServer(nil)
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".tgz") {
			w.Write(archive.Bytes())
			return
		}
		fmt.Fprintf(w, `{"name":%[1]q,"dist-tags":{"latest":%[2]q},"versions":{%[2]q:{"name":%[1]q,"version":%[2]q,"dist":{"tarball":"%[3]s/x.tgz","integrity":"sha512-%[4]s"}}}}`,
			name, version, server.URL, base64.StdEncoding.EncodeToString(sum[:]))
	})
	server.Start()
	t.Cleanup(server.Close)
	// As a machine's administrator sets it: npm's own settings must be in force.
	prefix := t.TempDir()
	if err := os.Mkdir(filepath.Join(prefix, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(prefix, "etc", "npmrc"), []byte("registry="+server.URL+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("npm_config_prefix", prefix)
	t.Setenv("npm_config_registry", "")
	os.Unsetenv("npm_config_registry") // Setenv puts it back at the end
	t.Setenv("npm_config_cache", t.TempDir())
	t.Setenv("npm_config_userconfig", "/dev/null")
	return server
}

func needNpm(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		t.Fatal("these tests need npm, as `hearth runtimes add` does: ", err)
	}
}

func TestAddAndRemove(t *testing.T) {
	needNpm(t)
	registry(t, "22.7.1")
	c := NewCatalogue(CatalogueOptions{Dir: filepath.Join(t.TempDir(), "runtimes")})
	k := known{"nodejs22.x", languageNode, "22"}
	for range 2 { // the second replaces the first
		var progress bytes.Buffer
		if err := c.Add(t.Context(), k.name, &progress); err != nil {
			t.Fatalf("%v\n%s", err, &progress)
		}
		found, err := c.find(k)
		if err != nil || found.version != "22.7.1" || found.prefix != filepath.Join(c.dir, k.name) {
			t.Fatalf("%+v, %v\n%s", found, err, &progress)
		}
	}
	if entries, err := os.ReadDir(c.dir); err != nil || len(entries) != 1 {
		t.Errorf("in the folder: %v, %v", entries, err)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "scripts-ran")); err == nil {
		t.Error("a script of the package was run")
	}
	if err := c.Remove(k.name); err != nil {
		t.Error(err)
	}
	if err := c.Check(k.name); !faas.IsCode(err, faas.CodeRuntime) {
		t.Errorf("after the removal: %v", err)
	}
}

func TestAddRefusesAnotherVersion(t *testing.T) {
	needNpm(t)
	registry(t, "20.7.1")
	c := NewCatalogue(CatalogueOptions{Dir: filepath.Join(t.TempDir(), "runtimes")})
	if err := c.Add(t.Context(), "nodejs22.x", &bytes.Buffer{}); !faas.IsCode(err, faas.CodeRuntime) {
		t.Errorf("%v", err)
	}
	if entries, err := os.ReadDir(c.dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestOpenCatalogueRemovesLeftovers(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{"old": 48 * time.Hour, "new": time.Minute} {
		left := filepath.Join(dir, installing+name)
		if err := os.Mkdir(left, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(left, time.Now(), time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenCatalogue(dir); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 || entries[0].Name() != installing+"new" {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestAddFromNpm installs the real Node.js 22 from the npm registry, and runs
// every row on it. It fetches some 50 MB.
func TestAddFromNpm(t *testing.T) {
	if os.Getenv("HEARTH_LONG") == "" {
		t.Skip("set HEARTH_LONG=1 to fetch Node.js 22")
	}
	c := NewCatalogue(CatalogueOptions{Dir: filepath.Join(t.TempDir(), "runtimes")})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var progress bytes.Buffer
	if err := c.Add(ctx, "nodejs22.x", &progress); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	k, _ := lookup("nodejs22.x")
	found, err := c.find(k)
	if err != nil || !strings.HasPrefix(found.binary, c.dir) || !strings.HasPrefix(found.version, "22.") {
		t.Fatalf("%+v, %v\n%s", found, err, &progress)
	}
	for driver, open := range benches(t) {
		b := open(t)
		b.launcher.catalogue = c
		for _, r := range nodeRows {
			t.Run(driver+"/"+r.name, func(t *testing.T) {
				r.want = strings.ReplaceAll(r.want, "AWS_Lambda_RUNTIME", "AWS_Lambda_nodejs22.x")
				i := b.start(b.version("nodejs22.x", or(r.handler, "index.handler"), r.files))
				defer i.kill()
				checkRow(t, i.ready(), r)
			})
		}
	}
	if err := c.Remove("nodejs22.x"); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(c.dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
