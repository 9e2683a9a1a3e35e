//go:build linux

package main

import (
	"context"
	"log/slog"
	"runtime"

	"hearth/engine/datadir"
	"hearth/faas"
	"hearth/sandbox"
	"hearth/sandbox/process"
	"hearth/sandbox/process/network"
)

// spares is how many sandboxes of each kind stand by for cold starts.
func (v values) spares() int {
	if v["cells"] == "off" {
		return 0
	}
	return min(4*runtime.NumCPU(), mostSpares)
}

// mostSpares bounds the sandboxes that are built ahead: of each kind as many as have
// their turn to start at once (pool/turns.go), up to this.
const mostSpares = 16

// openProcess opens the process driver on its network.
func (i *isolation) openProcess(v values, data *datadir.Dir, log *slog.Logger) error {
	settings, err := parseNetworks(v)
	if err != nil {
		return err
	}
	state, err := data.Sub("sandboxes")
	if err != nil {
		return err
	}
	net, err := network.New(network.Options{
		DataID: data.ID(), Logger: log, Subnet: settings.subnet, Allow: settings.allow,
		Upstreams: settings.dns, Degrade: v["egress"] == "optional",
	})
	if err != nil {
		return err
	}
	driver, err := process.New(process.Options{
		StateDir: state, DataID: data.ID(), Logger: log,
		MaxSandboxes: v.number("max-instances"), Networks: namespaces{net},
		Spares: v.spares(),
	})
	if err != nil {
		_ = net.Close() // the first error is what matters
		return err
	}
	// The driver closes its network.
	i.add(faas.IsolationProcess, driver)
	return nil
}

// namespaces makes a network.Pool the process driver's Networks.
type namespaces struct{ *network.Pool }

func (n namespaces) Acquire(ctx context.Context, egress sandbox.Egress) (process.Netns, error) {
	ns, err := n.Pool.Acquire(ctx, egress)
	if err != nil {
		return nil, err
	}
	return ns, nil
}
