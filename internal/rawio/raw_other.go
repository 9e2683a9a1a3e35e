//go:build !linux || race

package rawio

import "syscall"

// These tell the scheduler, and the race detector what follows what.

// Read is as on Linux.
func Read(fd uintptr, p []byte) (n int, err error) { return again(syscall.Read, fd, p) }

// Write is as on Linux.
func Write(fd uintptr, p []byte) (n int, err error) { return again(syscall.Write, fd, p) }

// Pread is as on Linux.
func Pread(fd uintptr, p []byte, offset int64) (n int, err error) {
	return again(func(fd int, p []byte) (int, error) { return syscall.Pread(fd, p, offset) }, fd, p)
}

func again(call func(fd int, p []byte) (int, error), fd uintptr, p []byte) (int, error) {
	for {
		n, err := call(int(fd), p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
