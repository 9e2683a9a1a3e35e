//go:build crashtest

package main

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
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

// clockReadings is after how many readings the clock of a test jumps.
const clockReadings = 300

// wallClock is a clock that jumps: HEARTH_CLOCK is a list of durations, such as
// 1h,-2h, by which it is wrong, each for some readings and the last for good.
func wallClock() func() time.Time {
	var wrong []time.Duration
	for _, text := range strings.FieldsFunc(os.Getenv("HEARTH_CLOCK"), func(r rune) bool { return r == ',' }) {
		d, err := time.ParseDuration(text)
		if err != nil {
			panic(err)
		}
		wrong = append(wrong, d)
	}
	if wrong == nil {
		return nil
	}
	var readings atomic.Int64
	return func() time.Time {
		n := int(readings.Add(1)-1) / clockReadings
		return time.Now().Add(wrong[min(n, len(wrong)-1)])
	}
}
