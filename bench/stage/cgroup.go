package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Quota is how much CPU a control group may use, in microseconds.
type Quota struct {
	Quota, Period, Burst int64
}

func (q Quota) String() string {
	return fmt.Sprintf("%.1f ms of CPU in each %.0f ms, burst %.1f ms", float64(q.Quota)/1e3, float64(q.Period)/1e3, float64(q.Burst)/1e3)
}

// Group is a control group of the benchmark's own with a CPU quota.
type Group struct {
	Quota Quota
	dir   string
	v2    bool
}

const cgroupRoot = "/sys/fs/cgroup"

var groups atomic.Int64 // numbers the names

// groupLike makes a group with the CPU quota of another process, beside that
// process's own: the same limits at the same depth of the same hierarchy.
func groupLike(pid int) (*Group, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, err
	}
	dir, v2, err := limited(string(raw))
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	g := &Group{dir: filepath.Join(filepath.Dir(dir), fmt.Sprintf("bench-%d-%d", os.Getpid(), groups.Add(1))), v2: v2}
	if g.Quota, err = readQuota(dir, v2); err != nil {
		return nil, err
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, err
	}
	if err := g.set(); err != nil {
		return nil, errors.Join(err, g.remove())
	}
	return g, nil
}

// remove removes the group. Its processes have been killed, and leave it at once.
func (g *Group) remove() error {
	return Until(context.Background(), "the control group "+g.dir+" empty", func() (bool, error) {
		err := os.Remove(g.dir)
		if errors.Is(err, syscall.EBUSY) {
			return false, nil
		}
		return true, err
	})
}

func (g *Group) set() error {
	put := func(name string, value string) error {
		return os.WriteFile(filepath.Join(g.dir, name), []byte(value), 0o644)
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	if g.v2 {
		err := put("cpu.max", number(g.Quota.Quota)+" "+number(g.Quota.Period))
		if g.Quota.Burst > 0 {
			err = errors.Join(err, put("cpu.max.burst", number(g.Quota.Burst)))
		}
		return err
	}
	err := errors.Join(put("cpu.cfs_period_us", number(g.Quota.Period)), put("cpu.cfs_quota_us", number(g.Quota.Quota)))
	if g.Quota.Burst > 0 {
		err = errors.Join(err, put("cpu.cfs_burst_us", number(g.Quota.Burst)))
	}
	return err
}

// limited finds the directory of the group, or of the nearest above it, that has a
// CPU quota, in the text of /proc/PID/cgroup.
func limited(text string) (dir string, v2 bool, err error) {
	controllers, path := "", ""
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		for name := range strings.SplitSeq(fields[1], ",") {
			if name == "cpu" {
				controllers, path = fields[1], fields[2]
			}
		}
		if fields[1] == "" && controllers == "" && exists(filepath.Join(cgroupRoot, "cgroup.controllers")) {
			path, v2 = fields[2], true
		}
	}
	if path == "" {
		return "", false, errors.New("no control group of its CPU")
	}
	top := filepath.Join(cgroupRoot, controllers)
	for dir = filepath.Join(top, path); len(dir) > len(top); dir = filepath.Dir(dir) {
		if q, err := readQuota(dir, v2); err == nil && q.Quota > 0 {
			return dir, v2, nil
		}
	}
	return "", false, errors.New("no CPU quota in its control groups")
}

// readQuota reads the limits of a group; Quota is 0 where it has none.
func readQuota(dir string, v2 bool) (q Quota, err error) {
	if v2 {
		limit, period, _ := strings.Cut(firstLine(filepath.Join(dir, "cpu.max")), " ")
		q.Quota, _ = strconv.ParseInt(limit, 10, 64) // "max" is 0
		q.Period, err = strconv.ParseInt(period, 10, 64)
		q.Burst, _ = strconv.ParseInt(firstLine(filepath.Join(dir, "cpu.max.burst")), 10, 64)
		return q, err
	}
	q.Quota, err = strconv.ParseInt(firstLine(filepath.Join(dir, "cpu.cfs_quota_us")), 10, 64)
	q.Quota = max(q.Quota, 0) // -1 is none
	q.Period, _ = strconv.ParseInt(firstLine(filepath.Join(dir, "cpu.cfs_period_us")), 10, 64)
	q.Burst, _ = strconv.ParseInt(firstLine(filepath.Join(dir, "cpu.cfs_burst_us")), 10, 64)
	return q, err
}

// GroupLike makes a group with the CPU quota of a server's instances, of which one
// has to run, and removes it with the stage.
func (s *Stage) GroupLike(h *Hearth) (*Group, error) {
	err := errors.New("the server has no instance")
	for _, pid := range TreeOf(h.Child.PID()).PIDs[1:] {
		var g *Group
		if g, err = groupLike(pid); err == nil {
			s.onClose(g.remove)
			return g, nil
		}
	}
	return nil, err
}
