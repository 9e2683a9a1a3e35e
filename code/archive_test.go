package code

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hearth/faas"
)

var small = Limits{Zipped: 1 << 20, Unpacked: 1 << 20, Files: 50, Name: 300}.withDefaults()

func TestHostileArchives(t *testing.T) {
	file := raw{name: "index.js", content: "exports.handler = () => 1\n"}
	honest := rawZip(file)
	link := func(name, target string) raw { return raw{name: name, content: target, mode: 0o120777} }
	tests := map[string]struct {
		zip  []byte
		code faas.ErrorCode // default CodeInvalidZip
		want string         // in the message
	}{
		"empty":                 {zip: nil, want: "not a zip"},
		"not a zip":             {zip: []byte("#!/bin/sh\necho hello\n"), want: "not a zip"},
		"end record only":       {zip: rawZip(), want: "no files"},
		"directories only":      {zip: rawZip(raw{name: "a/", mode: 0o040755}), want: "no files"},
		"cut off":               {zip: honest[:len(honest)-1], want: "not a zip"},
		"cut in front":          {zip: honest[7:], want: "not where"},
		"dot dot":               {zip: rawZip(raw{name: "../x"}), want: `"../x"`},
		"dot dot inside":        {zip: rawZip(raw{name: "a/../../x"}), want: "leaves the package"},
		"dot dot at the end":    {zip: rawZip(raw{name: "a/.."}), want: "leaves the package"},
		"absolute":              {zip: rawZip(raw{name: "/etc/passwd"}), want: "absolute"},
		"drive":                 {zip: rawZip(raw{name: "C:/windows"}), want: "absolute"},
		"backslash":             {zip: rawZip(raw{name: `a\..\..\x`}), want: "backslash"},
		"zero byte":             {zip: rawZip(raw{name: "a\x00b"}), want: "zero byte"},
		"not UTF-8":             {zip: rawZip(raw{name: "a\xffb"}), want: "UTF-8"},
		"empty folder name":     {zip: rawZip(raw{name: "a//b"}), want: "empty folder"},
		"no name":               {zip: rawZip(raw{name: ""}), want: "no name"},
		"file named root":       {zip: rawZip(raw{name: "."}), want: "needs a name"},
		"name too long":         {zip: rawZip(raw{name: strings.Repeat("a/", 160) + "x"}), want: "321 bytes"},
		"component too long":    {zip: rawZip(raw{name: strings.Repeat("a", 256)}), want: "255"},
		"twice":                 {zip: rawZip(file, file), want: "twice"},
		"twice by spelling":     {zip: rawZip(file, raw{name: "./index.js"}), want: "twice"},
		"file over directory":   {zip: rawZip(raw{name: "a/b"}, raw{name: "a"}), want: "directory and a file"},
		"directory over file":   {zip: rawZip(raw{name: "a"}, raw{name: "a/b"}), want: "not a directory"},
		"file below link":       {zip: rawZip(link("a", "."), raw{name: "a/b"}), want: "not a directory"},
		"link over directory":   {zip: rawZip(raw{name: "a/b"}, link("a", ".")), want: "directory and a file"},
		"link out":              {zip: rawZip(link("a", "../b")), want: "leaves the package"},
		"link absolute":         {zip: rawZip(link("a", "/etc/shadow")), want: "not relative"},
		"link out by a chain":   {zip: rawZip(raw{name: "d/x/"}, link("d/up", "."), link("root", "d/up/../.."), file), want: "leaves the package"},
		"link out by two":       {zip: rawZip(link("one", "."), link("two", "one/..")), want: "leaves the package"},
		"link loop":             {zip: rawZip(link("a", "b"), link("b", "a")), want: "circles"},
		"link without target":   {zip: rawZip(link("a", "")), want: "no usable target"},
		"link with zero byte":   {zip: rawZip(link("a", "b\x00")), want: "no usable target"},
		"link too long":         {zip: rawZip(link("a", strings.Repeat("b", 2000))), want: "longer than"},
		"link named like a dir": {zip: rawZip(link("a/", "b")), want: "named like a directory"},
		"fifo":                  {zip: rawZip(raw{name: "a", mode: 0o010644}), want: "devices"},
		"device":                {zip: rawZip(raw{name: "a", mode: 0o020644}), want: "devices"},
		"block device":          {zip: rawZip(raw{name: "a", mode: 0o060644}), want: "devices"},
		"socket":                {zip: rawZip(raw{name: "a", mode: 0o140644}), want: "devices"},
		"unknown type":          {zip: rawZip(raw{name: "a", mode: 0o150644}), want: "file type"},
		"set-uid":               {zip: rawZip(raw{name: "a", mode: 0o104755}), want: "set-uid"},
		"set-gid":               {zip: rawZip(raw{name: "a", mode: 0o102755}), want: "set-uid"},
		"encrypted":             {zip: rawZip(raw{name: "a", flags: flagEncrypted}), want: "encrypted"},
		"method":                {zip: rawZip(raw{name: "a", method: 12}), want: "method 12"},
		"overlap by offset":     {zip: rawZip(file, raw{name: "index.js", same: 1}), want: "overlaps"},
		"overlap by length":     {zip: rawZip(raw{name: "a", content: "abc", store: true, size: 10, packed: 10}, raw{name: "b"}), want: "overlaps"},
		"other local name":      {zip: rawZip(raw{name: "a", localName: "b"}), want: "names another file"},
		"declares less":         {zip: rawZip(raw{name: "a", content: strings.Repeat("x", 5000), size: 10}), want: "more than the 10 bytes"},
		"declares more":         {zip: rawZip(raw{name: "a", content: "x", size: 10}), want: "declares 10"},
		"stored with two sizes": {zip: rawZip(raw{name: "a", content: "abc", store: true, size: 2}), want: "two sizes"},
		"wrong checksum":        {zip: rawZip(raw{name: "a", content: "abc", crc: 1}), want: "checksum"},
		"directory with data":   {zip: rawZip(raw{name: "a/", content: "abc", mode: 0o040755}), want: "content"},
		"too large zipped":      {zip: make([]byte, 1<<20+1), code: faas.CodeTooLarge, want: "1048577"},
		"bomb": {zip: rawZip(raw{name: "a", content: strings.Repeat("\x00", 1<<20+1)}),
			code: faas.CodeTooLarge, want: "unpacked package is 1048577 bytes; at most 1048576"},
		"declares the moon": {zip: rawZip(raw{name: "a", size: 1 << 60, zip64: true}), code: faas.CodeTooLarge},
		"zip64 offset out":  {zip: rawZip(raw{name: "a", packed: 1<<63 + 5, zip64: true}), code: faas.CodeTooLarge},
		"too many entries":  {zip: rawZip(manyFiles(51)...), code: faas.CodeTooLarge, want: "more than 50"},
		"too many implied":  {zip: rawZip(raw{name: strings.Repeat("a/", 51) + "x"}), code: faas.CodeTooLarge, want: "more than 50"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := verify(test.zip, small)
			want := test.code
			if want == "" {
				want = faas.CodeInvalidZip
			}
			if !faas.IsCode(err, want) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %s with %q", err, want, test.want)
			}
		})
	}
}

func manyFiles(n int) []raw {
	files := make([]raw, n)
	for i := range files {
		files[i] = raw{name: "f" + strings.Repeat("x", i)}
	}
	return files
}

func TestDamagedData(t *testing.T) {
	zip := rawZip(raw{name: "a", content: strings.Repeat("hello world ", 50)})
	zip[lenLocal+1] ^= 0xff // the first byte of the compressed data
	if err := verify(zip, small); !faas.IsCode(err, faas.CodeInvalidZip) || !strings.Contains(err.Error(), `"a"`) {
		t.Fatalf("got %v", err)
	}
}

func TestAcceptedArchives(t *testing.T) {
	script := raw{name: "bootstrap", content: "#!/bin/sh\n", mode: 0o100775}
	link := raw{name: "node_modules/.bin/tool", content: "../tool/cli.js", mode: 0o120777}
	tests := map[string]struct {
		zip  []byte
		want string // the unpacked tree
	}{
		"plain":       {rawZip(raw{name: "a.py", content: "x=1"}), "a.py 0644 x=1"},
		"stored":      {rawZip(raw{name: "a.py", content: "x=1", store: true}), "a.py 0644 x=1"},
		"exec":        {rawZip(script), "bootstrap 0755 #!/bin/sh\n"},
		"windows":     {rawZip(raw{name: "b/a.py", content: "x", windows: true}, raw{name: "c", windows: true, dos: dosDirectory}), "b/\nb/a.py 0644 x\nc/"},
		"no modes":    {rawZip(raw{name: "a", content: "x", mode: 1 << 16}), "a 0644 x"},
		"dot names":   {rawZip(raw{name: "./"}, raw{name: "./d/./a", content: "x"}), "d/\nd/a 0644 x"},
		"dir twice":   {rawZip(raw{name: "d/"}, raw{name: "d/", mode: 0o042755}, raw{name: "d/a"}), "d/\nd/a 0644 "},
		"case":        {rawZip(raw{name: "a", content: "1"}, raw{name: "A", content: "2"}), "A 0644 2\na 0644 1"},
		"link":        {rawZip(link, raw{name: "node_modules/tool/cli.js"}), "node_modules/\nnode_modules/.bin/\nnode_modules/.bin/tool -> ../tool/cli.js\nnode_modules/tool/\nnode_modules/tool/cli.js 0644 "},
		"dangling":    {rawZip(raw{name: "a", content: "b/c", mode: 0o120777}), "a -> b/c"},
		"root link":   {rawZip(raw{name: "a/b", content: "..", mode: 0o120777}), "a/\na/b -> .."},
		"zip64":       {rawZip(raw{name: "a", content: "x", zip64: true}), "a 0644 x"},
		"zip64 end":   {withEnd64(rawZip(raw{name: "a", content: "x"})), "a 0644 x"},
		"prefixed":    {append([]byte("#!/usr/bin/env python3\n"), rawZip(raw{name: "a", content: "x"})...), "a 0644 x"},
		"prefixed 64": {append([]byte("prefix"), withEnd64(rawZip(raw{name: "a", content: "x"}))...), "a 0644 x"},
		"odd names":   {rawZip(raw{name: "größe/..a/ b", content: "x"}), "größe/\ngröße/..a/\ngröße/..a/ b 0644 x"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := verify(test.zip, small); err != nil {
				t.Fatal(err)
			}
			a, err := parse(test.zip, small)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := a.unpack(t.Context(), dir); err != nil {
				t.Fatal(err)
			}
			if got := listing(t, dir); got != test.want {
				t.Fatalf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

// listing is a directory as text: names, modes, contents.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			if info.Mode().Perm() != modeDir {
				t.Errorf("%s has mode %v", rel, info.Mode())
			}
			lines = append(lines, rel+"/")
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			lines = append(lines, rel+" -> "+target)
			return nil
		default:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			lines = append(lines, fmt.Sprintf("%s %#o %s", rel, info.Mode(), content))
		}
		if !info.ModTime().Equal(epoch) {
			t.Errorf("%s has time %v", rel, info.ModTime())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// FuzzArchive: nothing panics; what is accepted unpacks whole, and inside.
func FuzzArchive(f *testing.F) {
	f.Add(rawZip(raw{name: "a.py", content: "x=1"}, raw{name: "d/b", content: "y", store: true}))
	f.Add(rawZip(raw{name: "l", content: "d/../b", mode: 0o120777}, raw{name: "d/", mode: 0o040755}, raw{name: "b"}))
	f.Add(withEnd64(rawZip(raw{name: "a", content: "x", zip64: true})))
	f.Add(rawZip(raw{name: "../a"}))
	f.Add(rawZip(raw{name: "a", content: "/etc", mode: 0o120777}, raw{name: "a/passwd"}))
	f.Add(append([]byte("prefix"), rawZip(raw{name: "w", windows: true})...))
	f.Fuzz(tryUnpack)
}

func tryUnpack(t *testing.T, zip []byte) {
	a, err := parse(zip, small)
	if err != nil {
		if code := faas.CodeOf(err); code != faas.CodeInvalidZip && code != faas.CodeTooLarge {
			t.Fatalf("refused with %v", err)
		}
		return
	}
	checked := a.check()
	outer := t.TempDir()
	inner := filepath.Join(outer, "content")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	err = a.unpack(t.Context(), inner)
	if (checked == nil) != (err == nil) {
		t.Fatalf("check said %v, unpack said %v", checked, err)
	}
	if beside, _ := os.ReadDir(outer); len(beside) != 1 {
		t.Fatalf("unpack wrote beside its directory: %v", beside)
	}
	if err == nil {
		checkInside(t, inner)
	}
}

// FuzzEntries makes well-formed archives of hostile entries, which bytes alone
// hardly become: links through links, files below files, odd names and modes.
func FuzzEntries(f *testing.F) {
	link := uint32(unixLink | 0o777)
	f.Add("a", "..", link, "a/b", "x", uint32(0), "c", "a/b", link)
	f.Add("d/e/", "", uint32(unixDir), "d/up", ".", link, "out", "d/up/../..", link)
	f.Add("one", "./two/", link, "two", "three/../..", link, "three/x", "", uint32(unixExec))
	f.Add("A", "1", uint32(unixFile|unixExec), "a", "2", uint32(unixFile), "./a", "3", uint32(unixSetIDs))
	f.Fuzz(func(t *testing.T, n1, c1 string, m1 uint32, n2, c2 string, m2 uint32, n3, c3 string, m3 uint32) {
		if len(n1)+len(n2)+len(n3) > 4000 {
			return
		}
		tryUnpack(t, rawZip(raw{name: n1, content: c1, mode: m1 & 0xffff}, raw{name: n2, content: c2, mode: m2 & 0xffff},
			raw{name: n3, content: c3, mode: m3 & 0xffff, store: true}))
	})
}

func TestEntangledLinks(t *testing.T) {
	// Each link goes to and fro for as long as a target may be, and then to the next.
	there := strings.Repeat("d/../", 200)
	entries := []raw{{name: "d/f"}}
	for i := range 3000 {
		entries = append(entries, raw{name: fmt.Sprintf("l%d", i), content: fmt.Sprintf("%sl%d", there, i+1), mode: unixLink | 0o777, store: true})
	}
	began := time.Now()
	_, err := parse(rawZip(entries...), Limits{}.withDefaults())
	if !faas.IsCode(err, faas.CodeInvalidZip) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}

// checkInside follows every link as the kernel does.
func checkInside(t *testing.T, dir string) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			return nil // dangling
		}
		if real != dir && !strings.HasPrefix(real, dir+"/") {
			t.Fatalf("%s leads to %s", path, real)
		}
		return nil
	})
}
