package runtimeapi

import (
	"context"
	"testing"
	"time"
)

// BenchmarkFramesInvoke is one invocation over the frame protocol, with a runtime
// that answers at once and does nothing else.
func BenchmarkFramesInvoke(b *testing.B) {
	s, p := newPeer(b, FramesOptions{})
	p.start()
	initialized(b, s)
	answer, err := appendFrame(nil, frameResponse, []byte("id"), 1)
	if err != nil {
		b.Fatal(err)
	}
	answer = append(answer, '1')
	go func() {
		buf := make([]byte, 4096)
		for {
			if _, err := p.conn.Read(buf); err != nil {
				return
			}
			if _, err := p.conn.Write(answer); err != nil {
				return
			}
		}
	}()
	e := event("id", "{}")
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if _, err := s.Invoke(ctx, e); err != nil {
			b.Fatal(err)
		}
		cancel()
	}
}
