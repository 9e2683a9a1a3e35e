//go:build linux && amd64

package process

import (
	"errors"
	"os"
	"strconv"
	"strings"
)

// memAvailable is the memory that could be used without swapping, in KiB.
func memAvailable() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			return strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		}
	}
	return 0, errors.New("process: /proc/meminfo has no MemAvailable")
}
