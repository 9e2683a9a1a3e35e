package runtimes

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hearth/internal/seeds"
)

// TestPythonJSON reads and writes random values, and random texts that are nearly
// JSON, with hearth_json and with json: both do the same, errors included.
func TestPythonJSON(t *testing.T) {
	python := ""
	for _, r := range sharedCatalogue().List() {
		if r.Installed && strings.HasPrefix(r.Name, "python") {
			python = r.Path
		}
	}
	seed := seeds.One(t)
	count := 3000
	if seeds.Long() {
		count *= 20
	}
	cmd := exec.Command(python, filepath.Join("testdata", "json_difference.py"), "python", fmt.Sprint(seed), fmt.Sprint(count))
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != fmt.Sprint(count) {
		t.Errorf("%v\n%s", err, out)
	}
}
