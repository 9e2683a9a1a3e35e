package network

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"hearth/sandbox"
)

// Probe tries on this host what a Pool needs, with a short-lived one of its own,
// and reports what works. It changes nothing that it does not undo.
func Probe(o Options) []Check {
	// Beside a server that runs, and beside another doctor.
	o.DataID = fmt.Sprintf("%s probe %d", o.DataID, os.Getpid())
	o.Spares, o.Degrade = 1, false
	checks := []Check{probeNames(o)}
	p, err := New(o)
	if err != nil {
		return append(checks, Check{Name: "network namespaces", Detail: err.Error(),
			Fix: "run hearth as root, in a container with CAP_NET_ADMIN and CAP_SYS_ADMIN"})
	}
	checks = append(checks, probeEmpty(p), probeEgress(p), probeFirewalls())
	if err := p.Close(); err != nil {
		checks = append(checks, Check{Name: "network clean-up", Detail: err.Error(),
			Fix: "remove the links and the nftables table whose names begin with " + p.veths + " and " + tablePrefix})
	}
	return checks
}

func probeNames(o Options) Check {
	c := Check{Name: "name servers"}
	o, err := o.withDefaults()
	if err != nil {
		c.Detail, c.Fix = err.Error(), "correct the network options"
		return c
	}
	servers := o.Upstreams
	if len(servers) == 0 {
		servers = readResolvConf(o.ResolvConf)
	}
	if len(servers) == 0 {
		c.Detail = o.ResolvConf + " names none: functions cannot resolve names"
		c.Fix = "add a nameserver line to " + o.ResolvConf + ", or configure upstreams"
		return c
	}
	c.OK, c.Detail = true, join(servers)
	return c
}

func join(servers []netip.AddrPort) string {
	var out []string
	for _, s := range servers {
		out = append(out, s.String())
	}
	return strings.Join(out, ", ")
}

func probeEmpty(p *Pool) Check {
	c := Check{Name: "network namespaces"}
	n, err := p.Acquire(context.Background(), sandbox.EgressNone)
	if err != nil {
		c.Detail, c.Fix = err.Error(), "run hearth as root, in a container with CAP_SYS_ADMIN"
		return c
	}
	n.Release()
	c.OK, c.Detail = true, "each sandbox has its own"
	return c
}

func probeEgress(p *Pool) Check {
	c := Check{Name: "egress"}
	n, err := p.Acquire(context.Background(), sandbox.EgressInternet)
	if err != nil {
		c.Detail = err.Error()
		c.Fix = "load the kernel's nftables and veth (modprobe -a nf_tables nft_masq nft_fib_inet nft_reject_inet nft_connlimit veth), " +
			"keep /proc/sys writable, and choose a free subnet; until then functions run with egress none"
		return c
	}
	defer n.Release()
	if err := n.scrub(); err != nil {
		c.Detail = "works, but namespaces cannot be recycled: " + err.Error()
		c.Fix = "use a kernel with CONFIG_INET_DIAG_DESTROY and CONFIG_NF_CT_NETLINK"
		return c
	}
	c.OK, c.Detail = true, fmt.Sprintf("instances have addresses in %v, seen on this host only", p.subnet)
	return c
}

func probeFirewalls() Check {
	c := Check{Name: "other firewalls"}
	chains, err := dropsForwarded()
	switch {
	case err != nil:
		c.Detail, c.Fix = err.Error(), "load the kernel's nftables"
	case len(chains) > 0:
		c.Detail = "these drop what is forwarded, functions' packets too, unless they have a rule for them: " + strings.Join(chains, ", ")
		c.Fix = "accept interfaces h* there; beside Docker: iptables -I DOCKER-USER -i h+ -j ACCEPT and the same with -o"
	default:
		c.OK, c.Detail = true, "none drops what is forwarded"
	}
	return c
}
