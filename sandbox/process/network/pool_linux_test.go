package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"hearth/sandbox"
)

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
