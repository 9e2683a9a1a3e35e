package quota_test

import (
	"cmp"
	"slices"
	"time"

	"hearth/faas"
	"hearth/quota"
)

// model is the allocator as one would write it down: lists of what was granted,
// added up again for every question. Only what is funded is remembered, because it
// depends on what came before.
type model struct {
	limits    faas.AccountLimits
	functions []*modelFunction
	calls     []*modelCall
	instances []*modelInstance
	starts    []*modelStart
	turns     int
}

type modelFunction struct {
	id       faas.FunctionID
	settings quota.FunctionSettings
	targets  map[string]quota.Provision
	parts    [2]modelPart // provisioned, on demand
	turn     int
}

// modelPart is what a function wants and was funded, in executions and in MB.
type modelPart struct{ want, funded [2]int }

type modelCall struct{ of *faas.Version }

type modelInstance struct {
	of   *faas.Version
	mark bool
}

type modelStart struct {
	at    time.Time
	ahead bool
}

const (
	provisionedPart = 0
	demandPart      = 1
	inExecutions    = 0
	inMB            = 1
)

func (m *model) function(v *faas.Version) *modelFunction {
	i := slices.IndexFunc(m.functions, func(f *modelFunction) bool { return f.id == v.ID.Function })
	return m.functions[i]
}

func (f *modelFunction) reserved() *faas.Amount { return f.settings.Reserved }

func capacity(p quota.Provision) int { return p.Instances * max(1, p.Concurrency) }

// callsOf counts the calls in flight of a version.
func (m *model) callsOf(id faas.VersionID) (n int) {
	for _, c := range m.calls {
		if c.of.ID == id {
			n++
		}
	}
	return n
}

// instancesOf counts the instances of a version, on demand or marked.
func (m *model) instancesOf(id faas.VersionID, mark bool) (n int) {
	for _, i := range m.instances {
		if i.of.ID == id && i.mark == mark {
			n++
		}
	}
	return n
}

// numbers are the versions of a function that have a target or calls.
func (m *model) numbers(f *modelFunction) []string {
	var all []string
	for number := range f.targets {
		all = append(all, number)
	}
	for _, c := range m.calls {
		if c.of.ID.Function == f.id {
			all = append(all, c.of.ID.Number)
		}
	}
	for _, i := range m.instances {
		if i.of.ID.Function == f.id {
			all = append(all, i.of.ID.Number)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// use adds up what a part of a function uses in one unit.
func (m *model) use(f *modelFunction, part, unit int) (sum int) {
	if unit == inMB {
		for _, i := range m.instances {
			if i.of.ID.Function.Name == f.id.Name && i.mark == (part == provisionedPart) {
				sum += i.of.Config.MemoryMB
			}
		}
		return sum
	}
	counts := map[string]int{}
	for _, c := range m.calls {
		if c.of.ID.Function.Name == f.id.Name {
			counts[c.of.ID.Number]++
		}
	}
	for number, calls := range counts {
		provisioned := min(calls, capacity(f.targets[number]))
		if part == provisionedPart {
			sum += provisioned
		} else {
			sum += calls - provisioned
		}
	}
	return sum
}

func (m *model) limit(unit int) int {
	if unit == inMB {
		return m.limits.MemoryMB
	}
	return m.limits.Executions
}

func (m *model) held(f *modelFunction, part, unit int) int {
	return max(f.parts[part].funded[unit], m.use(f, part, unit))
}

func (m *model) free(unit int) int {
	free := m.limit(unit)
	for _, f := range m.functions {
		free -= m.held(f, provisionedPart, unit) + m.held(f, demandPart, unit)
	}
	return free
}

// placed are the provisioned instances that count, whether they are there or not.
func (m *model) placed(f *modelFunction) (n int) {
	for _, number := range m.numbers(f) {
		n += max(f.targets[number].Instances, m.instancesOf(faas.VersionID{Function: f.id, Number: number}, true))
	}
	return n
}

func (m *model) maximum(f *modelFunction) int {
	switch {
	case f.reserved() != nil:
		return 0
	case f.settings.Maximum != nil:
		return *f.settings.Maximum
	}
	return m.limits.FunctionMaximum
}

// part is what one more call of the version would be charged to.
func (m *model) part(v *faas.Version) int {
	if m.callsOf(v.ID) < capacity(m.function(v).targets[v.ID.Number]) {
		return provisionedPart
	}
	return demandPart
}

// failing collects the limits that n more of a part fail, but for the window.
func (m *model) failing(f *modelFunction, part, unit, n int) (limits []faas.Limit) {
	r := f.reserved()
	if r != nil && r.Value == 0 {
		limits = append(limits, faas.LimitOff)
	}
	if r != nil && (r.Unit == faas.UnitMemoryMB) == (unit == inMB) {
		beside := m.use(f, provisionedPart, unit)
		if part == demandPart {
			beside = max(beside, f.parts[provisionedPart].want[unit])
		}
		if m.use(f, demandPart, unit)+beside+n > r.Value {
			limits = append(limits, faas.LimitReserved)
		}
	}
	if most := m.maximum(f); unit == inMB && part == demandPart && most > 0 {
		if m.onDemand(f)+m.placed(f)+1 > most {
			limits = append(limits, faas.LimitFunction)
		}
	}
	p, use := f.parts[part], m.use(f, part, unit)
	beyond := max(p.funded[unit], use+n) - max(p.funded[unit], use)
	if beyond > 0 && beyond > m.free(unit) {
		switch {
		case r != nil && use+n <= p.want[unit]:
			limits = append(limits, faas.LimitReserved)
		case unit == inMB:
			limits = append(limits, faas.LimitMemory)
		default:
			limits = append(limits, faas.LimitExecutions)
		}
	}
	return limits
}

func (m *model) onDemand(f *modelFunction) (n int) {
	for _, i := range m.instances {
		if i.of.ID.Function == f.id && !i.mark {
			n++
		}
	}
	return n
}

// refuseCall returns the limit that refuses one more call, empty for none.
func (m *model) refuseCall(v *faas.Version, kind quota.Kind) faas.Limit {
	f, part := m.function(v), m.part(v)
	limits := m.failing(f, part, inExecutions, 1)
	if kind == quota.Asynchronous && part == demandPart && f.reserved() == nil {
		shared := m.limits.Executions
		for _, other := range m.functions {
			shared -= other.parts[0].funded[inExecutions] + other.parts[1].funded[inExecutions]
		}
		if m.free(inExecutions)-1 < min(max(100, m.limits.Executions/10), shared/2) {
			limits = append(limits, faas.LimitSynchronous)
		}
	}
	places := capacity(f.targets[v.ID.Number]) + m.instancesOf(v.ID, false)*max(1, v.Config.InstanceConcurrency)
	if len(limits) > 0 && m.callsOf(v.ID) >= places {
		limits = append(limits, m.failing(f, demandPart, inMB, v.Config.MemoryMB)...)
	}
	return first(limits)
}

func (m *model) refuseInstance(v *faas.Version) faas.Limit {
	return first(m.failing(m.function(v), demandPart, inMB, v.Config.MemoryMB))
}

func (m *model) refuseMark(v *faas.Version) faas.Limit {
	f := m.function(v)
	limits := m.failing(f, provisionedPart, inMB, v.Config.MemoryMB)
	if m.instancesOf(v.ID, true) >= f.targets[v.ID.Number].Instances {
		if f.reserved() != nil {
			limits = append(limits, faas.LimitReserved)
		} else {
			limits = append(limits, faas.LimitMemory)
		}
	}
	return first(limits)
}

// refuseExpansion says whether the window is full.
func (m *model) refuseExpansion(now time.Time, ahead bool) faas.Limit {
	all, those := 0, 0
	for _, s := range m.starts {
		if now.Sub(s.at) < time.Minute {
			all++
			if s.ahead {
				those++
			}
		}
	}
	n := m.limits.Expansion
	if n > 0 && (all >= n || ahead && those >= max(1, n/5)) {
		return faas.LimitExpansion
	}
	return ""
}

// first returns the limit that is to be named.
func first(limits []faas.Limit) faas.Limit {
	for _, l := range faas.RefusingLimits() {
		if slices.Contains(limits, l) {
			return l
		}
	}
	return ""
}

// settle funds in order what wants more, and where less than nothing is free
// takes it from the last.
func (m *model) settle() {
	type place struct {
		f    *modelFunction
		part int
	}
	var order []place
	for _, f := range m.functions {
		order = append(order, place{f, provisionedPart}, place{f, demandPart})
	}
	slices.SortStableFunc(order, func(x, y place) int { return cmp.Compare(x.f.turn, y.f.turn) })
	for unit := range 2 {
		for _, o := range order {
			p := &o.f.parts[o.part]
			p.funded[unit] = max(p.funded[unit], min(p.want[unit], m.use(o.f, o.part, unit)))
		}
		for _, o := range slices.Backward(order) {
			p := &o.f.parts[o.part]
			for m.free(unit) < 0 && p.funded[unit] > m.use(o.f, o.part, unit) {
				p.funded[unit] -= min(-m.free(unit), p.funded[unit]-m.use(o.f, o.part, unit))
			}
		}
		for _, o := range order {
			p := &o.f.parts[o.part]
			if free := m.free(unit); free > 0 {
				p.funded[unit] += min(free, p.want[unit]-p.funded[unit])
			}
		}
	}
}

// change runs a change of settings or targets of one function.
func (m *model) change(f *modelFunction, change func()) {
	var before [2]int
	for unit := range before {
		before[unit] = m.held(f, provisionedPart, unit) + m.held(f, demandPart, unit)
	}
	wanted := f.wanted()
	change()
	f.want()
	for unit := range before {
		for part := range f.parts {
			p := &f.parts[part]
			p.funded[unit] = min(p.funded[unit], p.want[unit])
			p.funded[unit] = max(p.funded[unit], min(p.want[unit], m.use(f, part, unit)))
		}
		for part := range f.parts { // what one part no longer holds is the other's first
			p := &f.parts[part]
			for p.funded[unit] < p.want[unit] && m.held(f, provisionedPart, unit)+m.held(f, demandPart, unit) < before[unit] {
				p.funded[unit]++
			}
		}
	}
	if now := f.wanted(); now[0] > wanted[0] || now[1] > wanted[1] {
		m.turns++
		f.turn = m.turns
	}
}

func (f *modelFunction) wanted() (sum [2]int) {
	for _, p := range f.parts {
		sum[0] += p.want[0]
		sum[1] += p.want[1]
	}
	return sum
}

// want works out what is to be set aside.
func (f *modelFunction) want() {
	var target, reserved [2]int
	for _, p := range f.targets {
		target[inExecutions] += capacity(p)
		target[inMB] += p.Instances * p.MemoryMB
	}
	if r := f.reserved(); r != nil && r.Unit == faas.UnitMemoryMB {
		reserved = [2]int{r.Value / f.settings.MemoryMB * f.settings.Concurrency, r.Value}
	} else if r != nil {
		reserved = [2]int{r.Value, r.Value * f.settings.MemoryMB}
	}
	for unit := range target {
		f.parts[provisionedPart].want[unit] = target[unit]
		f.parts[demandPart].want[unit] = max(0, reserved[unit]-target[unit])
	}
}
