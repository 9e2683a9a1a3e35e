package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
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
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		conn, err := out.dial(ctx, "tcp4", target)
		cancel()
		if err == nil {
			conn.Close()
			t.Errorf("%s was reached", target)
		} else if d := time.Since(start); d > time.Second {
			t.Errorf("%s: %v only after %v; it should be refused at once", target, err, d)
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

// What a tenant leaves behind is gone for the next.
func TestRecycle(t *testing.T) {
	w := newWorld(t)
	p := w.pool(nil)
	n := acquire(t, p, sandbox.EgressInternet)
	address, fd := n.Address(), n.FD()
	if _, err := n.get(t, "server.example"); err != nil {
		t.Fatal(err)
	}
	// A connection that outlives its process: closed here, still open there.
	hung := listenIn(t, w.home, w.ns, "tcp", worldSide+":7000")
	defer hung.Close()
	conn, err := n.dial(t.Context(), "tcp4", worldSide+":7000")
	w.check(err)
	peer, err := hung.Accept()
	w.check(err)
	defer peer.Close()
	conn.Close()
	// A loopback connection that ends in TIME_WAIT.
	local := listenIn(t, w.home, n.fd, "tcp", "127.0.0.1:9001")
	conn, err = n.dial(t.Context(), "tcp4", "127.0.0.1:9001")
	w.check(err)
	conn.Close()
	local.Close()
	n.Release()
	n.Release() // idempotent

	var again *Netns
	eventually(t, "the namespace comes back", func() bool {
		got := acquire(t, p, sandbox.EgressInternet)
		if got.Address() == address {
			again = got
			return true
		}
		t.Cleanup(got.Release)
		return false
	})
	defer again.Release()
	if again.FD() != fd {
		t.Error("the address came back in another namespace")
	}
	w.check(inNamespace(p.home, again.fd, func() error {
		for _, file := range []string{"tcp", "tcp6", "udp6", "raw", "unix", "packet"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + file)
			if err != nil {
				return err
			}
			lines := strings.Count(string(b), "\n") - 1
			if want := map[string]int{"tcp": 1}[file]; lines != want {
				t.Errorf("/proc/net/%s after recycling:\n%s", file, b)
			}
		}
		return nil
	}))
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
	w.check(err)
	for _, f := range flows {
		if f.Forward.SrcIP.String() == address.String() {
			t.Errorf("the host remembers %v", f)
		}
	}
	if _, err := again.get(t, "server.example"); err != nil {
		t.Errorf("after recycling: %v", err)
	}
}

// A namespace in which somebody still holds a socket is never handed out again.
func TestDirtyIsDeleted(t *testing.T) {
	w := newWorld(t)
	p := w.pool(nil)
	n := acquire(t, p, sandbox.EgressInternet)
	held := packetsIn(t, p.home, n.fd, "127.0.0.1:0")
	defer held.Close()
	link := n.link
	n.Release()
	eventually(t, "the veth is deleted", func() bool {
		_, err := netlink.LinkByIndex(link)
		return errors.As(err, &netlink.LinkNotFoundError{})
	})
}

func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	before := look(t)
	p := w.pool(nil)
	const many = 50
	got := make([]*Netns, many)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			n, err := p.Acquire(t.Context(), sandbox.EgressInternet)
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = n
			if i%10 == 0 {
				if _, err := n.get(t, "server.example"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	seen := make(map[netip.Addr]bool)
	for _, n := range got {
		if seen[n.Address()] {
			t.Errorf("%v was handed out twice", n.Address())
		}
		seen[n.Address()] = true
	}
	for i, n := range got {
		if i%2 == 0 {
			wg.Go(n.Release) // the others are Close's
		}
	}
	wg.Wait()
	w.check(p.Close())
	before.none(t)
	if _, err := p.Acquire(t.Context(), sandbox.EgressInternet); !errors.Is(err, sandbox.ErrClosed) {
		t.Errorf("Acquire after Close: %v", err)
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

// An interface that becomes an uplink later forwards too.
func TestNewUplink(t *testing.T) {
	w := newWorld(t)
	p := w.pool(func(o *Options) { o.Allow = append(o.Allow, netip.MustParsePrefix("10.231.9.0/24")) })
	name := fmt.Sprintf("hx%d", os.Getpid())
	w.check(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"}))
	link, err := netlink.LinkByName(name)
	w.check(err)
	t.Cleanup(func() { w.check(netlink.LinkDel(link)) })
	addr, _ := netlink.ParseAddr("10.231.9.1/24")
	w.check(netlink.AddrAdd(link, addr))
	w.check(netlink.LinkSetUp(link))
	eventually(t, "it forwards", func() bool {
		b, err := os.ReadFile(conf(name, "forwarding"))
		w.check(err)
		return string(b) == "1\n"
	})
	w.check(p.Close())
	if b, _ := os.ReadFile(conf(name, "forwarding")); string(b) != "0\n" {
		t.Error("it still forwards after Close")
	}
}

// Two servers on one host have different subnets, and the one that stays keeps
// what it needs.
func TestTwoServers(t *testing.T) {
	w := newWorld(t)
	before := look(t)
	a := w.pool(func(o *Options) { o.DataID += "/a" })
	b := w.pool(func(o *Options) { o.DataID += "/b" })
	if a.subnet.Overlaps(b.subnet) {
		t.Errorf("%v and %v overlap", a.subnet, b.subnet)
	}
	na, nb := acquire(t, a, sandbox.EgressInternet), acquire(t, b, sandbox.EgressInternet)
	serveHTTP(t, listenIn(t, w.home, nb.fd, "tcp", "0.0.0.0:8080"), "neighbour")
	if _, err := na.dial(t.Context(), "tcp4", nb.Address().String()+":8080"); err == nil {
		t.Error("an instance of one server reached one of the other")
	}
	w.check(a.Close())
	if _, err := nb.get(t, worldSide); err != nil {
		t.Errorf("after the other server's end: %v", err)
	}
	w.check(b.Close())
	if now := look(t); now.forwarding != before.forwarding {
		t.Errorf("forwarding is %q after both ended, was %q", now.forwarding, before.forwarding)
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no id":       {},
		"IPv6 subnet": {DataID: "x", Subnet: netip.MustParsePrefix("fd00::/64")},
		"tiny subnet": {DataID: "x", Subnet: netip.MustParsePrefix("10.0.0.0/31")},
		"IPv6 allow":  {DataID: "x", Allow: []netip.Prefix{netip.MustParsePrefix("fd00::/64")}},
	} {
		if p, err := New(o); err == nil {
			p.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

// Where egress cannot be set up, asking for it is an error that says why; never
// silently less, unless that was the user's explicit word.
func TestNoEgress(t *testing.T) {
	w := newWorld(t)
	before := look(t)
	o := Options{DataID: t.Name(), Subnet: allowed} // the host's own: taken
	p, err := New(o)
	w.check(err)
	if _, err := p.Acquire(t.Context(), sandbox.EgressInternet); !errors.Is(err, ErrNoEgress) || !strings.Contains(err.Error(), "10.231.7.0/30") {
		t.Errorf("Acquire: %v", err)
	}
	acquire(t, p, sandbox.EgressNone).Release()
	w.check(p.Close())
	o.Degrade = true
	p, err = New(o)
	w.check(err)
	n := acquire(t, p, sandbox.EgressInternet)
	if n.Egress() != sandbox.EgressNone {
		t.Error("a degraded namespace says that it has egress")
	}
	n.Release()
	w.check(p.Close())
	before.none(t)
}

func TestSubnetUsedUp(t *testing.T) {
	w := newWorld(t)
	p := w.pool(func(o *Options) { o.Subnet = netip.MustParsePrefix("198.19.254.0/30") })
	for range 3 {
		n, err := p.Acquire(t.Context(), sandbox.EgressInternet)
		if err != nil {
			if !errors.Is(err, sandbox.ErrNoCapacity) {
				t.Error(err)
			}
			return
		}
		defer n.Release()
	}
	t.Error("three instances in two slots")
}

func TestProbe(t *testing.T) {
	w := newWorld(t)
	before := look(t)
	for _, c := range Probe(Options{DataID: t.Name(), Upstreams: []netip.AddrPort{w.dns}}) {
		t.Logf("%+v", c)
		if !c.OK && c.Name != "other firewalls" {
			t.Errorf("%s: %s", c.Name, c.Detail)
		}
		if c.OK != (c.Fix == "") {
			t.Errorf("%s: OK is %v and the fix is %q", c.Name, c.OK, c.Fix)
		}
	}
	before.none(t)
}

// A Release that comes late does not take the namespace from its next tenant.
func TestLateRelease(t *testing.T) {
	w := newWorld(t)
	p := w.pool(nil)
	n := acquire(t, p, sandbox.EgressInternet)
	n.Release()
	var again *Netns
	eventually(t, "the namespace comes back", func() bool {
		got := acquire(t, p, sandbox.EgressInternet)
		if got.FD() == n.FD() {
			again = got
			return true
		}
		t.Cleanup(got.Release)
		return false
	})
	n.Release()
	if _, err := again.get(t, "server.example"); err != nil {
		t.Error(err)
	}
	if again.released.Load() {
		t.Error("the next tenant's namespace was released")
	}
	again.Release()
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
