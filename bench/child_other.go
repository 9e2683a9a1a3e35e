//go:build !linux

package bench

import "os/exec"

// dieWithParent does nothing: this system has no signal for it.
func dieWithParent(*exec.Cmd) {}
