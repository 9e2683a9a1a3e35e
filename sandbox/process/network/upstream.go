package network

import (
	"bufio"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// maxUpstreams is how many name servers are used, as in libc.
const maxUpstreams = 3

// resolvConf follows the host's list of name servers.
type resolvConf struct {
	path string

	mu      sync.Mutex
	looked  time.Time // when the file was last looked at
	changed time.Time // its modification time then
	servers []netip.AddrPort
}

// every is how often the file is looked at, at most.
const every = 2 * time.Second

// list returns the name servers; empty where the file has none or cannot be read.
func (c *resolvConf) list() []netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); c.looked.IsZero() || now.Sub(c.looked) >= every {
		c.looked = now
		info, err := os.Stat(c.path)
		if err != nil {
			return c.servers // being replaced, or gone: the last ones are the best guess
		}
		if !info.ModTime().Equal(c.changed) {
			c.changed = info.ModTime()
			c.servers = readResolvConf(c.path)
		}
	}
	return c.servers
}

func readResolvConf(path string) []netip.AddrPort {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var servers []netip.AddrPort
	for lines := bufio.NewScanner(f); lines.Scan() && len(servers) < maxUpstreams; {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(addr, 53))
		}
	}
	return servers
}
