package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

const (
	linkWait  = 2 * time.Second
	linkPause = 200 * time.Microsecond
	// dnsSockets is how many sockets listenDNS opens.
	dnsSockets = 2
)

// Netns is one network namespace, held by its descriptor.
type Netns struct {
	pool     *Pool
	fd       int
	released atomic.Bool

	// What follows is zero in a namespace without egress.
	egress  bool
	slot    int
	link    int        // index of the host's end of the veth
	address netip.Addr // of the instance
	dns     *server
	sockets int // Hearth's own, with nothing else in the namespace
	// received is how many packets came out of the veth before this tenant. Only
	// scrub uses it.
	received uint64
}

// FD is the namespace's descriptor, for setns. It is the pool's: valid until
// Release, not to be closed.
func (n *Netns) FD() int { return n.fd }

// Egress is what the namespace reaches, which after Options.Degrade may be less
// than what was asked for.
func (n *Netns) Egress() sandbox.Egress {
	if n.egress {
		return sandbox.EgressInternet
	}
	return sandbox.EgressNone
}

// Address is the instance's own; the zero Addr without egress.
func (n *Netns) Address() netip.Addr { return n.address }

// newEmpty makes a namespace with lo and nothing else: about 0.6 ms.
func (p *Pool) newEmpty() (*Netns, error) {
	fd, err := newNamespace(p.home, func(int) error { return loopbackUp() })
	if err != nil {
		return nil, err
	}
	return &Netns{pool: p, fd: fd}, nil
}

// newEgress makes a namespace with a veth and the resolver.
func (p *Pool) newEgress(slot int) (*Netns, error) {
	host, instance := p.addresses(slot)
	n := &Netns{pool: p, egress: true, slot: slot, address: instance}
	var err error
	n.fd, err = newNamespace(p.home, func(ns int) error {
		// Counted first: sockets that are closed stay for a moment.
		if n.sockets, err = countSockets(); err != nil {
			return err
		}
		n.sockets += dnsSockets
		if err := loopbackUp(); err != nil {
			return err
		}
		// Before the veth arrives: it is to have no IPv6 for a moment either.
		if err := setSysctls(map[string]string{"/proc/sys/net/ipv6/conf/default/disable_ipv6": "1"}); err != nil {
			return err
		}
		if n.link, err = p.addVeth(slot, ns, host); err != nil {
			return err
		}
		if err := setUpInside(instance, host); err != nil {
			return err
		}
		if err := p.awaitLink(n.link); err != nil {
			return err
		}
		packets, streams, err := listenDNS()
		if err != nil {
			return err
		}
		n.dns = p.resolver.serve(packets, streams)
		return nil
	})
	if err != nil {
		if n.dns != nil {
			n.dns.close()
		}
		if n.link != 0 {
			err = errors.Join(err, p.deleteLink(n.link))
		}
		return nil, fmt.Errorf("make a network namespace with egress: %w", err)
	}
	return n, nil
}

// addresses are the two ends of a slot: neighbours in a /31 (RFC 3021).
func (p *Pool) addresses(slot int) (host, instance netip.Addr) {
	b := p.subnet.Addr().As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	v += uint32(slot) * 2
	at := func(v uint32) netip.Addr {
		return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
	}
	return at(v), at(v + 1)
}

// addVeth makes the pair: one end here, the other in the namespace ns as eth0.
// The calling thread is in that namespace, so what concerns the host goes through
// the pool's netlink sockets, which were opened there.
func (p *Pool) addVeth(slot, ns int, host netip.Addr) (int, error) {
	name := fmt.Sprintf("%s%04x", p.veths, slot)
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name, MTU: p.uplinks.mtu(), Group: p.group, NumTxQueues: 1, NumRxQueues: 1},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(ns), PeerNumTxQueues: 1, PeerNumRxQueues: 1,
	}
	if err := p.host.LinkAdd(veth); err != nil {
		return 0, fmt.Errorf("add veth %s: %w", name, err)
	}
	link, err := p.host.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("find veth %s: %w", name, err)
	}
	index := link.Attrs().Index
	if err := p.setUpOutside(link, host); err != nil {
		return index, fmt.Errorf("set up veth %s: %w", name, err)
	}
	return index, nil
}

// setUpOutside configures the host's end, before it is up.
func (p *Pool) setUpOutside(link netlink.Link, host netip.Addr) error {
	name := link.Attrs().Name
	// /proc/sys/net shows the namespace of the thread that opens it.
	err := inNamespace(p.home, p.home, func() error {
		return setSysctls(map[string]string{
			"/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6": "1",
			conf(name, "forwarding"):                            "1",
			conf(name, "rp_filter"):                             "1",
			conf(name, "accept_redirects"):                      "0",
			conf(name, "send_redirects"):                        "0",
		})
	})
	if err != nil {
		return err
	}
	if err := p.host.AddrAdd(link, &netlink.Addr{IPNet: pointToPoint(host)}); err != nil {
		return err
	}
	return p.host.LinkSetUp(link)
}

// setUpInside configures the instance's end, from inside.
func setUpInside(instance, host netip.Addr) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find eth0: %w", err)
	}
	if err := h.AddrAdd(link, &netlink.Addr{IPNet: pointToPoint(instance)}); err != nil {
		return fmt.Errorf("address eth0: %w", err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring up eth0: %w", err)
	}
	if err := h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: host.AsSlice()}); err != nil {
		return fmt.Errorf("add the default route: %w", err)
	}
	return nil
}

// awaitLink waits until the kernel uses the host's end, which came up before its
// peer: some milliseconds in which a packet to the instance would be lost, and
// with it a second, until the sender tries again.
func (p *Pool) awaitLink(index int) error {
	deadline := time.Now().Add(linkWait)
	for {
		link, err := p.host.LinkByIndex(index)
		if err != nil {
			return fmt.Errorf("find veth %d: %w", index, err)
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("veth %s is not up after %v", link.Attrs().Name, linkWait)
		}
		time.Sleep(linkPause)
	}
}

func pointToPoint(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(31, 32)}
}

// listenDNS opens the resolver's sockets in the calling thread's namespace. They
// are served from wherever goroutines run.
func listenDNS() (net.PacketConn, net.Listener, error) {
	const address = "127.0.0.1:53"
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // Go's default, which would be two sockets in one
	packets, err := lc.ListenPacket(context.Background(), "udp4", address)
	if err != nil {
		return nil, nil, fmt.Errorf("resolver: %w", err)
	}
	streams, err := lc.Listen(context.Background(), "tcp4", address)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("resolver: %w", err), packets.Close())
	}
	return packets, streams, nil
}
