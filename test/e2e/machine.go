package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Process is one process, told from a later one with the same id by its start.
type Process struct {
	PID   int
	State string // R, S, Z …
	Start string // in clock ticks since boot, from /proc/PID/stat
	Name  string
}

func (p Process) String() string {
	return fmt.Sprintf("process %d (%s) in state %s", p.PID, p.Name, p.State)
}

// Processes lists everything below the server, which is what its functions run.
func (s *Server) Processes() []Process { return descendants(s.cmd.Process.Pid) }

// descendants lists the living processes below pid.
func descendants(pid int) []Process {
	children := map[int][]Process{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, parent, ok := stat(id); ok {
			children[parent] = append(children[parent], p)
		}
	}
	var found []Process
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		for _, p := range children[next[0]] {
			found = append(found, p)
			next = append(next, p.PID)
		}
	}
	return found
}

// stat reads /proc/PID/stat: "pid (name) state ppid …", the start being field 22.
func stat(pid int) (p Process, parent int, ok bool) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, 0, false
	}
	open, shut := strings.IndexByte(string(raw), '('), strings.LastIndexByte(string(raw), ')')
	if open < 0 || shut < open {
		return p, 0, false
	}
	fields := strings.Fields(string(raw[shut+1:]))
	if len(fields) < 20 {
		return p, 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return Process{PID: pid, State: fields[0], Start: fields[19], Name: string(raw[open+1 : shut])}, parent, err == nil
}

// leftovers lists what the stopped server should have taken with it: its
// processes, and what carries the id of its data directory (cgroups, links,
// tables of the packet filter) or its path (mounts, loop devices). Network
// namespaces are held by descriptor only: one without a process is gone.
func (s *Server) leftovers(processes []Process) []string {
	left := orphans(processes)
	id := s.dataID()
	if id == "" {
		return append(left, "a data directory without hearth.json")
	}
	return append(left, s.kernelObjects(id)...)
}

func (s *Server) kernelObjects(id string) []string {
	var left []string
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, s.Data) {
			left = append(left, "mount "+strings.TrimSpace(line))
		}
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, path := range loops {
		if file, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(file), s.Data) {
			left = append(left, "loop device "+path)
		}
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(d.Name(), id) {
			left = append(left, "cgroup "+path)
		}
		return nil // groups of others come and go meanwhile
	})
	// Names in the network have few characters: there the id is in short.
	sum := sha256.Sum256([]byte(id))
	short := hex.EncodeToString(sum[:4])
	links, _ := net.Interfaces()
	for _, link := range links {
		if strings.Contains(link.Name, short) {
			left = append(left, "link "+link.Name)
		}
	}
	for _, table := range filterTables() {
		if strings.Contains(table, short) {
			left = append(left, "table "+table+" of the packet filter")
		}
	}
	return left
}

// dyingTimeout bounds how long a killed process may take to be gone. The last step
// is not the server's: the machine's init waits for what was left to it, and the
// first process of a pid namespace stays until its children were waited for.
const dyingTimeout = 30 * time.Second

// orphans names those of the processes that live on.
func orphans(processes []Process) []string {
	deadline := time.After(dyingTimeout)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		var left []string
		for _, p := range Living(processes) {
			left = append(left, p.String())
		}
		if len(left) == 0 {
			return nil
		}
		select {
		case <-deadline:
			return left
		case <-again.C:
		}
	}
}

// Living returns those of the processes that run or could run now: what is dead
// and was only not waited for yet is not among them.
func Living(processes []Process) []Process {
	var living []Process
	for _, p := range processes {
		if now, _, ok := stat(p.PID); ok && now.Start == p.Start && now.State != "Z" {
			living = append(living, now)
		}
	}
	return living
}

// dataID is the id of the data directory, which is part of every name that the
// server gives to a thing outside it.
func (s *Server) dataID() string {
	var identity struct{ ID string }
	raw, err := os.ReadFile(filepath.Join(s.Data, "hearth.json"))
	if err != nil || json.Unmarshal(raw, &identity) != nil {
		return ""
	}
	return identity.ID
}
