//go:build linux && amd64

package process

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// layout is where the host has its control group hierarchies. A controller is
// bound to one version at a time; a hybrid host has version 1 controllers and a
// version 2 hierarchy without them, which still freezes, kills and is born into.
type layout struct {
	v2   string            // mount point of version 2, or ""
	ctl2 []string          // controllers that version 2 has
	v1   map[string]string // controller → mount point of its version 1 hierarchy
}

// detectLayout reads the mounts of this process.
func detectLayout() (layout, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return layout{}, err
	}
	defer f.Close()
	l := layout{v1: map[string]string{}}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		l.addMount(sc.Text())
	}
	if l.v2 == "" {
		return l, nil
	}
	b, err := os.ReadFile(filepath.Join(l.v2, "cgroup.controllers"))
	if err != nil {
		return layout{}, fmt.Errorf("process: read the version 2 control groups: %w", err)
	}
	l.ctl2 = strings.Fields(string(b))
	return l, nil
}

// addMount takes one line of mountinfo into account (proc(5)): the fields after
// the separator are file system, source, options. The first mount of a
// hierarchy wins.
func (l *layout) addMount(line string) {
	left, right, ok := strings.Cut(line, " - ")
	before, after := strings.Fields(left), strings.Fields(right)
	if !ok || len(before) < 5 || len(after) < 3 {
		return
	}
	point := before[4]
	switch after[0] {
	case "cgroup2":
		if l.v2 == "" {
			l.v2 = point
		}
	case "cgroup":
		for _, option := range strings.Split(after[2], ",") {
			if _, ok := l.v1[option]; !ok {
				l.v1[option] = point
			}
		}
	}
}

// controller says where a controller is; ok is false where the host has none.
func (l layout) controller(name string) (mount string, v2, ok bool) {
	if mount, ok := l.v1[name]; ok {
		return mount, false, true
	}
	return l.v2, true, l.v2 != "" && slices.Contains(l.ctl2, name)
}

// limited are the controllers without which a sandbox has no limits.
var limited = []string{"memory", "cpu", "pids"}

// check names what the host lacks.
func (l layout) check() error {
	for _, c := range limited {
		if _, _, ok := l.controller(c); !ok {
			return fmt.Errorf("process: no control group controller %q: mount cgroup2, or boot without cgroup_disable=%s", c, c)
		}
	}
	if _, ok := l.v1["freezer"]; !ok && l.v2 == "" {
		return errors.New("process: no control group freezer: mount cgroup2")
	}
	return nil
}

func (l layout) String() string {
	switch {
	case l.v2 == "":
		return "version 1"
	case len(l.v1) == 0:
		return "version 2"
	}
	for _, c := range limited {
		if _, ok := l.v1[c]; ok {
			return "hybrid: version 1 limits, version 2 freezes and kills"
		}
	}
	return "version 2"
}

// parents are the directories, one for each hierarchy in use, under which a
// driver with this name keeps its groups.
func (l layout) parents(name string) []string {
	var out []string
	add := func(mount string) {
		if dir := filepath.Join(mount, name); mount != "" && !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	add(l.v2)
	for _, c := range []string{"memory", "cpu", "cpuacct", "pids", "freezer"} {
		add(l.v1[c])
	}
	return out
}

// prepare makes the parents and hands the version 2 controllers down to them.
func (l layout) prepare(name string) error {
	for _, dir := range l.parents(name) {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("process: make control group: %w", err)
		}
	}
	for _, c := range limited {
		if _, v2, _ := l.controller(c); !v2 {
			continue
		}
		for _, dir := range []string{l.v2, filepath.Join(l.v2, name)} {
			if err := put(dir, "cgroup.subtree_control", "+"+c); err != nil {
				return fmt.Errorf("process: enable controller %s: %w", c, err)
			}
		}
	}
	return nil
}

// limitAll keeps a quarter of the machine's process ids and threads from the
// sandboxes of a driver together: each may have a thousand, and where there are
// none left, Hearth ends at the next thread that it needs.
func (l layout) limitAll(name string) error {
	most := int64(1 << 22) // PID_MAX_LIMIT of linux/threads.h
	for _, limit := range []string{"pid_max", "threads-max"} {
		n, err := number("/proc/sys/kernel", limit)
		if err != nil {
			return fmt.Errorf("process: read the machine's limit of processes: %w", err)
		}
		most = min(most, n)
	}
	mount, _, _ := l.controller("pids")
	if err := put(filepath.Join(mount, name), "pids.max", strconv.FormatInt(most*3/4, 10)); err != nil {
		return fmt.Errorf("process: limit the processes of all sandboxes: %w", err)
	}
	return nil
}

// weighAll gives the sandboxes together the weight of two processes on each core.
// By itself a group weighs what one process does, however many are in it: any two
// others that are busy kept all functions waiting for tens of milliseconds. With much
// more, functions that compute would keep Hearth itself from answering.
func (l layout) weighAll(name string, cores int) error {
	mount, v2, _ := l.controller("cpu")
	file, value := "cpu.shares", min(2*1024*cores, 1<<18) // MAX_SHARES of kernel/sched/sched.h
	if v2 {
		file, value = "cpu.weight", min(2*100*cores, 10_000)
	}
	if err := put(filepath.Join(mount, name), file, strconv.Itoa(value)); err != nil {
		return fmt.Errorf("process: set the weight of all sandboxes: %w", err)
	}
	return nil
}

// put writes a control file.
func put(dir, name, value string) error {
	path := dir + "/" + name
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	for {
		if _, err = unix.Write(fd, []byte(value)); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return &os.PathError{Op: "write " + value, Path: path, Err: err}
	}
	return nil
}

// read reads the start of a control file into b, at once. Package os would register
// the file with the poller first, which costs more than the reading.
func read(dir, name string, b []byte) (string, error) {
	path := dir + "/" + name
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Read(fd, b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return "", &os.PathError{Op: "read", Path: path, Err: err}
		default:
			return string(b[:n]), nil
		}
	}
}

// number reads a control file that holds one number.
func number(dir, name string) (int64, error) {
	var digits [24]byte
	text, err := read(dir, name, digits[:])
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(text), 10, 64)
}

// fieldsMax is more than a control file of "name value" lines holds of those that
// are looked for.
const fieldsMax = 4096

// field reads one value of a control file of "name value" lines; 0 where it has
// no such line.
func field(dir, name, key string) (int64, error) {
	var b [fieldsMax]byte
	text, err := read(dir, name, b[:])
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == key {
			return strconv.ParseInt(v, 10, 64)
		}
	}
	return 0, nil
}
