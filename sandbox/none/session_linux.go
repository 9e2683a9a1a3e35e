package none

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// userHZ is the unit of times in /proc: 100 per second on every Linux that Go
// runs on.
const userHZ = 100

// reap waits for the leader's end, kills what is left of its session, and only
// then reaps it. While the leader is a zombie its pid, which is also the
// session's id, cannot be given to anybody else: so nothing foreign is killed.
func reap(cmd *exec.Cmd) (leftover error) {
	pid := cmd.Process.Pid
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	leftover = killSession(pid, killWait)
	_ = cmd.Wait() // the status is read from ProcessState
	return leftover
}

// killSession kills every process of the session but its leader, a zombie, until
// none is left. The kernel tells nobody when a session is empty, so it looks.
func killSession(session int, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		// The group first: one call that no fork can outrun.
		if err := syscall.Kill(-session, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) && !errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("kill process group %d: %w", session, err)
		}
		pids, err := members(session)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // gone is as good
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v are still there %v after SIGKILL", pids, limit)
		}
		time.Sleep(pause)
	}
}

// members lists the living processes of a session.
func members(session int) ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		fields, err := statFields(pid)
		if err != nil {
			continue // ended meanwhile
		}
		if state := fields[0]; state == "Z" || state == "X" {
			continue
		}
		if fields[3] == strconv.Itoa(session) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// statFields returns the fields of /proc/PID/stat from the third (the state) on:
// proc(5). The second, the command's name, may hold anything but ends at the last
// parenthesis.
func statFields(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		if errors.Is(err, syscall.ESRCH) {
			err = os.ErrNotExist
		}
		return nil, err
	}
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return nil, fmt.Errorf("/proc/%d/stat: no name in %q", pid, b)
	}
	words := bytes.Fields(b[i+1:])
	if len(words) < 22 {
		return nil, fmt.Errorf("/proc/%d/stat: only %d fields", pid, len(words))
	}
	fields := make([]string, len(words))
	for j, w := range words {
		fields[j] = string(w)
	}
	return fields, nil
}

// processUsage reads the figures of one process from /proc.
func processUsage(pid int) (sandbox.Usage, error) {
	fields, err := statFields(pid)
	if err != nil {
		return sandbox.Usage{}, err
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	usage := sandbox.Usage{CPU: time.Duration(user+system) * (time.Second / userHZ), Pids: 1}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return sandbox.Usage{}, os.ErrNotExist
	}
	usage.MemoryPeak = statusBytes(status, "VmHWM:")
	usage.Memory = statusBytes(status, "VmRSS:")
	return usage, nil
}

// statusBytes returns a size of /proc/PID/status in bytes; a zombie has none.
func statusBytes(status []byte, key string) int64 {
	_, rest, found := bytes.Cut(status, []byte("\n"+key))
	if !found {
		return 0
	}
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kb, _ := strconv.ParseInt(string(fields[0]), 10, 64)
	return kb << 10
}

// maxRSSUnit is the unit of rusage's highest resident set, in bytes.
const maxRSSUnit = 1 << 10
