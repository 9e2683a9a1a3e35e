package nats_test

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"testing"

	"hearth/engine"
	"hearth/engine/enginetest"
)

// BenchmarkStart opens a stopped data directory with 10,000 entries of 1 KiB,
// the start-up check included, and reads a snapshot by watching.
func BenchmarkStart(b *testing.B) {
	path := b.TempDir()
	e := start(b, path)
	value := make([]byte, 1<<10)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < 10_000; i += 8 {
				if _, err := e.Meta().Create(b.Context(), fmt.Sprintf("fn/%d", i), value); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for b.Loop() {
		b.StopTimer()
		e.stop()
		b.StartTimer()
		var err error
		e, err = open(b, path, 0)
		check(b, err)
	}
	b.StopTimer()
	e.stop()
}

func BenchmarkMeta(b *testing.B) {
	e := start(b, b.TempDir())
	value := make([]byte, 1<<10)
	rev, err := e.Meta().Create(b.Context(), "k", value)
	check(b, err)
	for i := range 10_000 {
		if i%10 == 0 {
			_, err := e.Meta().Create(b.Context(), fmt.Sprintf("list/%d", i), value)
			check(b, err)
		}
	}
	b.Run("Update", func(b *testing.B) {
		for b.Loop() {
			rev, err = e.Meta().Update(b.Context(), "k", value, rev)
			check(b, err)
		}
	})
	b.Run("Get", func(b *testing.B) {
		for b.Loop() {
			_, err := e.Meta().Get(b.Context(), "k")
			check(b, err)
		}
	})
	b.Run("List1000", func(b *testing.B) {
		for b.Loop() {
			_, err := e.Meta().List(b.Context(), "list")
			check(b, err)
		}
	})
	b.Run("UpdateToWatch", func(b *testing.B) {
		seen := make(chan uint64, 16)
		ctx := b.Context()
		go e.Meta().Watch(ctx, "", func(c engine.Change) error {
			select {
			case seen <- c.Revision:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		for <-seen != 0 {
		}
		for b.Loop() {
			rev, err = e.Meta().Update(b.Context(), "k", value, rev)
			check(b, err)
			for <-seen != rev {
			}
		}
	})
}

func BenchmarkBlob50MB(b *testing.B) {
	e := start(b, b.TempDir())
	content, digest := enginetest.Content(1, 50<<20)
	b.Run("Put", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		for b.Loop() {
			b.StopTimer()
			check(b, e.Blobs().Delete(b.Context(), digest))
			b.StartTimer()
			check(b, e.Blobs().Put(b.Context(), digest, bytes.NewReader(content)))
		}
	})
	b.Run("Get", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		for b.Loop() {
			check(b, read(b.Context(), e.Blobs(), digest, content))
		}
	})
	if os.Getenv("HEARTH_LONG") != "" {
		check(b, e.Check(b.Context()))
	}
}
