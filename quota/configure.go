package quota

import (
	"cmp"
	"maps"
	"slices"

	"hearth/faas"
)

// Configure puts settings into force at once: those that Check passed, or that
// were in force before. No call is ended for them: use may then be above a limit,
// and nothing new is granted there until it is below. The settings are kept: they
// must not be changed afterwards.
func (al *Allocator) Configure(id Account, s Settings) {
	// The order decides who is funded first of several that are new at once.
	named := slices.SortedFunc(maps.Keys(s.Functions), compareFunctions)
	a := al.account(id)
	a.mu.Lock()
	a.limitTo(s.Limits)
	for _, f := range a.configured {
		if _, set := s.Functions[f.id]; !set {
			f.settings, f.configured = FunctionSettings{}, false
			a.reshape(f)
		}
	}
	a.configured = make([]*function, len(named))
	for i, id := range named {
		f := a.function(id)
		f.settings, f.configured = s.Functions[id], true
		a.reshape(f)
		a.configured[i] = f
	}
	a.settleAll()
	a.mu.Unlock()
	a.signal()
}

// Provision says how many provisioned instances of each version of a function are
// wanted now, by version number; versions that are not named are wanted none. They
// are charged whether they run or not: inside the function's reservation, else to
// the account. Where that is full they are funded from what ends next, and refused
// to start until then.
func (al *Allocator) Provision(id faas.FunctionID, targets map[string]Provision) {
	a := al.account(AccountOf(id.Scope))
	a.mu.Lock()
	f := a.function(id)
	for number, target := range targets {
		f.version(number).target = target // at once: without one a version is forgettable
	}
	f.placed = 0
	for number, v := range f.versions {
		if v.target = targets[number]; v.target.Instances <= 0 {
			v.target = Provision{}
		}
		v.capacity = times(v.target.Instances, max(1, v.target.Concurrency))
		f.placed += max(v.target.Instances, v.marks)
	}
	a.reshape(f)
	a.settleAll()
	a.mu.Unlock()
	a.signal()
}

// reshape brings what a function's buckets want and use in line with its settings
// and targets. What one of them no longer holds goes to the other first.
func (a *account) reshape(f *function) {
	var target amount
	provisioned := 0 // calls
	for _, v := range f.versions {
		target[executions] = plus(target[executions], v.capacity)
		target[memory] = plus(target[memory], times(v.target.Instances, v.target.MemoryMB))
		provisioned += min(v.calls, v.capacity)
	}
	reservation := setAside(f.settings)
	calls := f.provisioned.use[executions] + f.demand.use[executions]
	raised := false
	for u := range units {
		p, d := &f.provisioned, &f.demand
		held, funded, want := p.held(u)+d.held(u), p.funded[u]+d.funded[u], p.want[u]+d.want[u]
		p.want[u], d.want[u] = target[u], max(0, reservation[u]-target[u])
		if u == executions {
			p.use[u], d.use[u] = provisioned, calls-provisioned
		}
		for _, b := range f.buckets() {
			b.funded[u] = max(min(b.funded[u], b.want[u]), min(b.use[u], b.want[u]))
		}
		spare := held - p.held(u) - d.held(u)
		for _, b := range f.buckets() {
			add := max(0, min(spare, b.want[u]-b.funded[u]))
			b.funded[u] += add
			spare -= add
		}
		a.held[u] += p.held(u) + d.held(u) - held
		a.funded[u] += p.funded[u] + d.funded[u] - funded
		a.want[u] += p.want[u] + d.want[u] - want
		raised = raised || p.want[u]+d.want[u] > want
	}
	place := slices.Index(a.guaranteed, f)
	wants := f.provisioned.want != amount{} || f.demand.want != amount{}
	if place >= 0 && (raised || !wants) {
		a.guaranteed = slices.Delete(a.guaranteed, place, place+1)
	}
	if raised {
		a.guaranteed = append(a.guaranteed, f)
	}
}

func (a *account) settleAll() {
	for u := range units {
		a.settle(u)
	}
}

// setAside is what a function's reservation wants in both units. In the one in
// which it was not set it is what makes the other obtainable.
func setAside(s FunctionSettings) amount {
	switch r := s.Reserved; {
	case r == nil:
		return amount{}
	case r.Unit == faas.UnitMemoryMB:
		instances := 0
		if s.MemoryMB > 0 {
			instances = r.Value / s.MemoryMB
		}
		return amount{executions: times(instances, max(1, s.Concurrency)), memory: r.Value}
	default:
		return amount{executions: r.Value, memory: times(r.Value, s.MemoryMB)}
	}
}

func compareFunctions(x, y faas.FunctionID) int {
	return cmp.Or(cmp.Compare(x.Account, y.Account), cmp.Compare(x.Region, y.Region),
		cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
}

// most is where sums and products stay: far above every limit, far below overflow.
const most = 1 << 40

func plus(x, y int) int { return min(x+y, most) }

// times multiplies; what is not above 0 counts as 0.
func times(x, y int) int {
	switch {
	case x <= 0 || y <= 0:
		return 0
	case y > most/x:
		return most
	}
	return x * y
}
