package network

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// settle is waited after a change of the host before it is looked at: changes
// come in swarms.
const settle = 100 * time.Millisecond

// startWatch follows the host: routes that change bring other uplinks (a laptop
// that leaves its dock), and an administrator who flushes the whole ruleset takes
// Hearth's table with it, which must not leave instances unfiltered.
func (p *Pool) startWatch() error {
	routes, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_ROUTE)
	if err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	tables, err := nl.Subscribe(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
	if err != nil {
		routes.Close()
		return fmt.Errorf("watch nftables: %w", err)
	}
	routed, filtered := make(chan struct{}, 1), make(chan struct{}, 1)
	p.wg.Go(func() { p.listen(routes, routed, unix.RTM_NEWROUTE, unix.RTM_DELROUTE) })
	p.wg.Go(func() { p.listen(tables, filtered, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE) })
	p.wg.Go(func() {
		defer tables.Close()
		defer routes.Close()
		p.watch(routed, filtered)
	})
	return nil
}

// listen tells that a message of one of the types came, or that some were lost.
// It ends when the socket is closed.
func (p *Pool) listen(s *nl.NetlinkSocket, changed chan<- struct{}, types ...uint16) {
	for {
		messages, _, err := s.Receive()
		// A Receive that waits while the socket is closed returns EAGAIN, not the
		// closing's own error.
		if errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EAGAIN) {
			return
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			p.log.Error("changes of the host's network are no longer seen", "err", err)
			return
		}
		relevant := err != nil
		for _, m := range messages {
			for _, t := range types {
				relevant = relevant || m.Header.Type == t
			}
		}
		if relevant {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}
}

func (p *Pool) watch(routed, filtered <-chan struct{}) {
	var look <-chan time.Time // nil while nothing is to be looked at
	timer := time.NewTimer(settle)
	defer timer.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-routed:
			if look == nil {
				timer.Reset(settle)
				look = timer.C
			}
		case <-look:
			look = nil
			if err := p.uplinks.enable(p.filter.guard); err != nil {
				p.log.Error("functions may have lost their egress", "err", err)
			}
		case <-filtered:
			if err := p.refilter(); err != nil {
				p.log.Error("functions may run without a network filter", "err", err)
			}
		}
	}
}

// refilter installs the table again if somebody deleted it.
func (p *Pool) refilter() error {
	tables, err := hearthTables()
	if err != nil {
		return err
	}
	if _, found := tables[p.filter.name]; found {
		return nil // it was another, or our own replacement
	}
	p.log.Warn("Hearth's nftables table was deleted; it is installed again", "table", p.filter.name)
	return p.filter.install()
}
