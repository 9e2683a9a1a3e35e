// Package report turns figures into RESULTS.md and its plots.
//
// It owns the text: numbers with their units, what was to be reached and whether
// it was, tables, bars. It must not know how anything was measured.
package report

import (
	"fmt"
	"math"
	"time"

	"hearth/bench/load"
)

// Unit is how a number in base units (seconds, bytes, counts) is written.
type Unit struct {
	Name   string
	Scale  float64 // base units times this
	Digits int
}

// The units in use.
var (
	Micro     = Unit{"µs", 1e6, 0}
	Milli     = Unit{"ms", 1e3, 2}
	Seconds   = Unit{"s", 1, 2}
	Times     = Unit{"×", 1, 2}
	PerSecond = Unit{"/s", 1, 0}
	Percent   = Unit{"%", 100, 0}
	Core      = Unit{"% of a core", 100, 2}
	Megabytes = Unit{"MB", 1e-6, 2}
	Count     = Unit{"", 1, 0}
)

// Number writes one number without its unit.
func (u Unit) Number(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.*f", u.Digits, v*u.Scale)
}

// Spread writes a median and, where the rounds differ, the ends.
func (u Unit) Spread(s load.Spread) string {
	if s.Min == s.Max || math.IsNaN(s.Median) {
		return u.Number(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", u.Number(s.Median), u.Number(s.Min), u.Number(s.Max))
}

// Duration writes a duration in the unit.
func (u Unit) Duration(d time.Duration) string { return u.Number(d.Seconds()) }

// Goal is what a figure has to reach, in base units.
type Goal struct {
	Must, Aim float64 // NaN where there is none
	AtLeast   bool    // more is better
}

// AtMost and AtLeast make goals.
func AtMost(must, aim float64) *Goal { return &Goal{Must: must, Aim: aim} }

// AtLeast is a goal where more is better.
func AtLeast(must, aim float64) *Goal { return &Goal{Must: must, Aim: aim, AtLeast: true} }

// None stands for a bound that a goal does not have.
var None = math.NaN()

// Verdict is how a figure stands to its goal.
type Verdict int

// Verdicts.
const (
	NoGoal Verdict = iota
	Unmeasured
	Missed
	Must
	Aim
)

func (v Verdict) String() string {
	return [...]string{"shown", "not measured", "**no**", "must", "must and aim"}[v]
}

// Conditions are what a figure holds under.
type Conditions struct {
	Isolation  string
	Durability string
	Payload    string
}

// Figure is one number and what it was to be.
type Figure struct {
	What  string
	Value load.Spread // over the rounds, in base units
	Unit  Unit
	N     int   // samples of Hearth's behind it
	Goal  *Goal // nil where it is only shown
	Conditions
}

// Verdict compares the median with the goal.
func (f Figure) Verdict() Verdict {
	switch v := f.Value.Median; {
	case math.IsNaN(v):
		return Unmeasured
	case f.Goal == nil:
		return NoGoal
	case f.Goal.reached(f.Goal.Aim, v) && (math.IsNaN(f.Goal.Must) || f.Goal.reached(f.Goal.Must, v)):
		return Aim
	case f.Goal.reached(f.Goal.Must, v):
		return Must
	}
	return Missed
}

func (g *Goal) reached(bound, v float64) bool {
	if g.AtLeast {
		return v >= bound
	}
	return v <= bound // false where there is no bound
}

func (f Figure) bound(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	sign := "≤ "
	if f.Goal.AtLeast {
		sign = "≥ "
	}
	u := f.Unit
	for u.Digits > 0 && math.Abs(v*u.Scale*math.Pow10(u.Digits-1)-math.Round(v*u.Scale*math.Pow10(u.Digits-1))) < 1e-6 {
		u.Digits-- // 3 ms and not 3.00 ms
	}
	return sign + u.Number(v)
}

// Table is a table of text.
type Table struct {
	Caption string // a sentence above it; may be empty
	Head    []string
	Rows    [][]string
}

// Add appends a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Section is what a row of the benchmark came to.
type Section struct {
	Title   string
	Text    string // how it was measured
	State   string // what was missing or failed; empty when it is whole
	Notes   []string
	Figures []Figure
	Tables  []Table
	Plots   []Plot
}

// Report is all of it.
type Report struct {
	Facts    []Fact // of the machine and the run
	Warnings []string
	Sections []Section
}

// Fact is a line of the table of facts.
type Fact struct{ Name, Value string }

// Tally counts the figures that have a goal, by verdict.
func (r *Report) Tally() (t [Aim + 1]int) {
	for _, s := range r.Sections {
		for _, f := range s.Figures {
			if f.Goal != nil {
				t[f.Verdict()]++
			}
		}
	}
	return t
}
