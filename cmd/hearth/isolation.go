package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"hearth/engine/datadir"
	"hearth/faas"
	"hearth/sandbox"
	"hearth/sandbox/none"
)

// isolation is the sandbox drivers of one server.
type isolation struct {
	name    faas.Isolation // the default
	drivers map[faas.Isolation]sandbox.Driver
	closers []func() error // in the order of opening
}

// Close destroys every sandbox and what the drivers share.
func (i *isolation) Close() error {
	var all error
	for n := len(i.closers) - 1; n >= 0; n-- {
		all = errors.Join(all, i.closers[n]())
	}
	return all
}

func (i *isolation) add(name faas.Isolation, driver sandbox.Driver) {
	i.drivers[name] = driver
	i.closers = append(i.closers, driver.Close)
}

// openIsolation opens the drivers that functions of this server may choose. No
// isolation is there only where it is the server's own default: who may deploy a
// function must not choose to run it as the server's user.
func openIsolation(t *terminal, v values, data *datadir.Dir, log *slog.Logger) (*isolation, error) {
	i := &isolation{name: faas.Isolation(v["isolation"]), drivers: map[faas.Isolation]sandbox.Driver{}}
	switch i.name {
	case faas.IsolationProcess:
		if err := i.openProcess(v, data, log); err != nil {
			return nil, errors.Join(fmt.Errorf("functions cannot be isolated here; 'hearth doctor' tells more, "+
				"and --isolation none runs them without any: %w", err), i.Close())
		}
	case faas.IsolationNone:
		fmt.Fprintln(t.err, "hearth: WARNING: --isolation none: functions run as plain processes of this user, "+
			"with its files and its network, and no limits")
		dir, err := data.Sub("none")
		if err != nil {
			return nil, err
		}
		i.add(faas.IsolationNone, none.New(none.Options{Dir: dir, Logger: log}))
	default:
		return nil, usageError("--isolation must be process or none, not %q", i.name)
	}
	return i, nil
}

// networks are the settings that the network of functions is made by.
type networks struct {
	subnet netip.Prefix
	allow  []netip.Prefix
	dns    []netip.AddrPort
}

// prefixes are the networks that a setting lists.
func prefixes(v values, name string) (all []netip.Prefix, err error) {
	for _, s := range list(v[name]) {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, usageError("--%s: %q is not a network such as 10.1.0.0/16", name, s)
		}
		all = append(all, prefix)
	}
	return all, nil
}

func parseNetworks(v values) (n networks, err error) {
	if v["subnet"] != "" {
		if n.subnet, err = netip.ParsePrefix(v["subnet"]); err != nil {
			return n, usageError("--subnet %q is not a network such as 198.19.0.0/18", v["subnet"])
		}
	}
	if n.allow, err = prefixes(v, "allow-networks"); err != nil {
		return n, err
	}
	for _, s := range list(v["dns"]) {
		server, err := netip.ParseAddrPort(s)
		if err != nil {
			return n, usageError("--dns: %q is not ADDR:PORT, such as 192.0.2.53:53", s)
		}
		n.dns = append(n.dns, server)
	}
	if v["egress"] != "required" && v["egress"] != "optional" {
		return n, usageError("--egress must be required or optional, not %q", v["egress"])
	}
	return n, nil
}

// list splits a comma-separated setting.
func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}
