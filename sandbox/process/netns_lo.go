//go:build linux && amd64

package process

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// loopback makes network namespaces with a loopback interface and nothing else.
// Each is used once: nothing that a sandbox did to its network can reach the
// next. Some are made ahead, since making one takes 0.5-5 ms.
type loopback struct {
	home  int // the namespace that the maker is in between two that it makes
	ready chan *loNetns
	wake  chan struct{} // 1-buffered: one that was made ahead is gone
	asked atomic.Int64  // when one was asked for last, in nanoseconds since began
	began time.Time
	stop  chan struct{}
	wg    sync.WaitGroup
}

// loAhead is how many are made ahead.
const loAhead = 8

func newLoopback() (*loopback, error) {
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("process: open the network namespace: %w", err)
	}
	l := &loopback{home: home, ready: make(chan *loNetns, loAhead), wake: make(chan struct{}, 1), stop: make(chan struct{}), began: time.Now()}
	l.wg.Go(func() { _ = onThread(l.fill) }) // Acquire makes what fill could not, and says why it cannot
	return l, nil
}

// fill makes namespaces ahead, all on the calling thread, until stop.
func (l *loopback) fill() error {
	for {
		due := time.Now().Add(loPauseMost)
		for len(l.ready) < loAhead && l.lull(due) { // nobody else adds to them
			ns, err := makeLoNetns(l.home)
			if err != nil {
				return err
			}
			l.ready <- ns
		}
		select {
		case <-l.wake:
		case <-l.stop:
			return nil
		}
	}
}

const (
	// loPause is how long after one was asked for the next is made: the kernel is at
	// it for half a millisecond without letting anybody else have the CPU, and who asked
	// needs that for a sandbox. Where they are asked for all the time, loPauseMost is what
	// filling the stock up waits in all.
	loPause     = 5 * time.Millisecond
	loPauseMost = 10 * time.Millisecond
)

// lull waits until making one disturbs nobody, at most until due; false is stop.
func (l *loopback) lull(due time.Time) bool {
	for {
		asked := l.asked.Load()
		pause := min(loPause-(time.Since(l.began)-time.Duration(asked)), time.Until(due))
		if asked == 0 || pause <= 0 {
			return true
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-l.stop:
			timer.Stop()
			return false
		}
	}
}

// Acquire implements Networks for sandbox.EgressNone.
func (l *loopback) Acquire(ctx context.Context, _ sandbox.Egress) (Netns, error) {
	var ns *loNetns
	l.asked.Store(int64(time.Since(l.began)))
	select {
	case ns = <-l.ready:
	default:
		err := onThread(func() (err error) {
			ns, err = makeLoNetns(l.home)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return ns, nil
}

// Close implements Networks.
func (l *loopback) Close() error {
	close(l.stop)
	l.wg.Wait()
	for {
		select {
		case ns := <-l.ready:
			ns.Release()
		default:
			return unix.Close(l.home)
		}
	}
}

// loNetns lives as long as its descriptor and the processes in it: it has no name.
type loNetns struct{ fd int }

func (n *loNetns) FD() int  { return n.fd }
func (n *loNetns) Release() { unix.Close(n.fd) }

// makeLoNetns makes a namespace and goes back to home. On an error the calling thread
// must end, as it may be in either.
func makeLoNetns(home int) (_ *loNetns, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("process: new network namespace: %w", err)
	}
	n := &loNetns{fd: -1}
	if n.fd, err = loopbackUp(); err != nil {
		return nil, fmt.Errorf("process: bring the loopback interface up: %w", err)
	}
	if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
		n.Release()
		return nil, fmt.Errorf("process: leave the new network namespace: %w", err)
	}
	return n, nil
}

// loopbackUp brings up lo in the calling thread's namespace, which it returns a
// descriptor of.
func loopbackUp() (ns int, err error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return -1, err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr); err != nil {
		return -1, err
	}
	// By way of the socket, as what a thread looks up of itself in /proc the kernel has
	// to forget again when it ends.
	return unix.IoctlRetInt(s, unix.SIOCGSKNS)
}
