//go:build linux && amd64

package process

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// verdictOf runs the filter as the kernel would.
func verdictOf(t *testing.T, prog []unix.SockFilter, arch, nr uint32, args [6]uint64) uint32 {
	t.Helper()
	data := make([]byte, 64)
	binary.LittleEndian.PutUint32(data[dataNr:], nr)
	binary.LittleEndian.PutUint32(data[dataArch:], arch)
	for i, a := range args {
		binary.LittleEndian.PutUint64(data[dataArg0+8*i:], a)
	}
	var acc uint32
	for pc := 0; pc < len(prog); pc++ {
		in := prog[pc]
		var hit bool
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = binary.LittleEndian.Uint32(data[in.K:])
			continue
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= in.K
			continue
		case unix.BPF_JMP | unix.BPF_K | unix.BPF_JEQ:
			hit = acc == in.K
		case unix.BPF_JMP | unix.BPF_K | unix.BPF_JGE:
			hit = acc >= in.K
		case unix.BPF_JMP | unix.BPF_K | unix.BPF_JSET:
			hit = acc&in.K != 0
		default:
			t.Fatalf("instruction %d has code %#x", pc, in.Code)
		}
		if hit {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
	t.Fatal("the filter runs off its end")
	return 0
}

// The compiled tree says of every number what the lists say.
func TestFilterIsTheLists(t *testing.T) {
	prog, err := filter()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d instructions", len(prog))
	for nr := uint32(0); nr < 2000; nr++ {
		if _, ruled := argumentRules[nr]; ruled {
			continue // TestForbiddenCalls asks the kernel
		}
		want := retDenied
		switch {
		case nr > lastKnownCall || slices.Contains(absentCalls, nr):
			want = retAbsent
		case slices.Contains(pretendedCalls, nr):
			want = retPretend
		case slices.Contains(allowedCalls, nr):
			want = retAllow
		}
		if got := verdictOf(t, prog, unix.AUDIT_ARCH_X86_64, nr, [6]uint64{}); got != want {
			t.Errorf("call %d: %#x, want %#x", nr, got, want)
		}
	}
	if got := verdictOf(t, prog, unix.AUDIT_ARCH_I386, unix.SYS_READ, [6]uint64{}); got != retKill {
		t.Errorf("a 32-bit call: %#x", got)
	}
}

// What the argument rules let through; TestForbiddenCalls asks the kernel for the
// rest.
func TestArgumentRules(t *testing.T) {
	prog, err := filter()
	if err != nil {
		t.Fatal(err)
	}
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	for _, row := range []struct {
		name string
		nr   uint32
		args [6]uint64
		want uint32
	}{
		{"a new thread", unix.SYS_CLONE, [6]uint64{unix.CLONE_THREAD | unix.CLONE_VM}, retAllow},
		{"a process", unix.SYS_CLONE, [6]uint64{uint64(unix.SIGCHLD)}, retAllow},
		{"a sibling", unix.SYS_CLONE, [6]uint64{unix.CLONE_PARENT | uint64(unix.SIGCHLD)}, retDenied},
		{"a routing socket", unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, retAllow},
		{"an audit socket", unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, retFamily},
		{"unix", unix.SYS_SOCKET, [6]uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET | flags}, retAllow},
		{"tcp", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM | flags}, retAllow},
		{"tcp by name", unix.SYS_SOCKET, [6]uint64{unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_TCP}, retAllow},
		{"mptcp, Go's default", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM | flags, unix.IPPROTO_MPTCP}, retAllow},
		{"udp", unix.SYS_SOCKET, [6]uint64{unix.AF_INET6, unix.SOCK_DGRAM | flags, unix.IPPROTO_UDP}, retAllow},
		{"ping", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}, retAllow},
		{"sctp", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP}, retProto},
		{"raw", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_RAW | flags, unix.IPPROTO_TCP}, retDenied},
		{"memory", unix.SYS_MMAP, [6]uint64{0, 4096, 3, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS, 1<<64 - 1}, retAllow},
		{"a huge page", unix.SYS_MMAP, [6]uint64{0, 2 << 20, 3, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_HUGETLB}, retMemory},
		{"a file of huge pages", unix.SYS_MEMFD_CREATE, [6]uint64{0, unix.MFD_HUGETLB | unix.MFD_HUGE_2MB}, retMemory},
		{"a file in memory", unix.SYS_MEMFD_CREATE, [6]uint64{0, unix.MFD_CLOEXEC}, retAllow},
		{"a limit's question", unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_CORE, 0, 1 << 40}, retAllow},
		{"a limit on cores", unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_CORE, 0x7fff00001000}, retPretend},
		{"and below 4 GiB", unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_CORE, 0x7fff00000000}, retPretend},
		{"another limit", unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_NOFILE, 1}, retAllow},
		{"a limit, the old way", unix.SYS_SETRLIMIT, [6]uint64{unix.RLIMIT_CORE, 1}, retPretend},
	} {
		if got := verdictOf(t, prog, unix.AUDIT_ARCH_X86_64, row.nr, row.args); got != row.want {
			t.Errorf("%s: %#x, want %#x", row.name, got, row.want)
		}
	}
}

func TestListsDoNotOverlap(t *testing.T) {
	seen := map[uint32]bool{}
	for _, nr := range slices.Concat(allowedCalls, absentCalls, pretendedCalls) {
		if seen[nr] || len(argumentRules[nr]) > 0 {
			t.Errorf("call %d is listed twice", nr)
		}
		seen[nr] = true
	}
}
