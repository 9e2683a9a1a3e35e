package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// A sandbox with egress reaches a server by name and by address, one without
// reaches neither.
func TestReach(t *testing.T) {
	w := newWorld(t)
	p := w.pool(nil)
	out, none := acquire(t, p, sandbox.EgressInternet), acquire(t, p, sandbox.EgressNone)
	defer out.Release()
	defer none.Release()
	for _, host := range []string{"server.example", worldSide, public} {
		body, err := out.get(t, host)
		if err != nil {
			t.Errorf("with egress, %s: %v", host, err)
		} else if !strings.HasSuffix(strings.Fields(body)[1], ":"+body[strings.LastIndex(body, ":")+1:]) || !strings.Contains(body, " "+hostSide+":") {
			t.Errorf("with egress, %s answered %q, want the host's address as the caller's", host, body)
		}
		if body, err := none.get(t, host); err == nil {
			t.Errorf("without egress, %s answered %q", host, body)
		}
	}
	if out.Egress() != sandbox.EgressInternet || none.Egress() != sandbox.EgressNone || none.Address().IsValid() {
		t.Error("Egress or Address is wrong")
	}
}

// Without egress nothing listens at :53, so lookups fail at once.
func TestNoResolverWithoutEgress(t *testing.T) {
	w := newWorld(t)
	p := w.pool(nil)
	n := acquire(t, p, sandbox.EgressNone)
	defer n.Release()
	if _, err := n.dial(t.Context(), "tcp", "127.0.0.1:53"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("dial :53: %v, want refused", err)
	}
}

func TestOutOfReach(t *testing.T) {
	w := newWorld(t)
	p := w.pool(nil)
	out, neighbour := acquire(t, p, sandbox.EgressInternet), acquire(t, p, sandbox.EgressInternet)
	defer out.Release()
	defer neighbour.Release()
	onHost, err := net.Listen("tcp", "0.0.0.0:0")
	w.check(err)
	serveHTTP(t, onHost, "host")
	serveHTTP(t, listenIn(t, p.home, neighbour.fd, "tcp", "0.0.0.0:8080"), "neighbour")
	port := onHost.Addr().(*net.TCPAddr).Port
	gateway, _ := p.addresses(out.slot)
	otherGateway, _ := p.addresses(neighbour.slot)

	targets := []string{
		fmt.Sprintf("%v:%d", gateway, port), fmt.Sprintf("%v:%d", otherGateway, port),
		fmt.Sprintf("%s:%d", hostSide, port), // in an allowed network, and still the host
		fmt.Sprintf("%v:8080", neighbour.Address()),
		metadata + ":80", azure + ":80", private + ":80",
		"198.19.255.1:80", "100.100.100.200:80", "192.168.255.9:80", "224.0.0.1:80",
	}
	targets = append(targets, fmt.Sprintf("%s:%d", hostOther, port))
	for _, target := range targets {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		conn, err := out.dial(ctx, "tcp4", target)
		cancel()
		var timeout net.Error
		if err == nil {
			conn.Close()
			t.Errorf("%s was reached", target)
		} else if errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: %v; it should be refused, and not only out of reach", target, err)
		}
	}
	// The controls: from the host the same servers answer.
	for _, target := range []string{metadata + ":80", private + ":80", azure + ":80", fmt.Sprintf("%s:%d", hostSide, port)} {
		conn, err := net.DialTimeout("tcp", target, patience)
		if err != nil {
			t.Errorf("control: %s from the host: %v", target, err)
			continue
		}
		conn.Close()
	}
	if body, err := out.get(t, "metadata.example"); err == nil {
		t.Errorf("a name that points at the metadata address answered %q", body)
	}
	// Nor does the host reach into an instance.
	if conn, err := net.DialTimeout("tcp", fmt.Sprintf("%v:8080", neighbour.Address()), 300*time.Millisecond); err == nil {
		conn.Close()
		t.Error("the host reached a server in an instance")
	}
}

// A packet under a source that is not the instance's own goes nowhere; the next
// honest one is the first to arrive.
func TestSpoofedSource(t *testing.T) {
	w := newWorld(t)
	p := w.pool(nil)
	n, neighbour := acquire(t, p, sandbox.EgressInternet), acquire(t, p, sandbox.EgressInternet)
	defer n.Release()
	defer neighbour.Release()
	sink := packetsIn(t, w.home, w.ns, worldSide+":9999")
	send := func(source netip.Addr, text string) {
		t.Helper()
		err := inNamespace(p.home, n.fd, func() error {
			d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0))}
			conn, err := d.Dial("udp4", worldSide+":9999")
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write([]byte(text))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, spoofed := range []netip.Addr{netip.MustParseAddr("10.231.7.9"), netip.MustParseAddr("9.9.9.9"), neighbour.Address()} {
		w.check(inNamespace(p.home, n.fd, func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: spoofed.AsSlice(), Mask: net.CIDRMask(32, 32)}})
		}))
		send(spoofed, "spoofed "+spoofed.String())
	}
	send(n.Address(), "honest")
	buf := make([]byte, 100)
	w.check(sink.SetReadDeadline(time.Now().Add(patience)))
	size, _, err := sink.ReadFrom(buf)
	if err != nil || string(buf[:size]) != "honest" {
		t.Errorf("received %q, %v; want the honest packet only", buf[:size], err)
	}
}

// One instance cannot fill the host's table of connections.
func TestConnectionBound(t *testing.T) {
	w := newWorld(t)
	p := w.pool(func(o *Options) { o.Connections = 8 })
	n := acquire(t, p, sandbox.EgressInternet)
	defer n.Release()
	refused := 0
	for range 16 {
		conn, err := n.dial(t.Context(), "tcp4", worldSide+":80")
		if err != nil {
			refused++
			continue
		}
		defer conn.Close()
	}
	if refused == 0 || refused > 9 {
		t.Errorf("%d of 16 connections were refused with a bound of 8", refused)
	}
}

// An administrator's `nft flush ruleset` does not leave instances unfiltered.
func TestTableComesBack(t *testing.T) {
	w := newWorld(t)
	p := w.pool(nil)
	n := acquire(t, p, sandbox.EgressInternet)
	defer n.Release()
	w.check(p.filter.remove())
	eventually(t, "the table is back", func() bool {
		tables, err := hearthTables()
		w.check(err)
		_, found := tables[p.filter.name]
		return found
	})
	if _, err := n.dial(t.Context(), "tcp4", metadata+":80"); err == nil {
		t.Error("the metadata address was reached")
	}
	if _, err := n.get(t, "server.example"); err != nil {
		t.Error(err)
	}
}

// The host forwards for instances, and has not become a router for others: a
// packet from the world to a third network is dropped.
func TestNoRouter(t *testing.T) {
	w := newWorld(t)
	const third = "10.231.9.2"
	ns, err := newNamespace(w.home, func(int) error { return loopbackUp() })
	w.check(err)
	defer unix.Close(ns)
	name := fmt.Sprintf("hy%d", os.Getpid())
	w.check(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "up", PeerNamespace: netlink.NsFd(ns)}))
	link, err := netlink.LinkByName(name)
	w.check(err)
	defer func() { w.check(netlink.LinkDel(link)) }()
	configure := func(link netlink.Link, address string) error {
		addr, _ := netlink.ParseAddr(address + "/30")
		return errors.Join(netlink.AddrAdd(link, addr), netlink.LinkSetUp(link))
	}
	w.check(configure(link, "10.231.9.1"))
	route := func(gw string) error {
		return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gw)})
	}
	w.check(inNamespace(w.home, ns, func() error {
		up, err := netlink.LinkByName("up")
		if err != nil {
			return err
		}
		return errors.Join(configure(up, third), route("10.231.9.1"))
	}))
	w.check(inNamespace(w.home, w.ns, func() error { return route(hostSide) }))
	sink := packetsIn(t, w.home, ns, third+":9999")
	send := func(text string) {
		t.Helper()
		w.check(inNamespace(w.home, w.ns, func() error {
			conn, err := net.Dial("udp4", third+":9999")
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write([]byte(text))
			return err
		}))
	}
	forwarding := conf(fmt.Sprintf("hw%d", os.Getpid()), "forwarding")
	p := w.pool(nil)
	if b, _ := os.ReadFile(forwarding); string(b) != "1\n" {
		t.Fatal("the uplink does not forward: the test tests nothing")
	}
	send("where Hearth forwards")
	w.check(p.Close())
	w.check(os.WriteFile(forwarding, []byte("1"), 0o644))
	p = w.pool(func(o *Options) { o.DataID += "/again" })
	send("where the administrator does")
	w.check(p.Close())
	if b, _ := os.ReadFile(forwarding); string(b) != "1\n" {
		t.Error("Hearth switched off what it had not switched on")
	}
	buf := make([]byte, 100)
	w.check(sink.SetReadDeadline(time.Now().Add(patience)))
	n, _, err := sink.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "where the administrator does" {
		t.Errorf("the third network received %q, %v", buf[:n], err)
	}
}
