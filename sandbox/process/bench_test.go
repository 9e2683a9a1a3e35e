//go:build linux && amd64

package process

import (
	"context"
	"fmt"
	"testing"

	"hearth/sandbox"
)

// BenchmarkStart measures a whole life with everything pooled: create, start of a
// small program until it has ended, destroy.
func BenchmarkStart(b *testing.B) {
	d := newDriver(b)
	ctx := context.Background()
	stage := map[string]float64{}
	clock := func(name string, f func()) {
		began := b.Elapsed()
		f()
		stage[name] += float64(b.Elapsed() - began)
	}
	for b.Loop() {
		var sb sandbox.Sandbox
		var err error
		clock("create", func() { sb, err = d.Create(ctx, testSpec()) })
		if err != nil {
			b.Fatal(err)
		}
		clock("start", func() { err = sb.Start(ctx, sandbox.Command{Args: []string{"/bin/true"}}) })
		if err != nil {
			b.Fatal(err)
		}
		clock("end", func() { <-sb.Done() })
		sb.Output().Close()
		clock("destroy", func() { err = sb.Destroy("bench") })
		if err != nil {
			b.Fatal(err)
		}
	}
	for name, ns := range stage {
		b.ReportMetric(ns/float64(b.N)/1000, fmt.Sprintf("µs-%s/op", name))
	}
}
