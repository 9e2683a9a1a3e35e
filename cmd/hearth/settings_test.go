package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var rewrite = flag.Bool("rewrite", false, "write the generated documents anew")

// configurationDoc is docs/guide/configuration.md, made from the table.
func configurationDoc() string {
	var b strings.Builder
	b.WriteString(`# Settings

Every setting is a flag of the commands named, a variable of the environment and a key of a TOML file (--config FILE or
HEARTH_CONFIG). A flag wins over the environment, which wins over the file, which wins over the default. A key that no
setting has is an error.

    # /etc/hearth.toml
    listen     = "127.0.0.1:9000"
    data       = "/var/lib/hearth"
    keep-alive = "5m"

| flag and key | variable | default | commands | what |
|---|---|---|---|---|
`)
	for _, s := range settings {
		value := s.value
		if value != "" {
			value = "`" + value + "`"
		}
		verbs := strings.ReplaceAll(s.verbs, "*", "deploy invoke logs list describe delete quota events queues top explain")
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s | %s |\n", s.name, s.environment(), value, verbs, s.help)
	}
	b.WriteString("\nThis page is made from the table in `cmd/hearth/settings.go`: `go test ./cmd/hearth -run Configuration -rewrite`.\n")
	return b.String()
}

func TestConfigurationDocument(t *testing.T) {
	const path = "../../docs/guide/configuration.md"
	want := configurationDoc()
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the table of settings says; write it anew with -rewrite", path)
	}
}

func resolveArgs(t *testing.T, env map[string]string, args ...string) (values, error) {
	t.Helper()
	cmd := &cobra.Command{Use: "up"}
	addSettings(cmd, false)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return resolve(cmd.Flags(), func(name string) string { return env[name] })
}

func TestSettingsPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hearth.toml")
	if err := os.WriteFile(file, []byte("region = \"file\"\naccount = \"file\"\ndrain = \"1s\"\nmax-instances = 7\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"HEARTH_CONFIG": file, "HEARTH_REGION": "environment", "HEARTH_ACCOUNT": "environment"}
	v, err := resolveArgs(t, env, "--region", "flag")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"region": "flag", "account": "environment", "drain": "1s", "max-instances": "7", "listen": "127.0.0.1:9000"}
	for name, value := range want {
		if v[name] != value {
			t.Errorf("%s is %q, want %q", name, v[name], value)
		}
	}
}

func TestSettingsRefuseNonsense(t *testing.T) {
	for _, args := range [][]string{
		{"--max-instances", "many"}, {"--max-instances", "-1"}, {"--keep-alive", "-1s"}, {"--drain", "10"},
	} {
		if _, err := resolveArgs(t, nil, args...); err == nil || !strings.Contains(err.Error(), args[1]) {
			t.Errorf("%v: the error is %v, and should name the value", args, err)
		}
	}
}

func TestSettingsAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range settings {
		if seen[s.name] {
			t.Errorf("setting %s stands twice", s.name)
		}
		seen[s.name] = true
		if s.check(s.value) != nil {
			t.Errorf("the default of %s is not valid: %q", s.name, s.value)
		}
	}
}
