package stage

import (
	"os/exec"
	"syscall"
)

// dieWithParent asks for a SIGTERM at the death of the thread that starts cmd. A
// terminal's interrupt is the benchmark's alone, which stops its servers in order.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
