package main

import (
	"os"
	"slices"
	"strings"
	"syscall"
)

// awake is the setting of Go's runtime under which its monitor thread never goes to
// sleep for good. As a server waits for an instance in the middle of each call, that
// thread fell asleep and was woken up several times in each: a quarter of the CPU time
// of a warm call. Kept awake it looks around a hundred times a second at most. The
// number is the longest time between two lines of scheduler statistics, for which the
// setting is meant: 25 days.
const awake = "schedtrace=2147483647"

const goDebug = "GODEBUG"

// keepMonitorAwake starts a server's process anew, as the same process with awake in
// its environment: the runtime reads it only at its start. The second time it takes
// the setting out again, so that nothing inherits it. A process that cannot be started
// anew is as good, and slower.
func keepMonitorAwake(args []string) {
	value, again := monitorSetting(args, os.Getenv(goDebug))
	if value == os.Getenv(goDebug) || os.Setenv(goDebug, value) != nil || !again {
		return
	}
	if path, err := os.Executable(); err == nil {
		_ = syscall.Exec(path, os.Args, os.Environ()) // returns only where it failed
	}
}

// monitorSetting is what GODEBUG is to be, and whether the process is to be started
// anew with it.
func monitorSetting(args []string, value string) (changed string, again bool) {
	settings := strings.Split(value, ",")
	if value == "" {
		settings = nil
	}
	if i := slices.Index(settings, awake); i >= 0 {
		return strings.Join(slices.Delete(settings, i, i+1), ","), false
	}
	server := len(args) > 0 && (args[0] == "serve" || args[0] == "up")
	if !server || strings.Contains(value, "schedtrace=") {
		return value, false
	}
	return strings.Join(append(settings, awake), ","), true
}
