package network

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

const (
	// recyclers is how many namespaces are recycled or deleted at once.
	recyclers = 4
	// maxIdle is how many recycled namespaces are kept beyond Options.Spares.
	maxIdle = 64
	// makeAgain is how long the keeper waits after a failure.
	makeAgain = time.Second
)

// Release gives the namespace back. Every process in it must be dead and every
// descriptor of a socket in it closed. It returns at once; what is slow happens
// in the background, and Close waits for it. Idempotent.
func (n *Netns) Release() {
	if n.released.Swap(true) {
		return
	}
	if !n.egress {
		unix.Close(n.fd) // the kernel takes the rest apart when it has time
		return
	}
	p := n.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return // Close destroys it
	}
	p.wg.Go(func() { p.reclaim(n) })
}

// reclaim recycles a namespace, or deletes it.
func (p *Pool) reclaim(n *Netns) {
	select {
	case p.recycle <- struct{}{}:
		defer func() { <-p.recycle }()
	case <-p.stop:
		return
	}
	err := n.scrub()
	if err == nil && p.keep(n) {
		return
	}
	if err != nil {
		p.log.Info("a network namespace is not recycled", "address", n.address, "err", err)
	}
	if err := p.destroy(n); err != nil {
		p.log.Error("a network namespace was not deleted", "address", n.address, "err", err)
	}
}

// keep puts a clean namespace among the spares, unless there are enough.
func (p *Pool) keep(n *Netns) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return true // Close destroys it
	}
	if len(p.ready) >= p.opts.Spares+maxIdle {
		return false
	}
	// The next tenant gets a Netns of its own: a late Release of the last one's
	// must not take it away.
	next := &Netns{pool: p, fd: n.fd, egress: true, slot: n.slot, link: n.link, address: n.address, dns: n.dns, sockets: n.sockets, received: n.received}
	delete(p.all, n)
	p.all[next] = struct{}{}
	p.ready = append(p.ready, next)
	return true
}

// destroy deletes a namespace with egress for good. It takes 30 ms, in which the
// kernel waits and nothing is computed.
func (p *Pool) destroy(n *Netns) error {
	n.dns.close()
	err := errors.Join(p.deleteLink(n.link), unix.Close(n.fd))
	p.mu.Lock()
	delete(p.all, n)
	p.mu.Unlock()
	if err == nil {
		p.giveSlot(n.slot) // one whose veth is still there is not used again
	}
	return err
}

// keepSpares makes spares when some were taken. It ends with Close.
func (p *Pool) keepSpares() {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-p.wake:
		case <-again.C:
		}
		if err := p.fill(); err != nil && !errors.Is(err, sandbox.ErrClosed) {
			p.log.Warn("a spare network namespace could not be made", "err", err)
			again.Reset(makeAgain)
		}
	}
}

func (p *Pool) fill() error {
	for {
		p.mu.Lock()
		closed := p.closed
		wantEmpty := len(p.empty) < p.opts.Spares
		wantReady := p.noEgress == nil && len(p.ready) < p.opts.Spares
		p.mu.Unlock()
		switch {
		case closed || !wantEmpty && !wantReady:
			return nil
		case wantReady:
			if err := p.addSpare(&p.ready, p.makeEgress); err != nil {
				return err
			}
		default:
			if err := p.addSpare(&p.empty, p.newEmpty); err != nil {
				return err
			}
		}
	}
}

func (p *Pool) addSpare(spares *[]*Netns, make func() (*Netns, error)) error {
	n, err := make()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	*spares = append(*spares, n) // also when closed: Close waits for this and goes through them
	return nil
}
