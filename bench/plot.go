package bench

import (
	"fmt"
	"strings"

	"hearth/bench/load"
)

// The plot's measures, in pixels.
const (
	plotLabel = 250 // room for the names
	plotWidth = 480 // of the longest bar
	plotBar   = 14
	plotGap   = 10
)

// plot draws the latencies of the closed loops: a bar to the median, a line from
// it to p99. An axis begins at zero and is each shape's own.
func (r *Report) plot() string {
	var b strings.Builder
	y := plotGap
	for _, shape := range r.Plan.Shapes {
		rows := r.Of(shape)
		longest := 0.0
		for _, row := range rows {
			longest = max(longest, row.Bare().P99().Median, row.Hearth().P99().Median)
		}
		if longest == 0 {
			continue
		}
		y += 2 * plotBar
		fmt.Fprintf(&b, `<text x="4" y="%d" font-weight="bold">%s (bar: p50, line: p99, µs)</text>`+"\n", y, shape)
		y += plotGap
		for _, row := range rows {
			y = bar(&b, y, row.Runtime+", bare server", "#9aa5b1", row.Bare(), longest)
			y = bar(&b, y, row.Runtime+", Hearth", "#d9480f", row.Hearth(), longest) + plotGap
		}
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, plotLabel+plotWidth+140, y+plotGap, b.String())
}

func bar(b *strings.Builder, y int, label, colour string, s Side, longest float64) (next int) {
	width := func(v load.Spread) float64 { return v.Median / longest * plotWidth }
	p50, p99 := s.P50(), s.P99()
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, plotLabel-6, y+plotBar-3, label)
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, plotLabel, y, width(p50), plotBar-2, colour)
	fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%[3]d" stroke="%s" stroke-width="2"/>`,
		plotLabel+width(p50), plotLabel+width(p99), y+plotBar/2-1, colour)
	fmt.Fprintf(b, `<text x="%.1f" y="%d">%.0f / %.0f</text>`+"\n",
		plotLabel+width(p99)+4, y+plotBar-3, p50.Median/1e3, p99.Median/1e3)
	return y + plotBar
}
