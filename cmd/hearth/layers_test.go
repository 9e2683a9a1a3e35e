package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hearth/api/native"
	"hearth/code"
	"hearth/faas"
)

func layer(name string, number int64, digest string) native.Layer {
	id := faas.LayerID{Account: faas.DefaultAccount, Region: faas.DefaultRegion, Name: name}
	return native.Layer{Name: name, ARN: faas.LayerVersionARN(id, number),
		LayerVersion: faas.LayerVersion{Layer: id, Number: number, Code: faas.Code{SHA256: digest, Size: 2048}, Runtimes: []string{"nodejs22.x"}}}
}

func TestLayerCommands(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tools")
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "x"), []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args    []string
		answers []any
		code    int
		out     string
		asked   string
	}{
		{[]string{"layers", "publish", dir, "--runtime", "nodejs22.x"}, []any{layer("tools", 3, "")}, 0,
			"published tools:3  2.0 kB\narn:aws:lambda:us-east-1:000000000000:layer:tools:3\n", `"runtimes":["nodejs22.x"]`},
		{[]string{"layers", "list"}, []any{[]native.Layer{layer("tools", 3, "")}}, 0, "tools  3        2.0 kB", "GET layers"},
		{[]string{"layers", "describe", "tools"}, []any{[]native.Layer{layer("tools", 3, ""), layer("tools", 1, "")}}, 0, "tools  1 ", "GET layers/tools"},
		{[]string{"layers", "delete", "tools:3"}, []any{204}, 0, "deleted tools:3\n", "DELETE layers/tools/versions/3"},
		{[]string{"layers", "delete", "tools"}, nil, exitUsage, "", ""},
		{[]string{"layers", "publish", dir, "--name", "a b"}, []any{native.Error{Error: native.ErrorDetail{Code: faas.CodeInvalid, Message: "no"}}}, exitFailure, "", "POST layers/a%20b"},
	} {
		code, out, errs, asked := hearth(t, c.answers, c.args...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(strings.Join(asked, "\n"), c.asked) {
			t.Errorf("hearth %s: %d\n%s%s\nasked %v", strings.Join(c.args, " "), code, out, errs, asked)
		}
	}
}

// A layer that a manifest names by its path is published where it is another than
// the newest version.
func TestManifestPublishesLayers(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"fn/hearth.toml": "name = \"f\"\nruntime = \"nodejs22.x\"\nlayers = [\"other:2\", \"../shared\"]\n", "fn/index.js": "", "shared/bin/x": "x",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	zip, err := code.Pack(filepath.Join(dir, "shared"))
	if err != nil {
		t.Fatal(err)
	}
	digest := digestOf(zip)
	deployed := native.Deployed{Function: native.Function{Name: "f"}}
	for what, c := range map[string]struct {
		answers []any
		names   string
	}{
		"the newest is the same": {[]any{[]native.Layer{layer("shared", 4, digest)}, deployed}, `["other:2","` + layer("shared", 4, "").ARN + `"]`},
		"the newest is another":  {[]any{[]native.Layer{layer("shared", 4, "0")}, layer("shared", 5, digest), deployed}, `["other:2","` + layer("shared", 5, "").ARN + `"]`},
		"there is none":          {[]any{native.Error{Error: native.ErrorDetail{Code: faas.CodeNotFound, Message: "none"}}, layer("shared", 1, digest), deployed}, `["other:2","` + layer("shared", 1, "").ARN + `"]`},
	} {
		answers := append([]any{[]native.Runtime{{Name: "nodejs22.x", Installed: true}}}, c.answers...)
		code, out, errs, asked := hearth(t, answers, "deploy", filepath.Join(dir, "fn"))
		if code != 0 || !strings.Contains(asked[len(asked)-1], `"layers":`+c.names) {
			t.Errorf("%s: %d\n%s%s\nasked %v", what, code, out, errs, asked)
		}
	}
}
