//go:build linux && amd64

package process

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hearth/sandbox"
)

var seq atomic.Int64

func newDriver(t testing.TB, change ...func(*Options)) *Driver {
	t.Helper()
	opts := Options{
		StateDir: t.TempDir(),
		DataID:   fmt.Sprintf("t%d-%d", os.Getpid(), seq.Add(1)),
	}
	for _, f := range change {
		f(&opts)
	}
	d, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close the driver: %v", err)
		}
	})
	return d
}

func testSpec() sandbox.Spec {
	return sandbox.Spec{ID: fmt.Sprintf("s%d", seq.Add(1)), MemoryMB: 128, TmpMB: 512, Egress: sandbox.EgressNone}
}

// run runs a command to its end and returns its output.
func run(t testing.TB, d *Driver, spec sandbox.Spec, args ...string) (string, sandbox.Exit) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	sb, err := d.Create(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sb.Destroy("test"); err != nil {
			t.Error(err)
		}
	}()
	if err := sb.Start(ctx, sandbox.Command{Args: args, Env: []string{"PATH=/usr/bin:/bin", "A=b"}}); err != nil {
		t.Fatal(err)
	}
	out := drain(sb)
	select {
	case <-sb.Done():
	case <-ctx.Done():
		t.Fatalf("%v does not end", args)
	}
	sb.Destroy("test")
	return <-out, sb.Exit()
}

// drain reads a sandbox's output until every writer is gone.
func drain(sb sandbox.Sandbox) <-chan string {
	out := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(sb.Output(), 1<<20))
		io.Copy(io.Discard, sb.Output())
		sb.Output().Close()
		out <- string(b)
	}()
	return out
}

func TestEcho(t *testing.T) {
	d := newDriver(t)
	out, exit := run(t, d, testSpec(), "/bin/sh", "-c", "echo hello $A; id; pwd; ls -la / /tmp /dev /proc/self/fd; cat /proc/self/status; cat /proc/mounts; exit 3")
	t.Log(out)
	if !strings.HasPrefix(out, "hello b\n") || exit.Code != 3 {
		t.Errorf("exit %+v, output %q", exit, out)
	}
}

// A slot's groups are used again: what the last sandbox did must not reach the next.
func TestReuse(t *testing.T) {
	d := newDriver(t, func(o *Options) { o.MaxSandboxes = 1 })
	for i := range 3 {
		out, exit := run(t, d, testSpec(), "/bin/sh", "-c", "ls -A /tmp; echo x > /tmp/left; exit 4")
		if exit.Code != 4 || out != "" {
			t.Fatalf("run %d: exit %+v, output %q", i, exit, out)
		}
	}
}
