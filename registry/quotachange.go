package registry

import (
	"context"
	"errors"
	"hash/maphash"
	"reflect"
	"slices"

	"hearth/engine"
	"hearth/faas"
	"hearth/quota"
)

// accountTurns spreads the turns of accounts.
const accountTurns = 16

// accountTurn is turn for what the sums of the account's quotas are made of.
func (r *Registry) accountTurn(ctx context.Context, account quota.Account) (context.Context, func(), error) {
	release, err := r.waitAccount(ctx, account)
	return begin(ctx, release, err)
}

// waitAccount comes after a function's turn, and who has it takes no other.
func (r *Registry) waitAccount(ctx context.Context, account quota.Account) (release func(), err error) {
	return take(ctx, r.accounts[maphash.Comparable(r.table.seed, account)%accountTurns])
}

// changeQuotas runs edit on a copy of the account's record and commits it.
// edit reports whether it changed anything; it may run several times. The
// caller has the account's turn.
func (r *Registry) changeQuotas(ctx context.Context, account quota.Account, edit func(*quotaRecord) (changed bool, err error)) error {
	for range changeAttempts {
		now := r.quotas.load(account)
		next := now.record.clone()
		changed, err := edit(next)
		if err != nil || !changed {
			return err
		}
		if err = r.commitQuota(ctx, account, next, now.last()); !errors.Is(err, errChanged) {
			return err
		}
		if err := r.refreshQuota(ctx, account); err != nil {
			return err
		}
	}
	return engineError("change quotas", errChanged)
}

// commitQuota writes a quota record over the revision last (0: there is none)
// and applies it.
func (r *Registry) commitQuota(ctx context.Context, account quota.Account, rec *quotaRecord, last uint64) error {
	rec.Format = quotaFormat
	value, err := rec.encode()
	if err != nil {
		return err
	}
	revision, err := r.write(ctx, quotaKey(account), value, last)
	if errors.Is(err, errChanged) {
		return errChanged
	}
	if err != nil {
		return engineError("write quotas", err)
	}
	if !r.putQuota(account, storedQuota{revision, rec, true}) && r.loaded.Load() {
		r.configure(account) // the watch was faster, and may not have come to that yet
	}
	return nil
}

// refreshQuota reads an account's quotas from the engine: another node changed
// them, and the watch has not told us yet.
func (r *Registry) refreshQuota(ctx context.Context, account quota.Account) error {
	key := quotaKey(account)
	e, err := r.meta.Get(ctx, key)
	c := engine.Change{Entry: e}
	if errors.Is(err, engine.ErrNotFound) {
		c = engine.Change{Entry: engine.Entry{Key: key, Revision: r.quotas.load(account).revision + 1}, Deleted: true}
	} else if err != nil {
		return engineError("read quotas", err)
	}
	if err := r.applyQuota(c); err != nil {
		return internal("read quotas", err)
	}
	return nil
}

// applyQuota brings the in-memory copy up to one change of a quota record.
func (r *Registry) applyQuota(c engine.Change) error {
	account, err := parseQuotaKey(c.Key)
	if err != nil {
		return err
	}
	if r.quotas.knows(account, c.Revision) {
		return nil // before reading it: this node's own changes come back
	}
	now := storedQuota{revision: c.Revision, record: &quotaRecord{}, stored: !c.Deleted}
	if !c.Deleted {
		if now.record, err = decodeQuota(c.Key, c.Value); err != nil {
			return err
		}
	}
	r.putQuota(account, now)
	return nil
}

// quotaEdit changes what is set for a function. It may run several times.
type quotaEdit func(s *snapshot, q *functionQuota) error

// changeFunctionQuota commits what edit makes of a function's quotas. With
// check, nothing is changed where the account's sums would not fit.
func (r *Registry) changeFunctionQuota(ctx context.Context, id faas.FunctionID, check bool, edit quotaEdit) error {
	leave, err := r.enter()
	if err != nil {
		return err
	}
	defer leave()
	ctx, done, err := r.quotaTurn(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	account := quota.AccountOf(id.Scope)
	return r.changeQuotas(ctx, account, func(rec *quotaRecord) (bool, error) {
		old, dead, err := r.liveQuota(ctx, rec, id)
		if err != nil {
			return false, err
		}
		s := r.table.load(id)
		if s == nil {
			return false, noFunction(id, "")
		}
		q := &functionQuota{Incarnation: s.record.Incarnation}
		if old != nil {
			*q = *old
			q.Provisioned = slices.Clone(old.Provisioned)
		}
		if err := edit(s, q); err != nil {
			return false, err
		}
		if !dead && (old == nil && q.empty() || reflect.DeepEqual(old, q)) {
			return false, nil
		}
		rec.set(id, q)
		if check {
			return true, quota.Check(account, rec.settings(account, r.table.load))
		}
		return true, nil
	})
}

// checkFits returns why the quotas forbid the record next of the function, or
// nil. What next does not change is not held against it. The caller has the
// function's turn.
func (r *Registry) checkFits(id faas.FunctionID, s *snapshot, next *record) error {
	account := quota.AccountOf(id.Scope)
	rec := r.quotas.load(account).record
	q := rec.of(id, s)
	if q == nil {
		return nil
	}
	after := s.with(id, next)
	if reflect.DeepEqual(s.quotaSettings(q), after.quotaSettings(q)) {
		return nil
	}
	return quota.Check(account, rec.settings(account, func(other faas.FunctionID) *snapshot {
		if other == id {
			return after
		}
		return r.table.load(other)
	}))
}

// sweepQuota removes the quotas of what was deleted of a function. The deletion
// is acknowledged already: what fails here is dead, and the next New removes it.
func (r *Registry) sweepQuota(ctx context.Context, id faas.FunctionID) {
	if !r.quotas.has(id) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	ctx, done, err := r.accountTurn(ctx, quota.AccountOf(id.Scope))
	if err == nil {
		defer done()
		err = r.sweepFunction(ctx, id)
	}
	if err != nil {
		r.log.Warn("the quotas of something deleted stay in the store until the next start", "function", id.String(), "error", err)
	}
}

// sweepFunction removes what is dead of a function's quotas. The caller has the
// account's turn.
func (r *Registry) sweepFunction(ctx context.Context, id faas.FunctionID) error {
	return r.changeQuotas(ctx, quota.AccountOf(id.Scope), func(rec *quotaRecord) (bool, error) {
		return r.sweepDead(ctx, rec, id)
	})
}

func (r *Registry) sweepDead(ctx context.Context, rec *quotaRecord, id faas.FunctionID) (swept bool, err error) {
	left, dead, err := r.liveQuota(ctx, rec, id)
	if err == nil && dead {
		rec.set(id, left)
	}
	return dead, err
}

// liveQuota is rec.live of the function now. What seems dead is looked for in
// the engine: another node may have made it, and the watch has not told us yet.
func (r *Registry) liveQuota(ctx context.Context, rec *quotaRecord, id faas.FunctionID) (left *functionQuota, dead bool, err error) {
	left, dead = rec.live(id, r.table.load(id))
	if !dead {
		return left, false, nil
	}
	if err := r.refresh(ctx, id); err != nil {
		return nil, true, err
	}
	left, dead = rec.live(id, r.table.load(id))
	return left, dead, nil
}

// recoverQuotas removes the quotas of what a crash left deleted half-way.
func (r *Registry) recoverQuotas(ctx context.Context) error {
	for _, account := range r.quotas.all() {
		err := r.changeQuotas(ctx, account, func(rec *quotaRecord) (changed bool, err error) {
			for _, id := range rec.ids(account) {
				swept, err := r.sweepDead(ctx, rec, id)
				if err != nil {
					return false, err
				}
				changed = changed || swept
			}
			return changed, nil
		})
		if err != nil {
			return engineError("delete leftover quotas", err)
		}
	}
	return nil
}
