//go:build linux && amd64

package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// recoverLimit is how long processes of an earlier run may take to die. It is long:
// a machine that starts again is busy, and a server that gives up does not start.
const recoverLimit = time.Minute

// recoverGroups removes the control groups that an earlier process of this name
// left, with whatever still runs in them. After kill -9 they are empty, or become
// so by themselves: the lifelines are closed. Nothing else can be left: mounts and
// namespaces have no names and ended with their processes.
func recoverGroups(l layout, name string) error {
	if l.v2 != "" {
		if err := recoverV2(filepath.Join(l.v2, name)); err != nil {
			return err
		}
	}
	var left []string
	for _, parent := range l.parents(name) {
		if parent == filepath.Join(l.v2, name) {
			continue
		}
		dirs, err := groupsBelow(parent)
		if err != nil {
			return err
		}
		left = append(left, dirs...)
	}
	// All are thawed before any is killed: a frozen process does not die here.
	for _, dir := range left {
		if err := optional(put(dir, "freezer.state", "THAWED")); err != nil {
			return err
		}
	}
	for _, dir := range left {
		if err := poll(recoverLimit, func() (bool, error) { return killTasks(dir) }); err != nil {
			return fmt.Errorf("empty %s: %w", dir, err)
		}
	}
	return removeGroups(left)
}

func recoverV2(parent string) error {
	dirs, err := groupsBelow(parent)
	if err != nil || len(dirs) == 0 {
		return err
	}
	if err := put(parent, "cgroup.kill", "1"); err != nil {
		return err
	}
	err = poll(recoverLimit, func() (bool, error) {
		n, err := field(parent, "cgroup.events", "populated")
		return n == 0, err
	})
	if err != nil {
		return fmt.Errorf("empty %s: %w", parent, err)
	}
	return removeGroups(dirs)
}

// groupsBelow lists a group and the groups below it, children first.
func groupsBelow(parent string) ([]string, error) {
	var dirs []string
	err := filepath.WalkDir(parent, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if entry.IsDir() {
			dirs = append([]string{path}, dirs...)
		}
		return nil
	})
	return dirs, err
}

// killTasks kills what runs in a version 1 group and reports whether it is empty.
func killTasks(dir string) (bool, error) {
	b, err := os.ReadFile(dir + "/cgroup.procs")
	if err != nil {
		return false, err
	}
	pids := strings.Fields(string(b))
	for _, p := range pids {
		pid, err := strconv.Atoi(p)
		if err != nil || pid <= 0 {
			return false, fmt.Errorf("process: %s lists pid %q", dir, p)
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
			return false, err
		}
	}
	return len(pids) == 0, nil
}
