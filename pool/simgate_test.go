package pool_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"hearth/faas"
	"hearth/quota"
)

// simGate is a quota that the simulation runs under.
type simGate interface {
	quota.Gate
	// provision charges provisioned instances of a version, and reports whether
	// the function is above its cap now, which is legal.
	provision(v *faas.Version, n int) (above bool)
	// out is how much of it is in use.
	out() int
	// peak is the most instances that a function may ever have, idle ones included,
	// while provision never reported that it is above; 0 is any number.
	peak(name string) int
	// calls is the most invocations of a function that may be in flight; "" is all.
	calls(name string) int
}

// chaos is a quota that refuses now and then for no reason and counts its leases.
type chaos struct {
	t *testing.T

	mu     sync.Mutex
	rng    *rand.Rand
	leases int
}

func (g *chaos) Admit(*faas.Version, quota.Kind) (quota.Lease, error) { return g.grant(0) }

func (g *chaos) Occupy(*faas.Version) (quota.InstanceLease, error) { return g.grant(2) }

func (g *chaos) Start(*faas.Version, quota.Purpose) (quota.StartLease, error) { return g.grant(5) }

func (g *chaos) Assume(*faas.Version) quota.InstanceLease {
	lease, _ := g.grant(0)
	return lease
}

func (g *chaos) Ceiling(*faas.Version) quota.Ceiling { return quota.Ceiling{Instances: 3} }

func (g *chaos) provision(*faas.Version, int) bool { return false }

func (g *chaos) peak(string) int { return 0 }

func (g *chaos) calls(string) int { return 0 }

func (g *chaos) grant(refusals int) (quota.StartLease, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rng.IntN(100) < refusals {
		return nil, faas.Errorf(faas.CodeThrottled, "test", "no")
	}
	g.leases++
	return &chaosLease{gate: g}, nil
}

func (g *chaos) out() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.leases
}

type chaosLease struct {
	gate  *chaos
	ended bool
}

func (l *chaosLease) Release() {
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	if l.ended {
		l.gate.t.Error("a lease was released twice")
	}
	l.ended = true
	l.gate.leases--
}

func (l *chaosLease) Renew() error {
	again, err := l.gate.grant(2)
	if err != nil {
		return err
	}
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	if !l.ended {
		l.gate.t.Error("a lease was renewed that had not ended")
	}
	*l = *again.(*chaosLease)
	return nil
}

func (l *chaosLease) Void() { l.Release() }

func (l *chaosLease) Again() error {
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	if l.ended {
		l.gate.t.Error("a lease that had ended was used")
	}
	if l.gate.rng.IntN(100) < 30 {
		return faas.Errorf(faas.CodeThrottled, "test", "not again")
	}
	return nil
}

func (c *caps) peak(string) int { return c.ceiling.Instances }

func (c *caps) calls(string) int { return 0 }

// real is the allocator, as the server has it.
type real struct {
	*quota.Allocator
	limits faas.AccountLimits

	mu      sync.Mutex
	targets map[faas.FunctionID]map[string]quota.Provision
}

// newReal has an account with every kind of limit: f0 has nothing of its own, f1
// reserves executions, f2 has a maximum of its own and f3 reserves memory.
func newReal(ids []faas.FunctionID, concurrency []int) *real {
	maximum := 4
	g := &real{Allocator: quota.New(quota.Options{}), targets: map[faas.FunctionID]map[string]quota.Provision{},
		limits: faas.AccountLimits{MemoryMB: 16 * 128, Executions: 20, FunctionMaximum: 3, Expansion: 40}}
	s := quota.Settings{Limits: g.limits, Functions: map[faas.FunctionID]quota.FunctionSettings{
		ids[1]: {Reserved: &faas.Amount{Unit: faas.UnitExecutions, Value: 3}, MemoryMB: 128, Concurrency: concurrency[1]},
		ids[2]: {Maximum: &maximum, MemoryMB: 128, Concurrency: concurrency[2]},
		ids[3]: {Reserved: &faas.Amount{Unit: faas.UnitMemoryMB, Value: 5 * 128}, MemoryMB: 128, Concurrency: concurrency[3]},
	}}
	g.Configure(quota.AccountOf(ids[0].Scope), s)
	return g
}

func (g *real) provision(v *faas.Version, n int) (above bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	of := g.targets[v.ID.Function]
	if of == nil {
		of = map[string]quota.Provision{}
		g.targets[v.ID.Function] = of
	}
	of[v.ID.Number] = quota.Provision{Instances: n, MemoryMB: v.Config.MemoryMB, Concurrency: v.Config.InstanceConcurrency}
	g.Provision(v.ID.Function, of)
	for _, f := range g.Usage(quota.AccountOf(v.ID.Function.Scope)).Functions {
		if f.Function == v.ID.Function {
			above = f.Instances > g.peak(v.ID.Function.Name)
		}
	}
	return above
}

// out counts what is in use beyond what is provisioned, and every misuse.
func (g *real) out() int {
	u := g.Usage(quota.Account{ID: faas.DefaultAccount, Region: faas.DefaultRegion})
	n := u.Misuses + u.InUse.Executions
	for _, f := range u.Functions {
		for _, v := range f.Versions {
			n += v.OnDemand + v.Marked
		}
	}
	return n
}

func (g *real) peak(name string) int { return map[string]int{"f0": 3, "f2": 4, "f3": 5}[name] }

func (g *real) calls(name string) int {
	return map[string]int{"": g.limits.Executions, "f1": 3}[name]
}
