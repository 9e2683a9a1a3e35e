//go:build !linux

package load

import (
	"context"
	"time"
)

// pauser sleeps with the resolution of Go's timers.
type pauser struct{}

func newPauser() pauser { return pauser{} }

func (pauser) close() {}

func (pauser) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
