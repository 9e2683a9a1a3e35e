package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Tree is what a process and its descendants are at one moment.
type Tree struct {
	PIDs []int         // the root first
	CPU  time.Duration // of those that live
	Root time.Duration // of the root alone
}

// TreeOf reads /proc; on systems without it the tree is empty.
func TreeOf(root int) (t Tree) {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if parent, ok := parentOf(string(raw)); ok {
			children[parent] = append(children[parent], pid)
		}
	}
	for next := []int{root}; len(next) > 0; next = next[1:] {
		if cpu, ok := processorTime(next[0]); ok {
			t.PIDs = append(t.PIDs, next[0])
			t.CPU += cpu
			if next[0] == root {
				t.Root = cpu
			}
		}
		next = append(next, children[next[0]]...)
	}
	return t
}

// Memory is what processes hold, in bytes.
type Memory struct {
	PSS int64 // each page shared out among those that have it
	RSS int64
}

// MemoryOf sums up /proc/PID/smaps_rollup; a process that has ended counts
// nothing, one that may not be read is an error.
func MemoryOf(pids []int) (m Memory, err error) {
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			return m, err
		}
		m.PSS += kilobytes(string(raw), "Pss")
		m.RSS += kilobytes(string(raw), "Rss")
	}
	return m, nil
}

// kilobytes finds "name: n kB" and returns bytes.
func kilobytes(text, name string) int64 {
	value, _, _ := strings.Cut(field(text, name, "0"), " ")
	n, _ := strconv.ParseInt(value, 10, 64)
	return n << 10
}

// parentOf reads /proc/PID/stat: "pid (name) state ppid …". A name may hold
// anything, parentheses too.
func parentOf(stat string) (pid int, ok bool) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, false
	}
	pid, err := strconv.Atoi(fields[1])
	return pid, err == nil
}

// Machine is where a run was made.
type Machine struct {
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	MemoryMB int64  `json:"memoryMB"`
	Kernel   string `json:"kernel"`
	Cgroups  string `json:"cgroups"`
	Governor string `json:"governor"`
}

const unknown = "unknown"

// Facts reads them from /proc and /sys; what is not there is unknown.
func Facts() Machine {
	m := Machine{CPU: unknown, Cores: runtime.NumCPU(), Kernel: firstLine("/proc/sys/kernel/osrelease"),
		Cgroups: "v1", Governor: firstLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")}
	info, _ := os.ReadFile("/proc/cpuinfo")
	m.CPU = field(string(info), "model name", m.CPU)
	memory, _ := os.ReadFile("/proc/meminfo")
	m.MemoryMB = kilobytes(string(memory), "MemTotal") >> 20
	switch {
	case exists("/sys/fs/cgroup/cgroup.controllers"):
		m.Cgroups = "v2"
	case exists("/sys/fs/cgroup/unified/cgroup.controllers"):
		m.Cgroups = "hybrid"
	}
	return m
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// field finds "name : value" in the text of a file of /proc.
func field(text, name, otherwise string) string {
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}

func firstLine(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return unknown
	}
	return firstOf(string(raw))
}

// firstOf is the first line of a text.
func firstOf(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}

// LoadAverage is the machine's load of the last minute, as /proc/loadavg has it.
func LoadAverage() string {
	first, _, _ := strings.Cut(firstLine("/proc/loadavg"), " ")
	return first
}

// BusyShare is the share of all processors that is in use while the benchmark
// rests: what others do to it. 0 on systems without /proc/stat.
func BusyShare(ctx context.Context, d time.Duration) (float64, error) {
	idleBefore, allBefore := processorTicks(firstLine("/proc/stat"))
	if err := Pause(ctx, d); err != nil {
		return 0, err
	}
	idle, all := processorTicks(firstLine("/proc/stat"))
	if all <= allBefore {
		return 0, nil
	}
	return 1 - float64(idle-idleBefore)/float64(all-allBefore), nil
}

// processorTicks reads "cpu user nice system idle iowait irq softirq steal …";
// waiting for a disk is idle, and what the hypervisor took is not.
func processorTicks(line string) (idle, all int64) {
	fields := strings.Fields(line)
	for i, text := range fields {
		if i == 0 || i > 8 {
			continue // the name; guest time is in user time already
		}
		n, _ := strconv.ParseInt(text, 10, 64)
		all += n
		if i == 4 || i == 5 {
			idle += n
		}
	}
	return idle, all
}
