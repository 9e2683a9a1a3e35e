package stage

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// join has a command start in the group. On v1 the calling thread enters it and
// the child inherits it, so that thread must end afterwards; on v2 the kernel
// starts the child there. release is to be called when the command was started.
func (g *Group) join(cmd *exec.Cmd) (release func(), err error) {
	if !g.v2 {
		return func() {}, os.WriteFile(filepath.Join(g.dir, "tasks"), []byte("0"), 0o644)
	}
	dir, err := os.Open(g.dir)
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	return func() { _ = dir.Close() }, nil
}

// killGroup ends a child and what it started: each child leads a process group.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
