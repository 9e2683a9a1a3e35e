package stage

import (
	"time"

	"golang.org/x/sys/unix"
)

// schedulerClock is CPUCLOCK_SCHED of the kernel's posix-timers.h: the time that
// all threads of a process ran, in nanoseconds. /proc/PID/stat has hundredths of a
// second, which over twenty short-lived instances is more than what is measured.
const schedulerClock = 2

// processorTime is what a process has used of the processors; ok is false where
// there is none of that id.
func processorTime(pid int) (used time.Duration, ok bool) {
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedulerClock), &t); err != nil {
		return 0, false
	}
	return time.Duration(t.Nano()), true
}
