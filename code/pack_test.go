package code

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hearth/faas"
)

// makeTree writes files; a name ending in / is a directory, content that begins
// with "-> " makes a link.
func makeTree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch target, link := strings.CutPrefix(content, "-> "); {
		case err != nil:
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case link:
			err = os.Symlink(target, path)
		default:
			err = os.WriteFile(path, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func unpacked(t *testing.T, zip []byte) string {
	t.Helper()
	a, err := parse(zip, Limits{}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := a.unpack(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return listing(t, dir)
}

func TestPackDirectory(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, map[string]string{
		"index.js":               "1",
		"run.sh":                 "#!/bin/sh",
		"empty/":                 "",
		".git/config":            "secret",
		"sub/.git":               "gitdir: elsewhere",
		".hearthignore":          "*.log\n!keep.log\n/build/\nsub/**/tmp\n# a comment\n\n",
		"a.log":                  "no",
		"sub/keep.log":           "yes",
		"build/x":                "no",
		"sub/build/x":            "yes",
		"sub/a/b/tmp/x":          "no",
		"node_modules/.bin/t":    "-> ../t/cli.js",
		"node_modules/t/cli.js":  "cli",
		"node_modules/.keep.tmp": "",
	})
	if err := os.Chmod(filepath.Join(dir, "run.sh"), 0o700); err != nil {
		t.Fatal(err)
	}
	first, err := Pack(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := `empty/
index.js 0644 1
node_modules/
node_modules/.bin/
node_modules/.bin/t -> ../t/cli.js
node_modules/.keep.tmp 0644 
node_modules/t/
node_modules/t/cli.js 0644 cli
run.sh 0755 #!/bin/sh
sub/
sub/a/
sub/a/b/
sub/build/
sub/build/x 0644 yes
sub/keep.log 0644 yes`
	if got := unpacked(t, first); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if err := os.Chtimes(filepath.Join(dir, "index.js"), time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if second, err := Pack(link); err != nil || !bytes.Equal(first, second) {
		t.Errorf("packing again gave other bytes (%v)", err)
	}
}

func TestPackFileAndZip(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, map[string]string{"index.py": "x = 1", "bad.zip": "no", "cut": "PK\x03\x04 and no more"})
	zip, err := Pack(filepath.Join(dir, "index.py"))
	if err != nil || unpacked(t, zip) != "index.py 0644 x = 1" {
		t.Fatalf("a file: %v", err)
	}
	ready := filepath.Join(dir, "ready.zip")
	if err := os.WriteFile(ready, zip, 0o600); err != nil {
		t.Fatal(err)
	}
	if same, err := Pack(ready); err != nil || !bytes.Equal(same, zip) {
		t.Fatalf("a ready zip: %v", err)
	}
	for _, name := range []string{"bad.zip", "cut"} {
		if _, err := Pack(filepath.Join(dir, name)); !faas.IsCode(err, faas.CodeInvalidZip) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPackRefuses(t *testing.T) {
	noise := make([]byte, 64<<10)
	for i := range noise {
		noise[i] = byte(uint32(i*i*2654435761) >> 13)
	}
	tests := map[string]struct {
		files map[string]string
		limit Limits
		code  faas.ErrorCode
		want  string
	}{
		"nothing":       {nil, Limits{}, faas.CodeInvalidZip, "no files"},
		"link out":      {map[string]string{"a": "-> ../../x"}, Limits{}, faas.CodeInvalidZip, "leaves the package"},
		"link absolute": {map[string]string{"a": "-> /etc/passwd"}, Limits{}, faas.CodeInvalidZip, "not relative"},
		"too large":     {map[string]string{"a": "12345"}, Limits{Unpacked: 4}, faas.CodeTooLarge, `reached at "a"`},
		"zipped":        {map[string]string{"a": string(noise)}, Limits{Zipped: 1 << 10}, faas.CodeTooLarge, "zipped package is over 1024"},
		"too many":      {map[string]string{"a": "", "b": "", "c": ""}, Limits{Files: 2}, faas.CodeTooLarge, "more than 2"},
		"bad pattern":   {map[string]string{".hearthignore": "ok\n[a"}, Limits{}, faas.CodeInvalidZip, "line 2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			makeTree(t, dir, test.files)
			_, err := pack(dir, test.limit.withDefaults())
			if !faas.IsCode(err, test.code) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %s with %q", err, test.code, test.want)
			}
		})
	}
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Pack(dir); !faas.IsCode(err, faas.CodeInvalidZip) || !strings.Contains(err.Error(), `"pipe"`) {
		t.Errorf("a fifo: %v", err)
	}
	if _, err := Pack(filepath.Join(dir, "missing")); !os.IsNotExist(err) {
		t.Errorf("missing: %v", err)
	}
}

func FuzzIgnore(f *testing.F) {
	f.Add("*.log\n!keep\n/a/**/b/", "x/a/b", true)
	f.Add("**", "a", false)
	f.Fuzz(func(t *testing.T, text, name string, dir bool) {
		if rules, err := parseIgnore(text); err == nil {
			rules.ignores(name, dir)
		}
	})
}
