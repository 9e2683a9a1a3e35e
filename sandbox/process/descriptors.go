//go:build linux && amd64

package process

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A process that is cloned with a copy of Hearth's descriptors pays for each of
// them twice, in the copy and when they are closed again: with a thousand instances
// ten thousand each time. So a new process shares Hearth's table at first, and its
// first system call makes it a copy of the low end of that alone. What it is to
// have must be there: in a berth.
type berths struct {
	free chan []int // sets of berthSize descriptors, all of /dev/null when not in use
	null int
	end  int // above every descriptor of a berth
}

const (
	// berthSize is the most descriptors that a new process gets.
	berthSize = 5
	// lowFD is above every descriptor that a spawned process has in the end, so that
	// moving one into place overwrites none that is still to be moved.
	lowFD = 16
)

// newBerths makes n berths of the lowest descriptors that are free.
func newBerths(n int) (_ *berths, err error) {
	b := &berths{free: make(chan []int, n), null: -1}
	defer func() {
		if err != nil {
			b.close()
			err = fmt.Errorf("process: reserve descriptors: %w", err)
		}
	}()
	if b.null, err = unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return nil, err
	}
	for range n {
		var set []int
		for range berthSize {
			fd, err := unix.FcntlInt(uintptr(b.null), unix.F_DUPFD_CLOEXEC, lowFD)
			if err != nil {
				closeAll(set)
				return nil, err
			}
			set = append(set, fd)
			b.end = max(b.end, fd+1)
		}
		b.free <- set
	}
	return b, nil
}

// close lets go of the berths. None is in use.
func (b *berths) close() {
	close(b.free)
	for set := range b.free {
		closeAll(set)
	}
	if b.null >= 0 {
		unix.Close(b.null)
	}
}

// spawn runs a script in a new process, as the function spawn does. The process has
// copies of fds as 0, 1, 2 and so on; rest adds what the script does after that.
func (b *berths) spawn(fds []int, cgroup int, rest func(s *script)) (p *proc, err error) {
	berth, err := b.take(fds)
	defer func() { err = errors.Join(err, b.give(berth)) }()
	if err != nil {
		return nil, err
	}
	var s script
	defer s.release()
	s.descriptors(b.end, berth)
	rest(&s)
	return spawn(&s, cgroup)
}

// take puts copies of fds into a berth, which give empties, with an error too. It
// waits for one that is free.
func (b *berths) take(fds []int) (berth []int, err error) {
	berth = (<-b.free)[:len(fds)]
	for i, fd := range fds {
		if err := dupOver(fd, berth[i]); err != nil {
			return berth, err
		}
	}
	return berth, nil
}

// give closes what is in a berth and makes it free.
func (b *berths) give(berth []int) error {
	var errs []error
	for _, fd := range berth {
		errs = append(errs, dupOver(b.null, fd))
	}
	b.free <- berth[:berthSize]
	return errors.Join(errs...)
}

// dupOver makes to, which is open, a copy of from.
func dupOver(from, to int) error {
	for {
		err := unix.Dup3(from, to, unix.O_CLOEXEC)
		if err != unix.EINTR && err != unix.EBUSY {
			return err
		}
	}
}

// descriptors leaves the process with what is in a berth, as 0, 1, 2 and so on; end
// is above every berth. It comes first: until then the process shares Hearth's own.
func (s *script) descriptors(end int, berth []int) {
	s.add("leave Hearth's descriptors", unix.SYS_CLOSE_RANGE, uintptr(end), uintptr(^uint32(0)), unix.CLOSE_RANGE_UNSHARE)
	for to, from := range berth {
		s.add("move a descriptor", unix.SYS_DUP3, uintptr(from), uintptr(to), 0)
	}
	s.add("close descriptors", unix.SYS_CLOSE_RANGE, uintptr(len(berth)), uintptr(^uint32(0)), 0)
}
