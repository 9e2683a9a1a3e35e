//go:build linux && amd64

package process

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// plumbing is what connects a sandbox's process with Hearth.
type plumbing struct {
	// The process's ends, in the order of its descriptors from 1 on: output, error,
	// the socket, and the starter's control. Output and error are one. They are closed
	// once the process has them.
	theirs []int
	output *os.File
	// socket is not in the poller: most commands have none, and a thread is woken when
	// the starter closes its end of one that is.
	socket  *os.File
	control *os.File // to the starter
}

// plumb opens both ends, for a process that runs as uid. What it opened before it
// failed is in its result.
func plumb(uid int) (*plumbing, error) {
	p := &plumbing{}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return p, err
	}
	p.theirs = []int{pipe[1], pipe[1]}
	err := unix.SetNonblock(pipe[0], true) // Hearth's end only: into the poller
	p.output = os.NewFile(uintptr(pipe[0]), "output")
	// The pipe is its user's, or /dev/stdout and /dev/stderr could not be opened.
	if err := errors.Join(err, unix.Fchown(pipe[1], uid, uid)); err != nil {
		return p, err
	}
	socket, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return p, err
	}
	p.socket = os.NewFile(uintptr(socket[0]), "socket")
	p.theirs = append(p.theirs, socket[1])
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return p, err
	}
	p.theirs = append(p.theirs, pair[1])
	err = unix.SetNonblock(pair[0], true)
	p.control = os.NewFile(uintptr(pair[0]), "control")
	return p, err
}

func (p *plumbing) closeTheirs() {
	closeAll(p.theirs)
	p.theirs = nil
}

// closeOurs closes Hearth's ends. What it has given away is nil before.
func (p *plumbing) closeOurs() {
	for _, f := range []*os.File{p.output, p.socket, p.control} {
		if f != nil {
			f.Close()
		}
	}
	p.output, p.socket, p.control = nil, nil, nil
}

// hangUp ends a connection for both ends: a read of it returns.
func hangUp(socket *os.File) {
	if socket == nil {
		return
	}
	if conn, err := socket.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) }) // closed already, or the other end is
	}
}
