//go:build linux && amd64

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hearth/internal/rawio"
	"hearth/sandbox"
)

// ctl is one controller's directory of a group.
type ctl struct {
	dir string
	v2  bool
}

// group is the set of control groups of one slot. They are made once and used by
// one sandbox after another: removing a memory group leaves it in the kernel for
// as long as a page that it was charged for stays cached.
type group struct {
	memory, cpu, pids ctl

	// core is the slot's version 2 directory, "" where that is not mounted. The
	// command runs in core/run, which is frozen and killed; the first process in
	// core/init, which is never frozen, so that its death ends a frozen sandbox.
	core string

	freezer string // version 1, only where core is ""
	acct    string // version 1 cpuacct, only where core is ""

	dirs []string // version 1 directories, each once

	// What limitMemory, limitPids and setCPU set last, so that they write only what changes: on
	// the way of a start each write counts. Guarded by mu, held over the writes.
	mu       sync.Mutex
	memoryMB int // 0 = unknown
	milliCPU int // 0 = no quota
	periodUS int // 0 = unknown
	burstUS  int // 0 = unknown; it stays when the quota goes
	pidsMax  int // 0 = unknown

	killed bool // core/run was, guarded by mu

	// Open because the warm path uses them: no lookup, no allocation. All else is
	// opened when it is needed: a server has a limit of descriptors too.
	freezing *os.File // cgroup.freeze or freezer.state of what runs the command
	peak     *os.File // the memory's high-water mark
	cpuQuota *os.File // cpu.max or cpu.cfs_quota_us: written before the first event and at the end
}

// newGroup makes (or, after a crash of this driver's own, reuses) the groups
// name/slot.
func newGroup(l layout, name, slot string) (*group, error) {
	g := &group{}
	at := func(c string) ctl {
		mount, v2, _ := l.controller(c)
		return ctl{filepath.Join(mount, name, slot), v2}
	}
	g.memory, g.cpu, g.pids = at("memory"), at("cpu"), at("pids")
	v1 := []string{"memory", "cpu", "pids"}
	if l.v2 != "" {
		g.core = filepath.Join(l.v2, name, slot)
	} else {
		g.freezer, g.acct = at("freezer").dir, at("cpuacct").dir
		v1 = append(v1, "freezer", "cpuacct")
	}
	for _, c := range v1 {
		if mount, ok := l.v1[c]; ok {
			if dir := filepath.Join(mount, name, slot); !slices.Contains(g.dirs, dir) {
				g.dirs = append(g.dirs, dir)
			}
		}
	}
	if err := g.make(); err != nil {
		return nil, errors.Join(fmt.Errorf("process: make control groups of slot %s: %w", slot, err), g.close())
	}
	return g, nil
}

func (g *group) make() (err error) {
	g.memoryMB, g.milliCPU, g.periodUS, g.burstUS, g.pidsMax, g.killed = 0, 0, 0, 0, 0, false
	dirs := g.dirs
	if g.core != "" {
		dirs = append(slices.Clone(dirs), g.core, g.core+"/run", g.core+"/init")
	}
	for _, dir := range dirs {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if g.peak, err = openControl(g.peakPath(), unix.O_RDONLY); err != nil {
		return err
	}
	if g.cpuQuota, err = openControl(g.quotaPath(), unix.O_WRONLY); err != nil {
		return err
	}
	g.freezing, err = openControl(g.freezePath(), unix.O_WRONLY)
	return err
}

func (g *group) quotaPath() string {
	if g.cpu.v2 {
		return g.cpu.dir + "/cpu.max"
	}
	return g.cpu.dir + "/cpu.cfs_quota_us"
}

// peakPath is the file with the memory's high-water mark. On version 2 it came with
// Linux 5.19; before, it is what is in use now.
func (g *group) peakPath() string {
	if !g.memory.v2 {
		return g.memory.dir + "/memory.max_usage_in_bytes"
	}
	if path := g.memory.dir + "/memory.peak"; unix.Access(path, unix.F_OK) == nil {
		return path
	}
	return g.memory.dir + "/memory.current"
}

func (g *group) freezePath() string {
	if g.core != "" {
		return g.core + "/run/cgroup.freeze"
	}
	return g.freezer + "/freezer.state"
}

// openControl opens a control file outside of Go's poller, in which package os
// would register it: that costs more than one use of it.
func openControl(path string, mode int) (*os.File, error) {
	fd, err := openFD(path, mode)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func openFD(path string, mode int) (int, error) {
	fd, err := unix.Open(path, mode|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// doors are descriptors by which threads and processes get into a group, for the
// length of a setup: its thread does not see the host's files for long.
type doors struct {
	run, init int   // version 2 groups to be born in; -1 where there is no version 2
	tasks     []int // version 1
}

// openDoors opens the ways into the group. What it opened before it failed is in
// its result.
func (g *group) openDoors() (d doors, err error) {
	d.run, d.init = -1, -1
	if g.core != "" {
		if d.run, err = openFD(g.core+"/run", unix.O_PATH|unix.O_DIRECTORY); err != nil {
			return d, err
		}
		if d.init, err = openFD(g.core+"/init", unix.O_PATH|unix.O_DIRECTORY); err != nil {
			return d, err
		}
	}
	for _, dir := range g.dirs {
		fd, err := openFD(dir+"/tasks", unix.O_WRONLY)
		if err != nil {
			return d, err
		}
		d.tasks = append(d.tasks, fd)
	}
	return d, nil
}

// enter moves the calling thread into the version 1 groups. The thread must end
// afterwards. Attaching another process by its pid waits for the whole machine's
// thread groups (10-20 ms); a thread that moves itself does not.
func (d doors) enter() error {
	for _, fd := range d.tasks {
		if _, err := unix.Write(fd, []byte("0")); err != nil {
			return fmt.Errorf("process: enter control group: %w", err)
		}
	}
	return nil
}

func (d doors) close() {
	for _, fd := range append(d.tasks, d.run, d.init) {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// limitPids sets the hard limit of processes and threads.
func (g *group) limitPids(n int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n == g.pidsMax {
		return nil
	}
	g.pidsMax = 0
	if err := put(g.pids.dir, "pids.max", strconv.Itoa(n)); err != nil {
		return fmt.Errorf("process: set limits: %w", err)
	}
	g.pidsMax = n
	return nil
}

// limitMemory sets the hard limit of memory. Below what is in use it makes the
// kernel reclaim; where that is not enough, version 1 refuses and version 2 kills.
func (g *group) limitMemory(mb int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if mb == g.memoryMB {
		return nil
	}
	before := g.memoryMB
	g.memoryMB = 0
	if err := g.writeMemory(before, mb); err != nil {
		return err
	}
	g.memoryMB = mb
	return nil
}

// writeMemory sets the limit where before is the one in force, 0 where that is not
// known.
func (g *group) writeMemory(before, mb int) error {
	bytes := strconv.FormatInt(int64(mb)<<20, 10)
	set := func(name string) error { return put(g.memory.dir, name, bytes) }
	if g.memory.v2 {
		return errors.Join(set("memory.max"),
			optional(put(g.memory.dir, "memory.swap.max", "0")),
			put(g.memory.dir, "memory.oom.group", "1"))
	}
	// The limit with swap may not be below the one without.
	const limit, withSwap = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	var err error
	switch {
	case before == 0:
		err = errors.Join(optional(put(g.memory.dir, withSwap, "-1")), set(limit), optional(set(withSwap)))
	case mb > before:
		err = errors.Join(optional(set(withSwap)), set(limit))
	default:
		err = errors.Join(set(limit), optional(set(withSwap)))
	}
	// Version 1 counts the buffers of TCP sockets only from the first time that they
	// have a limit; without, one sandbox can use up the whole machine's
	// (net.ipv4.tcp_mem). What the last one's sockets still hold may be above this
	// limit: theirs stays in force then.
	return errors.Join(err, optional(busy(set("memory.kmem.tcp.limit_in_bytes"))))
}

// optional drops the error of a file that this kernel does not have.
func optional(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

// quota is the CFS quota and period, in microseconds, for thousandths of a core.
// The period is 20 ms, and longer where the quota would be below the kernel's
// least, 1 ms.
func quota(milli int) (quotaUS, periodUS int) {
	periodUS = 20_000
	if least := (1_000_000 + milli - 1) / milli; least > periodUS {
		periodUS = least
	}
	return max(milli*periodUS/1000, 1000), periodUS
}

// setCPU sets the quota, in thousandths of a core, with a burst of one quota
// where the kernel has it; 0 removes it.
func (g *group) setCPU(milli int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	milli = max(milli, 0)
	if milli == g.milliCPU {
		return nil
	}
	if g.milliCPU != 0 { // a quota below the burst is refused, so the old one goes first
		if err := g.removeQuota(); err != nil {
			return err
		}
		g.milliCPU = 0
	}
	if milli == 0 {
		return nil
	}
	g.milliCPU = -1 // no value that a caller has, should it fail half way
	if err := g.writeQuota(milli); err != nil {
		return err
	}
	g.milliCPU = milli
	return nil
}

func (g *group) removeQuota() error {
	if g.cpu.v2 {
		return write(g.cpuQuota, "max")
	}
	return write(g.cpuQuota, "-1")
}

// prepareCPU sets all but the quota itself for a later setCPU, which then is one
// write. It does nothing where a quota is in force.
func (g *group) prepareCPU(milli int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if milli <= 0 || g.milliCPU != 0 {
		return nil
	}
	return g.writeBounds(quota(milli))
}

// writeBounds sets period and burst where there is no quota. Each write stops all of
// the machine's CPUs for a moment, so what is as it is to be is left alone.
func (g *group) writeBounds(quotaUS, periodUS int) error {
	if quotaUS != g.burstUS {
		burst := "cpu.cfs_burst_us"
		if g.cpu.v2 {
			burst = "cpu.max.burst"
		}
		if err := optional(put(g.cpu.dir, burst, strconv.Itoa(quotaUS))); err != nil {
			return err
		}
		g.burstUS = quotaUS
	}
	if g.cpu.v2 || periodUS == g.periodUS { // version 2 takes the period with the quota
		return nil
	}
	if err := put(g.cpu.dir, "cpu.cfs_period_us", strconv.Itoa(periodUS)); err != nil {
		return err
	}
	g.periodUS = periodUS
	return nil
}

// writeQuota sets a quota where there is none.
func (g *group) writeQuota(milli int) error {
	q, p := quota(milli)
	if err := g.writeBounds(q, p); err != nil {
		return err
	}
	if g.cpu.v2 {
		return write(g.cpuQuota, fmt.Sprintf("%d %d", q, p))
	}
	return write(g.cpuQuota, strconv.Itoa(q))
}

// freeze stops what runs in the group. On version 2 it does not wait for it.
func (g *group) freeze() error {
	if g.core != "" {
		return write(g.freezing, "1")
	}
	if err := write(g.freezing, "FROZEN"); err != nil {
		return err
	}
	return poll(time.Second, func() (bool, error) {
		b, err := os.ReadFile(g.freezer + "/freezer.state")
		return strings.TrimSpace(string(b)) == "FROZEN", err
	})
}

func (g *group) thaw() error {
	if g.core != "" {
		return write(g.freezing, "0")
	}
	return write(g.freezing, "THAWED")
}

// write writes an open control file, whose values are all written at its start.
func write(f *os.File, value string) error {
	_, err := f.WriteAt([]byte(value), 0)
	return err
}

// mortal makes that a SIGKILL ends what is frozen. On version 2 it does anyway.
func (g *group) mortal() error {
	if g.core != "" {
		return nil
	}
	return g.thaw()
}

// kill ends every process of the command, frozen or not, where there is version 2.
func (g *group) kill() error {
	if g.core == "" {
		return nil
	}
	g.mu.Lock()
	g.killed = true
	g.mu.Unlock()
	return optional(put(g.core+"/run", "cgroup.kill", "1"))
}

// oomKills counts the processes of the group that were killed for want of memory,
// since the group was made.
func (g *group) oomKills() (int64, error) {
	if g.memory.v2 {
		return field(g.memory.dir, "memory.events", "oom_kill")
	}
	return field(g.memory.dir, "memory.oom_control", "oom_kill")
}

// cpuTime is what the group used since it was made.
func (g *group) cpuTime() (time.Duration, error) {
	if g.core != "" {
		us, err := field(g.core, "cpu.stat", "usage_usec")
		return time.Duration(us) * time.Microsecond, err
	}
	ns, err := number(g.acct, "cpuacct.usage")
	return time.Duration(ns), err
}

// usage reads what the group uses; cpu is the group's own count, never reset. The
// memory figures hold the page cache of what the sandbox read first.
func (g *group) usage() (sandbox.Usage, error) {
	var u sandbox.Usage
	var err [4]error
	u.Memory, err[0] = g.memoryNow()
	u.MemoryPeak, err[1] = g.memoryPeak()
	u.CPU, err[2] = g.cpuTime()
	pids, e := number(g.pids.dir, "pids.current")
	u.Pids, err[3] = int(pids), e
	return u, errors.Join(err[:]...)
}

// lastUsage is usage where no process is left: nothing is in use any more.
func (g *group) lastUsage() (sandbox.Usage, error) {
	peak, peakErr := g.memoryPeak()
	cpu, cpuErr := g.cpuTime()
	return sandbox.Usage{MemoryPeak: peak, CPU: cpu}, errors.Join(peakErr, cpuErr)
}

func (g *group) memoryNow() (int64, error) {
	if g.memory.v2 {
		return number(g.memory.dir, "memory.current")
	}
	return number(g.memory.dir, "memory.usage_in_bytes")
}

func (g *group) memoryPeak() (int64, error) {
	var digits [24]byte
	n, err := rawio.Pread(g.peak.Fd(), digits[:], 0) // ReadAt reads once more, for the end
	if err != nil {
		return 0, &os.PathError{Op: "read", Path: g.peak.Name(), Err: err}
	}
	return strconv.ParseInt(strings.TrimSpace(string(digits[:n])), 10, 64)
}

// populated reports whether a process is left in the group.
func (g *group) populated() (bool, error) {
	var some [24]byte
	for _, dir := range g.dirs {
		tasks, err := read(dir, "tasks", some[:])
		if err != nil || tasks != "" {
			return tasks != "", err
		}
	}
	if g.core == "" {
		return false, nil
	}
	n, err := field(g.core, "cgroup.events", "populated")
	return n > 0, err
}

// emptyLimit is how long dead processes may take to leave their groups: a moment, but
// of the CPU's time, and a slot whose group does not become empty is lost for good.
const emptyLimit = 20 * time.Second

// recycle makes the group fit for its next sandbox: empty, thawed, without quota,
// with the memory of the last one given back and its peak forgotten.
func (g *group) recycle() error {
	err := poll(emptyLimit, func() (bool, error) {
		populated, err := g.populated()
		return !populated, err
	})
	if err != nil {
		return fmt.Errorf("process: control group does not become empty: %w", err)
	}
	if err := errors.Join(g.thaw(), g.setCPU(0)); err != nil {
		return err
	}
	if err := g.renewRun(); err != nil {
		return err
	}
	if !g.memory.v2 {
		return g.forgetMemory()
	}
	// A peak can be reset from Linux 6.12 on, and only for the descriptor that
	// wrote; older kernels show the highest of all sandboxes of a slot. So a
	// version 2 memory group is made anew, emptied first.
	if now, err := number(g.memory.dir, "memory.current"); err == nil && now > 0 {
		_ = put(g.memory.dir, "memory.reclaim", strconv.FormatInt(now, 10)) // best effort, EAGAIN where some stays
	}
	if err := g.close(); err != nil {
		return err
	}
	return g.make()
}

// renewRun makes core/run anew where it was killed. Such a group kills whatever is
// later born into it (seen on Linux 6.18: clone compares the kill count of the
// group with that of the parent's).
func (g *group) renewRun() (err error) {
	g.mu.Lock()
	killed := g.killed
	g.killed = false
	g.mu.Unlock()
	if !killed {
		return nil
	}
	g.freezing.Close()
	dir := g.core + "/run"
	if err := removeGroups([]string{dir}); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	g.freezing, err = openControl(g.freezePath(), unix.O_WRONLY)
	return err
}

// residue is how much cached memory of the last sandbox may stay charged to a
// version 1 group. The kernel gives it up as soon as the next one needs it;
// giving it up here takes 30 ms and more.
const residue = 16 << 20

func (g *group) forgetMemory() error {
	now, err := number(g.memory.dir, "memory.usage_in_bytes")
	if err == nil && now > residue {
		err = optional(busy(put(g.memory.dir, "memory.force_empty", "0")))
	}
	return errors.Join(err, put(g.memory.dir, "memory.max_usage_in_bytes", "0"))
}

// busy drops the error of memory that cannot be given back now.
func busy(err error) error {
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EINTR) {
		return nil
	}
	return err
}

// close removes the groups. They must be empty.
func (g *group) close() error {
	for _, f := range []*os.File{g.freezing, g.peak, g.cpuQuota} {
		if f != nil {
			f.Close() // again, where making the group anew failed in between
		}
	}
	dirs := g.dirs
	if g.core != "" {
		dirs = append(slices.Clone(dirs), g.core+"/run", g.core+"/init", g.core)
	}
	return removeGroups(dirs)
}

// removeGroups removes empty groups. A dead process leaves its group a moment
// after it was reaped, so a busy one is tried again.
func removeGroups(dirs []string) error {
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, poll(emptyLimit, func() (bool, error) {
			err := os.Remove(dir)
			switch {
			case err == nil || errors.Is(err, os.ErrNotExist):
				return true, nil
			case errors.Is(err, unix.EBUSY):
				return false, nil
			}
			return false, err
		}))
	}
	return errors.Join(errs...)
}

// poll asks until done, for what the kernel has no event for. It asks at once,
// then after 0.1 ms, and then ever less often, up to 10 ms.
func poll(limit time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for wait := 100 * time.Microsecond; ; wait = min(2*wait, 10*time.Millisecond) {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}
