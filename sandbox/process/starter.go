//go:build linux && amd64

package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// The command's process is born when the sandbox is built, not when the command is
// known. It joins the groups, becomes the sandbox's user, gives up its privileges,
// installs the filter and runs starter (spawn_amd64.s), a few instructions that
// wait on descriptor 4 for a message and then exec what it says. So Start enters
// no namespace and no group, and makes no thread and no process.

const (
	// controlFD is the starter's end of its connection with Hearth.
	controlFD = 4
	// messageBase is the address that the starter reads a message to, and that the
	// message's own addresses count from. messageMax is the most that it reads.
	messageBase = 0x10000000
	messageMax  = 128 << 10
	// messageOps is the room for system calls in a message.
	messageOps  = 4
	messageData = 8 + messageOps*opSize
	opSize      = 7 * 8
)

// message is what a starter works off: a count, system calls, and their operands.
type message struct {
	ops   []op
	names []string
	data  []byte
}

func (m *message) add(name string, nr uintptr, args ...uintptr) {
	o := op{nr: nr}
	copy(o.args[:], args)
	m.ops = append(m.ops, o)
	m.names = append(m.names, name)
}

// text adds v with a final NUL and returns its address in the starter.
func (m *message) text(v string) uintptr {
	at := messageBase + messageData + len(m.data)
	m.data = append(append(m.data, v...), 0)
	return uintptr(at)
}

// texts adds a NULL-terminated vector of strings.
func (m *message) texts(vs []string) uintptr {
	var vector []byte
	for _, v := range vs {
		vector = binary.NativeEndian.AppendUint64(vector, uint64(m.text(v)))
	}
	m.data = append(m.data, make([]byte, -len(m.data)&7)...)
	at := messageBase + messageData + len(m.data)
	m.data = binary.NativeEndian.AppendUint64(append(m.data, vector...), 0)
	return uintptr(at)
}

// encode returns the message's bytes.
func (m *message) encode() ([]byte, error) {
	if size := messageData + len(m.data); size > messageMax {
		return nil, fmt.Errorf("process: arguments and environment take %d bytes, the most is %d: %w", size, messageMax, unix.E2BIG)
	}
	b := make([]byte, 0, messageData+len(m.data))
	b = binary.NativeEndian.AppendUint64(b, uint64(len(m.ops)))
	for _, o := range m.ops {
		b = binary.NativeEndian.AppendUint64(b, uint64(o.nr))
		for _, arg := range o.args {
			b = binary.NativeEndian.AppendUint64(b, uint64(arg))
		}
	}
	b = append(b, make([]byte, messageData-len(b))...)
	return append(b, m.data...), nil
}

// order is the message that makes the starter become a command.
func order(cmd sandbox.Command) *message {
	m := &message{}
	// It is open until the exec, so that its end tells Hearth of the exec.
	m.add("mark a descriptor", unix.SYS_FCNTL, controlFD, unix.F_SETFD, unix.FD_CLOEXEC)
	if !cmd.Socket {
		m.add("close the socket", unix.SYS_CLOSE, 3)
	}
	dir := cmd.Dir
	if dir == "" {
		dir = "/"
	}
	m.add("change to "+dir, unix.SYS_CHDIR, m.text(dir))
	m.add("exec "+cmd.Args[0], unix.SYS_EXECVE, m.text(cmd.Args[0]), m.texts(cmd.Args), m.texts(cmd.Env))
	return m
}

// deliver gives the starter its message.
func deliver(control *os.File, message []byte) error {
	if _, err := control.Write(message); err != nil {
		return fmt.Errorf("process: reach the sandbox's process: %w", err)
	}
	return nil
}

// outcome waits until the starter has exec'ed, could not, or is dead, which looks like
// an exec.
func (m *message) outcome(control *os.File) error {
	var answer [16]byte
	n, err := control.Read(answer[:])
	switch {
	case err == io.EOF || errors.Is(err, unix.ECONNRESET):
		return nil
	case err != nil:
		return fmt.Errorf("process: hear of the sandbox's process: %w", err)
	case n != len(answer):
		return fmt.Errorf("process: the sandbox's process answered %d bytes", n)
	}
	errno := syscall.Errno(binary.NativeEndian.Uint64(answer[:]))
	left := binary.NativeEndian.Uint64(answer[8:])
	if left < 1 || left > uint64(len(m.ops)) {
		return fmt.Errorf("process: the sandbox's process answered %d, %w", left, errno)
	}
	return fmt.Errorf("process: %s: %w", m.names[uint64(len(m.ops))-left], errno)
}

// startStarter spawns the process that will be the command, in the calling
// thread's namespaces. The thread must end afterwards.
func (b *box) startStarter(in doors, files, pids int) (err error) {
	if err := in.enter(); err != nil {
		return err
	}
	fds := append([]int{b.d.berths.null}, b.plumbing.theirs...)
	b.command, err = b.d.berths.spawn(fds, in.run, func(s *script) {
		s.confine(b, len(fds), files, pids)
		s.exec(starterPath, []string{"start"}, nil)
	})
	return err
}

// confine makes the process one of the sandbox's, as it will be for good. free is its
// lowest free descriptor.
func (s *script) confine(b *box, free, files, pids int) {
	s.add("setsid", unix.SYS_SETSID)
	s.outOfMemoryFirst(free)
	s.limits(resourceLimits(files, pids))
	s.dropPrivileges(b.slot.uid)
	s.seccomp(b.d.filter)
	s.unblockSignals()
}
