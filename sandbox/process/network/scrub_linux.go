package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// scrubWait bounds the wait for the kernel to let go of the sockets of dead
// processes, which it does some milliseconds late.
const scrubWait = time.Second

// scrub makes the namespace as it was before its tenant, whose processes are
// dead, or returns an error: then it must not be used again.
func (n *Netns) scrub() error {
	n.dns.reset()
	if err := inNamespace(n.pool.home, n.fd, n.destroySockets); err != nil {
		return err
	}
	// What the host remembers: an answer to the last tenant must not reach the
	// next. It remembers nothing of one that sent nothing.
	sent, err := n.pool.received(n.link)
	if err != nil {
		return err
	}
	if sent == n.received {
		return nil
	}
	n.received = sent
	return n.pool.flows.forget(n.address)
}

// received counts the packets that came out of a veth.
func (p *Pool) received(link int) (uint64, error) {
	l, err := p.host.LinkByIndex(link)
	if err != nil {
		return 0, fmt.Errorf("find veth %d: %w", link, err)
	}
	if l.Attrs().Statistics == nil {
		return 0, fmt.Errorf("veth %s has no statistics", l.Attrs().Name)
	}
	return l.Attrs().Statistics.RxPackets, nil
}

// destroySockets ends the TCP connections that outlived their processes, those in
// TIME_WAIT too, and waits until the only sockets are Hearth's.
func (n *Netns) destroySockets() error {
	// Paths that were learnt are a tenant's traces as well.
	if err := os.WriteFile("/proc/sys/net/ipv4/route/flush", []byte("1"), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget routes: %w", err)
	}
	deadline := time.Now().Add(scrubWait)
	count, err := countSockets()
	if err != nil {
		return err
	}
	for {
		left, err := destroyTCP()
		if err != nil {
			return err
		}
		if left == 0 && count == n.sockets {
			return nil
		}
		if count, err = settleSockets(n.sockets, deadline); err != nil {
			return err
		}
	}
}

// settleSockets waits until the namespace has no more sockets than it should. The
// one that destroyTCP asks with stays for a moment, so it must not be repeated
// meanwhile.
func settleSockets(want int, deadline time.Time) (int, error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		count, err := countSockets()
		if err != nil || count == want {
			return count, err
		}
		if time.Now().After(deadline) {
			return count, fmt.Errorf("%d sockets are left where there should be %d", count, want)
		}
		time.Sleep(pause)
	}
}

// countSockets counts the sockets of the calling thread's namespace, of every
// kind.
func countSockets() (int, error) {
	b, err := os.ReadFile("/proc/thread-self/net/sockstat")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	count, found := strings.CutPrefix(first, "sockets: used ")
	if !found {
		return 0, fmt.Errorf("sockstat begins with %q", first)
	}
	return strconv.Atoi(count)
}

// destroyTCP destroys every TCP socket of the calling thread's namespace but the
// resolver's listener, and returns how many there were.
func destroyTCP() (int, error) {
	h, err := netlink.NewHandle(unix.NETLINK_INET_DIAG)
	if err != nil {
		return 0, err
	}
	defer h.Close()
	found := 0
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, err := h.SocketDiagTCP(family)
		if err != nil {
			return 0, fmt.Errorf("list TCP sockets: %w", err)
		}
		for _, s := range sockets {
			if s.State == netlink.TCP_LISTEN && s.ID.SourcePort == 53 && s.Family == unix.AF_INET {
				continue
			}
			found++
			req := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
			req.AddData(diagRequest{s})
			_, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return found, fmt.Errorf("destroy a TCP socket: %w", err)
			}
		}
	}
	return found, nil
}

// diagRequest is struct inet_diag_req_v2 of linux/inet_diag.h, naming one socket.
type diagRequest struct{ socket *netlink.Socket }

func (r diagRequest) Len() int { return 56 }

func (r diagRequest) Serialize() []byte {
	s, b := r.socket, make([]byte, 56)
	b[0], b[1] = s.Family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], ^uint32(0)) // in any state
	binary.BigEndian.PutUint16(b[8:], s.ID.SourcePort)
	binary.BigEndian.PutUint16(b[10:], s.ID.DestinationPort)
	source, destination := s.ID.Source.To16(), s.ID.Destination.To16()
	if s.Family == unix.AF_INET {
		source, destination = s.ID.Source.To4(), s.ID.Destination.To4()
	}
	copy(b[12:28], source)
	copy(b[28:44], destination)
	binary.NativeEndian.PutUint32(b[44:], s.ID.Interface)
	binary.NativeEndian.PutUint32(b[48:], s.ID.Cookie[0])
	binary.NativeEndian.PutUint32(b[52:], s.ID.Cookie[1])
	return b
}
