package runtimeapi

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"hearth/internal/sockpair"
)

// newTestLine is a line, and the other end of it. Linux only.
func newTestLine(t *testing.T) (*line, net.Conn) {
	t.Helper()
	ours, file, err := sockpair.New()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := net.FileConn(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	l := newLine(ours)
	if _, plain := ours.(*net.UnixConn); l == nil && plain && runtime.GOOS == "linux" {
		t.Fatal("a plain socket is not made a line")
	}
	if l == nil { // this kernel hands descriptors to who reads
		ours.Close()
		return nil, theirs
	}
	t.Cleanup(func() { l.Close() })
	return l, theirs
}

// The whole of what net.Conn's readers and writers rely on: a write that needs many
// turns, a read that waits, deadlines, the end of the other side, and a Close
// under a Read.
func TestLine(t *testing.T) {
	l, theirs := newTestLine(t)
	if l == nil {
		return
	}
	if err := l.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	var some [64]byte
	if _, err := l.Read(some[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after the deadline: %v", err)
	}
	if err := l.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}

	large := bytes.Repeat([]byte("0123456789"), 500_000)
	wrote := make(chan error, 1)
	go func() {
		n, err := l.Write(large)
		if err == nil && n != len(large) {
			err = io.ErrShortWrite
		}
		wrote <- err
	}()
	got := make([]byte, len(large))
	if _, err := io.ReadFull(theirs, got); err != nil || !bytes.Equal(got, large) {
		t.Errorf("a large write arrives otherwise: %v", err)
	}
	if err := <-wrote; err != nil {
		t.Errorf("a large write: %v", err)
	}

	go theirs.Write([]byte("answer"))
	if n, err := l.Read(some[:]); err != nil || string(some[:n]) != "answer" {
		t.Errorf("read %q, %v", some[:n], err)
	}
	theirs.Close()
	if n, err := l.Read(some[:]); n != 0 || err != io.EOF {
		t.Errorf("read at the end: %d, %v", n, err)
	}
	if _, err := l.Write(large); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write to a closed socket: %v", err)
	}
}

// A write that was given up half way leaves nothing behind that ends later reads at once.
func TestLineWriteGivenUp(t *testing.T) {
	l, theirs := newTestLine(t)
	if l == nil {
		return
	}
	if err := l.SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write(make([]byte, 8<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write that nobody reads: %v", err)
	}
	if err := l.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	go theirs.Write([]byte("x"))
	var b [1]byte
	if n, err := l.Read(b[:]); n != 1 || err != nil {
		t.Errorf("read: %d, %v", n, err)
	}
}

func TestLineClose(t *testing.T) {
	l, theirs := newTestLine(t)
	if l == nil {
		return
	}
	ended := make(chan error, 1)
	go func() {
		_, err := l.Read(make([]byte, 1))
		ended <- err
	}()
	l.Close()
	if err := <-ended; err == nil {
		t.Error("a read under a close returns without an error")
	}
	if err := l.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if n, err := theirs.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the other end reads %d, %v", n, err)
	}
}
