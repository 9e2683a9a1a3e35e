package runtimeapi

import (
	"bufio"
	"errors"
	"net"
	"testing"
	"time"

	"hearth/internal/sockpair"
)

func newParkedPeer(t *testing.T) (*Frames, *peer) {
	t.Helper()
	ours, file, err := sockpair.New()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := net.FileConn(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := theirs.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	s := NewParked(ours)
	t.Cleanup(func() { s.Close(); theirs.Close() })
	return s, &peer{t: t, conn: theirs, r: bufio.NewReader(theirs)}
}

func TestParkedRuntime(t *testing.T) {
	s, p := newParkedPeer(t)
	p.send(frameHello, "", "")
	if kind, _, _ := p.receive(); kind != framePark {
		t.Fatalf("the first frame is %q, want park", kind)
	}
	p.send(framePark, "", "")
	if err := s.AwaitParked(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Begin(Go{Handler: "h", Concurrency: 3}); err != nil {
		t.Fatal(err)
	}
	if kind, _, doc := p.receive(); kind != frameGo || len(doc) == 0 {
		t.Fatalf("then %q %s, want go", kind, doc)
	}
	p.send(frameReady, "", "")
	if err := s.Init(t.Context()); err != nil {
		t.Error(err)
	}
	if n, _ := s.Slots(); n != 3 {
		t.Errorf("%d slots, want 3", n)
	}
}

// What the runtime does after its function began is the function's: only one that
// had ended before is an error of Begin.
func TestBeginOfARuntimeThatEnds(t *testing.T) {
	s, p := newParkedPeer(t)
	p.send(frameHello, "", "")
	p.send(framePark, "", "")
	if err := s.AwaitParked(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.conn.Close()
	<-s.gone
	if err := s.Begin(Go{}); !errors.Is(err, ErrGone) {
		t.Errorf("Begin after the end: %v", err)
	}
}

// A runtime that says parked when nobody asked, twice, or before hello, is broken.
func TestParkedOutOfOrder(t *testing.T) {
	for name, frames := range map[string]string{"unasked": "HP", "ready before": "HRP", "twice": "HPP", "first": "PH"} {
		s, p := (*Frames)(nil), (*peer)(nil)
		if name == "unasked" {
			s, p = newPeer(t, FramesOptions{})
		} else {
			s, p = newParkedPeer(t)
		}
		for _, kind := range []byte(frames) {
			b, err := appendFrame(nil, kind, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.conn.Write(b); err != nil {
				break // it is broken already
			}
		}
		<-s.gone
		if !s.Broken() {
			t.Errorf("%s: the session goes on, %v", name, s.Cause())
		}
	}
}
