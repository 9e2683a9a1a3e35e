package code

import (
	"os"
	"strings"
)

// bootID names the current boot of the machine, or is "" where it is unknown.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
