package bench

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tree is what a process and its descendants are at one moment.
type tree struct {
	processes int
	cpu       time.Duration // of those that live
}

// treeOf reads /proc; on systems without it the tree is empty.
func treeOf(root int) (t tree) {
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
			t.processes++
			t.cpu += cpu
		}
		next = append(next, children[next[0]]...)
	}
	return t
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

// machine reads the facts from /proc and /sys; what is not there is unknown.
func machine(cores int) Machine {
	m := Machine{CPU: unknown, Cores: cores, Kernel: firstLine("/proc/sys/kernel/osrelease"),
		Cgroups: "v1", Governor: firstLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")}
	info, _ := os.ReadFile("/proc/cpuinfo")
	m.CPU = field(string(info), "model name", m.CPU)
	memory, _ := os.ReadFile("/proc/meminfo")
	kB, _, _ := strings.Cut(field(string(memory), "MemTotal", "0"), " ")
	n, _ := strconv.ParseInt(kB, 10, 64)
	m.MemoryMB = n / 1024
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
	line, _, _ := strings.Cut(string(raw), "\n")
	return strings.TrimSpace(line)
}

// loadAverage is the machine's load of the last minute, as /proc/loadavg has it.
func loadAverage() string {
	first, _, _ := strings.Cut(firstLine("/proc/loadavg"), " ")
	return first
}

// busyShare is the share of all processors that is in use while the benchmark
// rests: what others do to it. 0 on systems without /proc/stat.
func busyShare(ctx context.Context, d time.Duration) (float64, error) {
	idleBefore, allBefore := processorTicks(firstLine("/proc/stat"))
	if err := pause(ctx, d); err != nil {
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
