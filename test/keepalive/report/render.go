package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed results.md.tmpl
var resultsText string

var resultsTemplate = template.Must(template.New("results").Funcs(template.FuncMap{
	"percent": func(f float64) string { return fmt.Sprintf("%.1f", 100*f) },
	"points":  func(f float64) string { return fmt.Sprintf("%+.1f", 100*f) },
	"ratio":   func(f float64) string { return fmt.Sprintf("%.2f", f) },
	"ms":      func(f float64) string { return fmt.Sprintf("%.0f", 1e3*f) },
	"gb":      func(f float64) string { return fmt.Sprintf("%.1f", f/1024) },
	"count":   func(f float64) string { return fmt.Sprintf("%.1f", f) },
}).Parse(resultsText))

// dataFile is the report as data: what a later part adds to.
const dataFile = "results.json"

// Load reads the report that Write wrote into a directory.
func Load(dir string) (*Report, error) {
	data, err := os.ReadFile(filepath.Join(dir, dataFile))
	if err != nil {
		return nil, err
	}
	r := new(Report)
	return r, json.Unmarshal(data, r)
}

// Write writes README.md, fronts.svg and results.json into a directory, each whole
// or not at all.
func (r *Report) Write(dir string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var text strings.Builder
	if err := resultsTemplate.Execute(&text, r); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{"README.md": text.String(), "fronts.svg": r.plot(), dataFile: string(data) + "\n"} {
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

// The plot's measures, in pixels, and the ends of its axes.
const (
	plotLeft, plotTop     = 60, 30
	plotWidth, plotHeight = 560, 360
	mostWaste             = 2.2 // times fixed ten minutes
)

var colours = map[string]string{"fixed": "#868e96", "hybrid histogram": "#1c7ed6", "default": "#d9480f", "clairvoyant": "#2b8a3e"}

// plot draws the fronts: cold rate of the 75th-percentile app over waste.
func (r *Report) plot() string {
	var b strings.Builder
	x := func(waste float64) float64 { return plotLeft + min(waste, mostWaste)/mostWaste*plotWidth }
	y := func(rate float64) float64 { return plotTop + (1-rate)*plotHeight }
	for i := range 6 {
		rate := float64(i) / 5
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.0f" y2="%.0f" stroke="#e9ecef"/><text x="%d" y="%.0f" text-anchor="end">%.0f %%</text>`+"\n",
			plotLeft, plotLeft+plotWidth, y(rate), y(rate), plotLeft-6, y(rate)+4, 100*rate)
	}
	for waste := 0.0; waste <= mostWaste; waste += .5 {
		fmt.Fprintf(&b, `<text x="%.0f" y="%d" text-anchor="middle">%.1f</text>`+"\n", x(waste), plotTop+plotHeight+18, waste)
	}
	legend := plotTop + 10
	curve := r.Curve()
	for _, family := range []string{"fixed", "hybrid histogram", "default", "clairvoyant"} {
		colour := colours[family]
		var line []string
		for _, row := range curve {
			if row.Family != family || math.IsNaN(row.Relative) {
				continue
			}
			line = append(line, fmt.Sprintf("%.1f,%.1f", x(row.Relative), y(row.P75)))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"><title>%s: %.1f %% cold, waste %.2f</title></circle>`+"\n",
				x(row.Relative), y(row.P75), colour, row.Name, 100*row.P75, row.Relative)
		}
		if family != "hybrid histogram" {
			fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(line, " "), colour)
		}
		fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="4" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n",
			plotLeft+plotWidth-130, legend-4, colour, plotLeft+plotWidth-120, legend, family)
		legend += 18
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
<text x="%d" y="18" font-weight="bold">Cold calls of the 75th-percentile app over memory held in vain (fixed 10 min = 1)</text>
%s</svg>
`, plotLeft+plotWidth+30, plotTop+plotHeight+30, plotLeft, b.String())
}
