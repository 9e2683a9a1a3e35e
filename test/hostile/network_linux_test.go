package hostile

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNetwork: what functions reach, and what they must not.
func TestNetwork(t *testing.T) {
	newWorld(t)
	s := newStage(t, "--allow-networks", worldNet, "--dns", worldDNS)
	for _, l := range s.languages {
		t.Run(l.name+"/egress", func(t *testing.T) { s.egress(t, l) })
		t.Run(l.name+"/out of reach", func(t *testing.T) { s.outOfReach(t, l) })
		t.Run(l.name+"/spies", func(t *testing.T) { s.spies(t, l) })
	}
}

// egress: a function that has it reaches a server by name and by address, one
// that has not reaches neither.
func (s *stage) egress(t *testing.T, l language) {
	s.undisturbed(t, func() {
		s.deploy(t, "out", l.settings.with(settings{"egress": "internet"}))
		defer s.remove(t, "out")
		s.deploy(t, "in", l.settings.with(settings{"egress": "none"}))
		defer s.remove(t, "in")
		type fetched struct{ Body, Error string }
		for _, host := range []string{serverName, worldSide, public} {
			event := do("fetch", "url", "http://"+host+"/")
			if got := result[fetched](t, s.mustInvoke(t, "out", event)); got.Body != greeting {
				t.Errorf("with egress, %s: %+v", host, got)
			}
			if got := result[fetched](t, s.mustInvoke(t, "in", event)); got.Body != "" || got.Error == "" {
				t.Errorf("without egress, %s: %+v", host, got)
			}
		}
	})
}

const neighbourPort = 9999

// outOfReach: the host's ports, on every address that the host has, a private
// network, metadata services, and another function's instance.
func (s *stage) outOfReach(t *testing.T, l language) {
	everywhere, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	serveHTTP(t, everywhere)
	port := fmt.Sprint(everywhere.Addr().(*net.TCPAddr).Port)
	_, hearth, err := net.SplitHostPort(strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	s.undisturbed(t, func() {
		s.deploy(t, "listener", l.settings.with(settings{"egress": "internet"}))
		defer s.remove(t, "listener")
		listener := result[[]string](t, s.mustInvoke(t, "listener", do("listen", "port", neighbourPort)))
		if len(listener) != 1 {
			t.Fatalf("the listener's addresses are %v", listener)
		}
		// It listens: at its own address it finds itself.
		itself := net.JoinHostPort(listener[0], fmt.Sprint(neighbourPort))
		if how := result[map[string]string](t, s.mustInvoke(t, "listener", do("connect", "targets", []string{itself})))[itself]; how != "connected" {
			t.Errorf("the listener does not reach itself: %q", how)
		}
		targets := []string{
			"127.0.0.1:" + hearth, "127.0.0.1:" + port,
			private + ":80", "169.254.169.254:80", "100.100.100.200:80", "168.63.129.16:80",
			itself,
		}
		for _, address := range hostAddresses(t) {
			targets = append(targets, net.JoinHostPort(address, port))
		}
		for _, egress := range []string{"internet", "none"} {
			name := "attacker-" + egress
			s.deploy(t, name, l.settings.with(settings{"egress": egress}))
			defer s.remove(t, name)
			reached := result[map[string]string](t, s.mustInvoke(t, name, do("connect", "targets", targets)))
			for _, target := range targets {
				if how := reached[target]; how == "connected" || how == "" {
					t.Errorf("egress %s: %s: %q", egress, target, how)
				}
			}
			// What is to be refused would be reached otherwise: it can reach this.
			open := public + ":80"
			how := result[map[string]string](t, s.mustInvoke(t, name, do("connect", "targets", []string{open})))[open]
			if (how == "connected") != (egress == "internet") {
				t.Errorf("egress %s: %s: %q", egress, open, how)
			}
		}
	})
}

// hostAddresses are all IPv4 addresses of the host but loopback: among them the
// host's ends of the instances' own links.
func hostAddresses(t *testing.T) []string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			out = append(out, n.IP.String())
		}
	}
	slices.Sort(out)
	if len(out) < 3 { // the world's link and those of two instances
		t.Fatalf("the host has only %v", out)
	}
	return slices.Compact(out)
}

// spies: a function keeps a secret in its memory, its environment, its package
// and /tmp; another one, of the same user of the platform, finds it nowhere, and
// no file of the host. It looks while the first lives and after it has died.
func (s *stage) spies(t *testing.T, l language) {
	const secret = "k7Qz-the-secret-of-a-neighbour"
	paths := []string{s.Data, filepath.Join(s.Data, "hearth.json"), "/etc/shadow", "/root", "/home", "/boot", "/sys/kernel", "/proc/1/root/root", "/dev/shm", "/dev/mem"}
	s.undisturbed(t, func() {
		s.deploy(t, "keeper", l.settings.with(settings{
			"environment": map[string]string{"SECRET": secret},
			"zip":         packDir(t, l.name, map[string]string{"secret.txt": secret}),
		}))
		s.deploy(t, "spy", l.settings)
		defer s.remove(t, "spy")
		result[any](t, s.mustInvoke(t, "keeper", do("keepSecret", "secret", secret)))
		type seen struct {
			Looked        int
			Found, Opened []string
		}
		look := func(function, when string) seen {
			got := result[seen](t, s.mustInvoke(t, function, do("spy", "secret", secret, "paths", paths)))
			if len(got.Opened) > 0 || got.Looked < 10 {
				t.Errorf("%s %s looked at %d files and opened %v", function, when, got.Looked, got.Opened)
			}
			return got
		}
		// The keeper finds its own: that is what the spy looks for.
		if own := look("keeper", "itself"); len(own.Found) < 3 {
			t.Errorf("the keeper found its own secret only in %v", own.Found)
		}
		if got := look("spy", "beside the keeper"); len(got.Found) > 0 {
			t.Errorf("beside the keeper the spy found %v", got.Found)
		}
		s.remove(t, "keeper")
		s.deploy(t, "heir", l.settings) // a new instance, perhaps where the keeper was
		defer s.remove(t, "heir")
		if got := look("heir", "after the keeper"); len(got.Found) > 0 {
			t.Errorf("after the keeper its heir found %v", got.Found)
		}
	})
}
