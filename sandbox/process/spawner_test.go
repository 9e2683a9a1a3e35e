//go:build linux && amd64

package process

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// spawn runs a shell beside a sandbox's command and returns it and its output.
func spawnShell(t *testing.T, sb sandbox.Sandbox, script string) (sandbox.Child, <-chan string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	c, err := sb.(sandbox.Spawner).Spawn(context.Background(), sandbox.Command{Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "A=b"}}, w)
	if err != nil {
		r.Close()
		t.Fatal(err)
	}
	out := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(r)
		r.Close()
		out <- string(b)
	}()
	return c, out
}

// until sends what the sandbox printed up to and with last, or all of it if last
// never comes, and reads on to the end.
func until(sb sandbox.Sandbox, last string) <-chan string {
	out := make(chan string, 1)
	go func() {
		r := bufio.NewReader(sb.Output())
		var got string
		for !strings.HasSuffix(got, last) {
			line, err := r.ReadString('\n')
			if got += line; err != nil {
				break
			}
		}
		out <- got
		io.Copy(io.Discard, r)
		sb.Output().Close()
	}()
	return out
}

// A process beside the command is in the same place, as the same user without more
// rights, before the command and while it runs, and dies with the sandbox.
func TestSpawn(t *testing.T) {
	d := newDriver(t)
	sb, err := d.Create(t.Context(), testSpec())
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Destroy("test")
	const about = `for n in mnt pid net ipc uts; do readlink /proc/self/ns/$n; done; id -u; grep -E "^(CapBnd|CapEff|NoNewPrivs|Seccomp):" /proc/self/status; ulimit -n; ls /proc/self/fd | wc -l; echo $A`
	first, out := spawnShell(t, sb, about+"; echo x > /tmp/shared; exit 3")
	if exit := first.Exit(); exit.Code != 3 {
		t.Errorf("exit %+v", exit)
	}
	before := <-out
	if err := sb.Start(t.Context(), sandbox.Command{Args: []string{"/bin/sh", "-c", about + "; cat /tmp/shared; exec sleep 1000"}, Env: []string{"PATH=/usr/bin:/bin", "A=b"}}); err != nil {
		t.Fatal(err)
	}
	said := until(sb, "x\n")
	beside, asleep := spawnShell(t, sb, "echo ready; exec sleep 1000")
	told, ended := spawnShell(t, sb, "trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.01; done")
	if err := told.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if exit := told.Exit(); exit.Signal != syscall.SIGKILL {
		t.Errorf("a killed process ended with %+v", exit)
	}
	<-ended
	select {
	case <-sb.Done():
		t.Error("the sandbox ended with a process beside its command")
	default:
	}
	if got := <-said; !strings.HasPrefix(got, strings.TrimSuffix(before, "b\n")) || !strings.HasSuffix(got, "x\n") {
		t.Errorf("the command is in\n%sa process beside it in\n%s", got, before)
	}
	if err := sb.Destroy("test"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-beside.Done():
	case <-time.After(patience):
		t.Fatal("a process outlived its sandbox")
	}
	<-asleep
	if _, err := sb.(sandbox.Spawner).Spawn(t.Context(), sandbox.Command{Args: []string{"/bin/true"}}, os.Stdout); !errors.Is(err, sandbox.ErrDestroyed) {
		t.Errorf("spawned in a destroyed sandbox: %v", err)
	}
}

func TestSpawnFails(t *testing.T) {
	d := newDriver(t)
	sb, err := d.Create(t.Context(), testSpec())
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Destroy("test")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for path, want := range map[string]error{"/no/such": unix.ENOENT, "/etc/passwd": unix.EACCES} {
		if _, err := sb.(sandbox.Spawner).Spawn(t.Context(), sandbox.Command{Args: []string{path}}, w); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if _, err := sb.(sandbox.Spawner).Spawn(t.Context(), sandbox.Command{Args: []string{"true"}}, w); err == nil {
		t.Error("a relative path was run")
	}
}
