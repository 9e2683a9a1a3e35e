package pool

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hearth/faas"
	"hearth/keepalive"
	"hearth/metric"
	"hearth/quota"
)

// Options configure Pools.
type Options struct {
	Starter Starter    // required
	Quota   quota.Gate // nil admits everything
	// Metrics counts instances and calls; nil counts none.
	Metrics *metric.Registry
	// KeepAlive is the policy for idle instances; nil is keepalive.Auto.
	KeepAlive keepalive.Policy
	// MaxInstances and MaxMemoryMB bound the instances of this machine, idle ones
	// included; 0 is no bound.
	MaxInstances int
	MaxMemoryMB  int
	// Spares give way to instances; nil is none. See TakeSpare.
	Spares Spares
	// Pressure tells how much of the machine's memory is in use, 0..1. It is read
	// about once a second, by one goroutine, and must return at once; near 1 idle
	// instances are stopped. Nil looks at the bounds alone.
	Pressure func() float64
	// Starts is how many instances begin to start at once, the others in turn; 0 is
	// four for each CPU. A quarter of them may be for instances that no call waits for.
	Starts int
	// Saturated reports whether the CPUs of this machine have no time to spare: then
	// starts keep their turns for longer. It returns at once. Nil is never.
	Saturated func() bool
	// FreezeAfter is how long an instance is idle before its processes are frozen,
	// until its next call; 0 is at once, negative never.
	FreezeAfter time.Duration
	// ShutdownGrace is how long a runtime has to end by itself when it is idle and
	// its time is up (keep-alive, deploy, shutdown). 0 kills at once, as Lambda
	// does where no extension is registered.
	ShutdownGrace time.Duration
	Logger        *slog.Logger // nil discards
}

// Pools are the pools of all revisions on this machine. Safe for concurrent use.
//
// Lock order: Pools.mu, instance.cpuMu, pool.mu, quota, then governor, turns, agenda,
// freezer or remembered. But for cpuMu no lock is held while anything outside these packages is called, but for the quota's gate.
type Pools struct {
	starter   Starter
	quota     quota.Gate
	metrics   *metric.Registry
	keepAlive keepalive.Policy
	linger    time.Duration
	agenda    *agenda
	sample    func() float64 // nil where nobody tells of the machine
	governor  *governor
	spares    Spares // nil where there are none
	turns     *turns
	freezer   *freezer
	shutGrace time.Duration
	log       *slog.Logger
	began     time.Time

	ctx    context.Context // ends when everything is to be killed
	cancel context.CancelCauseFunc
	work   sync.WaitGroup // every goroutine of the pools

	byRevision sync.Map                // key → *pool
	byVersion  sync.Map                // *faas.Version → *pool: the last seen of each revision, so that a warm call looks up no names
	idle       atomic.Int64            // idle ordinary instances of all pools, so that a full machine refuses without a search
	machine    atomic.Pointer[float64] // pressure, as last sampled
	illegal    atomic.Int64            // illegal moves seen: faults of this package

	mu         sync.Mutex // guards making and removing pools, and what follows
	byFunction map[faas.FunctionID][]*pool
	habits     map[faas.FunctionID]*remembered
	closing    bool
}

// key names a revision. The version is part of it, so that no mistake about
// revisions could make two functions share an instance.
type key struct {
	version  faas.VersionID
	revision string
}

func keyOf(v *faas.Version) key { return key{v.ID, v.Revision} }

// New returns pools that are open and empty. Close them.
func New(o Options) *Pools {
	ps := &Pools{
		starter:   o.Starter,
		quota:     o.Quota,
		metrics:   o.Metrics,
		keepAlive: o.KeepAlive,
		agenda:    newAgenda(),
		sample:    o.Pressure,
		governor:  newGovernor(o.MaxInstances, o.MaxMemoryMB),
		spares:    o.Spares,
		turns:     newTurns(o.Starts, o.Saturated),
		shutGrace: o.ShutdownGrace,
		log:       o.Logger,
		began:     time.Now(),

		byFunction: make(map[faas.FunctionID][]*pool),
		habits:     make(map[faas.FunctionID]*remembered),
	}
	if ps.quota == nil {
		ps.quota = quota.Unlimited{}
	}
	if ps.keepAlive == nil {
		ps.keepAlive = keepalive.Auto
	}
	ps.linger = lingerOf(ps.keepAlive)
	if ps.log == nil {
		ps.log = slog.New(slog.DiscardHandler)
	}
	ps.freezer = &freezer{after: o.FreezeAfter, spawn: ps.spawn}
	ps.ctx, ps.cancel = context.WithCancelCause(context.Background())
	ps.spawn(ps.keepHouse)
	return ps
}

// spawn runs f in a goroutine that Close waits for.
func (ps *Pools) spawn(f func()) { ps.work.Go(f) }

// Acquire finds a place for one invocation of the version: on an idle instance,
// on a busy one that may hold more, or on one that is started. It waits for an
// instance at most as long as init and the function's timeout may take, and
// leaves when ctx ends before. The caller calls Release on the Hold, once.
//
// The version is shared: it is read, never changed, and must stay as it is.
func (ps *Pools) Acquire(ctx context.Context, version *faas.Version) (*Hold, error) {
	c, err := ps.Ask(version)
	if err != nil {
		return nil, err
	}
	return c.Wait(ctx)
}

// pool returns the version's pool, made where there is none.
func (ps *Pools) pool(version *faas.Version) *pool {
	if p, ok := ps.byVersion.Load(version); ok {
		return p.(*pool)
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.makeLocked(version, ps.originLocked(version))
	if p.seen != nil {
		ps.byVersion.Delete(p.seen)
	}
	p.seen = version
	ps.byVersion.Store(version, p)
	return p
}

func (ps *Pools) makeLocked(version *faas.Version, origin faas.ColdReason) *pool {
	k := keyOf(version)
	if p, ok := ps.byRevision.Load(k); ok {
		return p.(*pool)
	}
	p := newPool(ps, version, origin)
	p.habit = ps.rememberedLocked(version.ID.Function)
	p.closing = ps.closing
	p.killed = ps.ctx.Err() != nil
	ps.byRevision.Store(k, p)
	id := version.ID.Function
	ps.byFunction[id] = append(ps.byFunction[id], p)
	return p
}

// originLocked says what the first start of a revision is put down to. What happened
// before this process began is not known: a version that is older than it is
// taken to have run.
func (ps *Pools) originLocked(version *faas.Version) faas.ColdReason {
	for _, p := range ps.byFunction[version.ID.Function] {
		if p.version.ID == version.ID && p.hasRun() {
			return faas.ColdDeploy
		}
	}
	if version.LastModified.Before(ps.began) {
		return faas.ColdRestart
	}
	return faas.ColdFirst
}

func (p *pool) hasRun() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.history.begun || p.history.origin == faas.ColdDeploy
}

func (ps *Pools) list() []*pool {
	var all []*pool
	ps.byRevision.Range(func(_, p any) bool {
		all = append(all, p.(*pool))
		return true
	})
	return all
}

// of returns the pools of one function.
func (ps *Pools) of(id faas.FunctionID) []*pool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return slices.Clone(ps.byFunction[id])
}

// evict takes the idle ordinary instance of some pools that is worth least out of
// service, to make room. The channel is closed when it is gone; nil where none is
// idle.
func (ps *Pools) evict(among func() []*pool) <-chan struct{} {
	for ps.idle.Load() > 0 {
		cheapest := ps.cheapest(among())
		if cheapest == nil {
			return nil
		}
		if inst := cheapest.evict(); inst != nil {
			return inst.stopped
		}
	}
	return nil
}

// cheapest returns the pool whose longest idle instance is worth least, of equals
// the one that is idle longest; nil where none is idle.
func (ps *Pools) cheapest(pools []*pool) *pool {
	now, pressure := time.Now(), ps.pressure()
	var cheapest *pool
	var least float64
	var since time.Time
	for _, p := range pools {
		worth, idle, ok := p.leastWorth(pressure, now)
		if ok && (cheapest == nil || worth < least || worth == least && idle.Before(since)) {
			cheapest, least, since = p, worth, idle
		}
	}
	return cheapest
}

// evictAny makes room on the machine. Of many pools it looks at some, and at all
// where none of these has an idle instance: an idle instance is never the cause of
// a refusal.
func (ps *Pools) evictAny() <-chan struct{} {
	some := func() []*pool { return ps.agenda.some(candidates) }
	if stopped := ps.evict(some); stopped != nil {
		return stopped
	}
	return ps.evict(ps.list)
}

func (p *pool) leastWorth(pressure float64, now time.Time) (worth float64, since time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return 0, time.Time{}, false
	}
	return p.worthLocked(pressure, now), p.idle[0].idleSince, true
}

// evict takes the pool's oldest idle instance out of service; nil where a call
// was faster.
func (p *pool) evict() *instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	inst := p.idle[0]
	if p.condemnLocked(inst, CauseRoom) {
		p.pools.spawn(inst.reap)
	}
	return inst
}

// grace is how long a runtime has to end by itself.
func (ps *Pools) grace(cause Cause) time.Duration {
	switch cause {
	case CauseIdle, CauseDeploy, CauseShutdown:
		return ps.shutGrace
	}
	return 0
}
