package enginetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"hearth/engine"
	"hearth/faas"
)

// RunBlobs runs the contract of engine.Blobs. open returns an empty store that
// lives until the (sub)test ends.
func RunBlobs(t *testing.T, open func(t *testing.T) engine.Blobs) {
	for name, test := range map[string]func(*testing.T, context.Context, engine.Blobs){
		"PutOpenSizeDelete": blobLife,
		"Sizes":             blobSizes,
		"PutAgain":          blobAgain,
		"WrongDigest":       blobWrongDigest,
		"BrokenReader":      blobBrokenReader,
		"BadInput":          blobBadInput,
		"PutRace":           blobRace,
		"List":              blobList,
		"Canceled":          blobCanceled,
		"CloseHalfWay":      blobHalfRead,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			test(t, ctx, open(t))
		})
	}
}

// Content returns size bytes that depend on seed, and their digest.
func Content(seed uint64, size int) (content []byte, digest string) {
	content = make([]byte, size)
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	random.Read(content)
	sum := sha256.Sum256(content)
	return content, hex.EncodeToString(sum[:])
}

func blobLife(t *testing.T, ctx context.Context, b engine.Blobs) {
	content, digest := Content(1, 100_000)
	wantNoBlob(t, ctx, b, digest)
	if err := b.Delete(ctx, digest); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
	put(t, ctx, b, content, digest)
	wantBlob(t, ctx, b, content, digest)
	if err := b.Delete(ctx, digest); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	wantNoBlob(t, ctx, b, digest)
	put(t, ctx, b, content, digest)
	wantBlob(t, ctx, b, content, digest)
}

func blobSizes(t *testing.T, ctx context.Context, b engine.Blobs) {
	for i, size := range []int{0, 1, 128<<10 - 1, 128 << 10, 128<<10 + 1, 256 << 10, 512<<10 + 1, 1 << 20, 3<<20 + 17} {
		content, digest := Content(uint64(i), size)
		put(t, ctx, b, content, digest)
		wantBlob(t, ctx, b, content, digest)
	}
}

func blobAgain(t *testing.T, ctx context.Context, b engine.Blobs) {
	content, digest := Content(1, 300_000)
	put(t, ctx, b, content, digest)
	put(t, ctx, b, content, digest)
	wantBlob(t, ctx, b, content, digest)
	if n := count(t, ctx, b); n != 1 {
		t.Errorf("%d blobs after two puts of one", n)
	}
}

func blobWrongDigest(t *testing.T, ctx context.Context, b engine.Blobs) {
	content, _ := Content(1, 700_000)
	_, digest := Content(2, 10)
	err := b.Put(ctx, digest, bytes.NewReader(content))
	if !faas.IsCode(err, faas.CodeInvalid) {
		t.Errorf("Put of other content: %v, want code invalid", err)
	}
	wantNoBlob(t, ctx, b, digest)
}

func blobBrokenReader(t *testing.T, ctx context.Context, b engine.Blobs) {
	content, digest := Content(1, 700_000)
	broken := errors.New("the upload broke off")
	r := io.MultiReader(bytes.NewReader(content[:600_000]), failingReader{broken})
	wantIs(t, "Put from a broken reader", b.Put(ctx, digest, r), broken)
	wantNoBlob(t, ctx, b, digest)
	put(t, ctx, b, content, digest)
	wantBlob(t, ctx, b, content, digest)
}

func blobBadInput(t *testing.T, ctx context.Context, b engine.Blobs) {
	_, digest := Content(1, 1)
	for _, bad := range []string{"", "abc", strings.ToUpper(digest), digest + "0", digest[:63] + "/", "../" + digest[3:], digest[:63] + "*"} {
		_, e1 := b.Open(ctx, bad)
		_, e2 := b.Size(ctx, bad)
		for i, err := range []error{e1, e2, b.Delete(ctx, bad), b.Put(ctx, bad, strings.NewReader(""))} {
			if !faas.IsCode(err, faas.CodeInvalid) {
				t.Errorf("operation %d on digest %q: %v, want code invalid", i, bad, err)
			}
		}
	}
}

// blobRace puts and deletes one content from several sides. Whatever the order,
// nothing fails and the store is whole at the end.
func blobRace(t *testing.T, ctx context.Context, b engine.Blobs) {
	content, digest := Content(1, 400_000)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for range 3 {
				if err := b.Put(ctx, digest, bytes.NewReader(content)); err != nil {
					t.Errorf("Put: %v", err)
				}
				if i%3 == 0 {
					if err := b.Delete(ctx, digest); err != nil {
						t.Errorf("Delete: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	put(t, ctx, b, content, digest)
	wantBlob(t, ctx, b, content, digest)
	if n := count(t, ctx, b); n != 1 {
		t.Errorf("%d blobs, want 1", n)
	}
}

func blobList(t *testing.T, ctx context.Context, b engine.Blobs) {
	want := make(map[string]int64)
	for i := range 20 {
		content, digest := Content(uint64(i), 1000+i)
		put(t, ctx, b, content, digest)
		want[digest] = int64(1000 + i)
	}
	got := make(map[string]int64)
	if err := b.List(ctx, func(digest string, size int64) error { got[digest] = size; return nil }); err != nil {
		t.Fatal(err)
	}
	for digest, size := range want {
		if got[digest] != size {
			t.Errorf("%s: size %d, want %d", digest, got[digest], size)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d blobs listed, want %d", len(got), len(want))
	}
	stop := errors.New("enough")
	wantIs(t, "List with a failing visit", b.List(ctx, func(string, int64) error { return stop }), stop)
}

func blobCanceled(t *testing.T, ctx context.Context, b engine.Blobs) {
	content, digest := Content(1, 1000)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	wantIs(t, "Put with a canceled context", b.Put(canceled, digest, bytes.NewReader(content)), context.Canceled)
	wantNoBlob(t, ctx, b, digest)
	put(t, ctx, b, content, digest)
	_, err := b.Open(canceled, digest)
	wantIs(t, "Open with a canceled context", err, context.Canceled)
}

func blobHalfRead(t *testing.T, ctx context.Context, b engine.Blobs) {
	content, digest := Content(1, 1<<20)
	put(t, ctx, b, content, digest)
	r := must(b.Open(ctx, digest))(t)
	half := make([]byte, 300_000)
	if _, err := io.ReadFull(r, half); err != nil || !bytes.Equal(half, content[:len(half)]) {
		t.Errorf("first half: %v, equal: %v", err, bytes.Equal(half, content[:len(half)]))
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func put(t *testing.T, ctx context.Context, b engine.Blobs, content []byte, digest string) {
	t.Helper()
	if err := b.Put(ctx, digest, bytes.NewReader(content)); err != nil {
		t.Fatalf("Put of %d bytes: %v", len(content), err)
	}
}

func wantBlob(t *testing.T, ctx context.Context, b engine.Blobs, content []byte, digest string) {
	t.Helper()
	r, err := b.Open(ctx, digest)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("reading %d bytes: %v", len(content), err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if !bytes.Equal(got, content) {
		t.Fatalf("%d bytes put, %d other ones came back", len(content), len(got))
	}
	if size, err := b.Size(ctx, digest); err != nil || size != int64(len(content)) {
		t.Errorf("Size = %d, %v; want %d", size, err, len(content))
	}
}

func wantNoBlob(t *testing.T, ctx context.Context, b engine.Blobs, digest string) {
	t.Helper()
	_, err := b.Open(ctx, digest)
	wantIs(t, "Open of nothing", err, engine.ErrNotFound)
	_, err = b.Size(ctx, digest)
	wantIs(t, "Size of nothing", err, engine.ErrNotFound)
	if n := count(t, ctx, b); n != 0 {
		t.Errorf("%d blobs listed, want none", n)
	}
}

func count(t *testing.T, ctx context.Context, b engine.Blobs) int {
	t.Helper()
	n := 0
	if err := b.List(ctx, func(string, int64) error { n++; return nil }); err != nil {
		t.Fatalf("List: %v", err)
	}
	return n
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }
