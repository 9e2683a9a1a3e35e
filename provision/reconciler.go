// Package provision brings the provisioned instances of functions in line with
// what is configured: it owns when schedules and utilisation tracking want how
// many, how an alias with two versions splits them, and the order in which the
// allocator and the pools are told. It must not know how configurations are kept,
// how instances are started or replaced, or any vendor's words.
package provision

import (
	"maps"
	"sync"
	"time"

	"hearth/faas"
	"hearth/quota"
)

// Source has the configurations. Implemented by package registry.
type Source interface {
	// Provisioning returns what the provisioned concurrency of a function rests
	// on; false when the function is no more or has none.
	Provisioning(id faas.FunctionID) (faas.Provisioning, bool)
	// AllProvisioning returns that of every function that has any.
	AllProvisioning() []faas.Provisioning
}

// Pools have the instances. Implemented by package pool.
type Pools interface {
	// Provision says how many provisioned instances the version's revision is to
	// have. It returns at once; started, replaced and tried again is there. When
	// it returns there are no more of them than that.
	Provision(version *faas.Version, instances int)
	// Provisioned returns how far it is with that.
	Provisioned(version *faas.Version) faas.ProvisionedCounts
}

// Quota charges for them. Implemented by package quota.
type Quota interface {
	// Provision sets what each version of a function is charged for, by number;
	// those that are not named are charged nothing.
	Provision(function faas.FunctionID, targets map[string]quota.Provision)
}

// Options configure a Reconciler.
type Options struct {
	Source Source
	Pools  Pools
	Quota  Quota
	// Subscribe is given Changed once, before the configurations are read first, so
	// that no change falls in between. Nil: the caller sees to that.
	Subscribe func(changed func(faas.FunctionID))
	// Demand returns the most calls of a version that were in flight at once in
	// the last TrackingInterval. It may be asked more than once about the same. Nil
	// is none ever.
	Demand func(*faas.Version) int
}

// scheduleCheck bounds the wait for a schedule, whose time is the wall clock's: a
// timer does not see that one moved, or that the machine slept.
const scheduleCheck = time.Minute

// Reconciler keeps charges and provisioned instances as configured. One goroutine
// decides and tells, so that what it told last is what was meant last.
//
// At every moment the provisioned instances of a version are no more than its
// charge, and those of a function no more than what its configurations want: who
// loses some loses them first, then the charge moves, then others get theirs. So
// when an alias moves, the new version is given all its places at once, as its
// calls go there at once. An instance that ceases to be provisioned is not
// stopped: it is an ordinary idle one, which makes room for a start that needs it.
type Reconciler struct {
	o    Options
	wake chan struct{} // 1-buffered: pending is not empty
	stop func()
	done chan struct{}

	mu      sync.Mutex                           // guards what follows; nothing is called while it is held
	pending map[faas.FunctionID]bool             // changed since they were looked at
	tracks  map[faas.FunctionID]map[string]Track // by qualifier; the inner maps are never changed

	functions map[faas.FunctionID]*function // the goroutine's own
}

// function is what was told of one function.
type function struct {
	told     map[revision]target
	modified map[string]time.Time // of the configurations, by qualifier
	charged  map[string]quota.Provision
	step     time.Time // when tracking is to look next; zero where nothing tracks
	due      time.Time // when to look again; zero is only after a change
}

// New starts a reconciler. It begins with all that is configured.
func New(o Options) *Reconciler {
	if o.Demand == nil {
		o.Demand = func(*faas.Version) int { return 0 }
	}
	stopped := make(chan struct{})
	r := &Reconciler{
		o: o, wake: make(chan struct{}, 1), done: make(chan struct{}),
		stop:      sync.OnceFunc(func() { close(stopped) }),
		pending:   map[faas.FunctionID]bool{},
		tracks:    map[faas.FunctionID]map[string]Track{},
		functions: map[faas.FunctionID]*function{},
	}
	if o.Subscribe != nil {
		o.Subscribe(r.Changed)
	}
	go r.run(stopped)
	return r
}

// Close stops the reconciler and returns when it has. The provisioned instances
// stay as they are. Safe to call more than once.
func (r *Reconciler) Close() {
	r.stop()
	<-r.done
}

// Changed says that something of a function changed: a configuration, an alias, a
// version. It returns at once and is safe for concurrent use, also after Close.
func (r *Reconciler) Changed(id faas.FunctionID) {
	r.mu.Lock()
	r.pending[id] = true
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Reconciler) run(stopped <-chan struct{}) {
	defer close(r.done)
	for _, p := range r.o.Source.AllProvisioning() {
		r.reconcile(p.Function)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if wait, ok := r.untilDue(time.Now()); ok {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-stopped:
			return
		case <-r.wake:
			r.mu.Lock()
			changed := r.pending
			r.pending = map[faas.FunctionID]bool{}
			r.mu.Unlock()
			for id := range changed {
				r.reconcile(id)
			}
		case <-timer.C:
			now := time.Now()
			for id, f := range r.functions {
				if !f.due.IsZero() && !f.due.After(now) {
					r.reconcile(id)
				}
			}
		}
	}
}

func (r *Reconciler) untilDue(now time.Time) (time.Duration, bool) {
	var first time.Time
	for _, f := range r.functions {
		if !f.due.IsZero() && (first.IsZero() || f.due.Before(first)) {
			first = f.due
		}
	}
	return max(0, first.Sub(now)), !first.IsZero()
}

// reconcile looks at one function and tells what is new.
func (r *Reconciler) reconcile(id faas.FunctionID) {
	f := r.functions[id]
	if f == nil {
		f = &function{}
	}
	p, _ := r.o.Source.Provisioning(id)
	r.mu.Lock()
	was := r.tracks[id]
	r.mu.Unlock()
	tracks := r.observe(f, p, was, time.Now())
	wanted := map[string]int{}
	for qualifier, t := range tracks {
		wanted[qualifier] = t.Instances
	}
	r.tell(id, f, p, targets(Shares(p, wanted)))

	r.mu.Lock()
	r.tracks[id] = tracks
	if len(tracks) == 0 {
		delete(r.tracks, id)
	}
	r.mu.Unlock()
	r.functions[id] = f
	if len(tracks) == 0 {
		delete(r.functions, id)
	}
}

// observe returns what each configuration of a function wants now, and notes when
// to look again.
func (r *Reconciler) observe(f *function, p faas.Provisioning, was map[string]Track, now time.Time) map[string]Track {
	tracks := map[string]Track{}
	step := !f.step.IsZero() && !f.step.After(now)
	tracked := false
	f.due = time.Time{}
	for _, config := range p.Configs {
		// What cannot be read is said in Status.
		rule, _ := ruleAt(config, now)
		t := was[config.Qualifier].follow(config, rule)
		if rule.tracking != nil {
			tracked = true
			if step {
				t = t.Step(*rule.tracking, r.busy(p.Routes[config.Qualifier]), now)
			}
		}
		tracks[config.Qualifier] = t
		if len(config.Schedules) > 0 {
			f.dueBy(nextFiring(config, now, now.Add(scheduleCheck)))
		}
	}
	switch {
	case !tracked:
		f.step = time.Time{}
	case step || f.step.IsZero():
		f.step = now.Add(TrackingInterval)
	}
	if tracked {
		f.dueBy(f.step)
	}
	return tracks
}

func (f *function) dueBy(t time.Time) {
	if f.due.IsZero() || t.Before(f.due) {
		f.due = t
	}
}

// busy returns how many instances the calls in flight of a qualifier's versions
// fill.
func (r *Reconciler) busy(routes []faas.Route) float64 {
	sum := 0.0
	for _, route := range routes {
		sum += float64(r.o.Demand(route.Version)) / float64(max(1, route.Version.Config.InstanceConcurrency))
	}
	return sum
}

// tell moves charges and provisioned instances to the targets in the order that
// Reconciler promises. What a pool gave up it tries again when somebody configured
// it again.
func (r *Reconciler) tell(id faas.FunctionID, f *function, p faas.Provisioning, wanted map[revision]target) {
	for key, had := range f.told {
		if now := wanted[key]; now.instances < had.instances {
			r.o.Pools.Provision(had.version, now.instances)
		}
	}
	if charged := charges(wanted); !maps.Equal(charged, f.charged) {
		r.o.Quota.Provision(id, charged)
		f.charged = charged
	}
	again := f.configured(p)
	for key, t := range wanted {
		switch had := f.told[key].instances; {
		case t.instances > had:
			r.o.Pools.Provision(t.version, t.instances)
		case t.instances == had && again[key.id.Number]:
			r.retry(t)
		}
	}
	f.told = wanted
}

// retry has a pool that gave up begin again: it does when its number changes, and
// down to those that are ready nothing is lost.
func (r *Reconciler) retry(t target) {
	c := r.o.Pools.Provisioned(t.version)
	if c.Failure != nil && c.Ready < t.instances {
		r.o.Pools.Provision(t.version, c.Ready)
		r.o.Pools.Provision(t.version, t.instances)
	}
}

// configured notes the configurations and returns the numbers of the versions of
// those that were made or made again since the last time.
func (f *function) configured(p faas.Provisioning) map[string]bool {
	again, modified := map[string]bool{}, map[string]time.Time{}
	for _, config := range p.Configs {
		modified[config.Qualifier] = config.Modified
		if before, ok := f.modified[config.Qualifier]; ok && before.Equal(config.Modified) {
			continue
		}
		for _, route := range p.Routes[config.Qualifier] {
			again[route.Version.ID.Number] = true
		}
	}
	f.modified = modified
	return again
}
