package sockpair

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A descriptor that was sent and not taken is closed by whoever reads, and the
// close of a TCP socket can wait as long as its sender likes.
func TestDescriptorsAreRefused(t *testing.T) {
	ours, theirs, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	want := error(unix.EPERM)
	if _, err := unix.GetsockoptInt(int(theirs.Fd()), unix.SOL_SOCKET, unix.SO_PASSRIGHTS); err != nil {
		want = nil // before Linux 6.16 nothing can refuse them
	}
	err = unix.Sendmsg(int(theirs.Fd()), []byte("x"), unix.UnixRights(int(null.Fd())), nil, 0)
	if !errors.Is(err, want) {
		t.Errorf("sending a descriptor: %v, want %v", err, want)
	}
	if _, err := theirs.Write([]byte("y")); err != nil {
		t.Errorf("sending a byte: %v", err)
	}
	if err := ours.(*net.UnixConn).SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Read(make([]byte, 1)); err != nil {
		t.Errorf("receiving it: %v", err)
	}
}

// Where descriptors cannot be refused, a connection on which one holds the reader
// up can be closed all the same.
func TestCloseEndsAWait(t *testing.T) {
	file, theirs, err := files()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	conn, err := net.FileConn(file)
	if file.Close(); err != nil {
		t.Fatal(err)
	}
	ours := nudged{conn.(*net.UnixConn)}
	sendLingering(t, int(theirs.Fd()))
	read := make(chan error, 1)
	go func() {
		_, err := ours.Read(make([]byte, 1))
		read <- err
	}()
	waits := func() bool {
		wchans, _ := filepath.Glob("/proc/self/task/*/wchan")
		return slices.ContainsFunc(wchans, func(path string) bool {
			b, _ := os.ReadFile(path)
			return string(b) == "wait_woken" || string(b) == "sk_stream_wait_close"
		})
	}
	ask, late := time.NewTicker(time.Millisecond), time.After(time.Minute)
	defer ask.Stop()
	for !waits() { // the kernel has no event for it
		select {
		case <-ask.C:
		case <-late:
			t.Fatal("the read does not wait for the descriptor's end")
		}
	}
	closed := make(chan error, 1)
	go func() { closed <- ours.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Close waits for the reader")
	}
	<-read
}

// sendLingering sends the last descriptor of a TCP socket that has data which
// nobody reads, and lingers; behind it, to keep it so, that of its listener.
func sendLingering(t *testing.T, to int) {
	t.Helper()
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(listener, 1))
	if err != nil {
		t.Fatal(err)
	}
	address, err := unix.Getsockname(listener)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Connect(sender, address), unix.SetNonblock(sender, true)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = unix.Write(sender, make([]byte, 1<<20))
	}
	err = unix.SetsockoptLinger(sender, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 3600})
	for _, fd := range []int{sender, listener} {
		err = errors.Join(err, unix.Sendmsg(to, []byte("x"), unix.UnixRights(fd), nil, 0), unix.Close(fd))
	}
	if err != nil {
		t.Fatal(err)
	}
}
