//go:build linux && amd64

package process

import (
	"errors"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A berth holds nothing of the last process, or a pipe of it would never end.
func TestBerthIsEmptied(t *testing.T) {
	before := listing(t, "/proc/self/fd")
	b, err := newBerths(1)
	if err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	read := os.NewFile(uintptr(pipe[0]), "pipe")
	berth, err := b.take([]int{pipe[1], pipe[1]})
	if err != nil || len(berth) != 2 {
		t.Fatalf("take = %v, %v", berth, err)
	}
	if slices.Min(berth) < lowFD || slices.Max(berth) >= b.end {
		t.Errorf("berth %v is not from %d to %d", berth, lowFD, b.end)
	}
	unix.Close(pipe[1])
	if err := b.give(berth); err != nil {
		t.Error(err)
	}
	if n, err := read.Read(make([]byte, 1)); n != 0 {
		t.Errorf("read %d, %v of a pipe that nobody can write to", n, err)
	}
	read.Close()
	b.close()
	if after := listing(t, "/proc/self/fd"); len(after) != len(before) {
		t.Errorf("descriptors %v before, %v after", before, after)
	}
}

// A process that cannot be spawned leaves its berth as it was.
func TestBerthAfterAFailure(t *testing.T) {
	b, err := newBerths(1)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	for range 2 {
		err := onThread(func() error {
			_, err := b.spawn([]int{b.null}, -1, func(s *script) { s.exec("/nowhere", []string{"x"}, nil) })
			return err
		})
		if !errors.Is(err, unix.ENOENT) {
			t.Errorf("spawn = %v", err)
		}
	}
	berth, err := b.take([]int{-1})
	if !errors.Is(err, unix.EBADF) {
		t.Errorf("take = %v of a descriptor that is none", err)
	}
	if err := b.give(berth); err != nil {
		t.Error(err)
	}
}
