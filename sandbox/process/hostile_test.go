//go:build linux && amd64

package process

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// progPath is where tests see this test's own binary inside a sandbox.
const progPath = "/var/task/prog"

// withProg adds this test's own binary, which plays the hostile function.
func withProg(t testing.TB, spec sandbox.Spec) sandbox.Spec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec.Mounts = append(spec.Mounts, sandbox.Mount{Source: self, Target: progPath})
	return spec
}

// play runs a hostile program and returns its lines.
func play(t *testing.T, d *Driver, spec sandbox.Spec, name string, args ...string) ([]string, sandbox.Exit) {
	t.Helper()
	out, exit := run(t, d, withProg(t, spec), append([]string{progPath, "hostile", name}, args...)...)
	return strings.Split(strings.TrimSpace(out), "\n"), exit
}

// hostiles are the programs that a sandboxed copy of this binary plays. Each
// prints what it got away with.
var hostiles = map[string]func(args []string){
	"calls": func([]string) {
		for _, c := range forbidden {
			_, _, e := unix.RawSyscall6(c.nr, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], 0)
			fmt.Printf("%s %d\n", c.name, int(e))
		}
	},
	"files": func([]string) {
		var open []*os.File
		for {
			f, err := os.Open("/dev/null")
			if err != nil {
				fmt.Println(len(open)+3, err)
				return
			}
			open = append(open, f)
		}
	},
	"fill": func([]string) {
		f, err := os.Create("/tmp/full")
		if err != nil {
			fmt.Println(err)
			return
		}
		n, chunk := 0, make([]byte, 1<<20)
		for err == nil {
			var m int
			m, err = f.Write(chunk)
			n += m
		}
		fmt.Println(n>>20, err)
	},
	"child-eats": func([]string) {
		// A child runs out of memory; the parent would live on.
		self, _ := os.StartProcess(progPath, []string{progPath, "hostile", "eat"}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
		self.Wait()
		fmt.Println("survived")
		unix.Pause()
	},
	"eat": func([]string) {
		var hoard [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			hoard = append(hoard, b)
		}
	},
	"write": func(paths []string) {
		for _, p := range paths {
			f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE, 0o644)
			if err == nil {
				_, err = f.WriteString("b\n")
			}
			fmt.Println(p, err)
		}
	},
	"read": func(paths []string) {
		for _, p := range paths {
			b, err := os.ReadFile(p)
			fmt.Println(p, len(b), err)
		}
	},
	"dial": func(addrs []string) {
		for _, a := range addrs {
			_, err := net.DialTimeout("tcp", a, 2*time.Second)
			fmt.Println(a, err)
		}
	},
	"hoard-tcp":   hoardTCP,
	"limit-cores": limitCores,
	"litter":      litter,
	"pump":        pump,
	"sibling":     sibling,
	"shuffle":     shuffle,
	"idle": func([]string) {
		fmt.Println("ready")
		unix.Pause()
	},
}

type call struct {
	name string
	nr   uintptr
	args [5]uintptr
	want unix.Errno
}

// forbidden are calls that a function must not get through.
var forbidden = []call{
	{"mount", unix.SYS_MOUNT, [5]uintptr{}, unix.EPERM},
	{"umount2", unix.SYS_UMOUNT2, [5]uintptr{}, unix.EPERM},
	{"pivot_root", unix.SYS_PIVOT_ROOT, [5]uintptr{}, unix.EPERM},
	{"chroot", unix.SYS_CHROOT, [5]uintptr{}, unix.EPERM},
	{"fsopen", unix.SYS_FSOPEN, [5]uintptr{}, unix.EPERM},
	{"fsmount", unix.SYS_FSMOUNT, [5]uintptr{}, unix.EPERM},
	{"open_tree", unix.SYS_OPEN_TREE, [5]uintptr{}, unix.EPERM},
	{"move_mount", unix.SYS_MOVE_MOUNT, [5]uintptr{}, unix.EPERM},
	{"mount_setattr", unix.SYS_MOUNT_SETATTR, [5]uintptr{}, unix.EPERM},
	{"unshare user", unix.SYS_UNSHARE, [5]uintptr{unix.CLONE_NEWUSER}, unix.EPERM},
	{"unshare net", unix.SYS_UNSHARE, [5]uintptr{unix.CLONE_NEWNET}, unix.EPERM},
	{"setns", unix.SYS_SETNS, [5]uintptr{}, unix.EPERM},
	{"clone user", unix.SYS_CLONE, [5]uintptr{unix.CLONE_NEWUSER | uintptr(unix.SIGCHLD)}, unix.EPERM},
	{"clone ns", unix.SYS_CLONE, [5]uintptr{unix.CLONE_NEWNS | uintptr(unix.SIGCHLD)}, unix.EPERM},
	{"clone3", unix.SYS_CLONE3, [5]uintptr{0, 88}, unix.ENOSYS},
	{"io_uring_setup", unix.SYS_IO_URING_SETUP, [5]uintptr{1}, unix.ENOSYS},
	{"io_uring_enter", unix.SYS_IO_URING_ENTER, [5]uintptr{}, unix.ENOSYS},
	{"x32 getpid", 0x40000000 + unix.SYS_GETPID, [5]uintptr{}, unix.ENOSYS},
	{"unknown call", 900, [5]uintptr{}, unix.ENOSYS},
	{"ptrace", unix.SYS_PTRACE, [5]uintptr{}, unix.EPERM},
	{"process_vm_readv", unix.SYS_PROCESS_VM_READV, [5]uintptr{1}, unix.EPERM},
	{"process_vm_writev", unix.SYS_PROCESS_VM_WRITEV, [5]uintptr{1}, unix.EPERM},
	{"pidfd_getfd", unix.SYS_PIDFD_GETFD, [5]uintptr{}, unix.EPERM},
	{"kcmp", unix.SYS_KCMP, [5]uintptr{}, unix.EPERM},
	{"bpf", unix.SYS_BPF, [5]uintptr{}, unix.EPERM},
	{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, [5]uintptr{}, unix.EPERM},
	{"userfaultfd", unix.SYS_USERFAULTFD, [5]uintptr{}, unix.EPERM},
	{"keyctl", unix.SYS_KEYCTL, [5]uintptr{}, unix.EPERM},
	{"add_key", unix.SYS_ADD_KEY, [5]uintptr{}, unix.EPERM},
	{"request_key", unix.SYS_REQUEST_KEY, [5]uintptr{}, unix.EPERM},
	{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, [5]uintptr{}, unix.EPERM},
	{"name_to_handle_at", unix.SYS_NAME_TO_HANDLE_AT, [5]uintptr{}, unix.EPERM},
	{"init_module", unix.SYS_INIT_MODULE, [5]uintptr{}, unix.EPERM},
	{"kexec_load", unix.SYS_KEXEC_LOAD, [5]uintptr{}, unix.EPERM},
	{"reboot", unix.SYS_REBOOT, [5]uintptr{}, unix.EPERM},
	{"swapon", unix.SYS_SWAPON, [5]uintptr{}, unix.EPERM},
	{"sethostname", unix.SYS_SETHOSTNAME, [5]uintptr{}, unix.EPERM},
	{"settimeofday", unix.SYS_SETTIMEOFDAY, [5]uintptr{}, unix.EPERM},
	{"clock_settime", unix.SYS_CLOCK_SETTIME, [5]uintptr{}, unix.EPERM},
	{"quotactl", unix.SYS_QUOTACTL, [5]uintptr{}, unix.EPERM},
	{"syslog", unix.SYS_SYSLOG, [5]uintptr{}, unix.EPERM},
	{"iopl", unix.SYS_IOPL, [5]uintptr{3}, unix.EPERM},
	{"fanotify_init", unix.SYS_FANOTIFY_INIT, [5]uintptr{}, unix.EPERM},
	{"personality", unix.SYS_PERSONALITY, [5]uintptr{0x0040000}, unix.EPERM},
	{"setuid root", unix.SYS_SETRESUID, [5]uintptr{}, unix.EPERM},
	{"setgid root", unix.SYS_SETRESGID, [5]uintptr{}, unix.EPERM},
	{"setgroups", unix.SYS_SETGROUPS, [5]uintptr{}, unix.EPERM},
	{"kill pid 1", unix.SYS_KILL, [5]uintptr{1, 9}, unix.EPERM},
	{"raise files", unix.SYS_PRLIMIT64, [5]uintptr{1, unix.RLIMIT_NOFILE}, unix.EPERM},
	{"socket packet", unix.SYS_SOCKET, [5]uintptr{unix.AF_PACKET, unix.SOCK_RAW}, unix.EAFNOSUPPORT},
	{"socket vsock", unix.SYS_SOCKET, [5]uintptr{unix.AF_VSOCK, unix.SOCK_STREAM}, unix.EAFNOSUPPORT},
	{"socket alg", unix.SYS_SOCKET, [5]uintptr{unix.AF_ALG, unix.SOCK_SEQPACKET}, unix.EAFNOSUPPORT},
	{"socket netfilter", unix.SYS_SOCKET, [5]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, unix.EAFNOSUPPORT},
	{"socket raw ip", unix.SYS_SOCKET, [5]uintptr{unix.AF_INET, unix.SOCK_RAW, 1}, unix.EPERM},
	{"socket sctp", unix.SYS_SOCKET, [5]uintptr{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP}, unix.EPROTONOSUPPORT},
	{"socket dccp", unix.SYS_SOCKET, [5]uintptr{unix.AF_INET, unix.SOCK_DCCP, 33}, unix.EPERM},
	{"socket l2tp", unix.SYS_SOCKET, [5]uintptr{unix.AF_INET6, unix.SOCK_DGRAM, 115}, unix.EPROTONOSUPPORT},
	{"io_setup", unix.SYS_IO_SETUP, [5]uintptr{1 << 16}, unix.ENOSYS},
	{"socketpair tipc", unix.SYS_SOCKETPAIR, [5]uintptr{unix.AF_TIPC, unix.SOCK_STREAM}, unix.EAFNOSUPPORT},
	{"ioctl TIOCSTI", unix.SYS_IOCTL, [5]uintptr{0, unix.TIOCSTI}, unix.EPERM},
}

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "hostile" {
		hostiles[os.Args[2]](os.Args[3:])
		return
	}
	if dir := os.Getenv("HEARTH_TEST_CRASH"); dir != "" {
		crashee(dir)
		return
	}
	os.Exit(m.Run())
}

func TestForbiddenCalls(t *testing.T) {
	lines, exit := play(t, newDriver(t), testSpec(), "calls")
	if exit.Code != 0 {
		t.Fatalf("exit %+v: %q", exit, lines)
	}
	got := map[string]string{}
	for _, l := range lines {
		i := strings.LastIndexByte(l, ' ')
		got[l[:i]] = l[i+1:]
	}
	for _, c := range forbidden {
		if want := fmt.Sprint(int(c.want)); got[c.name] != want {
			t.Errorf("%s: errno %s, want %s", c.name, got[c.name], want)
		}
	}
}

// The process has no privilege, and only the descriptors that it was given.
func TestConfined(t *testing.T) {
	d := newDriver(t)
	ctx := context.Background()
	sb, err := d.Create(ctx, withProg(t, testSpec()))
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Destroy("test")
	if err := sb.Start(ctx, sandbox.Command{Args: []string{progPath, "hostile", "idle"}, Socket: true}); err != nil {
		t.Fatal(err)
	}
	defer sb.Socket().Close()
	defer sb.Output().Close()
	if _, err := io.ReadFull(sb.Output(), make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	b := sb.(*box)
	proc := fmt.Sprintf("/proc/%d/", b.command.pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	uid := b.slot.uid
	for _, want := range []string{
		"CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n",
		"CapInh:\t0000000000000000\n", "CapAmb:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n",
		fmt.Sprintf("Uid:\t%d\t%d\t%d\t%d\n", uid, uid, uid, uid), "Groups:\t \n", "SigBlk:\t0000000000000000\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("status lacks %q", want)
		}
	}
	if got := listing(t, proc+"fd"); !slices.Equal(without(got, proc), []string{"0", "1", "2", "3"}) {
		t.Errorf("descriptors %v, want 0 to 3", got)
	}
	if score, _ := os.ReadFile(proc + "oom_score_adj"); string(score) != "500\n" {
		t.Errorf("oom_score_adj %q", score)
	}
	for _, kind := range []string{"mnt", "pid", "ipc", "uts", "net"} {
		theirs, _ := os.Readlink(proc + "ns/" + kind)
		ours, _ := os.Readlink("/proc/self/ns/" + kind)
		if theirs == ours || theirs == "" {
			t.Errorf("namespace %s is the host's: %s", kind, theirs)
		}
	}
	if ours, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.first.pid)); !strings.Contains(string(ours), "CapEff:\t0000000000000000\n") {
		t.Error("the first process has capabilities")
	}
	if got := listing(t, fmt.Sprintf("/proc/%d/fd", b.first.pid)); !slices.Equal(got, []string{"0"}) {
		t.Errorf("the first process has descriptors %v, want only its lifeline", got)
	}
}

func listing(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.SortFunc(names, func(a, b string) int { return len(a) - len(b) })
	return names
}

// without drops the descriptors that a Go program opens by itself: its poller's,
// and the cpu.max of its control group.
func without(fds []string, proc string) []string {
	return slices.DeleteFunc(fds, func(fd string) bool {
		to, _ := os.Readlink(proc + "fd/" + fd)
		return strings.HasPrefix(to, "anon_inode:") || strings.Contains(to, "cpu.max") || strings.Contains(to, "cfs_")
	})
}

func TestRootIsReadOnly(t *testing.T) {
	paths := []string{"/x", "/etc/passwd", "/etc/x", "/usr/x", "/var/x", "/var/task/x", "/opt/x", "/dev/x",
		progPath, "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches", "/run/x"}
	lines, _ := play(t, newDriver(t), testSpec(), "write", paths...)
	for _, l := range lines {
		if strings.HasSuffix(l, "<nil>") {
			// /dev/null lies over it: written to, and nothing happened.
			if !strings.HasPrefix(l, "/proc/sysrq-trigger") {
				t.Errorf("wrote %s", l)
			}
		}
	}
	if len(lines) != len(paths) {
		t.Errorf("%d answers for %d paths", len(lines), len(paths))
	}
}

func TestNothingOfTheHost(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	host := fmt.Sprintf("/proc/%d/status", os.Getpid())
	lines, _ := play(t, newDriver(t), testSpec(), "read", secret, "/etc/shadow", "/root/.bashrc", "/sys/kernel/uevent_seqnum", host, "/.first", "/proc/1/environ", "/proc/1/mem")
	for _, l := range lines {
		if strings.HasSuffix(l, "<nil>") {
			t.Errorf("read %s", l)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	lines, _ = play(t, newDriver(t), testSpec(), "dial", ln.Addr().String(), "169.254.169.254:80", "1.1.1.1:80")
	for _, l := range lines {
		if strings.HasSuffix(l, "<nil>") {
			t.Errorf("connected to %s", l)
		}
	}
}

// Two sandboxes share nothing, not one after the other either.
func TestNeighbours(t *testing.T) {
	d := newDriver(t)
	ctx := context.Background()
	sb, err := d.Create(ctx, testSpec())
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Destroy("test")
	if err := sb.Start(ctx, sandbox.Command{Args: []string{"/bin/sh", "-c", "umask 0; echo secret > /tmp/secret; echo ready; exec sleep 1000"}, Env: []string{"PATH=/bin"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(sb.Output(), make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	sb.Output().Close()
	out, _ := run(t, d, testSpec(), "/bin/sh", "-c", "ls -A /tmp; cat /proc/[0-9]*/cmdline | tr '\\0' ' '; id -u")
	if strings.Contains(out, "secret") || strings.Contains(out, "1000 ") {
		t.Errorf("a neighbour is in sight: %q", out)
	}
	if strings.Contains(out, fmt.Sprint(sb.(*box).slot.uid)) {
		t.Errorf("two sandboxes run as one user: %q", out)
	}
}

func TestFileLimit(t *testing.T) {
	lines, _ := play(t, newDriver(t), testSpec(), "files")
	if !strings.Contains(lines[0], "too many open files") || !strings.HasPrefix(lines[0], "10") {
		t.Errorf("open files: %q, want an end at 1,024", lines[0])
	}
}

// A full /tmp is an error of the write, even where it is four times the memory.
func TestTmpIsNotMemory(t *testing.T) {
	spec := testSpec()
	spec.MemoryMB, spec.TmpMB = 64, 256
	lines, exit := play(t, newDriver(t), spec, "fill")
	var mb int
	fmt.Sscan(lines[0], &mb)
	if exit.OOM || !strings.Contains(lines[0], "no space left") || mb < 230 || mb > 256 {
		t.Errorf("%q, exit %+v; want 230 to 256 MB and then ENOSPC", lines, exit)
	}
}

// The kernel kills one process; the rule is that the whole sandbox ends.
func TestOOMOfAChild(t *testing.T) {
	d := newDriver(t, func(o *Options) { o.MaxSandboxes = 1 })
	lines, exit := play(t, d, testSpec(), "child-eats")
	if !exit.OOM {
		t.Errorf("exit %+v, output %q; want OOM", exit, lines)
	}
	// The next one in the slot has all of its memory.
	spec := testSpec()
	if out, exit := run(t, d, spec, "/bin/sh", "-c", "head -c 80000000 /dev/zero | tail -c 80000000 | wc -c"); exit.OOM || strings.TrimSpace(out) != "80000000" {
		t.Errorf("after an OOM: exit %+v, output %q", exit, out)
	}
}

func TestNoCapacity(t *testing.T) {
	d := newDriver(t, func(o *Options) { o.MaxSandboxes = 1 })
	ctx := context.Background()
	sb, err := d.Create(ctx, testSpec())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Create(ctx, testSpec()); !isNoCapacity(err) {
		t.Errorf("a second of one: %v", err)
	}
	if err := sb.Destroy("test"); err != nil {
		t.Fatal(err)
	}
	big := testSpec()
	big.MemoryMB = 1 << 20
	if _, err := d.Create(ctx, big); !isNoCapacity(err) {
		t.Errorf("a terabyte: %v", err)
	}
	if _, err := d.Create(ctx, testSpec()); err != nil {
		t.Errorf("after the first is gone: %v", err)
	}
}

// A crowd that has used up its CPU quota dies as fast as any other: dying takes
// time on the CPU too. Within its quota this one would take longer than a busy machine.
func TestThrottledCrowdDies(t *testing.T) {
	d := newDriver(t, func(o *Options) { o.DeathLimit = 20 * time.Second })
	ctx := context.Background()
	spec := testSpec()
	spec.MemoryMB = 1024
	sb, err := d.Create(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Destroy("test")
	const crowd = "i=0; while [ $i -lt 400 ]; do sleep 1000 & i=$((i+1)); done; echo ready; wait"
	if err := sb.Start(ctx, sandbox.Command{Args: []string{"/bin/sh", "-c", crowd}, Env: []string{"PATH=/bin"}}); err != nil {
		t.Fatal(err)
	}
	defer sb.Output().Close()
	if _, err := io.ReadFull(sb.Output(), make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	if err := sb.SetCPU(1); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := sb.Destroy("timeout"); err != nil {
		t.Error(err)
	}
	t.Logf("400 processes died within %v", time.Since(began))
}
