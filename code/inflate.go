package code

import (
	"bytes"
	"compress/flate"
	"errors"
	"hash/crc32"
	"io"
)

// inflater decompresses entries one after the other with the same buffers.
type inflater struct {
	source bytes.Reader
	flate  io.ReadCloser
	buffer []byte
}

func newInflater() *inflater { return &inflater{buffer: make([]byte, 32<<10)} }

// copy writes an entry's content to w. It writes never more than the declared
// size and fails where the real size or the checksum is another one.
func (f *inflater) copy(w io.Writer, a *archive, e *entry) error {
	f.source.Reset(a.raw[e.data : e.data+e.compressed])
	var r io.Reader = &f.source
	if e.method == methodDeflate {
		if f.flate == nil {
			f.flate = flate.NewReader(r)
		} else if err := f.flate.(flate.Resetter).Reset(r, nil); err != nil {
			return err
		}
		r = f.flate
	}
	sum := crc32.NewIEEE()
	bounded := &counted{r: io.TeeReader(r, sum), left: e.size}
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, bounded, f.buffer); err != nil {
		var corrupt flate.CorruptInputError
		switch {
		case errors.Is(err, errLonger):
			return invalidEntry(e.name, "it unpacks to more than the %d bytes it declares", e.size)
		case errors.As(err, &corrupt), errors.Is(err, io.ErrUnexpectedEOF):
			return invalidEntry(e.name, "its compressed data is damaged; upload the archive again")
		}
		return err
	}
	if bounded.left != 0 {
		return invalidEntry(e.name, "it unpacks to %d bytes but declares %d", e.size-bounded.left, e.size)
	}
	if sum.Sum32() != e.crc {
		return invalidEntry(e.name, "its checksum is wrong; upload the archive again")
	}
	return nil
}

var errLonger = errors.New("code: entry is longer than declared")

// counted yields at most left bytes and then fails if there is one more.
type counted struct {
	r    io.Reader
	left int64
}

func (c *counted) Read(p []byte) (int, error) {
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.r.Read(p)
	if int64(n) > c.left {
		return int(c.left), errLonger
	}
	c.left -= int64(n)
	return n, err
}

// check decompresses every file to nowhere: sizes and checksums are then as declared.
func (a *archive) check() error {
	f := newInflater()
	for _, e := range a.entries {
		if e.kind != kindFile {
			continue
		}
		if err := f.copy(io.Discard, a, e); err != nil {
			return err
		}
	}
	return nil
}
