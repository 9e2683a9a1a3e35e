package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// filter is Hearth's nftables table. It is installed whole, in one transaction,
// so that there is no moment at which half of it holds.
type filter struct {
	name        string // of the table
	veths       string // prefix of the veths' names
	subnet      netip.Prefix
	allow       []netip.Prefix
	connections int

	mu      sync.Mutex
	guarded []string // uplinks on which Hearth switched forwarding on
}

const (
	ctEstablished = expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED
	// ctDNAT is IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h.
	ctDNAT = 1 << 5
	// maxSources is the size of the set that counts connections: one entry for
	// each instance.
	maxSources = 1 << 16
	// uplinkSet is read back from the table of a server that was killed.
	uplinkSet = "uplinks"
	// rejectProhibited is NFT_REJECT_ICMPX_ADMIN_PROHIBITED.
	rejectProhibited = 3
)

// install puts the table in place of whatever is there under its name.
func (f *filter) install() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.installLocked()
}

// guard installs the table with another list of guarded uplinks.
func (f *filter) guard(uplinks []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Equal(uplinks, f.guarded) {
		return nil
	}
	before := f.guarded
	f.guarded = slices.Clone(uplinks)
	if err := f.installLocked(); err != nil {
		f.guarded = before
		return err
	}
	return nil
}

func (f *filter) installLocked() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	b := &builder{conn: conn, filter: f}
	b.table = &nftables.Table{Name: f.name, Family: nftables.TableFamilyINet}
	conn.AddTable(b.table) // so that deleting it cannot fail
	conn.DelTable(b.table)
	conn.AddTable(b.table)
	if err := b.build(f.guarded); err != nil {
		return fmt.Errorf("nftables table %s: %w", f.name, err)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables table %s: %w", f.name, err)
	}
	return nil
}

// remove deletes the table; one that is not there is no error.
func (f *filter) remove() error { return removeTable(f.name) }

func removeTable(name string) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	t := &nftables.Table{Name: name, Family: nftables.TableFamilyINet}
	conn.AddTable(t)
	conn.DelTable(t)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("delete nftables table %s: %w", name, err)
	}
	return nil
}

// hearthTables returns, for each Hearth's table on this host, the uplinks on
// which it switched forwarding on.
func hearthTables() (map[string][]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	found := make(map[string][]string)
	for _, t := range tables {
		if !strings.HasPrefix(t.Name, tablePrefix) {
			continue
		}
		found[t.Name] = nil
		set, err := conn.GetSetByName(t, uplinkSet)
		if err != nil {
			continue // not a whole table of ours
		}
		elements, err := conn.GetSetElements(set)
		if err != nil {
			return nil, fmt.Errorf("read nftables table %s: %w", t.Name, err)
		}
		for _, e := range elements {
			found[t.Name] = append(found[t.Name], strings.TrimRight(string(e.Key), "\x00"))
		}
	}
	return found, nil
}

// dropsForwarded names the base chains of other tables that drop what they do
// not know of forwarded packets: functions' too.
func dropsForwarded() ([]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	chains, err := conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	var names []string
	for _, c := range chains {
		forward := c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookForward
		drops := c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop
		ipv4 := c.Table.Family == nftables.TableFamilyIPv4 || c.Table.Family == nftables.TableFamilyINet
		if forward && drops && ipv4 && !strings.HasPrefix(c.Table.Name, tablePrefix) {
			names = append(names, c.Table.Name+" "+c.Name)
		}
	}
	return names, nil
}

// builder writes the rules into one transaction.
type builder struct {
	conn   *nftables.Conn
	table  *nftables.Table
	filter *filter
	errs   []error
}

func (b *builder) build(guarded []string) error {
	blocked := b.addressSet("blocked", append(slices.Clone(notPublic), b.filter.subnet))
	allowed := b.addressSet("allowed", b.filter.allow)
	uplinks := b.nameSet(uplinkSet, guarded)
	counted := &nftables.Set{Table: b.table, Name: "connections", KeyType: nftables.TypeIPAddr, Dynamic: true, Size: maxSources}
	b.add(counted, nil)

	refuse := b.chain("refuse")
	permit := b.chain("permit")
	b.rule(refuse, l4proto(unix.IPPROTO_TCP), one(&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}))
	b.rule(refuse, one(&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: rejectProhibited}))
	b.rule(permit, ctHas(expr.CtKeySTATE, expr.CtStateBitNEW), b.tooMany(counted), jump(refuse))
	b.rule(permit, accept())

	b.spoofed()
	b.toHost(refuse)
	b.fromHost()
	b.forwarded(refuse, permit, blocked, allowed, uplinks)
	b.translated()
	return errors.Join(b.errs...)
}

// spoofed drops what comes from an instance under another address than its own:
// the way back to the source must lead through the veth that it came from.
func (b *builder) spoofed() {
	c := b.base("prerouting", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -300)
	b.rule(c, b.from(), nfproto(unix.NFPROTO_IPV6), drop())
	b.rule(c, b.from(), one(
		&expr.Fib{Register: 1, ResultOIF: true, FlagSADDR: true, FlagIIF: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, 0, 0, 0}},
	), drop())
}

// toHost refuses everything from an instance to any of the host's addresses.
func (b *builder) toHost(refuse *nftables.Chain) {
	c := b.base("input", nftables.ChainTypeFilter, nftables.ChainHookInput, -10)
	b.rule(c, b.from(), jump(refuse))
}

// fromHost keeps the host's own processes from opening connections to instances;
// refusals and errors that the kernel sends belong to connections of theirs.
func (b *builder) fromHost() {
	c := b.base("output", nftables.ChainTypeFilter, nftables.ChainHookOutput, -10)
	b.rule(c, b.to(expr.CmpOpEq), ctHas(expr.CtKeySTATE, expr.CtStateBitNEW|expr.CtStateBitINVALID), drop())
}

func (b *builder) forwarded(refuse, permit *nftables.Chain, blocked, allowed, uplinks *nftables.Set) {
	c := b.base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, -10)
	// To instances: never from each other, and only answers.
	b.rule(c, b.from(), b.to(expr.CmpOpEq), jump(refuse))
	b.rule(c, b.to(expr.CmpOpEq), ctHas(expr.CtKeySTATE, ctEstablished), accept())
	b.rule(c, b.to(expr.CmpOpEq), jump(refuse))
	// From instances.
	b.rule(c, b.from(), ctHas(expr.CtKeySTATE, expr.CtStateBitINVALID), drop())
	b.rule(c, b.from(), destination(allowed), jump(permit))
	b.rule(c, b.from(), destination(blocked), jump(refuse))
	b.rule(c, b.from(), jump(permit))
	// Neither: where Hearth made the host forward, it does so for nobody else.
	b.rule(c, one(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: uplinks.Name, SetID: uplinks.ID}),
		ctHas(expr.CtKeySTATE, expr.CtStateBitNEW), ctHasNot(expr.CtKeySTATUS, ctDNAT), drop())
}

// translated gives what leaves the address of the interface that it leaves by,
// and an unpredictable port.
func (b *builder) translated() {
	c := b.base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, 100)
	subnet := b.filter.subnet
	mask := netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), subnet.Bits()).Masked().Addr().AsSlice()
	b.rule(c, nfproto(unix.NFPROTO_IPV4), one(
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: subnet.Addr().AsSlice()},
	), b.to(expr.CmpOpNeq), one(&expr.Masq{FullyRandom: true}))
}

func (b *builder) chain(name string) *nftables.Chain {
	return b.conn.AddChain(&nftables.Chain{Name: name, Table: b.table})
}

func (b *builder) base(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
	policy := nftables.ChainPolicyAccept
	return b.conn.AddChain(&nftables.Chain{Name: name, Table: b.table, Type: kind, Hooknum: hook,
		Priority: nftables.ChainPriorityRef(priority), Policy: &policy})
}

func (b *builder) rule(c *nftables.Chain, parts ...[]expr.Any) {
	b.conn.AddRule(&nftables.Rule{Table: b.table, Chain: c, Exprs: slices.Concat(parts...)})
}

func (b *builder) add(s *nftables.Set, elements []nftables.SetElement) {
	if err := b.conn.AddSet(s, elements); err != nil {
		b.errs = append(b.errs, fmt.Errorf("set %s: %w", s.Name, err))
	}
}

func (b *builder) addressSet(name string, prefixes []netip.Prefix) *nftables.Set {
	var elements []nftables.SetElement
	for _, s := range spans(prefixes) {
		elements = append(elements, nftables.SetElement{Key: s.first.AsSlice()})
		if s.end.IsValid() {
			elements = append(elements, nftables.SetElement{Key: s.end.AsSlice(), IntervalEnd: true})
		}
	}
	set := &nftables.Set{Table: b.table, Name: name, KeyType: nftables.TypeIPAddr, Interval: true}
	b.add(set, elements)
	return set
}

func (b *builder) nameSet(name string, names []string) *nftables.Set {
	var elements []nftables.SetElement
	for _, n := range names {
		key := make([]byte, unix.IFNAMSIZ)
		copy(key, n)
		elements = append(elements, nftables.SetElement{Key: key})
	}
	set := &nftables.Set{Table: b.table, Name: name, KeyType: nftables.TypeIFName,
		KeyByteOrder: binaryutil.NativeEndian}
	b.add(set, elements)
	return set
}

// from matches what comes from any of the veths: a comparison shorter than the
// name compares its beginning.
func (b *builder) from() []expr.Any {
	return one(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(b.filter.veths)})
}

// to matches what goes (or, with CmpOpNeq, does not go) to one of the veths.
func (b *builder) to(op expr.CmpOp) []expr.Any {
	return one(&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: []byte(b.filter.veths)})
}

// tooMany counts the source's connections and matches from the bound on.
func (b *builder) tooMany(counted *nftables.Set) []expr.Any {
	return one(
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
		&expr.Dynset{SrcRegKey: 1, SetName: counted.Name, SetID: counted.ID, Operation: unix.NFT_DYNSET_OP_ADD,
			Exprs: []expr.Any{&expr.Connlimit{Count: uint32(b.filter.connections), Flags: expr.NFT_CONNLIMIT_F_INV}}})
}

func one(e ...expr.Any) []expr.Any { return e }

func drop() []expr.Any   { return one(&expr.Verdict{Kind: expr.VerdictDrop}) }
func accept() []expr.Any { return one(&expr.Verdict{Kind: expr.VerdictAccept}) }

func jump(c *nftables.Chain) []expr.Any {
	return one(&expr.Verdict{Kind: expr.VerdictJump, Chain: c.Name})
}

func nfproto(proto byte) []expr.Any {
	return one(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}})
}

func l4proto(proto byte) []expr.Any {
	return one(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}})
}

// destination matches IPv4 packets to an address in the set; IPv6 from instances
// never gets this far.
func destination(set *nftables.Set) []expr.Any {
	return slices.Concat(nfproto(unix.NFPROTO_IPV4), one(
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID}))
}

func ctHas(key expr.CtKey, bits uint32) []expr.Any    { return ctBits(key, bits, expr.CmpOpNeq) }
func ctHasNot(key expr.CtKey, bits uint32) []expr.Any { return ctBits(key, bits, expr.CmpOpEq) }

func ctBits(key expr.CtKey, bits uint32, op expr.CmpOp) []expr.Any {
	zero := make([]byte, 4)
	return one(&expr.Ct{Register: 1, Key: key},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: zero},
		&expr.Cmp{Op: op, Register: 1, Data: zero})
}
