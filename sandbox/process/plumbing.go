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

// plumbing is what connects a command with Hearth.
type plumbing struct {
	// The command's ends, at or above lowFD, in the order of its descriptors:
	// standard input, output, error, and the socket where there is one. Output
	// and error are one.
	theirs []int
	output *os.File
	conn   net.Conn // nil without a socket
}

// plumb opens both ends, for a command that runs as uid. What it opened before it
// failed is in its result.
func plumb(socket bool, uid int) (*plumbing, error) {
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
	if !socket {
		return p, nil
	}
	conn, other, err := sockpair.New()
	if err != nil {
		return p, err
	}
	defer other.Close()
	p.conn = conn
	return p, p.add(int(other.Fd())) // Fd makes it blocking, as a runtime expects
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
}

func (p *plumbing) closeOurs() error {
	var errs []error
	if p.output != nil {
		errs = append(errs, p.output.Close())
	}
	if p.conn != nil {
		errs = append(errs, p.conn.Close())
	}
	return errors.Join(errs...)
}
