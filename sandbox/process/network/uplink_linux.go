package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// uplinks are the host's interfaces that lead where functions may go. Answers
// come back through them, so each must forward.
type uplinks struct {
	veths string // prefix of the names that are never uplinks
	allow []netip.Prefix

	mu    sync.Mutex
	ours  []string // those that Hearth switched forwarding on for, sorted
	links []netlink.Link
}

// find looks at the routes and returns the names of the interfaces outward.
func (u *uplinks) find() ([]netlink.Link, error) {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	indexes := make(map[int]bool)
	for _, r := range routes {
		if r.Type != unix.RTN_UNICAST || !u.outward(r) {
			continue
		}
		indexes[r.LinkIndex] = true
		for _, hop := range r.MultiPath {
			indexes[hop.LinkIndex] = true
		}
	}
	var links []netlink.Link
	for index := range indexes {
		if index == 0 {
			continue
		}
		link, err := netlink.LinkByIndex(index)
		if err != nil {
			continue // gone since
		}
		attrs := link.Attrs()
		if !strings.HasPrefix(attrs.Name, u.veths) && attrs.Flags&unix.IFF_LOOPBACK == 0 {
			links = append(links, link)
		}
	}
	slices.SortFunc(links, func(a, b netlink.Link) int { return strings.Compare(a.Attrs().Name, b.Attrs().Name) })
	return links, nil
}

// outward reports whether a route leads to public or allowed addresses.
func (u *uplinks) outward(r netlink.Route) bool {
	dst := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if r.Dst != nil {
		addr, _ := netip.AddrFromSlice(r.Dst.IP.To4())
		ones, _ := r.Dst.Mask.Size()
		dst = netip.PrefixFrom(addr, ones)
	}
	if slices.ContainsFunc(u.allow, dst.Overlaps) {
		return true
	}
	return !slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Bits() <= dst.Bits() && p.Contains(dst.Addr()) })
}

// enable switches forwarding on where it is off, after guard was called with the
// names for which Hearth is to blame: so that at no moment the host is a router
// for others. It returns quickly where nothing changed.
func (u *uplinks) enable(guard func([]string) error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	links, err := u.find()
	if err != nil {
		return err
	}
	others, err := switchedByOthers()
	if err != nil {
		return err
	}
	ours := slices.Clone(u.ours)
	var off []string
	for _, link := range links {
		name := link.Attrs().Name
		value, err := os.ReadFile(conf(name, "forwarding"))
		if err != nil {
			return fmt.Errorf("forwarding of %s: %w", name, err)
		}
		isOff := strings.TrimSpace(string(value)) == "0"
		if isOff {
			off = append(off, name)
		}
		if (isOff || slices.Contains(others, name)) && !slices.Contains(ours, name) {
			ours = append(ours, name)
		}
	}
	slices.Sort(ours)
	if err := guard(ours); err != nil {
		return err
	}
	u.ours, u.links = ours, links
	for _, name := range off {
		if err := os.WriteFile(conf(name, "forwarding"), []byte("1"), 0o644); err != nil {
			return fmt.Errorf("switch on forwarding of %s: %w", name, err)
		}
	}
	return nil
}

// mtu is the smallest of the uplinks', so that instances need not find out.
func (u *uplinks) mtu() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	mtu := 1500
	for _, link := range u.links {
		if m := link.Attrs().MTU; m >= 576 {
			mtu = min(mtu, m)
		}
	}
	return mtu
}

// restore switches forwarding off where Hearth switched it on. The table must be
// gone by then: another server's table takes its uplinks over.
func (u *uplinks) restore() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	err := restoreForwarding(u.ours)
	u.ours = nil
	return err
}

// restoreForwarding leaves alone what another Hearth on this host relies on, and
// everything where the host was made a router as a whole since.
func restoreForwarding(names []string) error {
	if len(names) == 0 {
		return nil
	}
	if all, err := os.ReadFile(conf("all", "forwarding")); err != nil || strings.TrimSpace(string(all)) != "0" {
		return err
	}
	others, err := switchedByOthers()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if slices.Contains(others, name) {
			continue
		}
		if err := os.WriteFile(conf(name, "forwarding"), []byte("0"), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("switch off forwarding of %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// switchedByOthers lists the uplinks in the tables of every Hearth on this host.
// Called before this server's table has them and after it is gone.
func switchedByOthers() ([]string, error) {
	tables, err := hearthTables()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, uplinks := range tables {
		names = append(names, uplinks...)
	}
	return names, nil
}

// conf is the path of an interface's IPv4 setting. The name of an interface has
// no slash, and is not ".." (the kernel refuses both).
func conf(link, key string) string { return "/proc/sys/net/ipv4/conf/" + link + "/" + key }

// setSysctls writes settings of one interface. A family that the kernel does not
// have needs none.
func setSysctls(settings map[string]string) error {
	for path, value := range settings {
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("set %s: %w", path, err)
		}
	}
	return nil
}
