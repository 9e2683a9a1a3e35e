package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hearth/bench/record"
	"hearth/bench/stage"
)

// Options configure a run.
type Options struct {
	Hearth    string // the binary
	Against   string // another one, measured beside it where a row is about Hearth alone; may be empty
	Source    string // the directory of this package
	Out       string // gets RESULTS.md, plots/ and raw/
	Isolation string // process or none
	Rows      []string
	Languages []string // node, python, go; empty is all
	Plan      Plan
	Budget    time.Duration // no row is begun later than this after the begin; 0 is no bound
	Progress  io.Writer     // a line for each step; nil discards
}

// run is a run in progress. Everything happens in the goroutine of Run: what is
// measured must not compete with what measures.
type run struct {
	Options
	binary    stage.Binary
	other     stage.Binary // of Against
	languages []*stage.Language
	work      string // what was built
}

// measurement is one row of a run while it is measured.
type measurement struct {
	*run
	stage  *stage.Stage
	record *record.Record
}

// Run measures the rows and writes the results of these and all earlier ones. It
// starts servers on loopback and stops those of a row before the next begins, also
// when ctx ends. A row that fails is reported as failed, the others go on, and the
// error names it.
func Run(ctx context.Context, o Options) (err error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	selected, err := choose(o.Rows)
	if err != nil {
		return err
	}
	r := &run{Options: o}
	if r.work, err = os.MkdirTemp("", "hearth-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.work)) }()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	began := time.Now()
	var failed []string
	for _, row := range selected {
		if o.Budget > 0 && time.Since(began) > o.Budget {
			r.say("%s: not begun, the budget of %v is used up", row.name, o.Budget)
			failed = append(failed, row.name+" (not begun)")
			continue
		}
		whole, err := r.row(ctx, row)
		if err != nil {
			return err
		}
		if !whole {
			failed = append(failed, row.name)
		}
		// After each row, so that a run that is cut off leaves what it has.
		if err := Render(o.Out); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

// choose finds rows by their names; none is all.
func choose(names []string) (selected []row, err error) {
	if len(names) == 0 {
		return rows, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no row %q; there are %s", name, strings.Join(Names(), ", "))
		}
		selected = append(selected, rows[i])
	}
	return selected, nil
}

// Names lists the rows.
func Names() (names []string) {
	for _, r := range rows {
		names = append(names, r.name)
	}
	return names
}

func (r *run) say(format string, args ...any) { fmt.Fprintf(r.Progress, format+"\n", args...) }

// prepare inspects the binaries and builds the functions.
func (r *run) prepare(ctx context.Context) (err error) {
	if r.binary, err = stage.Inspect(ctx, r.Hearth, r.work); err != nil {
		return err
	}
	if r.Against != "" {
		if r.other, err = stage.Inspect(ctx, r.Against, r.work); err != nil {
			return err
		}
	}
	all, err := stage.Languages(ctx, r.binary.Runtimes, r.Source, r.work)
	if err != nil {
		return err
	}
	for _, l := range all {
		if len(r.Languages) == 0 || slices.Contains(r.Languages, l.Name) {
			r.languages = append(r.languages, l)
		}
	}
	if len(r.languages) == 0 {
		return fmt.Errorf("there is no language among %s; there are node, python, go", strings.Join(r.Languages, ", "))
	}
	return nil
}

// language returns one by its name; nil where it was not asked for.
func (r *run) language(name string) *stage.Language {
	for _, l := range r.languages {
		if l.Name == name {
			return l
		}
	}
	return nil
}

var errLimit = errors.New("the row took longer than it may")

// row measures one row and keeps its record. An error is the benchmark's own; one
// of the row is in its record, and whole is false then.
func (r *run) row(ctx context.Context, row row) (whole bool, err error) {
	m := &measurement{run: r, record: &record.Record{Row: row.name, Started: time.Now().UTC(), Version: r.binary.Version,
		Against: r.other.Version, Machine: stage.Facts(), Isolation: r.Isolation, Rounds: r.Plan.Rounds, Short: r.Plan.Short, Software: map[string]string{}}}
	for _, l := range r.languages {
		m.record.Software[l.Name] = l.Version
	}
	r.say("%s (at most %v)", row.name, row.limit)
	if missing := r.missing(row.needs); missing != "" {
		m.record.Absent = missing
	} else if err := m.measure(ctx, row); err != nil {
		m.record.Failure = err.Error()
		r.say("%s failed: %v", row.name, err)
	}
	m.record.Took = time.Since(m.record.Started).Round(time.Millisecond)
	if m.record.Absent != "" {
		r.say("%s: not measured: %s", row.name, m.record.Absent)
	}
	return m.record.Failure == "", record.Write(filepath.Join(r.Out, "raw"), m.record)
}

// missing names the settings that a row needs and the binary does not have.
func (r *run) missing(settings []string) string {
	for _, s := range settings {
		if !r.binary.Has(s) {
			return fmt.Sprintf("this Hearth has no setting --%s", s)
		}
	}
	return ""
}

func (m *measurement) measure(ctx context.Context, row row) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, row.limit, errLimit)
	defer cancel()
	if m.stage, err = stage.New(m.Hearth, m.Source, m.Isolation); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.stage.Close()) }()
	return row.measure(ctx, m)
}

// rounds calls one for each round, after a look at what else the machine does.
func (m *measurement) rounds(ctx context.Context, one func(round int) error) error {
	return m.roundsOf(ctx, m.Plan.Rounds, one)
}

// roundsOf is rounds with a number of the row's own.
func (m *measurement) roundsOf(ctx context.Context, n int, one func(round int) error) error {
	m.record.Rounds = n
	for round := 1; round <= n; round++ {
		rest := record.Rest{Load: stage.LoadAverage()}
		var err error
		if rest.Busy, err = stage.BusyShare(ctx, m.Plan.Probe); err != nil {
			return err
		}
		m.record.Rests = append(m.record.Rests, rest)
		m.say("  round %d of %d: load average %s, processors busy at rest %.0f %%", round, n, rest.Load, 100*rest.Busy)
		if err := one(round); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	return nil
}

// keep adds a series to the record.
func (m *measurement) keep(s record.Series) {
	m.record.Series = append(m.record.Series, s)
	if len(s.Samples) > 0 {
		m.say("    %-46s %-20s p50 %v, %d samples", s.Case, s.Side, record.P50(&s), len(s.Samples))
	}
}

// note adds a remark to the record, once.
func (m *measurement) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(m.record.Notes, text) {
		m.record.Notes = append(m.record.Notes, text)
		m.say("    %s", text)
	}
}

// inTurn returns 0..n-1 beginning with another one in each round.
func inTurn(n, round int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = (i + round) % n
	}
	return order
}
