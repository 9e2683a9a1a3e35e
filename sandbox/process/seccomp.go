//go:build linux && amd64

package process

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// What the filter answers.
const (
	retAllow  = unix.SECCOMP_RET_ALLOW
	retKill   = unix.SECCOMP_RET_KILL_PROCESS
	retDenied = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	// retAbsent makes a C library fall back to an older call, as on a kernel
	// that does not have the new one.
	retAbsent = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	retFamily = unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)
	retMemory = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOMEM)
	retProto  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)
	// retPretend does nothing and says that it was done.
	retPretend = unix.SECCOMP_RET_ERRNO
)

// sockTypeMask is SOCK_TYPE_MASK of linux/net.h: the rest are flags.
const sockTypeMask = 0xf

// newNamespaces are the flags by which clone makes a namespace.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// Offsets in struct seccomp_data.
const (
	dataNr   = 0
	dataArch = 4
	dataArg0 = 16
	dataArg1 = 24
	dataArg2 = 32
	dataArg3 = 40
)

func stmt(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }

func jump(code uint16, k uint32, jt, jf uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | code, K: k, Jt: jt, Jf: jf}
}

func load(offset uint32) unix.SockFilter {
	return stmt(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset)
}

func ret(action uint32) unix.SockFilter { return stmt(unix.BPF_RET|unix.BPF_K, action) }

// argumentRules are the calls whose verdict depends on an argument: complete
// programs that return on every path.
var argumentRules = map[uint32][]unix.SockFilter{
	// No namespaces, and no children for the caller's parent: that is Hearth, who
	// would have to reap what it does not know of, and until then a pid namespace
	// does not end.
	unix.SYS_CLONE: {
		load(dataArg0),
		jump(unix.BPF_JSET, newNamespaces|unix.CLONE_PARENT, 0, 1),
		ret(retDenied), ret(retAllow),
	},
	// AF_NETLINK only for routes (getifaddrs); no packet, vsock or exotic families.
	// Of the internet's protocols those that programs use: asking for another one
	// makes the kernel load its module (SCTP, DCCP, L2TP, SMC).
	unix.SYS_SOCKET: {
		load(dataArg0),
		jump(unix.BPF_JEQ, unix.AF_UNIX, 19, 0),
		jump(unix.BPF_JEQ, unix.AF_INET, 4, 0),
		jump(unix.BPF_JEQ, unix.AF_INET6, 3, 0),
		jump(unix.BPF_JEQ, unix.AF_NETLINK, 0, 15),
		load(dataArg2),
		jump(unix.BPF_JEQ, unix.NETLINK_ROUTE, 14, 13),
		load(dataArg1),
		stmt(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, sockTypeMask),
		jump(unix.BPF_JEQ, unix.SOCK_STREAM, 1, 0),
		jump(unix.BPF_JEQ, unix.SOCK_DGRAM, 0, 8),
		load(dataArg2),
		jump(unix.BPF_JEQ, unix.IPPROTO_IP, 8, 0),
		jump(unix.BPF_JEQ, unix.IPPROTO_TCP, 7, 0),
		jump(unix.BPF_JEQ, unix.IPPROTO_UDP, 6, 0),
		jump(unix.BPF_JEQ, unix.IPPROTO_ICMP, 5, 0),
		jump(unix.BPF_JEQ, unix.IPPROTO_ICMPV6, 4, 0),
		jump(unix.BPF_JEQ, unix.IPPROTO_MPTCP, 3, 0),
		ret(retProto), ret(retDenied), ret(retFamily), ret(retAllow),
	},
	unix.SYS_SOCKETPAIR: {
		load(dataArg0),
		jump(unix.BPF_JEQ, unix.AF_UNIX, 1, 0),
		ret(retFamily), ret(retAllow),
	},
	// Huge pages are set aside for somebody on the host, and no group counts them.
	unix.SYS_MMAP: {
		load(dataArg3),
		jump(unix.BPF_JSET, unix.MAP_HUGETLB, 0, 1),
		ret(retMemory), ret(retAllow),
	},
	unix.SYS_MEMFD_CREATE: {
		load(dataArg1),
		jump(unix.BPF_JSET, unix.MFD_HUGETLB, 0, 1),
		ret(retMemory), ret(retAllow),
	},
	// Putting characters into a terminal's input, or reading its screen.
	unix.SYS_IOCTL: {
		load(dataArg0 + 8),
		jump(unix.BPF_JEQ, unix.TIOCSTI, 1, 0),
		jump(unix.BPF_JEQ, unix.TIOCLINUX, 0, 1),
		ret(retDenied), ret(retAllow),
	},
	// The limit on core files stays what resourceLimits made it. Programs that set
	// it turn core files off, which they are.
	unix.SYS_SETRLIMIT: {
		load(dataArg0),
		jump(unix.BPF_JEQ, unix.RLIMIT_CORE, 0, 1),
		ret(retPretend), ret(retAllow),
	},
	unix.SYS_PRLIMIT64: {
		load(dataArg1),
		jump(unix.BPF_JEQ, unix.RLIMIT_CORE, 0, 5),
		load(dataArg2),
		jump(unix.BPF_JEQ, 0, 0, 2),
		load(dataArg2 + 4),
		jump(unix.BPF_JEQ, 0, 1, 0), // no new limit: a question
		ret(retPretend), ret(retAllow),
	},
	// The default and the query; not the flags that turn off address randomisation.
	unix.SYS_PERSONALITY: {
		load(dataArg0),
		jump(unix.BPF_JEQ, 0, 2, 0),
		jump(unix.BPF_JEQ, 0xffffffff, 1, 0),
		ret(retDenied), ret(retAllow),
	},
}

// lastKnownCall is the highest system call number that this list was made for:
// what comes after it does not exist for a function.
const lastKnownCall = unix.SYS_RSEQ_SLICE_YIELD

// verdict is what the filter answers to one call number: a fixed action, or the
// argument rule of that number.
type verdict struct {
	action uint32
	rule   bool
}

// span is a run of call numbers from first up to the next span's with one verdict.
type span struct {
	first uint32
	verdict
}

func spans() []span {
	out := []span{}
	for nr := uint32(0); nr <= lastKnownCall+1; nr++ {
		v := verdict{action: retDenied}
		_, ruled := argumentRules[nr]
		switch {
		case nr > lastKnownCall || slices.Contains(absentCalls, nr):
			v.action = retAbsent
		case slices.Contains(pretendedCalls, nr):
			v.action = retPretend
		case ruled:
			v = verdict{action: nr, rule: true}
		case slices.Contains(allowedCalls, nr):
			v.action = retAllow
		}
		if len(out) == 0 || out[len(out)-1].verdict != v {
			out = append(out, span{nr, v})
		}
	}
	return out
}

// tree compiles spans to a binary search, so that a call costs a handful of
// instructions and installing the filter (the kernel runs it once for every call
// number) stays cheap.
func tree(ss []span) ([]unix.SockFilter, error) {
	if len(ss) == 1 {
		if ss[0].rule {
			return argumentRules[ss[0].action], nil
		}
		return []unix.SockFilter{ret(ss[0].action)}, nil
	}
	mid := len(ss) / 2
	low, err := tree(ss[:mid])
	if err != nil {
		return nil, err
	}
	high, err := tree(ss[mid:])
	if err != nil {
		return nil, err
	}
	if len(low) > 255 {
		return nil, fmt.Errorf("process: seccomp filter: a jump of %d instructions is too far", len(low))
	}
	out := []unix.SockFilter{jump(unix.BPF_JGE, ss[mid].first, uint8(len(low)), 0)}
	return append(append(out, low...), high...), nil
}

// filter compiles the seccomp filter of every sandbox.
func filter() ([]unix.SockFilter, error) {
	body, err := tree(spans())
	if err != nil {
		return nil, err
	}
	// A number with the x32 bit is above lastKnownCall, so it does not exist.
	head := []unix.SockFilter{
		load(dataArch),
		jump(unix.BPF_JEQ, unix.AUDIT_ARCH_X86_64, 1, 0),
		ret(retKill),
		load(dataNr),
	}
	return append(head, body...), nil
}

// seccomp adds the installation of the filter to a script. Everything after it
// must be allowed by it.
func (s *script) seccomp(prog []unix.SockFilter) {
	fprog := &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	s.pins.Pin(&prog[0])
	s.add("seccomp", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, pin(s, fprog))
}
