package report

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReport runs the whole protocol on next to nothing, in two goes, and looks at
// what is written.
func TestReport(t *testing.T) {
	p := Quick
	p.Apps = 12
	dir := t.TempDir()
	r, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(-1, io.Discard); err != ErrMore {
		t.Fatalf("without time: %v", err)
	}
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	if r, err = Load(dir); err != nil {
		t.Fatal(err)
	}
	if err := r.Run(time.Hour, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"fixed 10 min", "hybrid 240 min", "default, price", "clairvoyant", "greedy dual", "deep days", "Microsoft, CC-BY 4.0"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("README.md lacks %q", want)
		}
	}
	svg, err := os.ReadFile(filepath.Join(dir, "fronts.svg"))
	if err != nil || strings.Count(string(svg), "<polyline") != 3 || strings.Contains(string(svg), "NaN") {
		t.Errorf("fronts.svg: %v: %s", err, svg)
	}
	for _, row := range r.Curve() {
		if row.Name == reference.Name && (row.Relative != 1 || row.Gain != 0) {
			t.Errorf("the reference against itself: %+v", row)
		}
		if row.P75 < 0 || row.P75 > 1 || row.Name == "no keep-alive" && row.Relative != 0 {
			t.Errorf("%+v", row)
		}
	}
}

func TestTheSeedsOfTheTest(t *testing.T) {
	if len(Test.Seeds) < Test.Want || Test.Want < 10 {
		t.Errorf("%d seeds for %d", len(Test.Seeds), Test.Want)
	}
	for i, s := range Test.Seeds {
		if s == TuningSeed || slices.Contains(Test.Seeds[:i], s) {
			t.Errorf("seed %d is the tuning seed, or twice among those of the test", s)
		}
	}
}

func TestBootstrap(t *testing.T) {
	mean, low, high := bootstrap([]float64{1, 2, 3, 4, 5})
	if mean != 3 || low >= mean || high <= mean || low < 1 || high > 5 {
		t.Errorf("%v, %v to %v", mean, low, high)
	}
	if mean, low, high := bootstrap([]float64{2, 2}); mean != 2 || low != 2 || high != 2 {
		t.Errorf("of one value: %v, %v to %v", mean, low, high)
	}
}
