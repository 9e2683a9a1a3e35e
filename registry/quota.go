package registry

import (
	"context"

	"hearth/faas"
	"hearth/quota"
)

// AccountLimitsPatch changes the limits that are not nil. Units and bounds are
// those of faas.AccountLimits.
type AccountLimitsPatch struct {
	MemoryMB        *int `json:"memoryMB,omitempty"`
	Executions      *int `json:"executions,omitempty"`
	FunctionMaximum *int `json:"functionMaximum,omitempty"`
	Expansion       *int `json:"expansion,omitempty"`
}

func (p AccountLimitsPatch) apply(l faas.AccountLimits) faas.AccountLimits {
	patchField(&l.MemoryMB, p.MemoryMB)
	patchField(&l.Executions, p.Executions)
	patchField(&l.FunctionMaximum, p.FunctionMaximum)
	patchField(&l.Expansion, p.Expansion)
	return l
}

// over returns the patch with the fields that it lacks taken from old.
func (p AccountLimitsPatch) over(old AccountLimitsPatch) AccountLimitsPatch {
	for _, f := range []struct {
		to   **int
		from *int
	}{{&old.MemoryMB, p.MemoryMB}, {&old.Executions, p.Executions}, {&old.FunctionMaximum, p.FunctionMaximum}, {&old.Expansion, p.Expansion}} {
		if f.from != nil {
			n := *f.from
			*f.to = &n
		}
	}
	return old
}

// FunctionQuota is what was set for a function as a whole.
type FunctionQuota struct {
	Reserved *faas.Amount // nil is none; 0 switches the function off
	Maximum  *int         // nil is the account's; 0 is no limit
}

// AccountLimits returns the limits of the scope's account and region; the
// namespace does not matter.
func (r *Registry) AccountLimits(_ context.Context, scope faas.Scope) (faas.AccountLimits, error) {
	return r.quotas.load(quota.AccountOf(scope)).record.limits(), nil
}

// PutAccountLimits changes the limits of the scope's account and region, and
// returns all of them. What the reservations and provisioned concurrency leave
// no room for is refused with faas.CodeInvalid.
func (r *Registry) PutAccountLimits(ctx context.Context, scope faas.Scope, patch AccountLimitsPatch) (limits faas.AccountLimits, err error) {
	leave, err := r.enter()
	if err != nil {
		return limits, err
	}
	defer leave()
	account := quota.AccountOf(scope)
	ctx, done, err := r.accountTurn(ctx, account)
	if err != nil {
		return limits, err
	}
	defer done()
	err = r.changeQuotas(ctx, account, func(rec *quotaRecord) (bool, error) {
		rec.Limits = patch.over(rec.Limits)
		limits = rec.limits()
		if patch == (AccountLimitsPatch{}) {
			return false, nil
		}
		return true, quota.Check(account, rec.settings(account, r.table.load))
	})
	if err != nil {
		return faas.AccountLimits{}, err
	}
	return limits, nil
}

// Unreserved returns what functions without a reservation share: the scope's
// account and region less its reservations and the provisioned concurrency
// outside them.
func (r *Registry) Unreserved(_ context.Context, scope faas.Scope) (memoryMB, executions int, err error) {
	account := quota.AccountOf(scope)
	shared := quota.Shared(r.quotas.load(account).record.settings(account, r.table.load))
	return shared.MemoryMB, shared.Executions, nil
}

// FunctionQuota returns what was set for the function. The caller may change it.
func (r *Registry) FunctionQuota(_ context.Context, id faas.FunctionID) (FunctionQuota, error) {
	s := r.table.load(id)
	if s == nil {
		return FunctionQuota{}, noFunction(id, "")
	}
	q := r.quotas.load(quota.AccountOf(id.Scope)).record.of(id, s)
	if q == nil {
		return FunctionQuota{}, nil
	}
	return FunctionQuota{Reserved: copyOf(q.Reserved), Maximum: copyOf(q.Maximum)}, nil
}

func copyOf[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

// PutReserved sets the function's reserved concurrency, in executions or MB; 0
// switches the function off. faas.CodeInvalid where it is below the function's
// provisioned concurrency, or leaves the account too little to share.
func (r *Registry) PutReserved(ctx context.Context, id faas.FunctionID, amount faas.Amount) error {
	if amount.Unit != faas.UnitExecutions && amount.Unit != faas.UnitMemoryMB {
		return faas.Errorf(faas.CodeInvalid, "reserved", "Reserved concurrency is set in %s or %s, not in %q.", faas.UnitExecutions, faas.UnitMemoryMB, amount.Unit)
	}
	if amount.Value < 0 || amount.Value > maxAmount {
		return faas.Errorf(faas.CodeInvalid, "reserved", "Reserved concurrency is 0 to %d %s, not %d.", maxAmount, amount.Unit, amount.Value)
	}
	return r.changeFunctionQuota(ctx, id, true, func(s *snapshot, q *functionQuota) error {
		q.Reserved = &amount
		if n := provisionedIn(amount.Unit, s.quotaSettings(q)); n > amount.Value {
			return faas.Errorf(faas.CodeInvalid, "reserved",
				"The reserved concurrency of %s should not be lower than function's total provisioned concurrency [%d %s].", amount, n, amount.Unit)
		}
		return nil
	})
}

// DeleteReserved returns the function to the account's shared pool. It is no
// error where nothing is reserved.
func (r *Registry) DeleteReserved(ctx context.Context, id faas.FunctionID) error {
	// Never too much: what was set aside was at least the provisioned concurrency,
	// which is all that is now.
	return r.changeFunctionQuota(ctx, id, false, func(_ *snapshot, q *functionQuota) error {
		q.Reserved = nil
		return nil
	})
}

// PutFunctionMaximum sets how many instances the function may have without a
// reservation; 0 is no limit, nil the account's.
func (r *Registry) PutFunctionMaximum(ctx context.Context, id faas.FunctionID, n *int) error {
	// The maximum is no part of the sums, so that it is checked by itself.
	alone := quota.Settings{Limits: faas.DefaultAccountLimits(), Functions: map[faas.FunctionID]quota.FunctionSettings{id: {Maximum: n}}}
	if err := quota.Check(quota.AccountOf(id.Scope), alone); err != nil {
		return err
	}
	return r.changeFunctionQuota(ctx, id, false, func(_ *snapshot, q *functionQuota) error {
		q.Maximum = copyOf(n)
		return nil
	})
}

// Values of RecursionLoop.
const (
	RecursionAllow     = "Allow"
	RecursionTerminate = "Terminate"
)

// RecursionLoop returns what is done with a loop of invocations through the
// function: RecursionTerminate unless it was set.
func (r *Registry) RecursionLoop(_ context.Context, id faas.FunctionID) (string, error) {
	s := r.table.load(id)
	if s == nil {
		return "", noFunction(id, "")
	}
	if s.record.RecursionLoop == "" {
		return RecursionTerminate, nil
	}
	return s.record.RecursionLoop, nil
}

// PutRecursionLoop sets what is done with a loop of invocations.
func (r *Registry) PutRecursionLoop(ctx context.Context, id faas.FunctionID, loop string) error {
	if loop != RecursionAllow && loop != RecursionTerminate {
		return faas.FieldErrors{{Field: "recursiveLoop", Value: loop, Constraint: "must satisfy enum value set: [Terminate, Allow]"}}.Err()
	}
	leave, err := r.enter()
	if err != nil {
		return err
	}
	defer leave()
	return r.change(ctx, id, func(_ context.Context, s *snapshot) (*record, error) {
		if s.record.RecursionLoop == loop {
			return nil, nil
		}
		next := s.record.clone()
		next.RecursionLoop = loop
		return next, nil
	})
}
