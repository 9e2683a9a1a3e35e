//go:build linux && amd64

package process

import (
	"testing"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// A namespace that could not be made is no namespace: what is not nil is released.
func TestLoopbackOfNoUse(t *testing.T) {
	l := &loopback{home: -1, ready: make(chan *loNetns, loAhead), wake: make(chan struct{}, 1)}
	ns, err := l.Acquire(t.Context(), sandbox.EgressNone)
	if err == nil || ns != nil {
		t.Errorf("Acquire = %v, %v where the thread cannot go home", ns, err)
	}
}

// What is made ahead is used once, and more of it is made.
func TestLoopbackIsUsedOnce(t *testing.T) {
	l, err := newLoopback()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	var all []Netns
	for range 3 * loAhead {
		ns, err := l.Acquire(t.Context(), sandbox.EgressNone)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ns)
		var st unix.Stat_t
		if err := unix.Fstat(ns.FD(), &st); err != nil {
			t.Fatal(err)
		}
		if seen[st.Ino] {
			t.Errorf("namespace %d a second time", st.Ino)
		}
		seen[st.Ino] = true
	}
	for _, ns := range all {
		ns.Release()
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
