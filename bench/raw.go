package bench

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"hearth/bench/load"
)

// rawCell is one line of samples.jsonl.gz.
type rawCell struct {
	Kind    string        `json:"kind"`
	Round   int           `json:"round"`
	Runtime string        `json:"runtime"`
	Shape   Shape         `json:"shape"`
	Side    string        `json:"side"`
	Samples []load.Sample `json:"-"`
	// Triples are the samples as [scheduled, sent, done], in nanoseconds.
	Triples [][3]int64 `json:"samples"`
}

// rawWriter keeps every sample of a run, and its report, in a directory of its own.
type rawWriter struct {
	dir  string
	file *os.File
	buf  *bufio.Writer
	zip  *gzip.Writer
	out  *json.Encoder
}

func newRaw(dir string) (*rawWriter, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(dir, "samples.jsonl.gz"))
	if err != nil {
		return nil, err
	}
	w := &rawWriter{dir: dir, file: file, buf: bufio.NewWriter(file)}
	w.zip = gzip.NewWriter(w.buf)
	w.out = json.NewEncoder(w.zip)
	return w, nil
}

func (w *rawWriter) add(c rawCell) error {
	c.Triples = make([][3]int64, len(c.Samples))
	for i, s := range c.Samples {
		c.Triples[i] = [3]int64{int64(s.Scheduled), int64(s.Sent), int64(s.Done)}
	}
	return w.out.Encode(c)
}

// report writes the numbers of the report as JSON: the cold starts are all in it.
func (w *rawWriter) report(r *Report) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.dir, "report.json"), append(text, '\n'), 0o644)
}

func (w *rawWriter) close() error {
	return errors.Join(w.zip.Close(), w.buf.Flush(), w.file.Close())
}
