//go:build !linux

package stage

import "time"

// processorTime is not known on this system.
func processorTime(int) (used time.Duration, ok bool) { return 0, false }
