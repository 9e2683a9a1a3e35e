package invoke

import (
	"context"
	"sync"
	"time"

	"hearth/faas"
	"hearth/internal/eager"
	"hearth/pool"
	"hearth/quota"
)

// Attempt is one try of an Event, from its admission to its end. Run is called once,
// whatever becomes of it.
type Attempt struct {
	service *Service
	req     *Request
	version *faas.Version
	lease   quota.Lease
	claim   pool.Claim
	began   time.Time

	stop    context.Context // whose end terminates it
	endStop context.CancelCauseFunc

	leaving func() // called before the instance is given back

	mu   sync.Mutex
	hold *pool.Hold // while it has an instance
}

// Begin admits one try of an Event and gives it the next place in the order of its
// version's calls, or refuses. It returns at once: who begins attempts from one
// goroutine has them start in that order. The request was valid when it was
// accepted; it is not looked at again.
//
// Errors are those of Resolver.Resolve, faas.CodeNotReady, and of what refuses:
// faas.CodeThrottled, faas.CodeNoCapacity, faas.CodeShuttingDown.
func (s *Service) Begin(req *Request) (*Attempt, error) {
	version, err := s.resolver.Resolve(req.Function, req.Qualifier)
	if err != nil {
		return nil, err
	}
	if err := Callable(version); err != nil {
		return nil, err
	}
	lease, err := s.quota.Admit(version, quota.Asynchronous)
	if err != nil {
		return nil, err
	}
	claim, err := s.pools.Ask(version)
	if err != nil {
		lease.Release()
		return nil, err
	}
	a := &Attempt{service: s, req: req, version: version, lease: lease, claim: claim, began: time.Now()}
	a.stop, a.endStop = context.WithCancelCause(context.Background())
	return a, nil
}

// Version is what the attempt runs.
func (a *Attempt) Version() *faas.Version { return a.version }

// Instance is the instance that runs it now; "" where none does.
func (a *Attempt) Instance() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.hold == nil {
		return ""
	}
	return a.hold.Instance()
}

// Run waits for the instance, delivers the event and settles the invocation. It calls
// leaving right before the instance is another's to take, if the attempt has one.
// Results and errors are those of Service.Invoke; faas.CodeCanceled where it was
// terminated before it had an instance.
func (a *Attempt) Run(leaving func()) (*Result, error) {
	a.leaving = leaving
	eager.Begin()
	defer eager.End()
	defer a.endStop(nil)
	defer a.lease.Release()
	hold, err := a.claim.Wait(a.stop)
	if err != nil {
		return a.service.unheld(a.req, a.version, a.began, err)
	}
	defer a.release(hold)
	a.mu.Lock()
	a.hold = hold
	a.mu.Unlock()
	hold.Under(a.stop, a.req.limit(a.version))
	alias := a.service.enter(a.req, a.version)
	defer leave(alias) // before the hold: whoever gets its place counts it anew
	return a.service.run(a.req, a.version, hold, a.began)
}

// release takes the hold from Terminate before it is given back: the instance is
// another call's then.
func (a *Attempt) release(hold *pool.Hold) {
	a.mu.Lock()
	a.hold = nil
	a.mu.Unlock()
	a.leaving()
	hold.Release()
}

// Terminate ends the attempt: the runtime has grace to end by itself, then its
// instance is killed. One that shares its instance is answered, and the instance
// goes on for the others. It returns when that is done, at most about a second after
// grace; Run returns then.
func (a *Attempt) Terminate(grace time.Duration) {
	if grace > 0 {
		a.signal(grace)
	}
	a.endStop(pool.ErrTerminated)
}

func (a *Attempt) signal(grace time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock() // release waits: the hold is its own until then
	if a.hold != nil {
		a.hold.Terminate(grace)
	}
}
