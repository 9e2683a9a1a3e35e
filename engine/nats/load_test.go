package nats

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestPageIsReadOnce: who wants a page that another reads waits for that, and a
// reading that failed is nobody's answer but its own.
func TestPageIsReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, key, broken := newPageCache(1<<20), cacheKey{"journal", 7}, errors.New("broken")
		var reads, failed atomic.Int32
		read := func() ([]byte, error) {
			time.Sleep(time.Second) // of the bubble
			if reads.Add(1) == 1 {
				return nil, broken
			}
			return []byte("page"), nil
		}
		var readers sync.WaitGroup
		for range 100 {
			readers.Go(func() {
				page, err := c.get(t.Context(), key, read)
				switch {
				case errors.Is(err, broken):
					failed.Add(1)
				case err != nil || string(page) != "page":
					t.Errorf("%q, %v", page, err)
				}
			})
		}
		synctest.Wait()
		hurried, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.get(hurried, key, read); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who cannot wait that long gets %v", err)
		}
		readers.Wait()
		if reads.Load() != 2 || failed.Load() != 1 {
			t.Errorf("%d readings, %d failed, for one page whose first reading fails", reads.Load(), failed.Load())
		}
	})
}
