//go:build linux && amd64

package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// patience bounds everything that is expected to happen, on a machine however busy.
const patience = time.Minute

var seq atomic.Int64

func newDriver(t testing.TB, change ...func(*Options)) *Driver {
	t.Helper()
	opts := Options{
		StateDir:   t.TempDir(),
		DeathLimit: patience,
		DataID:     fmt.Sprintf("t%d-%d", os.Getpid(), seq.Add(1)),
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
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
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
	out, exit := run(t, d, testSpec(), "/bin/sh", "-c", "echo hello $A; exit 3")
	if out != "hello b\n" || exit.Code != 3 {
		t.Errorf("exit %+v, output %q", exit, out)
	}
}

// Shells write to these by name, and a name is opened as the sandbox's own user.
func TestStandardStreamsByName(t *testing.T) {
	out, exit := run(t, newDriver(t), testSpec(), "/bin/sh", "-c", "echo a >/dev/stdout; echo b >/dev/stderr; cat /dev/stdin")
	if out != "a\nb\n" || exit.Code != 0 {
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

// A thread that a sandbox was built on is never the main one, and Hearth's own
// namespaces stay what they were.
func TestThreads(t *testing.T) {
	kinds := []string{"mnt", "pid", "ipc", "uts", "net", "pid_for_children"}
	own := func() (links []string) {
		for _, k := range kinds {
			l, err := os.Readlink("/proc/self/ns/" + k)
			if err != nil {
				t.Fatal(err)
			}
			links = append(links, l)
		}
		return links
	}
	before := own()
	for range 500 {
		err := onThread(func() error {
			if unix.Gettid() == unix.Getpid() {
				return errors.New("on the main thread")
			}
			return unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWUTS)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if after := own(); !slices.Equal(before, after) {
		t.Errorf("namespaces were %v, are %v", before, after)
	}
	if err := onThread(func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("an abandoned thread is no error")
	}
}

// The quota holds, and only once it was set.
func TestSetCPU(t *testing.T) {
	d := newDriver(t)
	ctx := context.Background()
	sb, err := d.Create(ctx, testSpec())
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Destroy("test")
	if err := sb.SetCPU(100); err != nil {
		t.Fatal(err)
	}
	if err := sb.Start(ctx, sandbox.Command{Args: []string{"/bin/sh", "-c", "while :; do :; done"}}); err != nil {
		t.Fatal(err)
	}
	defer sb.Output().Close()
	used := func() time.Duration {
		t.Helper()
		u, err := sb.Usage()
		if err != nil {
			t.Fatal(err)
		}
		return u.CPU
	}
	began, before := time.Now(), used()
	<-time.After(500 * time.Millisecond) // the least span that is measured
	if err := poll(patience, func() (bool, error) { return used() > before, nil }); err != nil {
		t.Fatal("it uses no CPU time")
	}
	if used, span := used()-before, time.Since(began); used > span/5 {
		t.Errorf("used %v of %v with a tenth of a core", used, span)
	}
}

// What is wrong is named before anything is made.
func TestBadInput(t *testing.T) {
	d := newDriver(t)
	ctx := context.Background()
	for want, change := range map[string]func(*sandbox.Spec){
		"MemoryMB":     func(s *sandbox.Spec) { s.MemoryMB = 0 },
		"egress":       func(s *sandbox.Spec) { s.Egress = "moon" },
		"no networks":  func(s *sandbox.Spec) { s.Egress = sandbox.EgressInternet },
		"mount target": func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Source: "/usr", Target: "/usr"}} },
		"/proc":        func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Source: "/usr", Target: "/proc"}} },
		"mount source": func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Source: "usr", Target: "/var/task"}} },
		"/no/such":     func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Source: "/no/such", Target: "/var/task"}} },
	} {
		spec := testSpec()
		change(&spec)
		if _, err := d.Create(ctx, spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q named", err, want)
		}
	}
	for _, opts := range []Options{{StateDir: "/x", DataID: "A b"}, {StateDir: "x", DataID: "a"}, {StateDir: "/x", DataID: "a", MaxSandboxes: 1 << 20}} {
		if _, err := New(opts); err == nil {
			t.Errorf("New(%+v) succeeded", opts)
		}
	}
	sb, err := d.Create(ctx, testSpec())
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []sandbox.Command{{}, {Args: []string{"sh"}}, {Args: []string{"/bin/sh", "a\x00b"}}, {Args: []string{"/bin/sh"}, Env: []string{"A=\x00"}}} {
		if err := sb.Start(ctx, cmd); err == nil {
			t.Errorf("Start of %q succeeded", cmd.Args)
		}
	}
}

// Mounts below other mounts, of files and of directories, where no mount point is.
func TestMountPoints(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a/inner", "b"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"a/f", "b/f"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte(f+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	spec := testSpec()
	spec.Mounts = []sandbox.Mount{
		{Source: dir + "/b", Target: "/opt/x/inner"}, {Source: dir + "/a", Target: "/opt/x"},
		{Source: dir + "/a", Target: "/var/task"}, {Source: dir + "/b/f", Target: "/var/new/deep/f"},
	}
	out, exit := run(t, newDriver(t), spec, "/bin/sh", "-c",
		"cat /opt/x/f /opt/x/inner/f /var/task/f /var/new/deep/f; echo x 2>/dev/null >/var/new/y || echo ro; echo x 2>/dev/null >/opt/x/f || echo ro")
	if want := "a/f\nb/f\na/f\nb/f\nro\nro\n"; out != want {
		t.Errorf("output %q, want %q; exit %+v", out, want, exit)
	}
}
