//go:build linux && amd64

package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"hearth/sandbox"
)

// stages are the samples of a benchmark's parts.
type stages struct {
	names   []string
	samples map[string][]time.Duration
}

func (s *stages) clock(name string, f func()) {
	began := time.Now()
	f()
	s.add(name, time.Since(began))
}

func (s *stages) add(name string, took time.Duration) {
	if s.samples == nil {
		s.samples = map[string][]time.Duration{}
	}
	if s.samples[name] == nil {
		s.names = append(s.names, name)
	}
	s.samples[name] = append(s.samples[name], took)
}

// report prints the median and the 99th percentile of each part, in µs.
func (s *stages) report(b *testing.B) {
	for _, name := range s.names {
		all := s.samples[name]
		slices.Sort(all)
		us := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))]) / 1000 }
		b.ReportMetric(us(0.5), name+"-p50-µs")
		b.ReportMetric(us(0.99), name+"-p99-µs")
	}
}

// greeter builds a static program that says so on descriptor 3 when it runs, and
// returns the directory that holds it.
func greeter(b *testing.B) string {
	dir := b.TempDir()
	src := filepath.Join(dir, "main.go")
	code := "package main\nimport \"os\"\nfunc main() { f := os.NewFile(3, \"3\"); f.Write([]byte{1}); f.Read(make([]byte, 1)) }\n"
	if err := os.WriteFile(src, []byte(code), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "greet"), src)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkCold measures a life with everything pooled: create with the code
// mounted, a listener, start, the program's first byte, destroy. Lives are some
// time apart, so that what is refilled behind them is.
func BenchmarkCold(b *testing.B) {
	for _, apart := range []time.Duration{0, 20 * time.Millisecond} {
		b.Run(fmt.Sprintf("apart=%v", apart), func(b *testing.B) { benchCold(b, apart) })
	}
}

func benchCold(b *testing.B, apart time.Duration) {
	dir := greeter(b)
	d := newDriver(b, func(o *Options) { o.Spares = 8 })
	ctx := context.Background()
	var s stages
	for b.Loop() {
		<-time.After(apart)
		spec := testSpec()
		spec.MemoryMB = 1769
		spec.Mounts = []sandbox.Mount{{Source: dir, Target: "/var/task"}}
		var sb sandbox.Sandbox
		var err error
		began := time.Now()
		s.clock("create", func() { sb, err = d.Create(ctx, spec) })
		if err != nil {
			b.Fatal(err)
		}
		s.clock("listen", func() { _, err = sb.Listen(ctx, "tcp", "127.0.0.1:9001") })
		if err != nil {
			b.Fatal(err)
		}
		s.clock("start", func() {
			err = sb.Start(ctx, sandbox.Command{Args: []string{"/var/task/greet"}, Socket: true})
		})
		if err != nil {
			b.Fatal(err)
		}
		s.clock("greet", func() { _, err = sb.Socket().Read(make([]byte, 1)) })
		if err != nil {
			b.Fatal(err)
		}
		s.add("whole", time.Since(began))
		sb.Output().Close()
		sb.Socket().Close()
		s.clock("destroy", func() { err = sb.Destroy("bench") })
		if err != nil {
			b.Fatal(err)
		}
	}
	s.report(b)
}

// BenchmarkRate measures how many lives a second two CPUs sustain, with several at
// once, until the stock is full again.
func BenchmarkRate(b *testing.B) {
	dir := greeter(b)
	d := newDriver(b, func(o *Options) { o.Spares = 8 })
	full := func() bool { return poll(10*time.Second, func() (bool, error) { return d.full(), nil }) == nil }
	if !full() {
		b.Fatal("the stock does not fill")
	}
	b.ResetTimer()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			life(b, d, dir)
		}
	})
	if !full() {
		b.Fatal("the stock does not fill again")
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "starts/s")
}

func life(b *testing.B, d *Driver, dir string) {
	spec := testSpec()
	spec.MemoryMB = 256
	spec.Mounts = []sandbox.Mount{{Source: dir, Target: "/var/task"}}
	sb, err := d.Create(context.Background(), spec)
	if err != nil {
		b.Error(err)
		return
	}
	if err := sb.Start(context.Background(), sandbox.Command{Args: []string{"/var/task/greet"}, Socket: true}); err != nil {
		b.Error(err)
	} else {
		if _, err := sb.Socket().Read(make([]byte, 1)); err != nil {
			b.Error(err)
		}
		sb.Output().Close()
		sb.Socket().Close()
	}
	if err := sb.Destroy("bench"); err != nil {
		b.Error(err)
	}
}
