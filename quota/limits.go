package quota

import (
	"slices"

	"hearth/faas"
)

// What an asynchronous invocation leaves free for synchronous ones, at least.
const (
	synchronousPart  = 10 // one in so many of the account's executions
	synchronousFloor = 100
)

// rank is a limit's place in the order in which the first that fails is named.
func rank(l faas.Limit) int { return slices.Index(faas.RefusingLimits(), l) }

// refuseCall says which limit forbids one more invocation. Where one does, those
// that would next forbid the instance it needs are evaluated too, so that the
// first in order is named whichever was met first.
func (v *version) refuseCall(of *faas.Version, kind Kind) (refusal, bool) {
	r, refused := v.refuseExecution(kind)
	if !refused || !v.full(max(1, of.Config.InstanceConcurrency)) {
		return r, refused
	}
	if next, too := v.function.refuseInstance(of.Config.MemoryMB); too && rank(next.limit) < rank(r.limit) {
		return next, true
	}
	return r, true
}

// full says that every instance of the version that is busy, starting or
// provisioned holds as many calls as it can.
func (v *version) full(concurrency int) bool { return v.calls >= v.capacity+v.instances*concurrency }

func (v *version) refuseExecution(kind Kind) (refusal, bool) {
	f, b := v.function, v.bucket()
	if r, refused := f.refuseReserved(b, executions, 1); refused {
		return r, true
	}
	if r, refused := f.refuseShared(b, executions, 1); refused {
		return r, true
	}
	if kind == Asynchronous && f.settings.Reserved == nil && b == &f.demand {
		return f.account.refuseAsynchronous()
	}
	return refusal{}, false
}

// refuseInstance says which limit but the window forbids one more instance on
// demand.
func (f *function) refuseInstance(memoryMB int) (refusal, bool) {
	if r, refused := f.refuseReserved(&f.demand, memory, memoryMB); refused {
		return r, true
	}
	if most := f.maximum(); most > 0 && f.instances+f.placed >= most {
		return refusal{limit: faas.LimitFunction, unit: faas.UnitInstances, value: most, use: f.instances + f.placed, own: f.settings.Maximum != nil}, true
	}
	return f.refuseShared(&f.demand, memory, memoryMB)
}

// refuseMark says which limit but the window forbids one more provisioned instance.
func (v *version) refuseMark(memoryMB int) (refusal, bool) {
	f := v.function
	if v.marks >= v.target.Instances && !f.off() {
		r := refusal{limit: faas.LimitMemory, unit: faas.UnitInstances, value: v.target.Instances, use: v.marks, target: true}
		if f.settings.Reserved != nil {
			r.limit = faas.LimitReserved
		}
		return r, true
	}
	if r, refused := f.refuseReserved(&f.provisioned, memory, memoryMB); refused {
		return r, true
	}
	return f.refuseShared(&f.provisioned, memory, memoryMB)
}

// refuseReserved evaluates the function's reservation as a cap. What is on demand
// leaves room for the provisioned targets, which are inside the reservation.
func (f *function) refuseReserved(b *bucket, u unit, n int) (refusal, bool) {
	if f.off() {
		return refusal{limit: faas.LimitOff, unit: u.name(), use: f.demand.use[u] + f.provisioned.use[u]}, true
	}
	value, ok := f.reserved(u)
	if !ok {
		return refusal{}, false
	}
	provisioned := f.provisioned.use[u]
	if b == &f.demand {
		provisioned = max(provisioned, f.provisioned.want[u])
	}
	use := f.demand.use[u] + provisioned
	if use+n <= value {
		return refusal{}, false
	}
	return refusal{limit: faas.LimitReserved, unit: u.name(), value: value, use: use, need: n, aside: provisioned}, true
}

// refuseShared evaluates what is set aside for the bucket and, beyond it, what is
// free in the shared pool.
func (f *function) refuseShared(b *bucket, u unit, n int) (refusal, bool) {
	a := f.account
	if a.fits(b, u, n) {
		return refusal{}, false
	}
	if f.settings.Reserved != nil && b.use[u]+n <= b.want[u] {
		return refusal{limit: faas.LimitReserved, unit: u.name(), need: n, filling: true,
			value: b.funded[u], use: b.use[u], whole: b.want[u]}, true
	}
	return refusal{limit: limitOf(u), unit: u.name(), need: n, filling: b.use[u]+n <= b.want[u],
		value: max(0, a.limit[u]-a.funded[u]), use: a.held[u] - a.funded[u], aside: a.funded[u], whole: a.limit[u]}, true
}

// refuseAsynchronous keeps a part of the shared pool free for synchronous calls: a
// tenth of the account, at least 100, but never more than half of the pool, or a
// small one would let no asynchronous call through for ever.
func (a *account) refuseAsynchronous() (refusal, bool) {
	shared := a.limit[executions] - a.funded[executions]
	share := min(max(a.limit[executions]/synchronousPart, synchronousFloor), shared/2)
	if a.free(executions)-1 >= share {
		return refusal{}, false
	}
	return refusal{limit: faas.LimitSynchronous, unit: faas.UnitExecutions, need: 1,
		value: shared - share, use: shared - a.free(executions), aside: share}, true
}
