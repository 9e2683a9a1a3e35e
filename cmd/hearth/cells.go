package main

import (
	"context"
	"os"
	"strconv"
	"sync"

	"hearth/faas"
	"hearth/internal/cpuload"
	"hearth/metric"
	"hearth/registry"
	"hearth/runtimes"
)

// cellOptions are how the stem cells of a server are kept.
func (v values) cellOptions() runtimes.CellOptions {
	if v["cells"] == "off" {
		return runtimes.CellOptions{}
	}
	most, _ := strconv.Atoi(v["cells"]) // checked by resolve; auto is 0
	return runtimes.CellOptions{
		Policy:    runtimes.CellPolicy(most, v.number("max-instances"), memoryMB()),
		Saturated: new(cpuload.Meter).Saturated, Pressure: memoryPressure(),
	}
}

// memoryMB is this machine's memory; 0 where the system does not say.
func memoryMB() int {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	total, _ := meminfoKB(text)
	return int(total / 1024)
}

// deployments tells the launcher what is deployed: all that there is, then the
// functions that change, each by what it is when its turn comes.
type deployments struct {
	registry *registry.Registry
	tell     func(faas.FunctionID, []faas.Config)
	wake     chan struct{} // 1-buffered: pending is not empty
	done     chan struct{} // closed when run has returned

	mu      sync.Mutex
	pending map[faas.FunctionID]struct{}
}

// followDeployments begins to tell. Stop it by ending ctx, then wait for done.
func followDeployments(ctx context.Context, reg *registry.Registry, changes *relay, tell func(faas.FunctionID, []faas.Config)) *deployments {
	d := &deployments{registry: reg, tell: tell, wake: make(chan struct{}, 1), done: make(chan struct{}),
		pending: map[faas.FunctionID]struct{}{}}
	changes.to(d.changed)
	reg.EachFunction(d.changed)
	go d.run(ctx)
	return d
}

func (d *deployments) changed(id faas.FunctionID) {
	d.mu.Lock()
	d.pending[id] = struct{}{}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *deployments) run(ctx context.Context) {
	defer close(d.done)
	for {
		select {
		case <-d.wake:
		case <-ctx.Done():
			return
		}
		d.mu.Lock()
		pending := d.pending
		d.pending = map[faas.FunctionID]struct{}{}
		d.mu.Unlock()
		for id := range pending {
			if ctx.Err() != nil {
				return
			}
			d.tell(id, d.registry.Configs(id))
		}
	}
}

// cellStats shows the launcher's cells as they are counted for people.
type cellStats struct{ launcher *runtimes.Launcher }

func (c cellStats) Cells() []metric.Cells {
	out := []metric.Cells{}
	for _, s := range c.launcher.CellStats() {
		out = append(out, metric.Cells{
			Runtime: s.Runtime, MemoryMB: s.MemoryMB, Egress: s.Egress,
			Parked: s.Parked, Booting: s.Booting, Wanted: s.Wanted,
			Hits: s.Hits, Misses: s.Misses, Failed: s.Failed, Refills: s.Boots, RefillTime: s.BootTime, RefillCPU: s.BootCPU,
			BootsFailed: s.BootsFailed, Died: s.Died, Evicted: s.Evicted, Shrunk: s.Shrunk,
		})
	}
	return out
}
