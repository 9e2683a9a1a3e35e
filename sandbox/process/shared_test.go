//go:build linux && amd64

package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// Hostile programs that reach for what the machine has only once, and what must
// come of them.

func hoardTCP([]string) {
	// Sends to itself and reads nothing: the bytes stay in the kernel.
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	sent, chunk := 0, make([]byte, 1<<20)
	for range 64 {
		conn, err := net.DialTimeout("tcp4", ln.Addr().String(), time.Second)
		for err == nil {
			conn.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			var n int
			n, err = conn.Write(chunk)
			sent += n
		}
	}
	fmt.Println(sent >> 20)
}

// What lies unread in sockets is the sandbox's memory, not the machine's.
func TestSocketBuffersAreMemory(t *testing.T) {
	spec := testSpec()
	spec.MemoryMB = 64
	lines, exit := play(t, newDriver(t), spec, "hoard-tcp")
	var mb int
	fmt.Sscan(lines[0], &mb)
	if !exit.OOM && (mb == 0 || mb > 2*spec.MemoryMB) { // each socket has a little beyond the limit
		t.Errorf("%q MB are in socket buffers of a sandbox of %d MB; exit %+v", lines, spec.MemoryMB, exit)
	}
}

func limitCores([]string) {
	for _, limit := range []unix.Rlimit{{}, {Max: 1}} {
		err := unix.Setrlimit(unix.RLIMIT_CORE, &limit)
		var now unix.Rlimit
		fmt.Println(err, unix.Getrlimit(unix.RLIMIT_CORE, &now), now)
	}
}

// A crash must not run the host's core_pattern, which a limit of 0 does not keep
// it from; nor may the function go back to 0.
func TestNoCores(t *testing.T) {
	lines, _ := play(t, newDriver(t), testSpec(), "limit-cores")
	if want := []string{"<nil> <nil> {1 1}", "<nil> <nil> {1 1}"}; !slices.Equal(lines, want) {
		t.Errorf("%q, want %q", lines, want)
	}
}

// All sandboxes together leave the machine a part of its process ids: without any
// a Hearth that needs a thread ends.
func TestPidsOfAllTogether(t *testing.T) {
	d := newDriver(t)
	mount, _, _ := d.layout.controller("pids")
	got, err := number(filepath.Join(mount, d.name), "pids.max")
	if err != nil {
		t.Fatalf("no limit for all together: %v", err)
	}
	for _, name := range []string{"pid_max", "threads-max"} {
		most, err := number("/proc/sys/kernel", name)
		if err != nil {
			t.Fatal(err)
		}
		if got < 1024 || got > most*3/4 {
			t.Errorf("%d processes and threads for all, where %s is %d", got, name, most)
		}
	}
}

// All sandboxes together weigh more than one process.
func TestWeightOfAllTogether(t *testing.T) {
	d := newDriver(t)
	mount, v2, _ := d.layout.controller("cpu")
	name, one := "cpu.shares", int64(1024)
	if v2 {
		name, one = "cpu.weight", 100
	}
	got, err := number(filepath.Join(mount, d.name), name)
	if err != nil {
		t.Fatal(err)
	}
	if got <= one {
		t.Errorf("%s is %d, and one process has %d", name, got, one)
	}
}

// The weight of a group has bounds, which a large machine reaches.
func TestWeightBounds(t *testing.T) {
	for _, c := range []struct {
		v2         bool
		cores      int
		file, want string
	}{
		{false, 2, "cpu.shares", "4096"}, {false, 256, "cpu.shares", "262144"},
		{true, 2, "cpu.weight", "400"}, {true, 256, "cpu.weight", "10000"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "all", c.file)
		if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		l := layout{v1: map[string]string{"cpu": dir}}
		if c.v2 {
			l = layout{v2: dir, ctl2: []string{"cpu"}}
		}
		if err := l.weighAll("all", c.cores); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(path); string(b) != c.want {
			t.Errorf("%s with %d cores: %q, want %s", c.file, c.cores, b, c.want)
		}
	}
}

// sibling makes a process that is its parent's child, that is Hearth's, who does
// not know of it.
func sibling([]string) {
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e == 0 && pid == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	fmt.Println(int(e))
}

// A zombie that only Hearth could reap would keep the pid namespace from ending.
func TestNoChildrenOfHearth(t *testing.T) {
	lines, _ := play(t, newDriver(t), testSpec(), "sibling")
	if want := fmt.Sprint(int(unix.EPERM)); lines[0] != want {
		t.Errorf("clone with CLONE_PARENT: errno %s, want %s", lines[0], want)
	}
}

// litter leaves nothing but room in the root directory.
func litter([]string) {
	var names []string
	for i := range 4000 {
		name := fmt.Sprintf("/tmp/%0200d", i)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			fmt.Println(err)
			return
		}
		names = append(names, name)
	}
	for _, name := range names {
		os.Remove(name)
	}
}

// pump leaves nothing but room in the file behind the file system.
func pump([]string) {
	f, err := os.Create("/tmp/large")
	if err == nil {
		_, err = f.Write(make([]byte, 100<<20))
	}
	if err == nil {
		err = f.Sync()
	}
	fmt.Println(err, os.Remove("/tmp/large"))
}

// What a sandbox made grow does not shrink when it deletes everything: the next
// one does not get that /tmp.
func TestTmpThatGrewIsDropped(t *testing.T) {
	for _, name := range []string{"litter", "pump"} {
		d := newDriver(t, func(o *Options) { o.MaxSandboxes = 1 })
		spec := testSpec()
		spec.MemoryMB = 512
		if lines, exit := play(t, d, spec, name); exit.Code != 0 {
			t.Fatalf("%s: exit %+v: %q", name, exit, lines)
		}
		d.background.Wait() // it is cleaned
		d.tmp.mu.Lock()     // nothing idle is closed meanwhile
		for _, img := range d.tmp.idle {
			var dir, file unix.Stat_t
			if err := errors.Join(unix.Fstat(int(img.root.Fd()), &dir), unix.Fstat(int(img.file.Fd()), &file)); err != nil {
				t.Error(err)
			}
			if dir.Size != rootSize || file.Blocks*512 > tmpMostBytes {
				t.Errorf("after %s: a /tmp of %d bytes on a file of %d MB is kept", name, dir.Size, file.Blocks*512>>20)
			}
		}
		d.tmp.mu.Unlock()
	}
}

// A /tmp that cannot be mounted is an error, and nothing of it stays.
func TestTmpThatCannotBeMounted(t *testing.T) {
	d := newDriver(t)
	if err := os.WriteFile(filepath.Join(d.tmp.dir, "template-7"), make([]byte, 7<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := testSpec()
	spec.TmpMB = 7
	if _, err := d.Create(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "mount /dev/loop") {
		t.Errorf("%v, want the mount's error", err)
	}
}

// Death that takes long, here of a write to a frozen file system, is told once and
// costs no slot.
func TestSlowDeath(t *testing.T) {
	var told bytes.Buffer
	alarms := slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelError}))
	d := newDriver(t, func(o *Options) { o.MaxSandboxes, o.DeathLimit, o.Logger = 1, 0, alarms })
	d.quarantine = 10 * time.Millisecond
	sb, err := d.Create(t.Context(), testSpec())
	if err != nil {
		t.Fatal(err)
	}
	root := int(sb.(*box).tmp.root.Fd())
	if err := unix.IoctlSetInt(root, fiFreeze, 0); err != nil {
		t.Fatal(err)
	}
	thaw := sync.OnceValue(func() error { return unix.IoctlSetInt(root, fiThaw, 0) })
	t.Cleanup(func() { _ = thaw() })
	if err := sb.Start(t.Context(), sandbox.Command{Args: []string{"/bin/sh", "-c", "echo ready; echo x >/tmp/x"}}); err != nil {
		t.Fatal(err)
	}
	out := sb.Output()
	defer out.Close()
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	stat := fmt.Sprintf("/proc/%d/stat", sb.(*box).command.pid)
	if err := poll(patience, func() (bool, error) {
		b, err := os.ReadFile(stat)
		return strings.Contains(string(b), ") D "), err
	}); err != nil {
		t.Fatalf("the write does not wait: %v", err)
	}
	if err := sb.Destroy("test"); err == nil {
		t.Error("a process that cannot die is no error")
	}
	<-time.After(10 * d.quarantine) // longer than it waits at once
	if err := thaw(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := d.Create(ctx, testSpec()); err != nil { // once the first is cleaned
		t.Errorf("after the process died: %v", err)
	}
	if n := strings.Count(told.String(), "long after it was killed"); n != 1 {
		t.Errorf("told %d times:\n%s", n, &told)
	}
}

// FIFREEZE and FITHAW of linux/fs.h.
const fiFreeze, fiThaw = 0xc0045877, 0xc0045878
