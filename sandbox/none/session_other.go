//go:build !linux

package none

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"

	"hearth/sandbox"
)

// reap waits for the leader and then kills its process group, the part of the
// session that can be named on every system. The group's id stays taken while it
// has a member; that it was empty and given to somebody else within these two
// lines is the risk that remains here, and not on linux.
func reap(cmd *exec.Cmd) (leftover error) {
	_ = cmd.Wait() // the status is read from ProcessState
	err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err != nil && !errors.Is(err, syscall.ESRCH) && !errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("kill process group %d: %w", cmd.Process.Pid, err)
	}
	return nil
}

// processUsage knows nothing of a running process on this system.
func processUsage(int) (sandbox.Usage, error) { return sandbox.Usage{Pids: 1}, nil }

// maxRSSUnit is the unit of rusage's highest resident set, in bytes.
const maxRSSUnit = 1
