package report

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The plot's measures, in pixels.
const (
	plotLabel = 250 // room for the names
	plotWidth = 480 // of the longest bar
	plotBar   = 14
	plotGap   = 10
)

// Plot is bars in groups. The axis of a group begins at zero and is its own.
type Plot struct {
	File   string // its path beside RESULTS.md
	Title  string
	Unit   Unit
	Groups []Group
}

// Group is bars that are compared with each other.
type Group struct {
	Title string
	Bars  []Bar
}

// Bar is a value and, as a line from it, a larger one: p50 and p99, say.
type Bar struct {
	Label string
	Ours  bool    // it is Hearth's
	Value float64 // in base units
	Tail  float64 // NaN where there is none
}

const (
	oursColour   = "#d9480f"
	othersColour = "#9aa5b1"
)

// SVG draws the plot. Bars without a number are left out.
func (p Plot) SVG() string {
	var b strings.Builder
	y := plotGap + plotBar
	fmt.Fprintf(&b, `<text x="4" y="%d" font-size="14" font-weight="bold">%s</text>`+"\n", y, html.EscapeString(p.Title))
	for _, g := range p.Groups {
		longest := 0.0
		for _, bar := range g.Bars {
			longest = math.Max(longest, bar.longest())
		}
		if longest == 0 {
			continue
		}
		y += 2 * plotBar
		fmt.Fprintf(&b, `<text x="4" y="%d" font-weight="bold">%s</text>`+"\n", y, html.EscapeString(g.Title))
		y += plotGap
		for _, bar := range g.Bars {
			if !math.IsNaN(bar.Value) {
				y = p.bar(&b, y, bar, plotWidth/longest)
			}
		}
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, plotLabel+plotWidth+140, y+plotGap, b.String())
}

// longest is the larger of both numbers; 0 where there is none.
func (b Bar) longest() float64 {
	if math.IsNaN(b.Value) {
		return 0
	}
	if math.IsNaN(b.Tail) {
		return b.Value
	}
	return math.Max(b.Value, b.Tail)
}

func (p Plot) bar(b *strings.Builder, y int, bar Bar, scale float64) (next int) {
	colour := othersColour
	if bar.Ours {
		colour = oursColour
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, plotLabel-6, y+plotBar-3, html.EscapeString(bar.Label))
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, plotLabel, y, bar.Value*scale, plotBar-2, colour)
	text := p.Unit.Number(bar.Value)
	if !math.IsNaN(bar.Tail) {
		fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%[3]d" stroke="%s" stroke-width="2"/>`,
			plotLabel+bar.Value*scale, plotLabel+bar.Tail*scale, y+plotBar/2-1, colour)
		text += " / " + p.Unit.Number(bar.Tail)
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`+"\n", plotLabel+bar.longest()*scale+4, y+plotBar-3, html.EscapeString(text))
	return y + plotBar + 2
}
