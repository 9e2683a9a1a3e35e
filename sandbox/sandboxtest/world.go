package sandboxtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hearth/sandbox"
)

func listen(t *testing.T, box sandbox.Sandbox, address string) net.Listener {
	t.Helper()
	l, err := box.Listen(within(t), "tcp", address)
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	return l
}

// answer serves one connection: it reads a line and answers another.
func answer(t *testing.T, l net.Listener, with string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return // the listener was closed; the test fails for want of the answer
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(wait)) // a failure shows as a missing answer
		if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil && line == "ping\n" {
			_, _ = io.WriteString(conn, with+"\n")
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
}

func portOf(t *testing.T, l net.Listener) string {
	t.Helper()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return "PORT=" + port
}

func testListen(t *testing.T, s *suite) {
	box := s.box(t)
	l := listen(t, box, "127.0.0.1:0")
	answer(t, l, "pong")
	s.start(t, box, Dial, portOf(t, l)).expect(t, "pong")
}

func testListenClosed(t *testing.T, s *suite) {
	box := s.box(t)
	l := listen(t, box, "127.0.0.1:0")
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	destroy(t, box, "listener")
	select {
	case err := <-accepted:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Destroy: %v, want net.ErrClosed", err)
		}
	case <-time.After(wait):
		t.Errorf("Accept still waits after Destroy")
		l.Close()
	}
}

func testOwnNetwork(t *testing.T, s *suite) {
	d := s.driver(t)
	a, b := create(t, d, spec()), create(t, d, spec())
	const address = "127.0.0.1:9001"
	la, lb := listen(t, a, address), listen(t, b, address)
	answer(t, la, "a")
	answer(t, lb, "b")
	if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		conn.Close()
		t.Errorf("the host reached %s of a sandbox", address)
	}
	s.start(t, a, Dial, "PORT=9001").expect(t, "a")
	s.start(t, b, Dial, "PORT=9001").expect(t, "b")
}

// mounted makes a directory with one file that every user may read.
func mounted(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("content\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func testMounts(t *testing.T, s *suite) {
	dir := mounted(t)
	sp := spec()
	sp.Mounts = []sandbox.Mount{{Source: dir, Target: "/var/task"}}
	box := create(t, s.driver(t), sp)
	cmd := s.features.Command(Print)
	cmd.Args = []string{"/bin/bash", "-c", `cat /var/task/file; (echo changed > /var/task/file) 2>/dev/null || echo refused; (echo new > /var/task/new) 2>/dev/null || echo refused`}
	cmd.Dir = "/var/task"
	if err := box.Start(within(t), cmd); err != nil {
		t.Fatal(err)
	}
	out := collect(t, box)
	for _, want := range []string{"content", "refused", "refused"} {
		out.expect(t, want)
	}
}

// expectPeek is what Peek writes once content is mounted read-only.
func expectPeek(t *testing.T, out *output) {
	t.Helper()
	out.expect(t, "content")
	out.expect(t, "refused")
}

func mount(t *testing.T, box sandbox.Sandbox, source, target string) {
	t.Helper()
	if err := box.Mount(within(t), sandbox.Mount{Source: source, Target: target}); err != nil {
		t.Fatalf("Mount: %v", err)
	}
}

func testMountAtStart(t *testing.T, s *suite) {
	box := s.box(t)
	cmd := s.features.Command(Peek)
	cmd.Mounts = []sandbox.Mount{{Source: mounted(t), Target: "/var/task"}}
	cmd.Dir = "/var/task"
	if err := box.Start(within(t), cmd); err != nil {
		t.Fatalf("Start: %v", err)
	}
	out := collect(t, box)
	out.expect(t, "waiting")
	expectPeek(t, out)
	// The targets are taken, as by Mount.
	if err := box.Mount(within(t), cmd.Mounts...); err == nil {
		t.Error("a second mount on one target succeeded")
	}
	for name, mounts := range map[string][]sandbox.Mount{
		"a missing source": {{Source: t.TempDir() + "/missing", Target: "/var/task"}},
		"another target":   {{Source: t.TempDir(), Target: "/var/other"}},
	} {
		box := s.box(t)
		cmd := s.features.Command(Sleep)
		cmd.Mounts = mounts
		if err := box.Start(within(t), cmd); err == nil {
			t.Errorf("Start with %s succeeded", name)
		}
		if err := box.Destroy("test"); err != nil {
			t.Errorf("Destroy after %s: %v", name, err)
		}
	}
}

func testMountEarly(t *testing.T, s *suite) {
	box := s.box(t)
	mount(t, box, mounted(t), "/var/task")
	out := s.start(t, box, Peek)
	out.expect(t, "waiting")
	expectPeek(t, out)
}

func testMountLate(t *testing.T, s *suite) {
	box := s.box(t)
	out := s.start(t, box, Peek)
	out.expect(t, "waiting")
	mount(t, box, mounted(t), "/opt")
	mount(t, box, mounted(t), "/var/task")
	expectPeek(t, out)
}

func testMountFrozen(t *testing.T, s *suite) {
	box := s.box(t)
	out := s.start(t, box, Peek)
	out.expect(t, "waiting")
	if err := box.Freeze(); err != nil {
		t.Fatal(err)
	}
	mount(t, box, mounted(t), "/var/task")
	if err := box.SetMemory(256); err != nil {
		t.Errorf("SetMemory while frozen: %v", err)
	}
	if err := box.SetCPU(1000); err != nil {
		t.Errorf("SetCPU while frozen: %v", err)
	}
	if err := box.Thaw(); err != nil {
		t.Fatal(err)
	}
	expectPeek(t, out)
}

// What is wrong with a Mount is an error, and the sandbox is as it was.
func testMountRefused(t *testing.T, s *suite) {
	dir := mounted(t)
	sp := spec()
	sp.Mounts = []sandbox.Mount{{Source: dir, Target: "/var/runtime"}}
	box := create(t, s.driver(t), sp)
	for name, mounts := range map[string][]sandbox.Mount{
		"no source":       {{Target: "/var/task"}},
		"missing source":  {{Source: dir + "/missing", Target: "/var/task"}},
		"relative target": {{Source: dir, Target: "var/task"}},
		"other target":    {{Source: dir, Target: "/var/other"}},
		"below a target":  {{Source: dir, Target: "/var/task/below"}},
		"of the Spec":     {{Source: dir, Target: "/var/runtime"}},
		"twice":           {{Source: dir, Target: "/var/task"}, {Source: dir, Target: "/var/task"}},
		"one of two":      {{Source: dir, Target: "/var/task"}, {Source: dir + "/missing", Target: "/opt"}},
	} {
		if err := box.Mount(within(t), mounts...); err == nil {
			t.Errorf("Mount with %s succeeded", name)
		}
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := box.Mount(canceled, sandbox.Mount{Source: dir, Target: "/var/task"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Mount with a canceled context: %v", err)
	}
	mount(t, box, dir, "/var/task") // none of the above took its place
	if err := box.Mount(within(t), sandbox.Mount{Source: dir, Target: "/var/task"}); err == nil {
		t.Error("a second Mount on one target succeeded")
	}
}

// A sandbox without mounts maps their targets, or has nothing to do with files.
func testPathMapper(t *testing.T, s *suite) {
	dir := mounted(t)
	sp := spec()
	sp.Mounts = []sandbox.Mount{{Source: dir, Target: "/var/task"}, {Source: "/nested", Target: "/var/task/lib"}}
	box := create(t, s.driver(t), sp)
	m, ok := box.(sandbox.PathMapper)
	if !ok {
		return
	}
	for target, want := range map[string]string{
		"/var/task":       dir,
		"/var/task/file":  dir + "/file",
		"/var/task/lib/x": "/nested/x",
		"/var/tasks":      "/var/tasks",
		"/usr/bin/env":    "/usr/bin/env",
	} {
		if got := m.Path(target); got != want {
			t.Errorf("Path(%q) = %q, want %q", target, got, want)
		}
	}
	mount(t, box, dir, "/opt")
	if got := m.Path("/opt/file"); got != dir+"/file" {
		t.Errorf("Path of an added mount = %q", got)
	}
	file := m.Path("/tmp/file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Errorf("/tmp of the sandbox: %v", err)
	}
	destroy(t, box, "paths")
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s after Destroy: %v", file, fmt.Sprint(err))
	}
}
