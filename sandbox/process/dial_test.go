//go:build linux && amd64

package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// A server that accepts nothing keeps its callers waiting: until their time is
// over, and without a thread for each.
func TestDialThatWaitsHoldsNoThread(t *testing.T) {
	d, err := New(Options{StateDir: t.TempDir(), DataID: fmt.Sprintf("d%d-%d", os.Getpid(), seq.Add(1))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	box, err := d.Create(t.Context(), sandbox.Spec{ID: "deaf", MemoryMB: 128, TmpMB: 64, Egress: sandbox.EgressNone})
	if err != nil {
		t.Fatal(err)
	}
	l, err := box.Listen(t.Context(), "tcp", "127.0.0.1:8080")
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
	first, err := box.Dial(t.Context(), "tcp", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()

	const waiting = 200
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for range waiting {
		all.Go(func() {
			if conn, err := box.Dial(ctx, "tcp", "127.0.0.1:8080"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Dial: %v, %v; want it to wait for its deadline", conn, err)
			}
		})
	}
	// Just before the end all of them wait, and the threads that made sockets are over.
	time.AfterFunc(1800*time.Millisecond, func() {
		threads, err := filepath.Glob("/proc/self/task/*")
		if err != nil || len(threads) > waiting/2 {
			t.Errorf("%d threads for %d dials that wait, %v", len(threads), waiting, err)
		}
	})
	all.Wait()
	if err := box.Destroy("deaf"); err != nil {
		t.Error(err)
	}
}
