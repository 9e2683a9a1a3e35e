package record

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"hearth/bench/load"
	"hearth/bench/stage"
)

func cell(side string, round int, latencies ...time.Duration) Series {
	s := Series{Case: "c", Side: side, Round: round, Elapsed: time.Second, Values: map[string]float64{"cpu": float64(round)}}
	for _, l := range latencies {
		s.Samples = append(s.Samples, Lasting(l))
	}
	return s
}

// TestCompare: a difference is taken within a round first; a round that one side
// lacks does not count.
func TestCompare(t *testing.T) {
	const s = time.Second
	r := &Record{Series: []Series{
		cell("bare", 1, 100*s), cell("ours", 1, 150*s), cell("bare", 2, 10*s), cell("ours", 2, 70*s),
		cell("ours", 3, 300*s), cell("bare", 3, 100*s), cell("ours", 4, 9000*s),
	}}
	// The medians of the sides would differ by something else.
	if got := r.Compare("c", "ours", "bare", P(0.5), Minus); got != (load.Spread{Median: 60, Min: 50, Max: 200}) {
		t.Errorf("minus %+v", got)
	}
	if got := r.Compare("c", "ours", "bare", P(0.5), Ratio); got != (load.Spread{Median: 3, Min: 1.5, Max: 7}) {
		t.Errorf("ratio %+v", got)
	}
	if got := r.Compare("c", "ours", "nobody", P(0.5), Ratio); !math.IsNaN(got.Median) {
		t.Errorf("beside nobody %+v", got)
	}
	if got := r.Over("c", "ours", Value("cpu")); got != (load.Spread{Median: 2.5, Min: 1, Max: 4}) {
		t.Errorf("values %+v", got)
	}
	if got := r.Over("c", "ours", Value("none")); !math.IsNaN(got.Median) {
		t.Errorf("no values %+v", got)
	}
	if n := r.N("c", "ours"); n != 4 {
		t.Errorf("%d samples", n)
	}
	if got := r.Pooled("c", "ours", 0.5); got != (load.Spread{Median: 150, Min: 70, Max: 9000}) {
		t.Errorf("pooled %+v", got)
	}
	if sides := r.Sides("c"); !reflect.DeepEqual(sides, []string{"bare", "ours"}) {
		t.Errorf("sides %v", sides)
	}
}

func TestWriteRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raw")
	if all, err := ReadAll(dir); err != nil || len(all) != 0 {
		t.Fatalf("of nothing: %v, %v", all, err)
	}
	r := &Record{Row: "warm", Started: time.Now().UTC().Round(0), Software: map[string]string{"node": "20"}, Rests: []Rest{{0.5, "1.0"}},
		Failure: "why", Series: []Series{cell("a", 1, 5, 6)}}
	r.Series[0].Timelines = []stage.Timeline{{Init: 5}}
	for range 2 { // in place of the last one
		if err := Write(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	all, err := ReadAll(dir)
	if err != nil || len(all) != 1 || !reflect.DeepEqual(all["warm"], r) {
		t.Errorf("got %+v, %v, want %+v", all["warm"], err, r)
	}
	if r.Whole() || r.Busiest() != 0.5 {
		t.Error("a record that failed is whole, or nobody was busy")
	}
	if err := os.WriteFile(filepath.Join(dir, "cut.json.gz"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAll(dir); err == nil {
		t.Error("a record that is cut off was read")
	}
}
