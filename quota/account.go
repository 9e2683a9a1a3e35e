package quota

import (
	"sync"
	"time"

	"hearth/faas"
)

// account is the counters of one account in one region. Its mutex is the one
// lock that all functions of the account share on the warm path: it is held for
// a few map lookups and additions, and nothing is called under it but the clock.
//
// Whenever the lock is free, in each unit:
//   - held is the sum of what all buckets hold, want and funded the sums of theirs;
//   - held ≤ limit, unless limits were lowered, provisioned concurrency raised or
//     a lease assumed under load; then no bucket has anything set aside that it
//     does not use;
//   - where a bucket wants more than is set aside for it, nothing is free.
type account struct {
	id    Account
	now   func() time.Time
	freed chan struct{} // 1-buffered
	known *sync.Map     // the allocator's; its entries of this account are guarded by mu

	mu         sync.Mutex
	limits     faas.AccountLimits
	limit      amount // of limits
	want       amount
	funded     amount
	held       amount
	guaranteed []*function // that want something set aside, in the order in which it was set or last raised
	window     window
	functions  map[faas.FunctionID]*function
	configured []*function // that the settings name
	sweepAt    int         // number of functions at which the forgettable ones are dropped
	misuses    int         // leases that were ended twice
}

// function is the counters of one function over all its versions.
type function struct {
	id          faas.FunctionID
	account     *account
	settings    FunctionSettings
	configured  bool // the settings name it
	provisioned bucket
	demand      bucket
	instances   int // on demand: busy or starting
	placed      int // provisioned: for each version its target, or its marks if there are more
	versions    map[string]*version
}

// version is the counters of one version over all its revisions. Calls up to its
// capacity count as provisioned, those above it as on demand.
type version struct {
	function  *function
	number    string
	revision  *faas.Version // under which it is known; nil where it is not
	forgotten bool          // it is not to be used any more: look it up again
	target    Provision     // in force now
	capacity  int           // invocations that the target can hold
	calls     int           // in flight
	instances int           // on demand: busy or starting
	marks     int           // provisioned instances that are there or starting
}

const (
	sweepFunctions = 1024
	sweepVersions  = 16
)

func newAccount(id Account, now func() time.Time, known *sync.Map) *account {
	a := &account{id: id, now: now, freed: make(chan struct{}, 1), known: known,
		functions: make(map[faas.FunctionID]*function), sweepAt: sweepFunctions}
	a.limitTo(faas.DefaultAccountLimits())
	return a
}

func (a *account) limitTo(l faas.AccountLimits) {
	a.limits = l
	a.limit = amount{executions: l.Executions, memory: l.MemoryMB}
}

// signal tells whoever waits for room that there may be some.
func (a *account) signal() {
	select {
	case a.freed <- struct{}{}:
	default:
	}
}

func (a *account) function(id faas.FunctionID) *function {
	if f := a.functions[id]; f != nil {
		return f
	}
	if len(a.functions) >= a.sweepAt {
		for id, f := range a.functions {
			if f.forgettable() {
				delete(a.functions, id)
				for _, v := range f.versions {
					a.forget(v)
				}
			}
		}
		a.sweepAt = 2*len(a.functions) + sweepFunctions
	}
	f := &function{id: id, account: a, versions: make(map[string]*version)}
	a.functions[id] = f
	return f
}

func (a *account) version(v *faas.Version) *version {
	return a.function(v.ID.Function).version(v.ID.Number)
}

func (f *function) version(number string) *version {
	if v := f.versions[number]; v != nil {
		return v
	}
	if len(f.versions) >= sweepVersions {
		for number, v := range f.versions {
			if v.forgettable() {
				delete(f.versions, number)
				f.account.forget(v)
			}
		}
	}
	v := &version{function: f, number: number}
	f.versions[number] = v
	return v
}

// know has the version found by its revision, in place of an older one.
func (a *account) know(v *version, revision *faas.Version) {
	if v.revision != nil {
		a.known.Delete(v.revision)
	}
	v.revision = revision
	a.known.Store(revision, v)
}

// forget has a version that was dropped never used again.
func (a *account) forget(v *version) {
	v.forgotten = true
	if v.revision != nil {
		a.known.Delete(v.revision)
	}
}

// forgettable says that no lease of the version is out and nothing is set.
func (v *version) forgettable() bool {
	return v.calls == 0 && v.instances == 0 && v.marks == 0 && v.target == Provision{}
}

func (f *function) forgettable() bool {
	if f.configured {
		return false
	}
	for _, v := range f.versions {
		if !v.forgettable() {
			return false
		}
	}
	return true
}

// buckets are in the order in which they are funded.
func (f *function) buckets() []*bucket { return []*bucket{&f.provisioned, &f.demand} }

// maximum is the most instances that the function may have busy, starting or
// provisioned; 0 is any number.
func (f *function) maximum() int {
	switch {
	case f.settings.Reserved != nil:
		return 0
	case f.settings.Maximum != nil:
		return *f.settings.Maximum
	}
	return f.account.limits.FunctionMaximum
}

// reserved is the function's reservation in one unit, if that is the unit in
// which it was set: only there it is a cap.
func (f *function) reserved(u unit) (value int, ok bool) {
	if r := f.settings.Reserved; r != nil && r.Unit == u.name() {
		return r.Value, true
	}
	return 0, false
}

func (f *function) off() bool { return f.settings.Reserved != nil && f.settings.Reserved.Value == 0 }

// bucket is the one that one more call of the version is charged to, or that the
// last to end was.
func (v *version) bucket() *bucket {
	if v.calls < v.capacity {
		return &v.function.provisioned
	}
	return &v.function.demand
}

func (v *version) beginCall() {
	b := v.bucket()
	v.calls++
	v.function.account.charge(b, executions, 1)
}

func (v *version) endCall() {
	v.calls--
	v.function.account.charge(v.bucket(), executions, -1)
}

// addInstance counts n instances on demand of the given size, below 0 to take
// them away.
func (v *version) addInstance(n, memoryMB int) {
	v.instances += n
	v.function.instances += n
	v.function.account.charge(&v.function.demand, memory, n*memoryMB)
}

// addMark counts n provisioned instances in the same way.
func (v *version) addMark(n, memoryMB int) {
	before := max(v.target.Instances, v.marks)
	v.marks += n
	v.function.placed += max(v.target.Instances, v.marks) - before
	v.function.account.charge(&v.function.provisioned, memory, n*memoryMB)
}
