package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
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

// Pool hands out network namespaces. Safe for concurrent use.
type Pool struct {
	opts     Options
	log      *slog.Logger
	veths    string // prefix of the veths' names
	group    uint32 // link group of the veths, by which they are deleted together
	home     int    // the host's namespace
	host     *netlink.Handle
	resolver *resolver
	uplinks  *uplinks
	filter   *filter
	flows    flows
	recycle  chan struct{} // holds one entry for each recycling under way
	wake     chan struct{} // tells the keeper that a spare was taken
	stop     chan struct{} // closed by Close
	wg       sync.WaitGroup

	// Set by New, constant afterwards.
	subnet   netip.Prefix
	claim    net.Listener // holds the subnet
	noEgress error        // why this host cannot do egress; nil where it can

	mu     sync.Mutex
	closed bool
	empty  []*Netns            // spares without egress
	ready  []*Netns            // spares with egress; the last is the next
	all    map[*Netns]struct{} // with egress, wherever they are
	free   []int               // slots given back
	next   int                 // the first slot that never was in use
	gone   chan struct{}       // closed when the first Close is through
	err    error               // of the first Close, set before gone
}

// New removes what a killed server of the same DataID left, and prepares egress.
// A host that cannot do egress is no error here: Acquire says so to those who
// want it.
func New(o Options) (*Pool, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	id := tag(o.DataID)
	group, err := strconv.ParseUint(id, 16, 32)
	if err != nil {
		return nil, err
	}
	p := &Pool{opts: o, log: o.Logger, veths: vethPrefix(id), group: uint32(group),
		recycle: make(chan struct{}, recyclers), wake: make(chan struct{}, 1), stop: make(chan struct{}),
		all: make(map[*Netns]struct{}), gone: make(chan struct{})}
	if p.home, err = threadNS(); err != nil {
		return nil, err
	}
	if p.host, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink: %w", err), unix.Close(p.home))
	}
	if err := p.clean(tableName(id)); err != nil {
		p.host.Close()
		return nil, errors.Join(fmt.Errorf("remove what an earlier run left: %w", err), unix.Close(p.home))
	}
	p.noEgress = p.prepareEgress(id)
	if p.noEgress != nil {
		p.log.Warn("functions with egress cannot run on this host", "err", p.noEgress, "degrade", o.Degrade)
	}
	p.wg.Go(p.keepSpares)
	return p, nil
}

// clean removes links and table of a server that was killed, in this order: while
// an instance may still run, the filter holds.
func (p *Pool) clean(table string) error {
	if err := p.deleteLinks(); err != nil {
		return err
	}
	tables, err := hearthTables()
	if err != nil {
		// Without nftables nothing can be left of it.
		p.log.Debug("nftables cannot be read", "err", err)
		return nil
	}
	uplinks, found := tables[table]
	if !found {
		return nil
	}
	if err := removeTable(table); err != nil {
		return err
	}
	return restoreForwarding(uplinks)
}

// prepareEgress does everything that instances with egress share.
func (p *Pool) prepareEgress(id string) error {
	subnet, claim, err := claimSubnet(p.opts.Subnet)
	if err != nil {
		return err
	}
	p.subnet, p.claim = subnet, claim
	p.filter = &filter{name: tableName(id), veths: p.veths, subnet: subnet, allow: p.opts.Allow, connections: p.opts.Connections}
	p.uplinks = &uplinks{veths: p.veths, allow: p.opts.Allow}
	if err := p.filter.install(); err != nil {
		return errors.Join(err, claim.Close())
	}
	if err := p.uplinks.enable(p.filter.guard); err != nil {
		return errors.Join(err, p.filter.remove(), p.uplinks.restore(), claim.Close())
	}
	upstreams := (&resolvConf{path: p.opts.ResolvConf}).list
	if len(p.opts.Upstreams) > 0 {
		upstreams = func() []netip.AddrPort { return p.opts.Upstreams }
	}
	p.resolver = newResolver(upstreams, p.opts.Policy, p.log)
	return p.startWatch()
}

// Acquire returns a namespace that reaches what egress says, a spare one where
// there is one. ErrNoEgress where the host cannot do it, sandbox.ErrNoCapacity
// where the subnet is used up.
func (p *Pool) Acquire(ctx context.Context, egress sandbox.Egress) (*Netns, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch egress {
	case sandbox.EgressNone:
		return p.take(&p.empty, p.makeEmpty)
	case sandbox.EgressInternet:
	default:
		return nil, fmt.Errorf("network: egress %q: want %s or %s", egress, sandbox.EgressInternet, sandbox.EgressNone)
	}
	if p.noEgress == nil {
		return p.take(&p.ready, p.makeEgress)
	}
	if p.opts.Degrade {
		return p.take(&p.empty, p.makeEmpty)
	}
	return nil, fmt.Errorf("%w: %w", ErrNoEgress, p.noEgress)
}

// take returns a spare, or makes one.
func (p *Pool) take(spares *[]*Netns, make func() (*Netns, error)) (*Netns, error) {
	n, err := p.pop(spares)
	select {
	case p.wake <- struct{}{}:
	default:
	}
	if n != nil || err != nil {
		return n, err
	}
	return make()
}

func (p *Pool) pop(spares *[]*Netns) (*Netns, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, sandbox.ErrClosed
	}
	last := len(*spares) - 1
	if last < 0 {
		return nil, nil
	}
	n := (*spares)[last]
	*spares = (*spares)[:last]
	return n, nil
}

func (p *Pool) makeEmpty() (*Netns, error) { return p.newEmpty() }

// makeEgress makes a namespace in a free slot.
func (p *Pool) makeEgress() (*Netns, error) {
	slot, err := p.takeSlot()
	if err != nil {
		return nil, err
	}
	n, err := p.newEgress(slot)
	if err != nil {
		p.giveSlot(slot)
		return nil, err
	}
	p.mu.Lock()
	p.all[n] = struct{}{}
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return nil, errors.Join(sandbox.ErrClosed, p.destroy(n))
	}
	return n, nil
}

func (p *Pool) takeSlot() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, sandbox.ErrClosed
	}
	if last := len(p.free) - 1; last >= 0 {
		slot := p.free[last]
		p.free = p.free[:last]
		return slot, nil
	}
	if p.next >= 1<<(31-p.subnet.Bits()) || p.next > 0xffff {
		return 0, fmt.Errorf("network: %w: %v has no address left for another instance", sandbox.ErrNoCapacity, p.subnet)
	}
	p.next++
	return p.next - 1, nil
}

func (p *Pool) giveSlot(slot int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, slot)
}

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

func (p *Pool) deleteLink(index int) error {
	err := p.host.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}})
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete veth %d: %w", index, err)
	}
	return nil
}

// deleteLinks deletes all veths of this server: by their group, which takes as
// long as one alone does, unless somebody else's link is in that group.
func (p *Pool) deleteLinks() error {
	links, err := p.host.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list links: %w", err)
	}
	var own []int
	grouped := true
	for _, link := range links {
		attrs := link.Attrs()
		ours, inGroup := strings.HasPrefix(attrs.Name, p.veths), attrs.Group == p.group
		if ours {
			own = append(own, attrs.Index)
		}
		grouped = grouped && ours == inGroup
	}
	if len(own) == 0 {
		return nil
	}
	if grouped {
		req := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
		req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		req.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(p.group)))
		if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err == nil {
			return nil
		}
	}
	var errs []error
	for _, index := range own {
		errs = append(errs, p.deleteLink(index))
	}
	return errors.Join(errs...)
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
			if err := p.addSpare(&p.empty, p.makeEmpty); err != nil {
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

// Close deletes every namespace, those in use too, and everything else that the
// pool has in the kernel. The processes in them must be dead. Idempotent.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		<-p.gone
		return p.err
	}
	p.closed = true
	p.mu.Unlock()
	close(p.stop)
	p.wg.Wait()
	p.err = p.tearDown()
	close(p.gone)
	return p.err
}

// tearDown runs when nothing else of the pool does, a late makeEgress excepted,
// which destroys its own.
func (p *Pool) tearDown() error {
	p.mu.Lock()
	all := make([]*Netns, 0, len(p.all))
	for n := range p.all {
		all = append(all, n)
	}
	clear(p.all)
	empty := p.empty
	p.empty, p.ready = nil, nil
	p.mu.Unlock()

	var errs []error
	for _, n := range empty {
		errs = append(errs, unix.Close(n.fd))
	}
	for _, n := range all {
		n.dns.close()
	}
	errs = append(errs, p.deleteLinks())
	for _, n := range all {
		errs = append(errs, unix.Close(n.fd))
	}
	if p.noEgress == nil {
		errs = append(errs, p.filter.remove(), p.uplinks.restore(), p.claim.Close())
	}
	p.host.Close()
	errs = append(errs, unix.Close(p.home))
	return errors.Join(errs...)
}
