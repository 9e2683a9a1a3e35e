//go:build linux && !race

package rawio

import (
	"syscall"
	"unsafe"
)

// Read is read(2) of a descriptor that has O_NONBLOCK, again after EINTR. n is 0
// with an error, and at the end of file.
func Read(fd uintptr, p []byte) (n int, err error) {
	return again(syscall.SYS_READ, fd, p, 0)
}

// Write is write(2) of a descriptor that has O_NONBLOCK, again after EINTR. It may
// write less than p.
func Write(fd uintptr, p []byte) (n int, err error) {
	return again(syscall.SYS_WRITE, fd, p, 0)
}

// Pread is pread(2) of a file whose contents are in memory, such as a control
// file's, again after EINTR.
func Pread(fd uintptr, p []byte, offset int64) (n int, err error) {
	return again(syscall.SYS_PREAD64, fd, p, offset)
}

func again(trap, fd uintptr, p []byte, offset int64) (int, error) {
	var errno syscall.Errno
	for {
		var n uintptr
		n, _, errno = syscall.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(offset), 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
			continue
		}
		return 0, errno
	}
}
