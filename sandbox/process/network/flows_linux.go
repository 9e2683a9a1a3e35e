package network

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
)

// flows makes the host forget connections. Finding those of one address means
// walking the host's whole table, 10-20 ms of computing even where it is empty;
// so whoever comes during a walk shares the next one with all others.
type flows struct {
	mu      sync.Mutex
	walking bool
	next    *walk // gathers addresses while a walk is under way
}

// walk is one pass over the table on behalf of several callers.
type walk struct {
	addresses []netip.Addr
	done      chan struct{}
	err       error // set before done
}

// forget returns when no tracked connection has the address as its source.
func (f *flows) forget(address netip.Addr) error {
	f.mu.Lock()
	if f.next == nil {
		f.next = &walk{done: make(chan struct{})}
	}
	mine := f.next
	mine.addresses = append(mine.addresses, address)
	if f.walking {
		f.mu.Unlock()
		<-mine.done // the walker takes it next
		return mine.err
	}
	f.walking = true
	f.mu.Unlock()
	f.walk()
	return mine.err
}

// walk passes over the table until nobody waits. The first caller does it for
// those that come later.
func (f *flows) walk() {
	for {
		f.mu.Lock()
		w := f.next
		f.next = nil
		f.walking = w != nil
		f.mu.Unlock()
		if w == nil {
			return
		}
		if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, netlink.FAMILY_V4, fromAny(w.addresses)); err != nil {
			w.err = fmt.Errorf("forget the connections of instances: %w", err)
		}
		close(w.done)
	}
}

// fromAny matches the flows that any of the addresses began.
type fromAny []netip.Addr

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (a fromAny) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	source, ok := netip.AddrFromSlice(flow.Forward.SrcIP.To4())
	return ok && slices.Contains(a, source)
}
