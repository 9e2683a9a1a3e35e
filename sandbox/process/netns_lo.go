//go:build linux && amd64

package process

import (
	"context"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// loopback makes network namespaces with a loopback interface and nothing else.
// Each is used once: nothing that a sandbox did to its network can reach the
// next. A few are made ahead, since making one takes 0.5-5 ms.
type loopback struct {
	ready chan *loNetns
	stop  chan struct{}
	wg    sync.WaitGroup
}

// loAhead is how many are made ahead.
const loAhead = 8

func newLoopback() *loopback {
	l := &loopback{ready: make(chan *loNetns, loAhead), stop: make(chan struct{})}
	l.wg.Go(l.fill)
	return l
}

func (l *loopback) fill() {
	for {
		ns, err := newLoNetns()
		if err != nil {
			return // Acquire tries for itself, and says why
		}
		select {
		case l.ready <- ns:
		case <-l.stop:
			ns.Release()
			return
		}
	}
}

// Acquire implements Networks for sandbox.EgressNone.
func (l *loopback) Acquire(ctx context.Context, _ sandbox.Egress) (Netns, error) {
	select {
	case ns := <-l.ready:
		return ns, nil
	default:
		return newLoNetns()
	}
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
			return nil
		}
	}
}

// loNetns lives as long as its descriptor and the processes in it: it has no name.
type loNetns struct{ f *os.File }

func (n *loNetns) FD() int  { return int(n.f.Fd()) }
func (n *loNetns) Release() { n.f.Close() }

func newLoNetns() (*loNetns, error) {
	n := &loNetns{}
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("process: new network namespace: %w", err)
		}
		if err := loopbackUp(); err != nil {
			return fmt.Errorf("process: bring the loopback interface up: %w", err)
		}
		n.f, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr)
}
