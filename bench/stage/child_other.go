//go:build !linux

package stage

import (
	"errors"
	"os/exec"
)

// dieWithParent does nothing: this system has no signal for it.
func dieWithParent(*exec.Cmd) {}

func killGroup(int) {}

func (g *Group) join(*exec.Cmd) (func(), error) {
	return nil, errors.New("this system has no control groups")
}
