package report

import (
	"encoding/xml"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hearth/bench/load"
)

func one(v float64) load.Spread { return load.Spread{Median: v, Min: v, Max: v} }

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		value float64
		goal  *Goal
		want  Verdict
	}{
		{50, AtMost(60, 25), Must}, {25, AtMost(60, 25), Aim}, {61, AtMost(60, 25), Missed}, {-3, AtMost(60, 25), Aim},
		{0.5, AtLeast(0.5, 0.8), Must}, {0.8, AtLeast(0.5, 0.8), Aim}, {0.4, AtLeast(0.5, 0.8), Missed},
		{11, AtLeast(None, 10), Aim}, {9, AtLeast(None, 10), Missed}, {9, AtMost(10, None), Must},
		{math.NaN(), AtMost(1, 1), Unmeasured}, {1, nil, NoGoal}, {math.NaN(), nil, Unmeasured},
	} {
		if got := (Figure{Value: one(c.value), Goal: c.goal}).Verdict(); got != c.want {
			t.Errorf("%v against %+v: %v, not %v", c.value, c.goal, got, c.want)
		}
	}
}

func TestUnits(t *testing.T) {
	if got := Micro.Spread(load.Spread{Median: 60e-6, Min: 50e-6, Max: 200e-6}); got != "60 (50–200)" {
		t.Error(got)
	}
	if got := Milli.Spread(one(0.0015)); got != "1.50" {
		t.Error(got)
	}
	if got := (Figure{Unit: Milli, Goal: AtMost(0.003, 0.0015)}); got.bound(0.003) != "≤ 3" || got.bound(0.0015) != "≤ 1.5" {
		t.Errorf("bounds %s, %s", got.bound(0.003), got.bound(0.0015))
	}
	if got := Times.Number(math.NaN()); got != "–" {
		t.Error(got)
	}
}

// TestWrite: losses and gaps are in the text, and the plots are well-formed.
func TestWrite(t *testing.T) {
	r := &Report{Facts: []Fact{{"machine", "a|b"}}, Warnings: []string{"loud"}, Sections: []Section{{
		Title: "Warm", Text: "how", State: "Failed: because", Notes: []string{"two\nlines"},
		Figures: []Figure{
			{What: "lost", Value: one(2), Unit: Times, N: 7, Goal: AtMost(1, 0.5), Conditions: Conditions{"process", "none", "1 B"}},
			{What: "gap", Value: one(math.NaN()), Unit: Times, Goal: AtMost(1, 0.5)},
			{What: "beside", Value: one(3), Unit: Times},
		},
		Tables: []Table{{Caption: "more", Head: []string{"x"}, Rows: [][]string{{"y"}}}, {Head: []string{"empty"}}},
		Plots: []Plot{{File: "plots/a.svg", Title: "a < b", Unit: Micro, Groups: []Group{
			{"g & h", []Bar{{"ours", true, 1e-6, 2e-6}, {"none", false, math.NaN(), math.NaN()}, {"no tail", false, 3e-6, math.NaN()}}},
			{"empty", nil},
		}}},
	}}}
	dir := t.TempDir()
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "RESULTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| lost, × | 2.00 | ≤ 1 | ≤ 0.5 | **no** | 7 | process | none | 1 B |", "| gap, × | – |", "not measured", "**Failed: because**", "**loud**",
		"- two lines", "![a < b](plots/a.svg)", "| beside, × | 3.00 |  |  | shown |", `a\|b`, "Of 2 figures with a goal: 0 reach the aim too, 0 the must only, 1 neither, 1 were not measured.",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "NaN") || strings.Contains(string(text), "empty") {
		t.Errorf("what is not there is shown:\n%s", text)
	}
	svg, err := os.ReadFile(filepath.Join(dir, "plots", "a.svg"))
	if err != nil || strings.Count(string(svg), "<rect x=") != 2 || strings.Contains(string(svg), "NaN") {
		t.Errorf("the plot: %v\n%s", err, svg)
	}
	for in := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		if _, err := in.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("the plot: %v", err)
		}
	}
}
