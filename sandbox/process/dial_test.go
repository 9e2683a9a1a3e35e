//go:build linux && amd64

package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// A server that accepts nothing keeps its callers waiting: until their time is
// over, and without a thread for each.
func TestDialThatWaitsHoldsNoThread(t *testing.T) {
	d, err := New(Options{StateDir: t.TempDir(), DataID: fmt.Sprintf("d%d-%d", os.Getpid(), seq.Add(1)), DeathLimit: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	sb, err := d.Create(t.Context(), sandbox.Spec{ID: "deaf", MemoryMB: 128, TmpMB: 64, Egress: sandbox.EgressNone})
	if err != nil {
		t.Fatal(err)
	}
	l, err := sb.Listen(t.Context(), "tcp", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// Room for one that waits to be accepted, and then none.
	if err := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	first, err := sb.Dial(t.Context(), "tcp", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()

	const waiting = 200
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for range waiting {
		all.Go(func() {
			if conn, err := sb.Dial(ctx, "tcp", "127.0.0.1:8080"); !errors.Is(err, context.Canceled) {
				t.Errorf("Dial: %v, %v; want it to wait until it is canceled", conn, err)
			}
		})
	}
	// Once all of them wait, the threads that made their sockets are over.
	connecting, threads := 0, 0
	err = poll(patience, func() (bool, error) {
		connecting = connects(t, sb.(*box).command.pid)
		threads = len(listing(t, "/proc/self/task"))
		return connecting == waiting && threads <= waiting/2, nil
	})
	if err != nil {
		t.Errorf("%d threads for %d dials that wait", threads, connecting)
	}
	hurried, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if conn, err := sb.Dial(hurried, "tcp", "127.0.0.1:8080"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial: %v, %v; want it to wait for its deadline", conn, err)
	}
	cancel()
	all.Wait()
	if err := sb.Destroy("deaf"); err != nil {
		t.Error(err)
	}
}

// connects counts the sockets in the network namespace of a process that wait for
// the answer to their connect.
func connects(t *testing.T, pid int) (n int) {
	t.Helper()
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(table), "\n") {
		if fields := strings.Fields(line); len(fields) > 3 && fields[3] == "02" { // TCP_SYN_SENT
			n++
		}
	}
	return n
}
