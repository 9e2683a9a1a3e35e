// Package record is what a benchmark keeps of a row: every sample, and the
// circumstances. The results are computed from records alone, so they can be
// written anew without measuring anything anew.
//
// It owns the files of bench/raw, one a row. It must not know what the rows are,
// nor what is concluded from them.
package record

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hearth/bench/load"
	"hearth/bench/stage"
)

// Record is one row as it was measured.
type Record struct {
	Row       string            `json:"row"`
	Started   time.Time         `json:"started"`
	Took      time.Duration     `json:"took"`
	Version   string            `json:"version"`           // of Hearth
	Against   string            `json:"against,omitempty"` // of another Hearth beside it
	Isolation string            `json:"isolation"`         // of Hearth's functions
	Machine   stage.Machine     `json:"machine"`
	Software  map[string]string `json:"software"` // name to version, of what ran
	Rounds    int               `json:"rounds"`
	Short     bool              `json:"short"` // a trial, whose numbers mean little
	Rests     []Rest            `json:"rests"` // before each round
	Failure   string            `json:"failure,omitempty"`
	Absent    string            `json:"absent,omitempty"` // what was missing, so that nothing was measured
	Notes     []string          `json:"notes,omitempty"`  // what a reader has to know: samples that do not count, peers that did not start
	Series    []Series          `json:"series"`
}

// Rest is the machine right before a round, the benchmark at rest.
type Rest struct {
	Busy float64 `json:"busy"` // share of the processors that others used
	Load string  `json:"load"` // load average of the last minute
}

// Series is what one side did in one case in one round.
type Series struct {
	Case    string        `json:"case"`
	Side    string        `json:"side"`
	Round   int           `json:"round"`
	Elapsed time.Duration `json:"elapsed,omitempty"`
	// Samples are the requests, or whatever was done again and again.
	Samples []Sample `json:"samples,omitempty"`
	// Timelines are Hearth's own account of the samples, by index; none elsewhere.
	Timelines []stage.Timeline `json:"timelines,omitempty"`
	// Values are numbers that were read beside the samples, in base units:
	// seconds, bytes, counts.
	Values map[string]float64 `json:"values,omitempty"`
}

// Sample is [scheduled, sent, done], in nanoseconds from the begin of the series.
type Sample [3]int64

// Latency is what a user who wanted the answer at the scheduled time waited.
func (s Sample) Latency() time.Duration { return time.Duration(s[2] - s[0]) }

// Late is how long after its time the request was sent.
func (s Sample) Late() time.Duration { return time.Duration(s[1] - s[0]) }

// Lasting is the sample of something that took d.
func Lasting(d time.Duration) Sample { return Sample{0, 0, int64(d)} }

// Samples converts those of a load.
func Samples(samples []load.Sample) []Sample {
	out := make([]Sample, len(samples))
	for i, s := range samples {
		out[i] = Sample{int64(s.Scheduled), int64(s.Sent), int64(s.Done)}
	}
	return out
}

// Latencies returns the latency of every sample.
func (s *Series) Latencies() []time.Duration { return s.each(Sample.Latency) }

// Lateness returns how late every sample was sent.
func (s *Series) Lateness() []time.Duration { return s.each(Sample.Late) }

func (s *Series) each(f func(Sample) time.Duration) []time.Duration {
	out := make([]time.Duration, len(s.Samples))
	for i, sample := range s.Samples {
		out[i] = f(sample)
	}
	return out
}

// Rate is samples per second.
func (s *Series) Rate() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return float64(len(s.Samples)) / s.Elapsed.Seconds()
}

// Cases returns the cases in the order in which they were first measured.
func (r *Record) Cases() (cases []string) {
	seen := map[string]bool{}
	for _, s := range r.Series {
		if !seen[s.Case] {
			seen[s.Case] = true
			cases = append(cases, s.Case)
		}
	}
	return cases
}

// Sides returns the sides of a case in the order in which they were first measured.
func (r *Record) Sides(of string) (sides []string) {
	seen := map[string]bool{}
	for _, s := range r.Series {
		if s.Case == of && !seen[s.Side] {
			seen[s.Side] = true
			sides = append(sides, s.Side)
		}
	}
	return sides
}

// Of returns the series of one side of a case, by round.
func (r *Record) Of(of, side string) (series []*Series) {
	for i := range r.Series {
		if s := &r.Series[i]; s.Case == of && s.Side == side {
			series = append(series, s)
		}
	}
	return series
}

// Whole says whether the row was measured from its begin to its end.
func (r *Record) Whole() bool { return r.Failure == "" && r.Absent == "" }

// Busiest is the largest share of the processors that others used.
func (r *Record) Busiest() (busy float64) {
	for _, rest := range r.Rests {
		busy = max(busy, rest.Busy)
	}
	return busy
}

const suffix = ".json.gz"

// Write keeps a record in a directory, in place of the row's last one, whole or
// not at all.
func Write(dir string, r *Record) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, r.Row+suffix)
	file, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	zip := gzip.NewWriter(file)
	err = errors.Join(json.NewEncoder(zip).Encode(r), zip.Close(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// ReadAll returns the records of a directory by row; none where it does not exist.
func ReadAll(dir string) (map[string]*Record, error) {
	all := map[string]*Record{}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if row, ok := strings.CutSuffix(entry.Name(), suffix); ok {
			if all[row], err = read(filepath.Join(dir, entry.Name())); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func read(path string) (*Record, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r := new(Record)
	if err := json.NewDecoder(zip).Decode(r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
