//go:build !linux

package bench

import "time"

// processorTime is not known on this system.
func processorTime(int) (used time.Duration, ok bool) { return 0, false }
