package quota

import (
	"slices"
	"strconv"

	"hearth/faas"
)

// Usage is what one account uses of its limits at one moment.
type Usage struct {
	Account Account            `json:"account"`
	Limits  faas.AccountLimits `json:"limits"`
	InUse   Share              `json:"inUse"`
	// Reserved is what is set aside so far for reservations and provisioned
	// concurrency, in use or not.
	Reserved Share `json:"reserved"`
	// Free is what functions without a reservation can still get.
	Free Share `json:"free"`
	// Starts are those of instances in the last faas.ExpansionWindow; StartsAhead
	// those of them that no invocation waited for.
	Starts      int             `json:"starts"`
	StartsAhead int             `json:"startsAhead"`
	Functions   []FunctionUsage `json:"functions"` // that use something or have a setting
	// Misuses counts leases that were ended twice: a bug of Hearth.
	Misuses int `json:"misuses,omitempty"`
}

// Share is an amount in both units.
type Share struct {
	Executions int `json:"executions"` // invocations in flight
	MemoryMB   int `json:"memoryMB"`   // of instances that are busy, starting or provisioned
}

func (x amount) share() Share { return Share{Executions: x[executions], MemoryMB: x[memory]} }

// FunctionUsage is what one function uses, over all its versions.
type FunctionUsage struct {
	Function faas.FunctionID `json:"function"`
	InUse    Share           `json:"inUse"`
	// Instances that are busy, starting or provisioned.
	Instances int `json:"instances"`
	// Maximum is what Instances may come to; 0 is any number.
	Maximum int `json:"maximum"`
	// Reserved is the reservation as it was set; nil is none.
	Reserved *faas.Amount `json:"reserved,omitempty"`
	// Wanted is what is to be set aside for the function, reserved or provisioned,
	// and Funded what is so far.
	Wanted   Share          `json:"wanted"`
	Funded   Share          `json:"funded"`
	Versions []VersionUsage `json:"versions,omitempty"`
}

// VersionUsage is what one version uses.
type VersionUsage struct {
	Version     string `json:"version"`
	InFlight    int    `json:"inFlight"`
	OnDemand    int    `json:"onDemand"`    // instances that are busy or starting
	Provisioned int    `json:"provisioned"` // instances wanted
	Marked      int    `json:"marked"`      // provisioned instances that hold a permit
}

// Usage returns what the account uses now.
func (al *Allocator) Usage(id Account) Usage {
	u := al.account(id).usage()
	// Sorting many functions is slow; nothing waits for it here.
	slices.SortFunc(u.Functions, func(x, y FunctionUsage) int { return compareFunctions(x.Function, y.Function) })
	for _, f := range u.Functions {
		slices.SortFunc(f.Versions, func(x, y VersionUsage) int { return compareVersions(x.Version, y.Version) })
	}
	return u
}

func (a *account) usage() Usage {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.window.expire(a.now())
	u := Usage{Account: a.id, Limits: a.limits, Functions: []FunctionUsage{}, Reserved: a.funded.share(), Misuses: a.misuses,
		Free:   Share{Executions: max(0, a.free(executions)), MemoryMB: max(0, a.free(memory))},
		Starts: a.window.starts.Len(), StartsAhead: a.window.ahead}
	for _, f := range a.functions {
		if f.forgettable() {
			continue
		}
		used := f.usage()
		u.InUse.Executions += used.InUse.Executions
		u.InUse.MemoryMB += used.InUse.MemoryMB
		u.Functions = append(u.Functions, used)
	}
	return u
}

func (f *function) usage() FunctionUsage {
	p, d := &f.provisioned, &f.demand
	u := FunctionUsage{
		Function: f.id,
		InUse: Share{Executions: p.use[executions] + d.use[executions],
			MemoryMB: max(p.use[memory], p.want[memory]) + d.use[memory]},
		Instances: f.instances + f.placed,
		Maximum:   f.maximum(),
		Wanted:    Share{Executions: p.want[executions] + d.want[executions], MemoryMB: p.want[memory] + d.want[memory]},
		Funded:    Share{Executions: p.funded[executions] + d.funded[executions], MemoryMB: p.funded[memory] + d.funded[memory]},
	}
	if r := f.settings.Reserved; r != nil {
		reserved := *r
		u.Reserved = &reserved
	}
	for number, v := range f.versions {
		if !v.forgettable() {
			u.Versions = append(u.Versions, VersionUsage{Version: number, InFlight: v.calls,
				OnDemand: v.instances, Provisioned: v.target.Instances, Marked: v.marks})
		}
	}
	return u
}

// compareVersions orders numbers as numbers, after faas.Latest.
func compareVersions(x, y string) int {
	m, _ := strconv.Atoi(x)
	n, _ := strconv.Atoi(y)
	return m - n
}
