package network

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
)

// Options configures a Pool.
type Options struct {
	// DataID tells this server's data directory from every other on the machine.
	// What a killed server of the same id left is removed by New. Required.
	DataID string
	Logger *slog.Logger // nil discards
	// Subnet is where instances get their addresses, two each; it is seen on the
	// veths only. The zero value takes the first eighth of 198.18.0.0/15 (a range
	// for benchmarks that nobody routes) in which the host has neither address
	// nor route. One that is set must be free.
	Subnet netip.Prefix
	// Allow are private IPv4 networks that functions may reach all the same. The
	// host's own addresses stay out of reach.
	Allow []netip.Prefix
	// Upstreams are the name servers that the resolver asks, from the host's
	// namespace, in order. Empty: those of ResolvConf, read again when it changes.
	Upstreams  []netip.AddrPort
	ResolvConf string // default /etc/resolv.conf
	// Policy decides which names are resolved; nil resolves all. A name is lower
	// case and ends with a dot. It must be quick and safe for concurrent use.
	Policy func(name string) bool
	// Spares is how many unused namespaces of each kind are kept ready; default 4.
	Spares int
	// Connections bounds the connections tracked for one instance, UDP
	// exchanges included; default 4,096.
	Connections int
	// Degrade: where the host cannot do egress, hand out namespaces without it
	// instead of errors. It is for `hearth up` at the user's explicit word, and
	// is logged at New.
	Degrade bool
}

// ErrNoEgress is returned by Acquire for a sandbox with egress on a host that
// cannot translate and filter its traffic. Its text says what is missing.
var ErrNoEgress = errors.New("network: this host cannot give a sandbox egress")

// Check is one line of what `hearth doctor` reports.
type Check struct {
	Name   string
	OK     bool
	Detail string // what was found
	Fix    string // what to do; empty where OK
}

const (
	defaultSpares      = 4
	defaultConnections = 4096
	defaultResolvConf  = "/etc/resolv.conf"
)

func (o Options) withDefaults() (Options, error) {
	if o.DataID == "" {
		return o, errors.New("network: Options.DataID is empty")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Spares <= 0 {
		o.Spares = defaultSpares
	}
	if o.Connections <= 0 {
		o.Connections = defaultConnections
	}
	if o.ResolvConf == "" {
		o.ResolvConf = defaultResolvConf
	}
	if o.Subnet.IsValid() {
		if !o.Subnet.Addr().Is4() || o.Subnet.Bits() > 30 || o.Subnet.Bits() < 8 {
			return o, fmt.Errorf("network: Options.Subnet %v: want an IPv4 prefix of 8 to 30 bits", o.Subnet)
		}
		o.Subnet = o.Subnet.Masked()
	}
	for i, p := range o.Allow {
		if !p.IsValid() || !p.Addr().Is4() {
			return o, fmt.Errorf("network: Options.Allow[%d] %v: want an IPv4 prefix; instances have no IPv6", i, p)
		}
	}
	return o, nil
}

// tag is the id in the names of what this server has in the kernel: 32 bits, as
// the names of interfaces have 15 bytes at most.
func tag(dataID string) string {
	sum := sha256.Sum256([]byte(dataID))
	return hex.EncodeToString(sum[:4])
}

// vethPrefix begins the names of the host's ends: h, tag, dash, slot.
func vethPrefix(tag string) string { return "h" + tag + "-" }

// tableName is the nftables table's.
func tableName(tag string) string { return tablePrefix + tag }

const tablePrefix = "hearth-"
