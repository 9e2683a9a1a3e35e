package hostile

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// The world is another network namespace, joined to this one by a veth: it stands
// for the internet, and for what functions must not reach. No packet leaves the
// machine.
const (
	hostSide   = "10.231.9.1"  // the host's address towards the world
	worldSide  = "10.231.9.2"  // in the network that the server is told to allow
	public     = "11.22.33.45" // routed into the world, as if public
	private    = "10.231.10.2" // in a private network that the server does not allow
	worldNet   = "10.231.9.0/30"
	worldDNS   = worldSide + ":5300"
	serverName = "server.example"
	greeting   = "hello from the world"
)

type world struct {
	t    *testing.T
	home int // the namespace of this process
	ns   int
}

// newWorld makes the world, with an HTTP server at port 80 of each of its
// addresses, and a name server that knows one name.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	w.home = w.namespaceOfThread()
	w.check(onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		w.ns = w.namespaceOfThread()
		return nil
	}))
	t.Cleanup(func() {
		unix.Close(w.ns)
		unix.Close(w.home)
	})
	w.join()
	for _, address := range []string{worldSide, public, private} {
		w.serve(address + ":80")
	}
	w.serveNames()
	return w
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) namespaceOfThread() int {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		w.t.Error(err)
	}
	return fd
}

// onThread runs fn on a thread that is thrown away afterwards, which is never the
// main one: what that one has changed would show in /proc/PID for everybody.
func onThread(fn func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			err := onThread(fn) // this goroutine keeps the main thread busy
			runtime.UnlockOSThread()
			result <- err
			return
		}
		result <- fn()
	}()
	return <-result
}

// inside runs fn in the world.
func (w *world) inside(fn func() error) {
	w.t.Helper()
	w.check(onThread(func() error {
		if err := unix.Setns(w.ns, unix.CLONE_NEWNET); err != nil {
			return err
		}
		return fn()
	}))
}

// join connects the world by a veth, whose end here is named after the process so
// that two checkouts do not meet.
func (w *world) join() {
	w.t.Helper()
	name := fmt.Sprintf("hx%d", os.Getpid())
	w.check(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "up", PeerNamespace: netlink.NsFd(w.ns)}))
	link, err := netlink.LinkByName(name)
	w.check(err)
	w.t.Cleanup(func() { w.check(netlink.LinkDel(link)) })
	w.check(netlink.AddrAdd(link, address(hostSide+"/30")))
	w.check(netlink.LinkSetUp(link))
	w.inside(func() error {
		up, err := netlink.LinkByName("up")
		if err != nil {
			return err
		}
		for _, a := range []string{worldSide + "/30", public + "/32", private + "/32"} {
			if err := netlink.AddrAdd(up, address(a)); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(up)
	})
	for _, a := range []string{public, private} {
		w.check(netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: address(a + "/32").IPNet, Gw: net.ParseIP(worldSide)}))
	}
}

func address(text string) *netlink.Addr {
	a, err := netlink.ParseAddr(text)
	if err != nil {
		panic(err) // a constant of this file
	}
	return a
}

func (w *world) serve(at string) {
	w.t.Helper()
	var l net.Listener
	w.inside(func() (err error) {
		l, err = net.Listen("tcp4", at)
		return err
	})
	serveHTTP(w.t, l)
}

// serveHTTP answers every request with the greeting until the test ends.
func serveHTTP(t *testing.T, l net.Listener) {
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(rw, greeting) // a client that went away has its reasons
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// serveNames answers questions for serverName until the test ends.
func (w *world) serveNames() {
	w.t.Helper()
	var c net.PacketConn
	w.inside(func() (err error) {
		c, err = net.ListenPacket("udp4", worldDNS)
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return // closed
			}
			if reply, err := nameReply(buf[:n]); err == nil {
				_, _ = c.WriteTo(reply, from) // who asked asks again
			}
		}
	}()
	w.t.Cleanup(func() {
		c.Close()
		<-done
	})
}

func nameReply(message []byte) ([]byte, error) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	switch {
	case !strings.EqualFold(q.Name.String(), serverName+"."):
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(worldSide).As4()},
		}}
	}
	return m.Pack()
}
