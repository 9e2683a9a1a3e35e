package bounded

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(4)
		var wrote int
		go func() {
			for range 5 {
				if err := p.Write(t.Context(), []byte("abc")); err != nil {
					t.Error(err)
				}
				wrote++
			}
			p.End()
		}()
		synctest.Wait()
		if wrote != 1 {
			t.Errorf("%d parts of 3 bytes in a pipe of 4, want 1", wrote)
		}
		var got []byte
		for spare := []byte(nil); ; {
			part, err := p.Next(t.Context(), spare)
			if err == io.EOF {
				break
			}
			if err != nil || len(part) == 0 || len(part) > 4 {
				t.Fatalf("part of %d bytes, %v", len(part), err)
			}
			got = append(got, part...)
			spare = part
		}
		if want := bytes.Repeat([]byte("abc"), 5); !bytes.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
}

func TestPipeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(2)
		late := errors.New("late")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, late)
		defer cancel()
		if err := p.Write(ctx, []byte("abc")); err != late {
			t.Errorf("write into a full pipe: %v", err)
		}
		if !p.Put(nil) || p.Put([]byte("c")) {
			t.Error("Put: want room for nothing")
		}
		if part, err := p.Next(ctx, nil); string(part) != "ab" || err != nil {
			t.Errorf("what is held is read whatever ctx says: %q, %v", part, err)
		}
		if _, err := p.Next(ctx, nil); err != late {
			t.Errorf("read of an empty pipe: %v", err)
		}
	})
}

func TestPipeDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1)
		done := make(chan error)
		go func() { done <- p.Write(t.Context(), []byte("abc")) }()
		synctest.Wait()
		p.Drop()
		if err := <-done; err != nil {
			t.Errorf("a writer whose reader goes: %v", err)
		}
		if !p.Put([]byte("abc")) {
			t.Error("no room where nothing is kept")
		}
	})
}
