//go:build crashtest

package main

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// trap ends this process with SIGKILL when a point is reached for the n-th time:
// HEARTH_CRASH_AT is point:n. It is in the binary of test/crash only.
func trap() func(point string) {
	point, count, ok := strings.Cut(os.Getenv("HEARTH_CRASH_AT"), ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if !ok || err != nil {
		return nil
	}
	var left atomic.Int64
	left.Store(n)
	return func(reached string) {
		if reached == point && left.Add(-1) == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}
