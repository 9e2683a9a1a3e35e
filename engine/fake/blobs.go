package fake

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"sync"

	"hearth/engine"
	"hearth/faas"
)

type blobs struct {
	gate gate

	mu      sync.Mutex
	content map[string][]byte
}

func (b *blobs) Put(ctx context.Context, digest string, r io.Reader) error {
	if err := b.begin(ctx, digest, b.gate.write); err != nil {
		return err
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != digest {
		return faas.Errorf(faas.CodeInvalid, digest, "the content's sha256 is %x", sum)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.content[digest] = content
	return nil
}

func (b *blobs) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	content, err := b.find(ctx, digest)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

func (b *blobs) Size(ctx context.Context, digest string) (int64, error) {
	content, err := b.find(ctx, digest)
	return int64(len(content)), err
}

func (b *blobs) Delete(ctx context.Context, digest string) error {
	if err := b.begin(ctx, digest, b.gate.read); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.content, digest)
	return nil
}

func (b *blobs) List(ctx context.Context, visit func(digest string, size int64) error) error {
	if err := cmp.Or(ctx.Err(), b.gate.read("")); err != nil {
		return err
	}
	b.mu.Lock()
	all := maps.Clone(b.content)
	b.mu.Unlock()
	for digest, content := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := visit(digest, int64(len(content))); err != nil {
			return err
		}
	}
	return nil
}

func (b *blobs) find(ctx context.Context, digest string) ([]byte, error) {
	if err := b.begin(ctx, digest, b.gate.read); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	content, ok := b.content[digest]
	if !ok {
		return nil, engine.NotFound(digest)
	}
	return content, nil
}

func (b *blobs) begin(ctx context.Context, digest string, pass func(string) error) error {
	if err := engine.CheckDigest(digest); err != nil {
		return err
	}
	return cmp.Or(ctx.Err(), pass(digest))
}
