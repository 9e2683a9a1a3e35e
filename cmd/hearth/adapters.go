package main

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"hearth/api/native"
	"hearth/async"
	"hearth/code"
	"hearth/engine"
	"hearth/faas"
	"hearth/logs"
	"hearth/metric"
	"hearth/metric/prom"
	"hearth/pool"
	"hearth/provision"
	"hearth/quota"
	"hearth/registry"
	"hearth/runtimes"
)

// The packages know one another only by small interfaces that each consumer
// declares; where a method's result is such an interface too, Go wants the
// conversion written out. It is written out here.

// runtimesDir is where runtimes are installed below a data directory.
func runtimesDir(data string) string { return filepath.Join(data, "runtimes") }

// newCatalogue is the runtimes of a data directory. Where that is not the one that
// 'hearth runtimes add' takes by itself, the advice to use it says so.
func newCatalogue(data string) *runtimes.Catalogue {
	flags := ""
	if usual, err := dataDir(values{}, "up"); err != nil || data != usual {
		flags = "--data " + data
	}
	return runtimes.NewCatalogue(runtimes.CatalogueOptions{
		Dir: runtimesDir(data), SearchPath: os.Getenv("PATH"), AddFlags: flags,
	})
}

func newLauncher(s *server, v values, catalogue *runtimes.Catalogue) (*runtimes.Launcher, error) {
	if v["compile"] != "on" && v["compile"] != "off" {
		return nil, usageError("--compile must be on or off, not %q", v["compile"])
	}
	bootstraps, err := s.data.Sub("bootstraps")
	if err != nil {
		return nil, err
	}
	return runtimes.NewLauncher(runtimes.Options{
		Drivers: s.isolation.drivers, DefaultIsolation: s.isolation.name,
		Code: codeDirs{s.code}, Logs: logStreams{s.logs}, Catalogue: catalogue,
		Dir: bootstraps, Compile: v["compile"] == "on", Cells: v.cellOptions(), Logger: s.log,
	})
}

type codeDirs struct{ store *code.Store }

func (c codeDirs) Acquire(ctx context.Context, pkg faas.Code) (runtimes.CodeDir, error) {
	dir, err := c.store.Acquire(ctx, pkg)
	if err != nil {
		return nil, err // not dir: a nil *code.Dir in an interface is not nil
	}
	return dir, nil
}

func (c codeDirs) AcquireMerged(ctx context.Context, packages []faas.Code) (runtimes.CodeDir, error) {
	dir, err := c.store.AcquireMerged(ctx, packages)
	if err != nil {
		return nil, err
	}
	return dir, nil
}

func (c codeDirs) Derive(ctx context.Context, dir runtimes.CodeDir, name string, make func(ctx context.Context, content, out string) error) error {
	return c.store.Derive(ctx, dir.(*code.Dir), name, make) // Acquire made it
}

type logStreams struct{ store *logs.Store }

func (l logStreams) Stream(source runtimes.LogSource, pipe *os.File) runtimes.LogStream {
	return l.store.Stream(logs.Source{
		Function: source.Function, Version: source.Version, Instance: source.Instance,
	}, pipe)
}

type catalogueList struct{ *runtimes.Catalogue }

func (c catalogueList) List() []native.Runtime {
	out := []native.Runtime{}
	for _, info := range c.Catalogue.List() {
		out = append(out, native.Runtime{
			Name: info.Name, Installed: info.Installed, Version: info.Version, Path: info.Path, Get: info.Hint,
		})
	}
	return out
}

type instances struct{ pools *pool.Pools }

func (i instances) Count(id faas.FunctionID) native.InstanceCount {
	n := i.pools.Function(id)
	return native.InstanceCount{Starting: n.Starting, Idle: n.Idle, Busy: n.Busy}
}

type quotaUse struct{ allocator *quota.Allocator }

func (q quotaUse) Usage(scope faas.Scope) native.Usage {
	u := q.allocator.Usage(quota.AccountOf(scope))
	out := native.Usage{
		Account:   native.AccountUse{MemoryMB: u.InUse.MemoryMB, Executions: u.InUse.Executions, Starts: u.Starts, Misuses: u.Misuses},
		Functions: make(map[faas.FunctionID]native.FunctionUse, len(u.Functions)),
	}
	for _, f := range u.Functions {
		use := native.FunctionUse{Executions: f.InUse.Executions, Instances: f.Instances, MemoryMB: f.InUse.MemoryMB}
		for _, v := range f.Versions {
			use.Provisioned += v.Provisioned
		}
		if f.Reserved != nil {
			funded := f.Funded.Executions
			if f.Reserved.Unit == faas.UnitMemoryMB {
				funded = f.Funded.MemoryMB
			}
			use.Guaranteed = &faas.Amount{Unit: f.Reserved.Unit, Value: min(funded, f.Reserved.Value)}
		}
		out.Functions[f.Function] = use
	}
	return out
}

type accountUse struct{ allocator *quota.Allocator }

func (q accountUse) Use(account, region string) prom.Use {
	u := q.allocator.Usage(quota.Account{ID: account, Region: region})
	return prom.Use{Limits: u.Limits, MemoryMB: u.InUse.MemoryMB, Executions: u.InUse.Executions, Starts: u.Starts}
}

func lossesOf(queue engine.Queue) []native.Loss {
	var all []native.Loss
	for _, l := range queue.Losses() {
		all = append(all, native.Loss{At: l.At, What: l.What, Events: l.Events, RequestIDs: l.IDs})
	}
	return all
}

type backlogs struct{ events *async.Service }

func (b backlogs) Queues(account, region string) []prom.Queue {
	now := time.Now()
	var all []prom.Queue
	for _, q := range b.events.Queues(faas.Scope{Account: account, Region: region}) {
		all = append(all, prom.Queue{Function: q.Function, Waiting: q.Waiting, Bytes: q.Bytes, Age: q.Age(now)})
	}
	return all
}

// relay passes changes of functions on to those who are made after who tells.
type relay struct {
	mu   sync.Mutex
	next atomic.Pointer[[]func(faas.FunctionID)]
}

func (r *relay) to(next func(faas.FunctionID)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := []func(faas.FunctionID){next}
	if before := r.next.Load(); before != nil {
		all = append(all, *before...)
	}
	r.next.Store(&all)
}

// tell drops what comes before there is anybody: who is made later begins with all
// that is there.
func (r *relay) tell(id faas.FunctionID) {
	if all := r.next.Load(); all != nil {
		for _, next := range *all {
			next(id)
		}
	}
}

type demand struct{ metrics *metric.Registry }

// of returns the most calls of a version that were in flight at once in the last
// provision.TrackingInterval.
func (d demand) of(v *faas.Version) int {
	key := metric.Key{Function: v.ID.Function, Version: v.ID.Number}
	points, _ := d.metrics.Seconds(key, int(provision.TrackingInterval/time.Second))
	peak := 0
	for _, p := range points {
		peak = max(peak, p.Maximum[metric.InFlight])
	}
	return peak
}

// logGroups tells which functions log into which group.
type logGroups struct{ registry *registry.Registry }

func (g logGroups) GroupOf(id faas.FunctionID) string {
	f, err := g.registry.Get(context.Background(), id, "")
	if err != nil {
		return ""
	}
	return f.Version.Config.Logging.Group
}

func (g logGroups) InGroup(scope faas.Scope, group string) (ids []faas.FunctionID) {
	for marker := ""; ; {
		page, err := g.registry.List(context.Background(), scope, false, marker, 1000)
		if err != nil {
			return ids // the marker is its own: cannot be
		}
		for _, v := range page.Items {
			if v.Config.Logging.Group == group {
				ids = append(ids, v.ID.Function)
			}
		}
		if marker = page.Next; marker == "" {
			return ids
		}
	}
}
