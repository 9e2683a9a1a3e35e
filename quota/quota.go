// Package quota says whether an invocation may be admitted and whether an
// instance may become busy or start: the caps of accounts, functions and
// versions, and the window of expansion.
//
// It owns the counters behind every cap. It must not know how instances are made
// or which invocation runs where; it calls nothing and waits for nothing, so it
// may be asked under a pool's lock (lock order: pool, then quota).
package quota

import "hearth/faas"

// Gate decides about permits. Refusals are *faas.Error with faas.CodeThrottled
// whose Subject is the limit. Methods return at once, are safe for concurrent
// use and may be called under a pool's lock.
type Gate interface {
	// Admit permits one invocation of the version, from its arrival to its end.
	Admit(version *faas.Version) (Lease, error)
	// Occupy permits an idle instance of the version to become busy; the lease
	// ends when the instance is idle again or gone.
	Occupy(version *faas.Version) (Lease, error)
	// Start permits one more instance of the version to start; the lease goes on
	// as the one of Occupy while the instance is busy.
	Start(version *faas.Version) (Lease, error)
}

// Lease is what was granted. Exactly one of its methods is called, exactly once.
type Lease interface {
	// Release gives back what was granted.
	Release()
	// Void is Release for a start that failed before user code ran: it does not
	// count as an expansion either.
	Void()
}

// Unlimited admits everything and counts nothing. The zero value is ready.
type Unlimited struct{}

// Admit implements Gate.
func (Unlimited) Admit(*faas.Version) (Lease, error) { return free{}, nil }

// Occupy implements Gate.
func (Unlimited) Occupy(*faas.Version) (Lease, error) { return free{}, nil }

// Start implements Gate.
func (Unlimited) Start(*faas.Version) (Lease, error) { return free{}, nil }

type free struct{}

func (free) Release() {}
func (free) Void()    {}
