package network

import (
	"net/netip"
	"slices"
)

// notPublic is what no instance reaches unless it is allowed: the IPv4 entries
// of the IANA special-purpose registry (RFC 6890) that are not globally
// reachable, multicast and the reserved rest, and the metadata services that
// live at public addresses.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT; Alibaba's metadata
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("168.63.129.16/32"), // Azure's host agent
	netip.MustParsePrefix("169.254.0.0/16"),   // link-local; most clouds' metadata
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"), // Oracle's metadata
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"), // benchmarks; instances have addresses here
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("224.0.0.0/3"), // multicast, reserved, broadcast
}

// span is a range of addresses: from first up to, not including, end. The zero
// end is the end of all addresses.
type span struct{ first, end netip.Addr }

// spans turns prefixes into ranges that neither overlap nor touch, in order:
// what an interval set of nftables wants.
func spans(prefixes []netip.Prefix) []span {
	sorted := slices.Clone(prefixes)
	for i, p := range sorted {
		sorted[i] = p.Masked()
	}
	slices.SortFunc(sorted, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	var out []span
	for _, p := range sorted {
		s := span{p.Addr(), lastOf(p).Next()}
		if p.Addr().Is4() && !s.end.Is4() {
			s.end = netip.Addr{}
		}
		if n := len(out); n > 0 && (!out[n-1].end.IsValid() || s.first.Compare(out[n-1].end) <= 0) {
			if out[n-1].end.IsValid() && (!s.end.IsValid() || s.end.Compare(out[n-1].end) > 0) {
				out[n-1].end = s.end
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// lastOf returns the highest address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// candidates are the subnets that are tried where none is configured.
func candidates() []netip.Prefix {
	const bits = 18 // 8,192 instances each
	var out []netip.Prefix
	for p := netip.MustParsePrefix("198.18.0.0/18"); len(out) < 8; {
		out = append(out, p)
		p = netip.PrefixFrom(lastOf(p).Next(), bits)
	}
	return out
}
