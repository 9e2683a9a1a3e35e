package rawio

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestPipe(t *testing.T) {
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	in, out := uintptr(fds[0]), uintptr(fds[1])
	defer syscall.Close(fds[0])
	for _, fd := range fds {
		if err := syscall.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	var buf [8]byte
	if n, err := Read(in, buf[:]); n != 0 || !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("an empty pipe: %d, %v", n, err)
	}
	if n, err := Write(out, []byte("some")); n != 4 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	if n, err := Read(in, buf[:]); n != 4 || err != nil || string(buf[:n]) != "some" {
		t.Errorf("read: %d, %v, %q", n, err, buf[:])
	}
	large := make([]byte, 1<<20)
	if n, err := Write(out, large); n <= 0 || n >= len(large) || err != nil {
		t.Errorf("write more than there is room for: %d, %v", n, err)
	}
	if n, err := Write(out, large); n != 0 || !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("write to a full pipe: %d, %v", n, err)
	}
	syscall.Close(fds[1])
	for n, err := Read(in, large); ; n, err = Read(in, large) {
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break // its end
		}
	}
}

func TestPread(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var buf [4]byte
	if n, err := Pread(f.Fd(), buf[:], 3); n != 4 || err != nil || string(buf[:]) != "3456" {
		t.Errorf("%d, %v, %q", n, err, buf)
	}
	if n, err := Pread(f.Fd(), buf[:], 10); n != 0 || err != nil {
		t.Errorf("at the end: %d, %v", n, err)
	}
	fd := f.Fd()
	f.Close()
	if n, err := Pread(fd, buf[:], 0); n != 0 || !errors.Is(err, syscall.EBADF) {
		t.Errorf("a closed file: %d, %v", n, err)
	}
}
