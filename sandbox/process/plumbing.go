//go:build linux && amd64

package process

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"hearth/internal/sockpair"
)

// lowFD is above every descriptor that a spawned process has in the end, so that
// moving one into place overwrites none that is still to be moved.
const lowFD = 16

// plumbing is what connects a sandbox's process with Hearth.
type plumbing struct {
	// The process's ends, at or above lowFD, in the order of its descriptors:
	// standard input, output, error, the socket, and the starter's control. Output
	// and error are one. They are closed once the process has them.
	theirs  []int
	output  *os.File
	conn    net.Conn
	control *os.File // to the starter
}

// plumb opens both ends, for a process that runs as uid. What it opened before it
// failed is in its result.
func plumb(uid int) (*plumbing, error) {
	p := &plumbing{}
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return p, err
	}
	if err := p.give(null); err != nil {
		return p, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return p, err
	}
	err = unix.SetNonblock(pipe[0], true) // Hearth's end only: into the poller
	p.output = os.NewFile(uintptr(pipe[0]), "output")
	// The pipe is its user's, or /dev/stdout and /dev/stderr could not be opened.
	if err := errors.Join(err, unix.Fchown(pipe[1], uid, uid), p.give(pipe[1])); err != nil {
		return p, err
	}
	p.theirs = append(p.theirs, p.theirs[1])
	conn, other, err := sockpair.New()
	if err != nil {
		return p, err
	}
	defer other.Close()
	p.conn = conn
	if err := p.add(int(other.Fd())); err != nil { // Fd makes it blocking, as a runtime expects
		return p, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return p, err
	}
	err = unix.SetNonblock(pair[0], true)
	p.control = os.NewFile(uintptr(pair[0]), "control")
	return p, errors.Join(err, p.give(pair[1]))
}

// give adds a descriptor for the command, and closes it.
func (p *plumbing) give(fd int) error {
	defer unix.Close(fd)
	return p.add(fd)
}

// add adds a copy of a descriptor for the command, out of the way of all others.
func (p *plumbing) add(fd int) error {
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, lowFD)
	if err == nil {
		p.theirs = append(p.theirs, high)
	}
	return err
}

func (p *plumbing) closeTheirs() {
	for i, fd := range p.theirs {
		if i != 2 { // the same as 1
			unix.Close(fd)
		}
	}
	p.theirs = nil
}

// closeOurs closes Hearth's ends. What it has given away is nil before.
func (p *plumbing) closeOurs() {
	for _, f := range []*os.File{p.output, p.control} {
		if f != nil {
			f.Close()
		}
	}
	if p.conn != nil {
		p.conn.Close()
	}
	p.output, p.conn, p.control = nil, nil, nil
}
