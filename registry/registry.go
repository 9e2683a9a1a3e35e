package registry

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"hearth/engine"
	"hearth/faas"
	"hearth/quota"
)

// Options of New. Meta, Packages and Runtimes are required.
type Options struct {
	Meta     engine.Meta
	Packages Packages
	Runtimes Runtimes
	Compiler Compiler // nil: nothing is compiled ahead of its starts
	Deployer Deployer // nil: nothing runs here, nobody is told
	// Quota is told every account's settings before New returns, and again after
	// every change, in the order in which they are in force. Nil: nobody is told.
	Quota Quota
	// Changed is called after anything of a function changed in memory, also by
	// another node and perhaps before New returns. No lock is held. It must return
	// at once. Nil: nobody is told.
	Changed func(faas.FunctionID)
	// CheckCron returns why a schedule's cron expression cannot be used, in words
	// for its author. Nil accepts all.
	CheckCron func(string) error
	Clock     func() time.Time // nil is time.Now; only for what users see
	Logger    *slog.Logger     // nil discards
	Limits    faas.Limits      // zero is faas.NativeLimits()
	// Architecture of the functions that can run here; "" is this machine's.
	Architecture string
	// Activations is how many functions are made ready at once; 0 is 8.
	Activations int
}

// Registry is the control plane of one node. Safe for concurrent use.
type Registry struct {
	meta     engine.Meta
	packages Packages
	runtimes Runtimes
	compiler Compiler // nil where nothing is compiled ahead
	deployer Deployer
	clock    func() time.Time
	log      *slog.Logger
	quota    Quota
	changed  func(faas.FunctionID)
	cron     func(string) error
	limits   faas.Limits
	arch     string

	table    *table
	quotas   *quotaTable
	mappings *mappingTable
	shelf    *shelf
	turns    [turnCount]chan struct{}    // a full channel is a turn that is taken
	accounts [accountTurns]chan struct{} // likewise

	telling sync.Mutex                       // held while Quota is told
	told    map[quota.Account]quota.Settings // guarded by telling: the last of each
	loaded  atomic.Bool                      // Quota and Changed are told from now on

	activations *worklist[faas.FunctionID]
	collection  *worklist[string]

	stop  context.CancelFunc
	ctx   context.Context // ends with Close
	tasks sync.WaitGroup  // the goroutines that the registry owns

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // the callers inside; Add only under mu
}

const defaultActivations = 8

// New loads what is stored, mends what a crash left half-done, and returns when
// the registry answers from memory. Activations that had not finished go on in
// the background. It fails with the key's name where stored data cannot be read.
// The caller closes the registry, and Meta after it.
func New(ctx context.Context, o Options) (*Registry, error) {
	if o.Meta == nil || o.Packages == nil || o.Runtimes == nil {
		return nil, errors.New("registry: Meta, Packages and Runtimes are required")
	}
	r := newRegistry(o)
	loaded := make(chan error, len(watched))
	for _, prefix := range watched {
		r.tasks.Go(func() { r.watch(r.ctx, prefix, loaded) })
	}
	err := r.load(ctx, loaded)
	if err != nil {
		r.stop()
		r.tasks.Wait()
		return nil, err
	}
	r.startTelling()
	workers := o.Activations
	if workers <= 0 {
		workers = defaultActivations
	}
	for range workers {
		r.tasks.Go(func() { r.activations.run(r.ctx, r.activate) })
	}
	r.tasks.Go(func() { r.collection.run(r.ctx, r.collect) })
	return r, nil
}

func newRegistry(o Options) *Registry {
	r := &Registry{
		meta: o.Meta, packages: o.Packages, runtimes: o.Runtimes, compiler: o.Compiler, deployer: o.Deployer,
		quota: o.Quota, changed: o.Changed, cron: o.CheckCron,
		clock: o.Clock, log: o.Logger, limits: o.Limits, arch: o.Architecture,
		table:       newTable(),
		quotas:      newQuotaTable(),
		mappings:    newMappingTable(),
		told:        make(map[quota.Account]quota.Settings),
		shelf:       newShelf(),
		activations: newWorklist[faas.FunctionID](),
		collection:  newWorklist[string](),
	}
	if r.deployer == nil {
		r.deployer = nobody{}
	}
	if r.quota == nil {
		r.quota = nobody{}
	}
	if r.changed == nil {
		r.changed = func(faas.FunctionID) {}
	}
	if r.cron == nil {
		r.cron = func(string) error { return nil }
	}
	if r.clock == nil {
		r.clock = time.Now
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.limits == (faas.Limits{}) {
		r.limits = faas.NativeLimits()
	}
	if r.arch == "" {
		r.arch = faas.HostArchitecture()
	}
	for i := range r.turns {
		r.turns[i] = make(chan struct{}, 1)
	}
	for i := range r.accounts {
		r.accounts[i] = make(chan struct{}, 1)
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// load waits for the first state of every watch, then mends it.
func (r *Registry) load(ctx context.Context, loaded <-chan error) error {
	for range watched {
		select {
		case err := <-loaded:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return r.recover(ctx)
}

// recover finishes or undoes what was under way when the process before ended.
func (r *Registry) recover(ctx context.Context) error {
	for _, v := range r.table.leftovers() {
		if err := r.dropVersion(ctx, v); err != nil {
			return engineError("delete leftover version", err)
		}
	}
	if err := r.loadPackages(ctx); err != nil {
		return err
	}
	if err := r.recoverQuotas(ctx); err != nil {
		return err
	}
	for _, id := range r.table.ids() {
		if s := r.table.load(id); s != nil && len(s.missing) > 0 {
			r.log.Error("published versions have no content; they are not served", "function", id.String(), "versions", s.missing)
		}
	}
	return nil
}

// Close refuses new calls, waits for those inside and for everything in the
// background. Activations that it interrupts are resumed by the next New. Where
// ctx ends first it returns why, and what is left ends by itself: every wait in
// here is bounded, but a caller's own package may be slow to store.
func (r *Registry) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	ended := make(chan struct{})
	go func() {
		r.calls.Wait()
		r.tasks.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enter counts a caller that changes something; leave must be called once.
func (r *Registry) enter() (leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, faas.Errorf(faas.CodeShuttingDown, "registry", "The server is shutting down.")
	}
	r.calls.Add(1)
	return r.calls.Done, nil
}

// Resolve returns the version that the next call of id with this qualifier ("",
// faas.Latest, a number or an alias) goes to; a weighted alias draws anew each
// time. It never waits for the disk and takes no lock for long. The version is
// shared: read it only; its State says whether it can be called. Errors have
// faas.CodeNotFound and wrap faas.ErrNoFunction or faas.ErrNoQualifier.
func (r *Registry) Resolve(id faas.FunctionID, qualifier string) (*faas.Version, error) {
	s := r.table.load(id)
	if s == nil {
		return nil, noFunction(id, qualifier)
	}
	v := s.route(qualifier)
	if v == nil {
		return nil, noQualifier(id, qualifier)
	}
	return v, nil
}

// nobody is the deployer and the quota of a registry without a data plane.
type nobody struct{}

func (nobody) Prepare(context.Context, *faas.Version, *faas.Version) error { return nil }
func (nobody) Retire(*faas.Version)                                        {}
func (nobody) Configure(quota.Account, quota.Settings)                     {}
