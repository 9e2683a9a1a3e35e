//go:build linux && amd64

package process

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// hostname is what every sandbox is called from inside.
const hostname = "sandbox"

// namespaces are the ones that each sandbox has of its own, besides the network.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// house makes a sandbox's namespaces and starts its two processes in them, the
// first one and the starter, which waits for what furnish makes. It runs on a thread of
// its own and fills in b.first, b.lifeline, b.mnt, b.spare and b.command.
func (b *box) house(k kind, furnished func() error) error {
	in, err := b.slot.group.openDoors()
	defer in.close()
	if err != nil {
		return err
	}
	if err := enterNamespaces(int(b.d.template.ns.Fd()), b.netns.FD()); err != nil {
		return err
	}
	tmp := b.tmp.take()
	err = attach(tmp, "/tmp")
	unix.Close(tmp)
	if err != nil {
		return err
	}
	if b.spare, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := dropBounds(b.d.caps); err != nil {
		return err
	}
	if err := b.startFirst(in.init); err != nil {
		return err
	}
	if b.mnt, err = b.mountNamespace(); err != nil {
		return err
	}
	if err := maskProc(); err != nil {
		return err
	}
	if err := furnished(); err != nil {
		return err
	}
	return b.startStarter(in, k.files, k.pids)
}

// mountNamespace opens the mount namespace that the calling thread shares with the
// first process. By way of that process (Linux 6.11) it costs nothing more; what a
// thread looks up of itself in /proc the kernel has to forget again when it ends.
func (b *box) mountNamespace() (*os.File, error) {
	conn, err := b.first.pidfd.SyscallConn()
	if err != nil {
		return nil, err
	}
	ns, nsErr := 0, error(nil)
	err = conn.Control(func(fd uintptr) { ns, nsErr = unix.IoctlRetInt(int(fd), unix.PIDFD_GET_MNT_NAMESPACE) })
	if err == nil && nsErr != nil {
		ns, err = unix.Openat(int(b.d.proc.Fd()), "thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("process: open the mount namespace: %w", err)
	}
	return os.NewFile(uintptr(ns), "mount namespace"), nil
}

// enterNamespaces gives the calling thread a copy of the template's mounts, the
// network namespace, and new namespaces of the other kinds.
func enterNamespaces(template, netns int) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("process: unshare: %w", err)
	}
	if err := unix.Setns(template, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("process: enter the template: %w", err)
	}
	if err := unix.Unshare(namespaces); err != nil {
		return fmt.Errorf("process: new namespaces: %w", err)
	}
	if err := unix.Setns(netns, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("process: enter the network namespace: %w", err)
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("process: set the host name: %w", err)
	}
	return nil
}

// startFirst spawns pid 1 of the sandbox. It mounts /proc, which only a process
// in the pid namespace can, and gives up everything that it could do before it
// runs its program. Its user is not the sandbox's: what runs inside cannot signal
// or trace it. It is born in the version 2 group init, or in none (-1).
func (b *box) startFirst(init int) error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(pipe[0])
	b.lifeline = os.NewFile(uintptr(pipe[1]), "lifeline")
	var err error
	b.first, err = b.d.berths.spawn([]int{pipe[0]}, init, func(s *script) {
		s.add("mount /proc", unix.SYS_MOUNT, s.text("proc"), s.text("/proc"), s.text("proc"),
			unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, 0)
		s.ignore(unix.SIGCHLD)
		s.add("setsid", unix.SYS_SETSID)
		s.dropPrivileges(b.d.users.first)
		s.unblockSignals()
		s.exec(firstPath, []string{"first"}, nil)
	})
	return err
}

// join moves the calling thread into namespaces of the sandbox.
func (b *box) join(kinds int) error {
	conn, err := b.first.pidfd.SyscallConn()
	if err != nil {
		return sandbox.ErrDestroyed
	}
	var joinErr error
	if err := conn.Control(func(fd uintptr) { joinErr = unix.Setns(int(fd), kinds) }); err != nil {
		return sandbox.ErrDestroyed
	}
	if joinErr != nil {
		return fmt.Errorf("process: enter the sandbox: %w", joinErr)
	}
	return nil
}

// ignore makes a signal ignored, which an exec keeps.
func (s *script) ignore(sig unix.Signal) {
	action := &struct{ handler, flags, restorer, mask uintptr }{handler: 1} // SIG_IGN
	s.add("ignore a signal", unix.SYS_RT_SIGACTION, uintptr(sig), pin(s, action), 0, 8)
}

// outOfMemoryFirst makes the process a likelier victim than Hearth when the whole
// machine is out of memory. free is the lowest free descriptor.
func (s *script) outOfMemoryFirst(free int) {
	const score = "500"
	s.add("open oom_score_adj", unix.SYS_OPEN, s.text("/proc/self/oom_score_adj"), unix.O_WRONLY, 0)
	s.add("set oom_score_adj", unix.SYS_WRITE, uintptr(free), s.text(score), uintptr(len(score)))
	s.add("close oom_score_adj", unix.SYS_CLOSE, uintptr(free))
}

// rlimit is one resource limit, hard and soft alike.
type rlimit struct {
	resource int
	value    uint64
}

func resourceLimits(files, pids int) []rlimit {
	return []rlimit{
		{unix.RLIMIT_NOFILE, atMostOwn(unix.RLIMIT_NOFILE, uint64(files))},
		// The user is the slot's alone, so this is a second fence behind the group's.
		{unix.RLIMIT_NPROC, uint64(pids)},
		// Not 0: where core_pattern is a pipe, that limit is ignored, and every crash
		// would run a program as root on the host, outside of every limit. 1 is the
		// kernel's word for "not there either" (fs/coredump.c).
		{unix.RLIMIT_CORE, atMostOwn(unix.RLIMIT_CORE, 1)},
		{unix.RLIMIT_RTPRIO, 0},
		{unix.RLIMIT_NICE, 0},
	}
}

// atMostOwn is a limit that can be set without the capability to raise Hearth's own.
func atMostOwn(resource int, value uint64) uint64 {
	var own unix.Rlimit
	if unix.Getrlimit(resource, &own) != nil {
		return value
	}
	return min(value, own.Max)
}

func (s *script) limits(limits []rlimit) {
	for _, l := range limits {
		s.add("set resource limit "+strconv.Itoa(l.resource), unix.SYS_PRLIMIT64, 0, uintptr(l.resource),
			pin(s, &unix.Rlimit{Cur: l.value, Max: l.value}), 0)
	}
}

// maxCapability is above every capability that there can be. Dropping one that
// this kernel does not know is EINVAL, so Driver.caps counts them.
const maxCapability = 64

// dropBounds takes every capability from what the calling thread's children can ever
// have; what it has itself it keeps. caps is how many the kernel knows.
func dropBounds(caps int) error {
	for c := range caps {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return fmt.Errorf("process: drop capability %d: %w", c, err)
		}
	}
	return nil
}

// unblockSignals ends what spawn begins with.
func (s *script) unblockSignals() {
	s.add("unblock signals", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, s.bytes(make([]byte, 8)), 0, 8)
}

// dropPrivileges leaves the process, which a thread after dropBounds made, without any
// capability, now and for ever, as this user in this group alone.
func (s *script) dropPrivileges(id int) {
	s.add("clear ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	s.add("drop groups", unix.SYS_SETGROUPS, 0, 0)
	s.add("set the group", unix.SYS_SETRESGID, uintptr(id), uintptr(id), uintptr(id))
	s.add("set the user", unix.SYS_SETRESUID, uintptr(id), uintptr(id), uintptr(id))
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	s.add("drop capabilities", unix.SYS_CAPSET, pin(s, header), pin(s, new([2]unix.CapUserData)))
	s.add("set no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// exec ends a script.
func (s *script) exec(path string, args, env []string) {
	s.add("exec "+path, unix.SYS_EXECVE, s.text(path), s.texts(args), s.texts(env))
}
