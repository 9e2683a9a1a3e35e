package bench

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"hearth/bench/load"
)

//go:embed results.md.tmpl
var resultsText string

var resultsTemplate = template.Must(template.New("results").Funcs(template.FuncMap{
	"us":      func(s load.Spread) string { return spread(s, 1e3, 0) },
	"rate":    func(s load.Spread) string { return spread(s, 1, 0) },
	"times":   func(s load.Spread) string { return spread(s, 1, 2) },
	"share":   func(s load.Spread) string { return spread(s, 0.01, 0) + " %" },
	"percent": func(f float64) string { return fmt.Sprintf("%.0f %%", 100*f) },
	"number":  func(f float64) string { return fmt.Sprintf("%.2f", f) },
	"ms":      func(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1e3) },
	"join":    strings.Join,
	"event":   func() string { return string(event) },
	"bytes":   func() string { return fmt.Sprintf("%d bytes in, %d out", len(event), len(knownAnswers[0])) },
	"memory":  func() int { return memoryMB },
}).Parse(resultsText))

// spread writes a median and, where there is more than one value, the ends.
func spread(s load.Spread, unit float64, digits int) string {
	middle := fmt.Sprintf("%.*f", digits, s.Median/unit)
	if s.Min == s.Max {
		return middle
	}
	return fmt.Sprintf("%s (%.*f–%.*f)", middle, digits, s.Min/unit, digits, s.Max/unit)
}

// Render returns the text of RESULTS.md.
func (r *Report) Render() (string, error) {
	var b strings.Builder
	err := resultsTemplate.Execute(&b, r)
	return b.String(), err
}

// write writes RESULTS.md and its plot into a directory, each whole or not at all.
func (r *Report) write(dir string) error {
	text, err := r.Render()
	if err != nil {
		return err
	}
	for name, content := range map[string]string{"RESULTS.md": text, "latency.svg": r.plot()} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", []byte(content), 0o644); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	return nil
}
