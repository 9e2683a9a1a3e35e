package load

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// longPause is what a pause is cut into, so that it sees the end of its context.
const longPause = 50 * time.Millisecond

// pauser sleeps with the resolution of the kernel's clock: the timers of Go are
// up to a millisecond late in an idle process, ten times what is measured here.
// It has a thread to itself, because the slack is a thread's.
type pauser struct{ slack int }

func newPauser() pauser {
	runtime.LockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		slack = 50_000 // the kernel's default, in nanoseconds
	}
	// Without it a pause is at most the usual slack later, and the samples say so.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return pauser{slack}
}

func (p pauser) close() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(p.slack), 0, 0, 0)
	runtime.UnlockOSThread()
}

func (pauser) pause(ctx context.Context, d time.Duration) {
	for end := time.Now().Add(d); d > 0 && ctx.Err() == nil; d = time.Until(end) {
		request := unix.NsecToTimespec(int64(min(d, longPause)))
		_ = unix.Nanosleep(&request, nil) // a signal's interruption is a shorter pause
	}
}
