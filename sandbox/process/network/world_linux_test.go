package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// The tests' world: another network namespace, joined to this one by a veth. It
// stands for the internet and for everything that functions must not reach; no
// packet leaves the machine.
const (
	hostSide   = "10.231.7.1"      // the host's address towards the world
	worldSide  = "10.231.7.2"      // in the network that the tests allow
	private    = "10.231.8.2"      // in a private network that they do not
	public     = "11.22.33.44"     // routed into the world, as if public
	metadata   = "169.254.169.254" // likewise
	azure      = "168.63.129.16"   // likewise
	hostOther  = "192.0.2.77"      // another address of the host
	serverName = "server.example."
	patience   = 10 * time.Second
)

var allowed = netip.MustParsePrefix("10.231.7.0/30")

type world struct {
	t    *testing.T
	home int
	ns   int
	dns  netip.AddrPort
}

// newWorld makes the world, with an HTTP server at port 80 of each address, and
// a name server.
func newWorld(t *testing.T) *world {
	t.Helper()
	home, err := threadNS()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, home: home, dns: netip.MustParseAddrPort(worldSide + ":5300")}
	if w.ns, err = newNamespace(home, func(int) error { return loopbackUp() }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(w.ns)
		unix.Close(home)
	})
	w.join()
	for _, address := range []string{worldSide, private, public, metadata, azure} {
		w.serve(address)
	}
	w.serveDNS()
	return w
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// join connects the world by a veth, whose end here is named after the process so
// that tests of two checkouts do not meet.
func (w *world) join() {
	w.t.Helper()
	name := fmt.Sprintf("hw%d", os.Getpid())
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "up", PeerNamespace: netlink.NsFd(w.ns)}
	w.check(netlink.LinkAdd(veth))
	link, err := netlink.LinkByName(name)
	w.check(err)
	w.t.Cleanup(func() { w.check(netlink.LinkDel(link)) })
	addr, _ := netlink.ParseAddr(hostSide + "/30")
	w.check(netlink.AddrAdd(link, addr))
	addr, _ = netlink.ParseAddr(hostOther + "/32")
	w.check(netlink.AddrAdd(link, addr))
	w.check(netlink.LinkSetUp(link))
	w.check(inNamespace(w.home, w.ns, func() error {
		up, err := netlink.LinkByName("up")
		if err != nil {
			return err
		}
		for _, a := range []string{worldSide + "/30", private + "/32", public + "/32", metadata + "/32", azure + "/32"} {
			addr, _ := netlink.ParseAddr(a)
			if err := netlink.AddrAdd(up, addr); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(up)
	}))
	w.check(netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(worldSide)}))
	for _, a := range []string{private, public, metadata, azure} {
		_, dst, _ := net.ParseCIDR(a + "/32")
		w.check(netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, Gw: net.ParseIP(worldSide)}))
	}
}

// listen opens a listener in a namespace.
func listenIn(t *testing.T, home, ns int, network, address string) net.Listener {
	t.Helper()
	var l net.Listener
	err := inNamespace(home, ns, func() (err error) {
		l, err = net.Listen(network, address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (w *world) serve(address string) {
	w.t.Helper()
	l := listenIn(w.t, w.home, w.ns, "tcp", address+":80")
	serveHTTP(w.t, l, address)
}

// serveHTTP answers every request with a text and the caller's address.
func serveHTTP(t *testing.T, l net.Listener, text string) {
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, text, " ", r.RemoteAddr)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ErrServerClosed
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
}

// packetsIn opens a packet socket in a namespace.
func packetsIn(t *testing.T, home, ns int, address string) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	err := inNamespace(home, ns, func() (err error) {
		c, err = net.ListenPacket("udp4", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (w *world) serveDNS() {
	w.t.Helper()
	records := map[string]string{serverName: worldSide, "metadata.example.": metadata}
	serveNames(w.t, packetsIn(w.t, w.home, w.ns, w.dns.String()), records)
}

// serveNames is a name server for the A records given.
func serveNames(t *testing.T, c net.PacketConn, records map[string]string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := nameReply(buf[:n], records); reply != nil {
				_, _ = c.WriteTo(reply, from)
			}
		}
	}()
	t.Cleanup(func() {
		c.Close()
		<-done
	})
}

func nameReply(message []byte, records map[string]string) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	address, found := records[strings.ToLower(q.Name.String())]
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true}, Questions: []dnsmessage.Question{q}}
	if !found {
		m.RCode = dnsmessage.RCodeNameError
	} else if q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(address).As4()},
		}}
	}
	reply, err := m.Pack()
	if err != nil {
		return nil
	}
	return reply
}

// pool opens a pool that knows the world's name server; change may alter it.
func (w *world) pool(change func(*Options)) *Pool {
	w.t.Helper()
	o := Options{DataID: w.t.Name(), Allow: []netip.Prefix{allowed}, Upstreams: []netip.AddrPort{w.dns}, Spares: 1}
	if change != nil {
		change(&o)
	}
	p, err := New(o)
	w.check(err)
	w.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			w.t.Errorf("Close: %v", err)
		}
	})
	w.check(p.noEgress)
	return p
}

func acquire(t *testing.T, p *Pool, egress sandbox.Egress) *Netns {
	t.Helper()
	n, err := p.Acquire(t.Context(), egress)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// dial connects from inside a namespace.
func (n *Netns) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := inNamespace(n.pool.home, n.fd, func() (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// get fetches http://host/ from inside, resolving with the namespace's resolver.
func (n *Netns) get(t *testing.T, host string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	names := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return n.dial(ctx, network, "127.0.0.1:53")
	}}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		name, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		addrs, err := names.LookupNetIP(ctx, "ip4", name)
		if err != nil {
			return nil, err
		}
		return n.dial(ctx, "tcp4", net.JoinHostPort(addrs[0].String(), port))
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", nil)
	if err != nil {
		return "", err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %v: %s", patience, what)
		case <-tick.C:
		}
	}
}

// traces is what a pool may leave in the kernel and in this process.
type traces struct {
	links, files, goroutines int
	tables                   int
	forwarding               string
}

func look(t *testing.T) traces {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		t.Fatal(err)
	}
	var own int
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, vethPrefix(tag(t.Name()))) {
			own++
		}
	}
	tables, err := hearthTables()
	if err != nil {
		t.Fatal(err)
	}
	tr := traces{links: own, goroutines: runtime.NumGoroutine()}
	if _, found := tables[tableName(tag(t.Name()))]; found {
		tr.tables = 1
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	tr.files = len(files)
	value, err := os.ReadFile(conf(fmt.Sprintf("hw%d", os.Getpid()), "forwarding"))
	if err != nil {
		t.Fatal(err)
	}
	tr.forwarding = string(value)
	return tr
}

// none fails if anything was left since before.
func (before traces) none(t *testing.T) {
	t.Helper()
	var now traces
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("before %+v, now %+v", before, now)
		}
	})
	eventually(t, "nothing left", func() bool {
		now = look(t)
		return now.links == before.links && now.tables == before.tables && now.forwarding == before.forwarding &&
			now.files <= before.files && now.goroutines <= before.goroutines
	})
}
