package nats

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"hearth/engine"
)

// blobReader reads a blob chunk by chunk. It holds one chunk in memory and
// nothing on the server, so one that is never closed leaks nothing.
type blobReader struct {
	ctx    context.Context // of the Open that made it, as its contract says
	blobs  *blobs
	digest string
	m      manifest

	sum  hash.Hash
	next uint64 // the sequence to look from
	read uint64 // chunks read
	rest []byte // of the chunk read last
	err  error  // io.EOF after the digest was verified
}

func (b *blobs) reader(ctx context.Context, digest string, m manifest) *blobReader {
	return &blobReader{ctx: ctx, blobs: b, digest: digest, m: m, sum: sha256.New(), next: 1}
}

// Read implements io.Reader. It returns io.EOF only after content that hashes to
// the digest, engine.ErrDamaged otherwise, and engine.ErrNotFound where the blob
// was deleted while it was read.
func (r *blobReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.rest, r.err = r.chunk()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *blobReader) Close() error {
	r.rest, r.err = nil, engine.Closed(r.digest)
	return nil
}

func (r *blobReader) chunk() ([]byte, error) {
	if r.read == r.m.Chunks {
		if hex.EncodeToString(r.sum.Sum(nil)) != r.digest {
			return nil, r.broken("its content has changed")
		}
		return nil, io.EOF
	}
	done, err := r.blobs.gate.enter(r.digest)
	if err != nil {
		return nil, err
	}
	defer done()
	msg, err := r.blobs.access.read(func() (*jetstream.RawStreamMsg, error) {
		return r.blobs.stream.GetMsg(r.ctx, r.next, jetstream.WithGetMsgSubject(r.m.subject(r.digest)))
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, r.lost()
	}
	if err != nil {
		return nil, r.blobs.fault(err, r.digest, "read a chunk")
	}
	if msg.Header.Get(headerChunk) != strconv.FormatUint(r.read, 10) {
		return nil, r.lost()
	}
	r.sum.Write(msg.Data)
	r.read++
	r.next = msg.Sequence + 1
	return msg.Data, nil
}

// lost tells a blob that was deleted or replaced meanwhile from one that lost a
// chunk.
func (r *blobReader) lost() error {
	_, now, err := r.blobs.manifest(r.ctx, r.digest)
	if err != nil {
		return err
	}
	if now.Upload != r.m.Upload {
		return engine.NotFound(r.digest)
	}
	return r.broken("a part of it is lost")
}

func (r *blobReader) broken(how string) error {
	return engine.Failure(engine.ErrDamaged, r.digest, "the blob is damaged: %s; deploy it again, or restore the data directory from a backup", how)
}
