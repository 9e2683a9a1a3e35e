package bench

import (
	"os/exec"
	"syscall"
)

// dieWithParent asks for a SIGTERM at the death of the thread that starts cmd.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
