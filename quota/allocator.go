package quota

import (
	"container/list"
	"sync"
	"time"

	"hearth/faas"
)

// Allocator counts what every account uses and grants what its limits allow. It
// implements Gate. An account that was never configured has the limits of
// faas.DefaultAccountLimits.
//
// All methods are safe for concurrent use and return at once. Accounts share
// nothing but the map that they are found in. Lock order: pool, Allocator.mu,
// account.mu; Allocator.mu is not held while an account's is taken.
type Allocator struct {
	now func() time.Time

	mu       sync.RWMutex
	accounts map[Account]*account

	// known is the counters by revision, the last seen of each version, so that a
	// warm call looks up one pointer and no names: *faas.Version → *version.
	known sync.Map
}

var _ Gate = (*Allocator)(nil)

// Options are what an Allocator is made of.
type Options struct {
	Now func() time.Time // nil is time.Now; called under an account's lock
}

// New returns an allocator that has granted nothing.
func New(o Options) *Allocator {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Allocator{now: o.Now, accounts: make(map[Account]*account)}
}

// account returns the counters of an account, new ones where there are none.
func (al *Allocator) account(id Account) *account {
	al.mu.RLock()
	a := al.accounts[id]
	al.mu.RUnlock()
	if a != nil {
		return a
	}
	al.mu.Lock()
	defer al.mu.Unlock()
	if a = al.accounts[id]; a == nil {
		a = newAccount(id, al.now, &al.known)
		al.accounts[id] = a
	}
	return a
}

// locked returns the counters of a version and its account, whose lock it takes.
func (al *Allocator) locked(of *faas.Version) (*account, *version) {
	if known, ok := al.known.Load(of); ok {
		v := known.(*version)
		a := v.function.account
		a.mu.Lock()
		if !v.forgotten {
			return a, v
		}
		a.mu.Unlock()
	}
	a := al.account(AccountOf(of.ID.Function.Scope))
	a.mu.Lock()
	v := a.version(of)
	a.know(v, of)
	return a, v
}

// Admit implements Gate.
func (al *Allocator) Admit(of *faas.Version, kind Kind) (Lease, error) {
	a, v := al.locked(of)
	if r, refused := v.refuseCall(of, kind); refused {
		r.of(v)
		a.mu.Unlock()
		return nil, r.err()
	}
	v.beginCall()
	a.mu.Unlock()
	return &callLease{version: v}, nil
}

// Occupy implements Gate.
func (al *Allocator) Occupy(of *faas.Version) (InstanceLease, error) {
	a, v := al.locked(of)
	if r, refused := v.function.refuseInstance(of.Config.MemoryMB); refused {
		r.of(v)
		a.mu.Unlock()
		return nil, r.err()
	}
	v.addInstance(1, of.Config.MemoryMB)
	a.mu.Unlock()
	return &instanceLease{version: v, memoryMB: of.Config.MemoryMB}, nil
}

// Assume implements Gate.
func (al *Allocator) Assume(of *faas.Version) InstanceLease {
	a, v := al.locked(of)
	defer a.mu.Unlock()
	v.addInstance(1, of.Config.MemoryMB)
	return &instanceLease{version: v, memoryMB: of.Config.MemoryMB}
}

// Start implements Gate.
func (al *Allocator) Start(of *faas.Version, purpose Purpose) (StartLease, error) {
	a, v := al.locked(of)
	l := &instanceLease{version: v, memoryMB: of.Config.MemoryMB, ahead: purpose != ForCall,
		mark: purpose == ForProvisioned || purpose == Adopt}
	r, refused := l.refuseStart(purpose)
	if refused {
		r.of(v)
		a.mu.Unlock()
		return nil, r.err()
	}
	if l.mark {
		v.addMark(1, l.memoryMB)
	} else {
		v.addInstance(1, l.memoryMB)
	}
	a.mu.Unlock()
	return l, nil
}

// refuseStart evaluates the limits of a start. Where none fails, the start is in
// the window.
func (l *instanceLease) refuseStart(purpose Purpose) (r refusal, refused bool) {
	if l.mark {
		r, refused = l.version.refuseMark(l.memoryMB)
	} else {
		r, refused = l.version.function.refuseInstance(l.memoryMB)
	}
	if refused || purpose == Adopt {
		return r, refused
	}
	return l.expand()
}

// expand records one more start in the window, if it has room.
func (l *instanceLease) expand() (refusal, bool) {
	a := l.version.function.account
	now := a.now()
	if r, refused := a.window.refuse(now, a.limits.Expansion, l.ahead); refused {
		return r, true
	}
	l.start = a.window.add(now, l.ahead)
	return refusal{}, false
}

// Ceiling implements Gate.
func (al *Allocator) Ceiling(of *faas.Version) Ceiling {
	a := al.account(AccountOf(of.ID.Function.Scope))
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.function(of.ID.Function)
	if n, ok := f.reserved(executions); ok {
		return Ceiling{Instances: n}
	}
	if n, ok := f.reserved(memory); ok {
		return Ceiling{MemoryMB: n}
	}
	return Ceiling{Instances: f.maximum()}
}

// Freed returns a channel that gets a value, if it holds none, whenever something
// of the account was given back or its limits changed: what was refused before
// may be granted now. The passing of time, which empties the window of
// expansion, sends nothing.
func (al *Allocator) Freed(id Account) <-chan struct{} { return al.account(id).freed }

// callLease is one execution.
type callLease struct {
	version *version
	ended   bool // guarded by account.mu
}

// Release implements Lease. A second one does nothing and is counted as a misuse.
func (l *callLease) Release() {
	a := l.version.function.account
	a.mu.Lock()
	if l.ended {
		a.misuses++
		a.mu.Unlock()
		return
	}
	l.ended = true
	l.version.endCall()
	a.mu.Unlock()
	a.signal()
}

// instanceLease is one instance that is busy, starting or provisioned.
type instanceLease struct {
	version  *version
	memoryMB int
	mark     bool          // it is charged to a provisioned target
	ahead    bool          // no invocation waited for its start
	start    *list.Element // its last start in the window; nil where there was none
	ended    bool          // guarded by account.mu, as start is
}

// Release implements Lease. A second one does nothing and is counted as a misuse.
func (l *instanceLease) Release() { l.end(false) }

// Void implements StartLease.
func (l *instanceLease) Void() { l.end(true) }

func (l *instanceLease) end(void bool) {
	a := l.version.function.account
	a.mu.Lock()
	if l.ended {
		a.misuses++
		a.mu.Unlock()
		return
	}
	l.ended = true
	if void && l.start != nil {
		a.window.remove(l.start)
	}
	if l.mark {
		l.version.addMark(-1, l.memoryMB)
	} else {
		l.version.addInstance(-1, l.memoryMB)
	}
	a.mu.Unlock()
	a.signal()
}

// Renew implements InstanceLease. Of a lease that did not end it does nothing
// and is counted as a misuse.
func (l *instanceLease) Renew() error {
	a := l.version.function.account
	a.mu.Lock()
	if !l.ended || l.mark {
		a.misuses++
		a.mu.Unlock()
		return faas.Errorf(faas.CodeInternal, l.version.function.id.String(), "a lease was to be renewed that had not ended")
	}
	v := l.version
	if v.forgotten {
		v = a.function(v.function.id).version(v.number)
		l.version = v
	}
	if r, refused := v.function.refuseInstance(l.memoryMB); refused {
		r.of(v)
		a.mu.Unlock()
		return r.err()
	}
	v.addInstance(1, l.memoryMB)
	l.ended, l.start = false, nil
	a.mu.Unlock()
	return nil
}

// Again implements StartLease.
func (l *instanceLease) Again() error {
	a := l.version.function.account
	a.mu.Lock()
	if l.ended {
		a.misuses++
		a.mu.Unlock()
		return faas.Errorf(faas.CodeInternal, l.version.function.id.String(), "another start was asked for after its lease had ended")
	}
	r, refused := l.expand()
	if refused {
		r.of(l.version)
		a.mu.Unlock()
		return r.err()
	}
	a.mu.Unlock()
	return nil
}
