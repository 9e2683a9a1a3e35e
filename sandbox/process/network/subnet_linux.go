package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// claimSubnet finds a subnet in which the host has neither address nor route, and
// holds it against other Hearths on the host, by a name that dies with the
// process: an abstract unix socket.
func claimSubnet(wanted netip.Prefix) (netip.Prefix, net.Listener, error) {
	taken, err := takenPrefixes()
	if err != nil {
		return netip.Prefix{}, nil, err
	}
	list := candidates()
	if wanted.IsValid() {
		list = []netip.Prefix{wanted}
	}
	var why []error
	for _, subnet := range list {
		if other, found := overlapping(taken, subnet); found {
			why = append(why, fmt.Errorf("%v: the host uses %v", subnet, other))
			continue
		}
		claim, err := net.Listen("unix", "@hearth-subnet-"+subnet.String())
		if err != nil {
			why = append(why, fmt.Errorf("%v: another Hearth uses it: %w", subnet, err))
			continue
		}
		return subnet, claim, nil
	}
	return netip.Prefix{}, nil, fmt.Errorf("no subnet is free for instances: %w", errors.Join(why...))
}

func overlapping(taken []netip.Prefix, p netip.Prefix) (netip.Prefix, bool) {
	for _, t := range taken {
		if t.Overlaps(p) {
			return t, true
		}
	}
	return netip.Prefix{}, false
}

// takenPrefixes lists the host's IPv4 addresses and routes. Routes that are wider
// than any subnet of ours (the default one, the halves of some VPNs) do not count:
// more specific ones beat them.
func takenPrefixes() ([]netip.Prefix, error) {
	const widest = 8
	var taken []netip.Prefix
	add := func(n *net.IPNet) {
		if n == nil {
			return
		}
		addr, ok := netip.AddrFromSlice(n.IP.To4())
		ones, _ := n.Mask.Size()
		if ok && ones >= widest {
			taken = append(taken, netip.PrefixFrom(addr, ones).Masked())
		}
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		add(a.IPNet)
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		add(r.Dst)
	}
	return taken, nil
}
