//go:build linux

package runtimes

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"hearth/internal/seeds"
)

// Hundreds of cells that are made, claimed and killed leave nothing: no descriptor,
// no goroutine, no process and no control group.
func TestCellsLeaveNothing(t *testing.T) {
	if drivers(t)["process"] == nil {
		t.Skip("needs the process driver")
	}
	rounds := 40
	if seeds.Long() {
		rounds = 1000
	}
	before := leftovers(t)
	t.Run("use", func(t *testing.T) {
		b := benches(t)["cell"](t)
		for n := range rounds {
			v := b.version("provided.al2023", "x", sh("#!/bin/sh\nexec sleep 100\n"))
			if n%8 == 0 {
				v = b.version("python3.11", "index.handler", py("def handler(e, c): return 1"))
			}
			i := b.start(v)
			if n%8 == 0 {
				i.ready()
			}
			i.kill()
		}
	})
	// Goroutines and threads end a moment after what they did.
	for timeout := time.After(patience); ; {
		after := leftovers(t)
		grown := ""
		for what, n := range after {
			if n > before[what] {
				grown += " " + what
			}
		}
		if grown == "" {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-timeout:
			t.Fatalf("more than before of%s: %v, were %v", grown, after, before)
		}
	}
}

// leftovers counts what this process has, and the control groups of its drivers.
func leftovers(t *testing.T) map[string]int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	children := 0
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		if pids, err := os.ReadFile(task); err == nil { // else the thread has ended
			children += len(strings.Fields(string(pids)))
		}
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/hearth-" + dataIDPrefix() + "*")
	return map[string]int{"descriptors": len(fds), "goroutines": runtime.NumGoroutine(), "processes": children, "groups": len(groups)}
}
