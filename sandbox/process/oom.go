//go:build linux && amd64

package process

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// oomEvents is a descriptor, in Go's poller, that becomes readable when a process
// of a group was killed for want of memory. One is made for each sandbox, not for
// each slot, so that a late event of the last sandbox cannot end the next.
type oomEvents struct {
	f *os.File
	// before is the group's count of kills when the sandbox began.
	before int64
}

func watchOOM(g *group) (*oomEvents, error) {
	before, err := g.oomKills()
	if err != nil {
		return nil, fmt.Errorf("process: watch for OOM: %w", err)
	}
	var fd int
	if g.memory.v2 {
		fd, err = watchV2(g.memory.dir)
	} else {
		fd, err = watchV1(g.memory.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("process: watch for OOM: %w", err)
	}
	return &oomEvents{f: os.NewFile(uintptr(fd), "oom events"), before: before}, nil
}

func watchV2(dir string) (int, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return -1, err
	}
	if _, err := unix.InotifyAddWatch(fd, filepath.Join(dir, "memory.events"), unix.IN_MODIFY); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func watchV1(dir string) (int, error) {
	control, err := unix.Open(filepath.Join(dir, "memory.oom_control"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(control)
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, err
	}
	if err := put(dir, "cgroup.event_control", fmt.Sprintf("%d %d", fd, control)); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// wait returns true at the first kill, and false when the events are closed.
func (e *oomEvents) wait(g *group) bool {
	buf := make([]byte, 4096)
	for {
		n, err := e.f.Read(buf)
		if err != nil {
			return false
		}
		// Version 1 tells of the event before it counts the kill, and of nothing
		// else; version 2 counts first, and tells of other memory events as well.
		if !g.memory.v2 && n == 8 && binary.NativeEndian.Uint64(buf) > 0 || e.happened(g) {
			return true
		}
	}
}

// happened reports whether a process was killed since the sandbox began.
func (e *oomEvents) happened(g *group) bool {
	now, err := g.oomKills()
	return err == nil && now > e.before
}

func (e *oomEvents) close() { e.f.Close() }
