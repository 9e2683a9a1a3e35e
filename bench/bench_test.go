package bench

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hearth/bench/load"
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
func options(t *testing.T) Options {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the process sandbox needs root")
	}
	binary := e2e.Binary(t)
	t.Setenv("TMPDIR", t.TempDir())
	return Options{Hearth: binary, Source: ".", Out: t.TempDir(), Isolation: string(faas.IsolationProcess), Plan: Quick()}
}

// TestQuickRun takes the whole harness through its shortest plan. It checks that
// every number has samples behind it, not what they are.
func TestQuickRun(t *testing.T) {
	o := options(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	r, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 3*len(o.Plan.Shapes) || len(r.Colds) != 3 || len(r.Loads) != o.Plan.Rounds {
		t.Fatalf("%d rows, %d runtimes with cold starts, %d loads", len(r.Rows), len(r.Colds), len(r.Loads))
	}
	for _, row := range r.Rows {
		checkRow(t, o.Plan, row)
	}
	for _, c := range r.Colds {
		checkCold(t, o.Plan, c)
	}
	checkFiles(t, o.Out, r)
	checkNothingLeft(t)
}

func checkRow(t *testing.T, p Plan, row *Row) {
	t.Helper()
	if len(row.Pairs) != p.Rounds {
		t.Errorf("%s, %s: %d rounds", row.Runtime, row.Shape, len(row.Pairs))
	}
	for _, pair := range row.Pairs {
		for which, c := range pair {
			l := c.Latency
			if l.N < row.Shape.Connections || l.Min <= 0 || l.Min > l.P50 || l.P50 > l.P99 || l.P99 > l.Max || c.Rate <= 0 || c.CPU <= 0 {
				t.Errorf("%s, %s, %v: %+v", row.Runtime, row.Shape, side(which), c)
			}
		}
		if c := pair[hearth]; c.Handler <= 0 || c.Handler > c.Latency.Max {
			t.Errorf("%s, %s: the handler took %v of at most %v", row.Runtime, row.Shape, c.Handler, c.Latency.Max)
		}
		if n := pair[hearth].Instances; n < 1 || n > row.Shape.Connections && row.Shape.Rate == 0 {
			t.Errorf("%s, %s: %d instances", row.Runtime, row.Shape, n)
		}
	}
}

func checkCold(t *testing.T, p Plan, c *Cold) {
	t.Helper()
	if len(c.Starts) != p.Cold*p.Rounds || len(c.Bare) != p.Cold*p.Rounds || len(c.Bursts) != p.Rounds {
		t.Errorf("%s: %d starts, %d bare, %d bursts", c.Runtime, len(c.Starts), len(c.Bare), len(c.Bursts))
	}
	starts := c.Starts
	for _, b := range c.Bursts {
		if len(b.Starts) != p.Burst {
			t.Errorf("%s: a burst of %d", c.Runtime, len(b.Starts))
		}
		starts = append(starts, b.Starts...)
	}
	for _, s := range starts {
		l := s.Timeline
		// Hearth's account fits into what the client saw. A static binary may have
		// spoken before Hearth's own thread was back from the exec: its part is then 0.
		if sum := l.Queue + l.Sandbox + l.Runtime + l.Code + l.Init + l.Handler + l.Settle; l.Sandbox <= 0 || l.Runtime < 0 || l.Runtime == 0 && c.Runtime != "go" || sum > s.Latency {
			t.Errorf("%s: %v at the client, %v in %+v", c.Runtime, s.Latency, sum, l)
		}
	}
}

// checkFiles reads back what the run wrote.
func checkFiles(t *testing.T, out string, r *Report) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(out, "RESULTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| node | Hearth |", "| python | bare |", "| go | Hearth |", "isolation of Hearth | process", "cgroups", "payload", "trial"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("RESULTS.md has no %q", want)
		}
	}
	if strings.Contains(string(text), "NaN") || strings.Contains(string(text), "%!") {
		t.Errorf("RESULTS.md has a number that is none:\n%s", text)
	}
	if svg, err := os.ReadFile(filepath.Join(out, "latency.svg")); err != nil || strings.Count(string(svg), "<rect x=") != 2*len(r.Rows) {
		t.Errorf("the plot: %v, %d bytes", err, len(svg))
	}
	runs, err := filepath.Glob(filepath.Join(out, "raw", "*"))
	if err != nil || len(runs) != 1 {
		t.Fatalf("raw runs %v, %v", runs, err)
	}
	cells, samples := readRaw(t, filepath.Join(runs[0], "samples.jsonl.gz"))
	want := 0
	for _, row := range r.Rows {
		want += row.Bare().Samples() + row.Hearth().Samples()
	}
	if cells != 2*len(r.Rows) || samples != want {
		t.Errorf("%d raw cells with %d samples, not %d with %d", cells, samples, 2*len(r.Rows), want)
	}
	raw, err := os.ReadFile(filepath.Join(runs[0], "report.json"))
	if err != nil || json.Unmarshal(raw, new(Report)) != nil {
		t.Errorf("report.json: %v, %d bytes", err, len(raw))
	}
}

func readRaw(t *testing.T, path string) (cells, samples int) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for in := json.NewDecoder(unzipped); ; cells++ {
		var c rawCell
		err := in.Decode(&c)
		if errors.Is(err, io.EOF) {
			return cells, samples
		}
		if err != nil {
			t.Fatal(err)
		}
		samples += len(c.Triples)
	}
}

// checkNothingLeft looks for processes and temporary files.
func checkNothingLeft(t *testing.T) {
	t.Helper()
	if n := treeOf(os.Getpid()).processes; n > 1 {
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

// TestInterruptedRun: a run that is cut off says so, writes no results, and stops
// what it started.
func TestInterruptedRun(t *testing.T) {
	o := options(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	cut := errors.New("cut off")
	o.Progress = lines(func(line string) {
		if strings.Contains(line, "closed loop, 16") {
			cancel(cut)
		}
	})
	if _, err := Run(ctx, o); !errors.Is(err, cut) && !errors.Is(err, context.Canceled) {
		t.Errorf("the run returned %v", err)
	}
	if _, err := os.Stat(filepath.Join(o.Out, "RESULTS.md")); err == nil {
		t.Error("it wrote results")
	}
	checkNothingLeft(t)
}

// lines is a writer that calls a function with what is written.
type lines func(string)

func (l lines) Write(p []byte) (int, error) {
	l(string(p))
	return len(p), nil
}

func TestSpawn(t *testing.T) {
	if _, err := spawn(t.Context(), "/nonexistent/server"); err == nil {
		t.Error("a server that does not exist was started")
	}
	_, err := spawn(t.Context(), "/bin/sh", "-c", "echo why >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("a server that ended: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := spawn(ctx, "/bin/sh", "-c", "exec sleep 60"); !errors.Is(err, context.Canceled) {
		t.Errorf("a server that never gets ready: %v", err)
	}
	if n := treeOf(os.Getpid()).processes; n > 1 {
		t.Errorf("%d processes are left", n-1)
	}
}

func TestReportArithmetic(t *testing.T) {
	cell := func(p50 time.Duration, rate float64) Cell {
		return Cell{Latency: load.Summary{N: 10, P50: p50}, Rate: rate}
	}
	one, two := &Report{}, Shape{Connections: 1}
	*one.row("a", two) = Row{Runtime: "a", Shape: two, Pairs: []Pair{
		{cell(100, 1000), cell(150, 500)}, {cell(10, 1000), cell(70, 100)}, {cell(100, 100), cell(300, 90)},
	}}
	*one.row("b", two) = Row{Runtime: "b", Shape: two, Pairs: []Pair{{cell(1, 100), cell(8, 50)}}}
	row := one.row("a", two)
	// Within each round first: the medians of the sides would differ by 50.
	if got := row.Added(); got != (load.Spread{Median: 60, Min: 50, Max: 200}) {
		t.Errorf("added %+v", got)
	}
	if got := row.Share(); got != (load.Spread{Median: 0.5, Min: 0.1, Max: 0.9}) {
		t.Errorf("share %+v", got)
	}
	if got := one.SlowdownMean(two); math.Abs(got-math.Sqrt(3*8)) > 1e-9 {
		t.Errorf("geometric mean %v", got)
	}
	if got := row.Hearth().Samples(); got != 30 {
		t.Errorf("%d samples", got)
	}
}

func TestColdParts(t *testing.T) {
	c := &Cold{Starts: []ColdStart{{Latency: 100, Timeline: faas.Timeline{Sandbox: 10, Runtime: 20, Init: 30, Handler: 5}}}}
	got := map[string]time.Duration{}
	for _, p := range c.Parts() {
		got[p.Name] = p.Median
	}
	if got["sandbox"] != 10 || got["runtime"] != 20 || got["init"] != 30 || got["HTTP and client"] != 35 {
		t.Errorf("parts %v", got)
	}
}

func TestProcessorTicks(t *testing.T) {
	idle, all := processorTicks("cpu  10 1 5 100 4 2 1 7 50 0")
	if idle != 104 || all != 130 {
		t.Errorf("idle %d of %d", idle, all)
	}
	if idle, all := processorTicks(unknown); idle != 0 || all != 0 {
		t.Errorf("of nothing: idle %d of %d", idle, all)
	}
}

func TestParentOf(t *testing.T) {
	for stat, want := range map[string]int{
		"12 (a) S 7 12 12 0":            7,
		"12 (odd ) name (x)) R 99 1 1 ": 99,
		"12 (a) S":                      0,
		"":                              0,
	} {
		if got, ok := parentOf(stat); got != want || ok != (want != 0) {
			t.Errorf("%q: %d, %v", stat, got, ok)
		}
	}
	if tree := treeOf(os.Getpid()); tree.processes < 1 || tree.cpu <= 0 {
		t.Errorf("this process is %+v", tree)
	}
}
