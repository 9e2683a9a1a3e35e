// Package quota says whether an invocation may be admitted and whether an
// instance may become busy or start: the caps of accounts, functions and
// versions, and the window of expansion.
//
// It owns the counters behind every cap. It must not know how instances are made
// or which invocation runs where; it calls nothing and waits for nothing, so it
// may be asked under a pool's lock (lock order: pool, then quota).
package quota

import "hearth/faas"

// Kind says who waits for an invocation's answer.
type Kind uint8

// The kinds of invocations.
const (
	Synchronous  Kind = iota
	Asynchronous      // leaves a share of the account to synchronous ones
)

// Purpose says what an instance is started for.
type Purpose uint8

// The purposes of starts.
const (
	// ForCall: an invocation waits for it.
	ForCall Purpose = iota
	// Ahead: nobody waits for it yet, as before a deployment or a predicted call.
	Ahead
	// ForProvisioned: it will be a provisioned instance. Its place is part of what
	// was configured and is not charged again. The lease ends when the instance is
	// gone or ceases to be provisioned.
	ForProvisioned
	// Adopt: an idle instance becomes a provisioned one. It is as ForProvisioned,
	// but nothing is started and so nothing counts as an expansion.
	Adopt
)

// Gate decides about permits. Refusals are *faas.Error with faas.CodeThrottled
// whose Subject is the limit and whose Cause is a *faas.Refusal. Methods return
// at once, are safe for concurrent use and may be called under a pool's lock.
type Gate interface {
	// Admit permits one invocation of the version, from its arrival to its end.
	Admit(version *faas.Version, kind Kind) (Lease, error)
	// Occupy permits an idle instance of the version to become busy; the lease
	// ends when the instance is idle again or gone. Not for provisioned instances.
	Occupy(version *faas.Version) (InstanceLease, error)
	// Start permits one more instance of the version to start; the lease goes on
	// as the one of Occupy while the instance is busy.
	Start(version *faas.Version, purpose Purpose) (StartLease, error)
	// Assume charges as Occupy does but never refuses: a busy instance has ceased
	// to be a provisioned one. Use may then be above a limit, which is legal;
	// nothing new is granted until it is below.
	Assume(version *faas.Version) InstanceLease
	// Ceiling bounds the instances that the function of the version may have on
	// this machine, idle ones included. It refuses nobody: where a start would pass
	// it, an idle instance of the function is stopped first.
	Ceiling(version *faas.Version) Ceiling
}

// Ceiling is a bound of instances; 0 is none.
type Ceiling struct {
	Instances int
	MemoryMB  int
}

// Lease is what was granted. Release is called exactly once for each grant.
type Lease interface {
	// Release gives back what was granted.
	Release()
}

// InstanceLease is the lease of an instance.
type InstanceLease interface {
	Lease
	// Renew is Occupy for the instance whose lease it was, after Release: the same
	// lease is granted once more, unless a limit refuses. Nothing is looked up or
	// made for it: a warm call costs no more. Not for the leases of provisioned
	// instances.
	Renew() error
}

// StartLease is the lease of an instance that was started. Exactly one of
// Release and Void is called, exactly once for each grant.
type StartLease interface {
	InstanceLease
	// Void is Release for a start that failed before user code ran: it does not
	// count as an expansion either.
	Void()
	// Again permits the one more start that is made in place of one whose init
	// took too long or ended: it is an expansion of its own.
	Again() error
}

// Unlimited admits everything and counts nothing. The zero value is ready.
type Unlimited struct{}

// Admit implements Gate.
func (Unlimited) Admit(*faas.Version, Kind) (Lease, error) { return free{}, nil }

// Occupy implements Gate.
func (Unlimited) Occupy(*faas.Version) (InstanceLease, error) { return free{}, nil }

// Start implements Gate.
func (Unlimited) Start(*faas.Version, Purpose) (StartLease, error) { return free{}, nil }

// Assume implements Gate.
func (Unlimited) Assume(*faas.Version) InstanceLease { return free{} }

// Ceiling implements Gate.
func (Unlimited) Ceiling(*faas.Version) Ceiling { return Ceiling{} }

type free struct{}

func (free) Release()     {}
func (free) Renew() error { return nil }
func (free) Void()        {}
func (free) Again() error { return nil }
