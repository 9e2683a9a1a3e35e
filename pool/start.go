package pool

import (
	"context"
	"errors"
	"time"

	"hearth/faas"
	"hearth/quota"
)

const (
	// defaultInitTimeout is the limit of init where the configuration has none.
	defaultInitTimeout = 10 * time.Second
	// startLimit bounds the making of a sandbox and the exec of its runtime.
	startLimit = 30 * time.Second
	// sponsorSlack is what the sponsor of a start waits beyond the limits of init
	// and invocation, for sandboxes to be made and killed.
	sponsorSlack = 5 * time.Second
	// maxEvictions bounds how often one start makes room on a machine that has none.
	maxEvictions = 3
)

// start is one start in progress. Once it has had its turn it goes to its end,
// whatever becomes of the call that it was begun for.
type start struct {
	pool        *pool
	number      uint64
	cold        faas.ColdReason
	lease       quota.StartLease // passes to the instance
	modest      bool             // it takes no idle instance's place
	provisioned bool             // begun for a provisioned instance; no call is cold for it
	ahead       bool             // no call waited when it was begun
	ended       chan struct{}    // closed when the start has ended, well or not or never begun

	// Guarded by pool.mu.
	sponsor *waiter   // nil where it has left or was served, or there never was one
	began   time.Time // when it first had its turn and room; zero is not yet
}

// mayStartLocked says whether a start may begin now.
func (p *pool) mayStartLocked(purpose quota.Purpose) (quota.StartLease, error) {
	if p.killed {
		return nil, shuttingDown()
	}
	if failure := p.failing.pausing(time.Now()); failure != nil {
		return nil, initFailing(p.version, failure)
	}
	return p.pools.quota.Start(p.version, purpose)
}

func (p *pool) startLocked(lease quota.StartLease, sponsor *waiter, provisioned bool) *start {
	return p.beginLocked(&start{lease: lease, sponsor: sponsor, provisioned: provisioned})
}

func (p *pool) beginLocked(s *start) *start {
	p.starts++
	s.pool, s.number, s.ended = p, p.starts, make(chan struct{})
	s.ahead = s.sponsor == nil
	if s.provisioned {
		p.marks.preparing++
	} else {
		s.cold = p.history.reason(p.starting + p.ready)
		p.starting++
	}
	if s.sponsor != nil {
		s.sponsor.sponsored, s.sponsor.refused = s, nil
	}
	p.pools.spawn(s.run)
	return s
}

// run starts an instance, if one is needed still when its turn comes. Where init
// takes too long or the runtime ends during it, one more is started inside the
// invocation that waits for it, if the quota permits, with the function's timeout
// as limit.
func (s *start) run() {
	defer close(s.ended)
	p := s.pool
	limit := p.initTimeout()
	if s.provisioned {
		limit = max(limit, provisionedInitTimeout)
	}
	inst, err := s.attempt(limit)
	if err == errNeedless {
		return
	}
	if s.again(inst, err) {
		inst.reap()
		inst, err = s.attempt(p.version.Config.Timeout())
	}
	s.finish(inst, err)
}

// again takes the instance of a failed first attempt out of service, if another is to
// be made.
func (s *start) again(inst *instance, err error) bool {
	var failure *Failure
	if !errors.As(err, &failure) || failure.Kind == FailedInit {
		return false
	}
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	if s.sponsor == nil || s.pool.killed || s.lease.Again() != nil {
		return false
	}
	return s.pool.condemnLocked(inst, CauseInit)
}

// attempt makes one instance and initialises it. The instance is nil where not
// even its room was found.
func (s *start) attempt(limit time.Duration) (*instance, error) {
	p := s.pool
	turn, err := p.pools.turns.take(p.pools.ctx, p.version.ID.Function, s.ahead)
	if err != nil {
		return nil, s.platformError(err)
	}
	defer turn.end()
	if s.drop() {
		return nil, errNeedless
	}
	ctx, cancel := context.WithTimeout(p.pools.ctx, startLimit)
	defer cancel()
	if err := p.pools.governor.take(ctx, s.claim()); err != nil {
		return nil, s.platformError(err)
	}
	inst := &instance{id: newID(), pool: p, state: state{limit: p.limit}, cpuMu: newCPULock(), stopped: make(chan struct{})}
	p.mu.Lock()
	if s.began.IsZero() {
		s.began = time.Now()
	}
	inst.began = s.began
	p.all[inst] = struct{}{}
	p.mu.Unlock()
	if s.provisioned {
		ctx = context.WithValue(ctx, provisionedKey{}, true)
	}
	runtime, err := s.boot(ctx, inst.id)
	if err != nil {
		return inst, s.platformError(err)
	}
	p.mu.Lock()
	inst.runtime = runtime
	inst.must(inst.state.move(Initializing))
	p.mu.Unlock()
	turn.started()
	return inst, s.initialize(inst, limit)
}

// drop ends a start that has not begun, where its call has been served or has left
// and the others cover the calls that wait.
func (s *start) drop() bool {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.provisioned || s.ahead || s.sponsor != nil || !s.began.IsZero() || p.coverLocked()-p.limit < p.waiters.len {
		return false
	}
	p.starting--
	p.mu.show() // before others can get what the lease gives back
	s.lease.Void()
	p.stepLocked()
	return true
}

// claim is the room that one more instance takes.
func (s *start) claim() claim {
	p := s.pool
	id := p.version.ID.Function
	ceiling := p.pools.quota.Ceiling(p.version)
	c := claim{
		function: id,
		need:     size{1, p.version.Config.MemoryMB},
		ceiling:  size{ceiling.Instances, ceiling.MemoryMB},
		evictOwn: func() bool { return p.pools.evict(func() []*pool { return p.pools.of(id) }) != nil },
		evict:    func() bool { return p.pools.makeRoom(s.modest) != nil },
	}
	if s.modest {
		c.evictOwn = func() bool { return false }
	}
	return c
}

// boot starts a runtime. Where the machine has no room after all, idle instances
// make it.
func (s *start) boot(ctx context.Context, id string) (Runtime, error) {
	p := s.pool
	for evictions := 0; ; evictions++ {
		runtime, err := p.pools.starter.Start(ctx, p.version, id)
		if !faas.IsCode(err, faas.CodeNoCapacity) {
			return runtime, err
		}
		var stopped <-chan struct{}
		if evictions < maxEvictions {
			stopped = p.pools.makeRoom(s.modest)
		}
		if stopped == nil {
			return nil, s.full(err)
		}
		select {
		case <-stopped:
		case <-ctx.Done():
			return nil, s.full(err)
		}
	}
}

// full explains the refusal of a starter that has no room: what there is, is all
// that the machine holds.
func (s *start) full(err error) error {
	var known *faas.Error
	errors.As(err, &known)
	held := s.pool.pools.governor.instances() - 1 // without the one that is refused
	refusal := machineRefusal(faas.UnitInstances, 0, held)
	refusal.Raise = known.Message
	return &faas.Error{Code: known.Code, Subject: known.Subject, Message: known.Message, Cause: errors.Join(refusal, err)}
}

// initialize waits for init, at most for limit from now: the runtime has just
// been started.
func (s *start) initialize(inst *instance, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(s.pool.pools.ctx, limit, errInitLimit)
	defer cancel()
	began := time.Now()
	err := inst.runtime.Init(ctx)
	parts := inst.runtime.Parts()
	if err != nil || parts.Init == 0 { // the runtime does not know
		parts.Init = max(0, time.Since(began)-parts.Runtime)
	}
	s.pool.mu.Lock()
	inst.parts = parts
	s.pool.mu.Unlock()
	var failure *Failure
	switch {
	case err == nil:
		return s.platformError(inst.runtime.Ready())
	case errors.As(err, &failure):
		return failure
	case context.Cause(ctx) == errInitLimit:
		return &Failure{Kind: FailedTimeout}
	}
	return s.platformError(err)
}

// platformError words what is no fault of the function's. Nil stays nil.
func (s *start) platformError(err error) error {
	var known *faas.Error
	var failure *Failure
	switch {
	case err == nil || errors.As(err, &known) || errors.As(err, &failure):
		return err
	case context.Cause(s.pool.pools.ctx) != nil:
		return shuttingDown()
	}
	return &faas.Error{Code: faas.CodeInternal, Subject: s.pool.version.ID.String(),
		Message: "an instance could not be started: " + err.Error(), Cause: err}
}

// finish hands the instance over, or tells the sponsor why there is none.
func (s *start) finish(inst *instance, err error) {
	p := s.pool
	slots, more := 0, (<-chan struct{})(nil)
	if err == nil {
		slots, more = p.slotsOf(inst.runtime)
	}
	p.mu.Lock()
	marked := false
	if s.provisioned {
		marked = p.endedLocked(s)
	} else {
		p.starting--
	}
	sponsor := s.sponsor
	s.sponsor = nil
	if sponsor != nil {
		sponsor.sponsored = nil
	}
	if p.killed {
		err = shuttingDown()
	}
	var reap bool
	if err == nil {
		reap = p.introduceLocked(inst, s, slots, marked)
		p.pools.spawn(func() { inst.watch(slots < p.limit, more) })
	} else {
		reap = p.failLocked(inst, sponsor, s, err)
	}
	p.stepLocked()
	p.mu.Unlock()
	if reap {
		inst.reap()
	}
}

// introduceLocked makes a started instance Ready and gives it to the calls that
// wait. It reports whether the instance is to be killed instead.
func (p *pool) introduceLocked(inst *instance, s *start, slots int, marked bool) (reap bool) {
	inst.must(inst.state.move(Ready))
	if marked {
		p.markLocked(inst, s.lease)
	} else {
		inst.lease = s.lease
	}
	inst.cold, inst.readyAt = s.cold, time.Now()
	p.coldCost = max(leastCold, inst.parts.Sandbox+inst.parts.Runtime+inst.parts.Code+inst.parts.Init)
	inst.state.limit = slots
	p.promiseLocked(inst, p.limit-slots)
	p.ready++
	p.history.begun = true
	p.failing = backoff{}
	p.marks.failed = 0
	p.fillLocked(inst, !s.provisioned)
	if inst.state.n > 0 {
		return false
	}
	return p.restLocked(inst)
}

// failLocked ends a failed start. Its sponsor, if it still waits, gets the
// failure, and with one of init the instance to settle its invocation on.
func (p *pool) failLocked(inst *instance, sponsor *waiter, s *start, err error) (reap bool) {
	if inst != nil {
		reap = p.condemnLocked(inst, CauseInit)
	}
	p.mu.show() // before others can get what the lease gives back
	var failure *Failure
	if !errors.As(err, &failure) {
		s.lease.Void()
		if s.provisioned {
			p.pauseLocked(err)
		}
		if sponsor != nil {
			p.serveLocked(sponsor, grant{err: err})
		}
		return reap
	}
	s.lease.Release()
	if p.failing.record(failure, s.number, p.starts, time.Now()) && p.marks.count() < p.marks.target {
		p.marks.failed++
	}
	switch {
	case sponsor == nil:
		return reap
	case inst.runtime == nil: // it could not even be started
		p.serveLocked(sponsor, grant{err: initFailing(p.version, failure)})
		return reap
	}
	p.held++
	p.serveLocked(sponsor, grant{inst: inst, cold: s.cold, first: true, failed: failure})
	return false
}
