package nats

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"hearth/engine"
	"hearth/faas"
)

const (
	chunkStream = "BLOBS"
	chunkBase   = "blob."
	chunkSize   = 512 << 10 // bytes; a message with it stays below the server's 1 MiB
	headerChunk = "Hearth-Chunk"
)

// blobs is an engine.Blobs on a stream of chunks and a table of manifests.
//
// Put writes its chunks under a subject of its own and then the manifest, which
// makes them visible at once or never; where two write one content, one manifest
// wins and the other side's chunks are removed. Chunks without a manifest, left
// by a crash, are swept when the store is opened. The table is checked for lost
// manifests as any table is; a manifest says how many chunks there must be; and
// the content's digest is verified whenever it is read.
type blobs struct {
	access
	index  *table
	stream jetstream.Stream
	log    *slog.Logger
}

// manifest is the table's value for one digest.
type manifest struct {
	Upload string `json:"upload"` // names the chunks: blob.<digest>.<upload>
	Size   int64  `json:"size"`   // bytes
	Chunks uint64 `json:"chunks"`
}

func (m manifest) subject(digest string) string { return chunkBase + digest + "." + m.Upload }

// openBlobs opens the chunks, sweeps what no manifest names and logs every blob
// that has lost some.
func openBlobs(ctx context.Context, a access, index *table, log *slog.Logger) (*blobs, error) {
	b := &blobs{access: a, index: index, log: log}
	var err error
	b.stream, err = b.js.Stream(ctx, chunkStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		b.stream, err = b.js.CreateStream(ctx, jetstream.StreamConfig{
			Name:        chunkStream,
			Subjects:    []string{chunkBase + ">"},
			Storage:     jetstream.FileStorage,
			Discard:     jetstream.DiscardNew,
			AllowDirect: true,
			Replicas:    1,
		})
	}
	if err == nil {
		err = b.sweep(ctx)
	}
	if err != nil {
		return b, b.fault(err, chunkStream, "open the blobs")
	}
	return b, nil
}

// sweep removes chunks that no manifest names. It runs before the store is in
// use, so none of them belongs to a Put under way.
func (b *blobs) sweep(ctx context.Context) error {
	info, err := b.stream.Info(ctx, jetstream.WithSubjectFilter(chunkBase+">"))
	if err != nil {
		return err
	}
	chunks := info.State.Subjects
	err = b.manifests(ctx, func(digest string, m manifest) error {
		if have := chunks[m.subject(digest)]; have != m.Chunks {
			b.log.Error("blob is damaged; deploy it again", "digest", digest, "chunks", m.Chunks, "left", have)
		}
		delete(chunks, m.subject(digest))
		return nil
	})
	if err != nil {
		return err
	}
	for subject := range chunks {
		b.log.Info("remove what an interrupted upload left", "subject", subject)
		if err := b.stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return err
		}
	}
	return nil
}

// Put implements engine.Blobs. Content that is there already is read and
// compared, so that putting a damaged blob again mends it.
func (b *blobs) Put(ctx context.Context, digest string, r io.Reader) error {
	done, err := b.begin(ctx, digest)
	if err != nil {
		return err
	}
	defer done()
	revision, old, err := b.manifest(ctx, digest)
	if err == nil {
		err = b.verify(ctx, digest, old)
		if err == nil {
			return nil
		}
	}
	if !errors.Is(err, engine.ErrNotFound) && !errors.Is(err, engine.ErrDamaged) {
		return err
	}
	return b.upload(ctx, digest, r, revision, old)
}

// upload stores new chunks and points the manifest at them. old is the damaged
// manifest at revision, or revision is 0.
func (b *blobs) upload(ctx context.Context, digest string, r io.Reader, revision uint64, old manifest) error {
	m, err := b.storeChunks(ctx, digest, r)
	if err != nil {
		return errors.Join(err, b.discard(ctx, digest, m))
	}
	value, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if revision == 0 {
		_, err = b.index.Create(ctx, digest, value)
	} else {
		_, err = b.index.Update(ctx, digest, value, revision)
	}
	switch {
	case err == nil && revision != 0:
		return b.discard(ctx, digest, old)
	case errors.Is(err, engine.ErrConflict): // another Put or Delete came first; the content was stored
		return b.discard(ctx, digest, m)
	}
	// A manifest whose write has no clear outcome may exist: its chunks stay, and
	// the next start sweeps them where it does not.
	return err
}

// storeChunks writes what r yields and verifies its digest.
func (b *blobs) storeChunks(ctx context.Context, digest string, r io.Reader) (manifest, error) {
	m := manifest{Upload: nuid.Next()}
	sum := sha256.New()
	chunk := make([]byte, chunkSize)
	for {
		n, err := io.ReadFull(r, chunk)
		if n > 0 {
			sum.Write(chunk[:n])
			if err := b.storeChunk(ctx, digest, m, chunk[:n]); err != nil {
				return m, err
			}
			m.Size += int64(n)
			m.Chunks++
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return m, fmt.Errorf("read the content of blob %s: %w", digest, err)
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest {
		return m, faas.Errorf(faas.CodeInvalid, digest, "the content's sha256 is %s", got)
	}
	return m, nil
}

func (b *blobs) storeChunk(ctx context.Context, digest string, m manifest, chunk []byte) error {
	if err := b.room.forWrite(digest, len(chunk)+recordOverhead); err != nil {
		return err
	}
	msg := client.NewMsg(m.subject(digest))
	msg.Data = chunk
	msg.Header[headerChunk] = []string{strconv.FormatUint(m.Chunks, 10)}
	if _, err := b.publish(ctx, msg, jetstream.WithExpectStream(chunkStream)); err != nil {
		return b.fault(err, digest, "write a chunk")
	}
	return nil
}

// discard removes the chunks of one upload. It goes on after the caller has
// left; what it cannot remove, the next start sweeps.
func (b *blobs) discard(ctx context.Context, digest string, m manifest) error {
	if m.Upload == "" {
		return nil
	}
	err := b.stream.Purge(context.WithoutCancel(ctx), jetstream.WithPurgeSubject(m.subject(digest)))
	if err != nil {
		b.log.Warn("chunks stay until the next start", "digest", digest, "error", err)
	}
	return nil
}

// Open implements engine.Blobs.
func (b *blobs) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	done, err := b.begin(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer done()
	_, m, err := b.manifest(ctx, digest)
	if err != nil {
		return nil, err
	}
	return b.reader(ctx, digest, m), nil
}

// Size implements engine.Blobs.
func (b *blobs) Size(ctx context.Context, digest string) (int64, error) {
	done, err := b.begin(ctx, digest)
	if err != nil {
		return 0, err
	}
	defer done()
	_, m, err := b.manifest(ctx, digest)
	return m.Size, err
}

// Delete implements engine.Blobs. The manifest goes first: nobody finds a blob
// of which chunks are missing.
func (b *blobs) Delete(ctx context.Context, digest string) error {
	done, err := b.begin(ctx, digest)
	if err != nil {
		return err
	}
	defer done()
	revision, m, err := b.manifest(ctx, digest)
	if err == nil {
		_, err = b.index.Delete(ctx, digest, revision)
	}
	if errors.Is(err, engine.ErrNotFound) || errors.Is(err, engine.ErrConflict) {
		return nil // gone, or put anew since: as if this Delete had come first
	}
	if err != nil {
		return err
	}
	return b.discard(ctx, digest, m)
}

// List implements engine.Blobs.
func (b *blobs) List(ctx context.Context, visit func(digest string, size int64) error) error {
	done, err := b.gate.enter("blobs")
	if err != nil {
		return err
	}
	defer done()
	return b.manifests(ctx, func(digest string, m manifest) error { return visit(digest, m.Size) })
}

// check reads the table of manifests and every blob.
func (b *blobs) check(ctx context.Context) error {
	errs := []error{b.index.check(ctx)}
	err := b.manifests(ctx, func(digest string, m manifest) error {
		if err := b.verify(ctx, digest, m); err != nil {
			errs = append(errs, err)
		}
		return ctx.Err()
	})
	return errors.Join(append(errs, err)...)
}

// verify reads a blob to its end.
func (b *blobs) verify(ctx context.Context, digest string, m manifest) error {
	_, err := io.Copy(io.Discard, b.reader(ctx, digest, m))
	return err
}

// manifests calls visit for every blob.
func (b *blobs) manifests(ctx context.Context, visit func(digest string, m manifest) error) error {
	entries, err := b.index.List(ctx, "")
	if err != nil {
		return err
	}
	for _, e := range entries {
		m, err := parseManifest(e)
		if err != nil {
			return err
		}
		if err := visit(e.Key, m); err != nil {
			return err
		}
	}
	return nil
}

func (b *blobs) manifest(ctx context.Context, digest string) (revision uint64, m manifest, err error) {
	e, err := b.index.Get(ctx, digest)
	if err != nil {
		return 0, manifest{}, err
	}
	m, err = parseManifest(e)
	return e.Revision, m, err
}

func parseManifest(e engine.Entry) (m manifest, err error) {
	if err := json.Unmarshal(e.Value, &m); err != nil {
		return m, engine.Failure(engine.ErrDamaged, e.Key, "the manifest of the blob cannot be read (%v); deploy it again", err)
	}
	return m, nil
}

func (b *blobs) begin(ctx context.Context, digest string) (done func(), err error) {
	if err := engine.CheckDigest(digest); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return b.gate.enter(digest)
}
