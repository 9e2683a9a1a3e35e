package bench

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hearth/bench/record"
	"hearth/bench/report"
	"hearth/bench/stage"
	"hearth/faas"
	"hearth/test/e2e"
)

func TestMain(m *testing.M) {
	code := m.Run()
	e2e.CleanUp()
	os.Exit(code)
}

// options are those of a run of the harness itself, with a temporary directory of
// the test's own for all that it makes.
func options(t *testing.T, rows ...string) Options {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the process sandbox needs root")
	}
	binary := e2e.Binary(t)
	t.Setenv("TMPDIR", t.TempDir())
	return Options{Hearth: binary, Source: ".", Out: t.TempDir(), Isolation: string(faas.IsolationProcess), Rows: rows, Plan: Short()}
}

// TestWarmRow takes the harness through a row. It checks that every number has
// samples behind it, not what they are.
func TestWarmRow(t *testing.T) {
	o := options(t, "warm")
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	if err := Run(ctx, o); err != nil {
		t.Fatal(err)
	}
	all, err := record.ReadAll(filepath.Join(o.Out, "raw"))
	if err != nil {
		t.Fatal(err)
	}
	r := all["warm"]
	if r == nil || len(r.Cases()) != 3*len(warmShapes) || len(r.Rests) != o.Plan.Rounds {
		t.Fatalf("the record is %+v", r)
	}
	for _, of := range r.Cases() {
		for _, side := range []string{bare, hearth} {
			for _, s := range r.Of(of, side) {
				checkSeries(t, s)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(o.Out, "RESULTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| node, closed loop, 1 connection | Hearth |", "| process; bare: none |", "cgroups", "trial", "Node: added to the bare server's p50"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("RESULTS.md has no %q", want)
		}
	}
	if strings.Contains(string(text), "NaN") || strings.Contains(string(text), "%!") {
		t.Errorf("RESULTS.md has a number that is none:\n%s", text)
	}
	checkNothingLeft(t)
}

func checkSeries(t *testing.T, s *record.Series) {
	t.Helper()
	p50, p99, rate := record.P(0.5)(s), record.P(0.99)(s), s.Rate()
	if len(s.Samples) == 0 || p50 <= 0 || p50 > p99 || rate <= 0 || s.Values["cpu"] <= 0 {
		t.Errorf("%s, %s: p50 %v, p99 %v, rate %v, %v", s.Case, s.Side, p50, p99, rate, s.Values)
	}
	if s.Side == hearth && (s.Values["handler"] <= 0 || s.Values["instances"] < 1) {
		t.Errorf("%s, %s: %v", s.Case, s.Side, s.Values)
	}
}

// checkNothingLeft looks for processes and temporary files.
func checkNothingLeft(t *testing.T) {
	t.Helper()
	if n := len(stage.TreeOf(os.Getpid()).PIDs); n > 1 {
		t.Errorf("%d processes are left", n-1)
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		if strings.HasPrefix(entry.Name(), "hearth-bench-") {
			t.Errorf("%s is left", entry.Name())
		}
	}
}

// TestInterruptedRow: a row that is cut off is reported as failed, and what it
// started is stopped.
func TestInterruptedRow(t *testing.T) {
	o := options(t, "warm")
	o.Languages = []string{"python"}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	cut := errors.New("cut off")
	o.Progress = lines(func(line string) {
		if strings.Contains(line, "closed loop, 16") {
			cancel(cut)
		}
	})
	if err := Run(ctx, o); !errors.Is(err, cut) {
		t.Errorf("the run returned %v", err)
	}
	text, err := os.ReadFile(filepath.Join(o.Out, "RESULTS.md"))
	if err != nil || !strings.Contains(string(text), "Failed: ") {
		t.Errorf("the results do not say so: %v", err)
	}
	checkNothingLeft(t)
}

// lines is a writer that calls a function with what is written.
type lines func(string)

func (l lines) Write(p []byte) (int, error) {
	l(string(p))
	return len(p), nil
}

// TestRows: every row has a name of its own and a deadline, and its section can do
// with a record of nothing.
func TestRows(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range rows {
		if seen[row.name] || row.limit <= 0 || row.measure == nil {
			t.Errorf("row %q", row.name)
		}
		seen[row.name] = true
	}
	if _, err := choose([]string{"warm", "nonsense"}); err == nil || !strings.Contains(err.Error(), "warm") {
		t.Errorf("a row that does not exist: %v", err)
	}
	r := results(nil)
	if len(r.Sections) != len(rows) {
		t.Errorf("%d sections of %d rows", len(r.Sections), len(rows))
	}
	for _, s := range r.Sections {
		if s.State == "" || s.Title == "" {
			t.Errorf("section %q of nothing: %q", s.Title, s.State)
		}
		for _, f := range s.Figures {
			if f.Verdict() != report.Unmeasured || f.Isolation == "" || f.Durability == "" || f.Payload == "" {
				t.Errorf("%s: %v under %+v", f.What, f.Verdict(), f.Conditions)
			}
		}
	}
	if text := r.Markdown(); strings.Contains(text, "NaN") {
		t.Errorf("a number that is none:\n%s", text)
	}
}

func TestAccount(t *testing.T) {
	warm := func(handler, settle time.Duration) stage.Report {
		return stage.Report{Start: "warm", Timeline: stage.Timeline{Handler: handler, Settle: settle}}
	}
	handler, settle := account([]stage.Report{warm(3*time.Second, 1), warm(time.Second, 1), warm(2*time.Second, 1), {Start: "cold"}})
	if handler != 2 || math.Abs(settle-1e-9) > 1e-15 {
		t.Errorf("handler %v, settle %v", handler, settle)
	}
}
