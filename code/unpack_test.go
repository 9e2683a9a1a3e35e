package code

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
)

// writes keeps what is written, and how much at a time.
type writes struct {
	bytes.Buffer
	sizes []int
}

func (w *writes) Write(p []byte) (int, error) {
	w.sizes = append(w.sizes, len(p))
	return w.Buffer.Write(p)
}

// A file is cached in pieces as large as the writes that made it.
func TestFilesAreWrittenInLargePieces(t *testing.T) {
	content := strings.Repeat("0123456789", writeSize/4)
	for _, stored := range []bool{true, false} {
		zip := rawZip(raw{name: "bootstrap", content: content, store: stored}, raw{name: "small", content: "x", store: stored})
		a, err := parse(zip, Limits{}.withDefaults())
		if err != nil {
			t.Fatal(err)
		}
		f, buffered := newInflater(), bufio.NewWriterSize(nil, writeSize)
		var large, small writes
		for i, w := range []*writes{&large, &small} {
			if err := f.copyIn(w, buffered, a, a.entries[i]); err != nil {
				t.Fatal(err)
			}
		}
		if large.String() != content || small.String() != "x" {
			t.Fatalf("stored %v: other content was written", stored)
		}
		for i, n := range large.sizes {
			if n != writeSize && i < len(large.sizes)-1 {
				t.Fatalf("stored %v: writes of %d bytes", stored, large.sizes)
			}
		}
	}
}
