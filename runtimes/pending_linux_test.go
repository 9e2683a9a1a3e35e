package runtimes

import "golang.org/x/sys/unix"

// pending reports whether the pipe holds bytes.
func pending(fd int) bool {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	return err == nil && n > 0
}
