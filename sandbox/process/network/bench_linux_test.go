package network

import (
	"testing"

	"hearth/sandbox"
)

func benchPool(b *testing.B, spares int) *Pool {
	b.Helper()
	p, err := New(Options{DataID: b.Name(), Spares: spares})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	if p.noEgress != nil {
		b.Fatal(p.noEgress)
	}
	return p
}

// A namespace without egress, made while the caller waits.
func BenchmarkNewEmpty(b *testing.B) {
	p := benchPool(b, 1)
	for b.Loop() {
		n, err := p.newEmpty()
		if err != nil {
			b.Fatal(err)
		}
		n.Release()
	}
}

// A spare with egress, as a start takes it; its recycling is not counted.
func BenchmarkAcquireSpare(b *testing.B) {
	p := benchPool(b, 1)
	for b.Loop() {
		n, err := p.Acquire(b.Context(), sandbox.EgressInternet)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if !p.keep(n) {
			b.Fatal("not kept")
		}
		b.StartTimer()
	}
}

// A namespace with egress, made while the caller waits; its deletion is not
// counted.
func BenchmarkNewEgress(b *testing.B) {
	p := benchPool(b, 1)
	for b.Loop() {
		n, err := p.makeEgress()
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := p.destroy(n); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// What recycling an unused namespace takes in the background.
func BenchmarkScrub(b *testing.B) {
	p := benchPool(b, 1)
	n, err := p.Acquire(b.Context(), sandbox.EgressInternet)
	if err != nil {
		b.Fatal(err)
	}
	defer n.Release()
	for b.Loop() {
		if err := n.scrub(); err != nil {
			b.Fatal(err)
		}
	}
}
