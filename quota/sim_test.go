package quota_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"hearth/faas"
	"hearth/internal/seeds"
	"hearth/quota"
)

// TestSimulation runs random operations against the allocator and a slow, obvious
// model of it, and checks after each that both agree and that the invariants hold.
// HEARTH_SEED repeats one run; HEARTH_LONG=1 makes ten times as many.
func TestSimulation(t *testing.T) {
	named := map[faas.Limit]int{}
	runs := seeds.Run(t, 20, func(seed uint64) {
		for limit, n := range simulate(t, seed) {
			named[limit] += n
		}
	})
	for _, limit := range append(faas.RefusingLimits(), "") {
		if named[limit] < runs && limit != faas.LimitMachine {
			t.Errorf("only %d operations of %d runs ended with %q", named[limit], runs, limit)
		}
	}
}

const simOps = 600

// world is one simulation.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	scene   *scene
	model   *model
	misuses int
	named   map[faas.Limit]int
	calls   []liveCall
	insts   []liveInstance
	ended   []quota.Lease
	rested  []liveInstance // whose leases ended
	seen    []*faas.Version
	funded  map[faas.FunctionID]quota.Share // after the operation before
	over    [2]bool                         // use was above the account's limit then
}

type liveCall struct {
	lease quota.Lease
	model *modelCall
}

type liveInstance struct {
	lease quota.InstanceLease
	start quota.StartLease // nil where it was not started
	ahead bool
	model *modelInstance
	begun *modelStart // its last start in the window; nil where there is none
}

// simulate returns how many operations each limit refused; those with the empty
// one were granted.
func simulate(t *testing.T, seed uint64) map[faas.Limit]int {
	t.Helper()
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), scene: newScene(t), model: &model{},
		funded: map[faas.FunctionID]quota.Share{}, named: map[faas.Limit]int{}}
	for i := range 6 {
		w.model.functions = append(w.model.functions, &modelFunction{id: functionID(fmt.Sprint("f", i)), targets: map[string]quota.Provision{}})
	}
	w.relimit()
	for i := range simOps {
		what, reconfigured := w.step()
		w.check(reconfigured)
		if t.Failed() {
			t.Fatalf("seed %d, operation %d: %s", seed, i, what)
		}
	}
	w.end()
	if t.Failed() {
		t.Fatalf("seed %d, at the end", seed)
	}
	return w.named
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

func pick[T any](w *world, of ...T) T { return of[w.rng.IntN(len(of))] }

// version returns a random version: its memory and concurrency may change with
// every revision, but not under a lease.
func (w *world) version() *faas.Version {
	f := pick(w, w.model.functions...)
	number := pick(w, faas.Latest, "1", "2")
	concurrency := 1
	if f == w.model.functions[0] {
		concurrency = 3
	}
	if w.chance(30) && len(w.seen) > 0 { // a revision as before
		return pick(w, w.seen...)
	}
	v := version(f.id.Name, number, pick(w, 64, 128, 128, 300), concurrency)
	w.seen = append(w.seen, v)
	return v
}

// step does one thing; reconfigured where it may take away what was set aside.
func (w *world) step() (what string, reconfigured bool) {
	switch n := w.rng.IntN(100); {
	case n < 28:
		return w.admit(), false
	case n < 40:
		return w.occupy(), false
	case n < 45:
		return w.renew(), false
	case n < 58:
		return w.start(), false
	case n < 60:
		return w.assume(), true
	case n < 62:
		return w.again(), false
	case n < 86:
		return w.release(), false
	case n < 87:
		return w.releaseTwice(), false
	case n < 92:
		d := pick(w, time.Millisecond, time.Second, 20*time.Second, 60*time.Second)
		w.scene.now = w.scene.now.Add(d)
		return fmt.Sprint("time goes on by ", d), false
	case n < 95:
		return w.provision(), true
	case n < 98:
		return w.reconfigure(), true
	case n < 99:
		return w.relimit(), true
	}
	return w.probe(), false
}

// same checks that the allocator did what the model says.
// Need is what was asked for in the unit of memory.
func (w *world) same(err error, limit faas.Limit, need int) bool {
	w.t.Helper()
	w.named[limit]++
	var r *faas.Refusal
	switch {
	case err == nil && limit == "":
		return true
	case err == nil:
		w.t.Errorf("granted, and %s forbids it", limit)
	case !errors.As(err, &r):
		w.t.Errorf("refused without a refusal: %v", err)
	case r.Limit != limit:
		w.t.Errorf("refused by %q, want %q: %v", r.Limit, limit, err)
	case limit == faas.LimitOff:
	case r.Unit == faas.UnitMemoryMB && r.Use+need <= r.Value, r.Unit != faas.UnitMemoryMB && r.Use < r.Value:
		w.t.Errorf("the refusal's numbers refuse nothing: %v", err)
	}
	return false
}

func (w *world) admit() string {
	v, kind := w.version(), pick(w, quota.Synchronous, quota.Synchronous, quota.Asynchronous)
	limit := w.model.refuseCall(v, kind)
	lease, err := w.scene.Admit(v, kind)
	if w.same(err, limit, v.Config.MemoryMB) {
		c := &modelCall{v}
		w.calls = append(w.calls, liveCall{lease, c})
		w.model.calls = append(w.model.calls, c)
		w.within(inExecutions)
	}
	return fmt.Sprintf("admit %s: %v", v.ID, err)
}

// within checks what a grant may never pass, by adding up what is out.
func (w *world) within(unit int) {
	w.t.Helper()
	total := 0
	for _, f := range w.model.functions {
		sum := w.model.use(f, provisionedPart, unit) + w.model.use(f, demandPart, unit)
		total += sum
	}
	if limit := w.model.limit(unit); total > limit {
		w.t.Errorf("a grant brought unit %d to %d of %d", unit, total, limit)
	}
}

func (w *world) occupy() string {
	v := w.version()
	limit := w.model.refuseInstance(v)
	lease, err := w.scene.Occupy(v)
	if w.same(err, limit, v.Config.MemoryMB) {
		w.add(liveInstance{lease: lease, model: &modelInstance{of: v}})
		w.within(inMB)
	}
	return fmt.Sprintf("occupy %s of %d MB: %v", v.ID, v.Config.MemoryMB, err)
}

func (w *world) renew() string {
	if len(w.rested) == 0 {
		return "nothing"
	}
	n := w.rng.IntN(len(w.rested))
	i := w.rested[n]
	limit := w.model.refuseInstance(i.model.of)
	err := i.lease.Renew()
	if w.same(err, limit, i.model.of.Config.MemoryMB) {
		w.rested = append(w.rested[:n], w.rested[n+1:]...)
		w.ended = remove(w.ended, quota.Lease(i.lease))
		w.add(liveInstance{lease: i.lease, model: &modelInstance{of: i.model.of}})
		w.within(inMB)
	}
	return fmt.Sprintf("renew %s of %d MB: %v", i.model.of.ID, i.model.of.Config.MemoryMB, err)
}

func (w *world) add(i liveInstance) {
	w.insts = append(w.insts, i)
	w.model.instances = append(w.model.instances, i.model)
}

func (w *world) assume() string {
	v := w.version()
	w.add(liveInstance{lease: w.scene.Assume(v), model: &modelInstance{of: v}})
	w.model.settle()
	return fmt.Sprintf("assume %s", v.ID)
}

func (w *world) start() string {
	v, purpose := w.version(), pick(w, quota.ForCall, quota.ForCall, quota.Ahead, quota.ForProvisioned, quota.ForProvisioned, quota.Adopt)
	mark := purpose == quota.ForProvisioned || purpose == quota.Adopt
	limit := w.model.refuseInstance(v)
	if mark {
		limit = w.model.refuseMark(v)
	}
	ahead := purpose != quota.ForCall
	if limit == "" && purpose != quota.Adopt {
		limit = w.model.refuseExpansion(w.scene.now, ahead)
	}
	lease, err := w.scene.Start(v, purpose)
	if w.same(err, limit, v.Config.MemoryMB) {
		i := liveInstance{lease: lease, start: lease, ahead: ahead, model: &modelInstance{of: v, mark: mark}}
		if purpose != quota.Adopt {
			i.begun = w.begin(ahead)
		}
		w.add(i)
		w.within(inMB)
	}
	return fmt.Sprintf("start %s of %d MB for %d: %v", v.ID, v.Config.MemoryMB, purpose, err)
}

func (w *world) begin(ahead bool) *modelStart {
	s := &modelStart{w.scene.now, ahead}
	w.model.starts = append(w.model.starts, s)
	return s
}

func (w *world) again() string {
	if len(w.insts) == 0 {
		return "nothing"
	}
	i := &w.insts[w.rng.IntN(len(w.insts))]
	if i.start == nil {
		return "nothing"
	}
	limit := w.model.refuseExpansion(w.scene.now, i.ahead)
	err := i.start.Again()
	if w.same(err, limit, 0) {
		i.begun = w.begin(i.ahead)
	}
	return fmt.Sprintf("again: %v", err)
}

func (w *world) release() string {
	if w.chance(50) && len(w.calls) > 0 {
		i := w.rng.IntN(len(w.calls))
		c := w.calls[i]
		w.calls = append(w.calls[:i], w.calls[i+1:]...)
		w.model.calls = remove(w.model.calls, c.model)
		c.lease.Release()
		w.ended = append(w.ended, c.lease)
		w.model.settle()
		return fmt.Sprintf("call of %s ends", c.model.of.ID)
	}
	if len(w.insts) == 0 {
		return "nothing"
	}
	n := w.rng.IntN(len(w.insts))
	i := w.insts[n]
	w.insts = append(w.insts[:n], w.insts[n+1:]...)
	w.model.instances = remove(w.model.instances, i.model)
	if i.start != nil && w.chance(30) {
		i.start.Void()
		w.model.starts = remove(w.model.starts, i.begun)
	} else {
		i.lease.Release()
	}
	w.ended = append(w.ended, i.lease)
	if !i.model.mark {
		w.rested = append(w.rested, i)
	}
	w.model.settle()
	return fmt.Sprintf("instance of %s ends", i.model.of.ID)
}

func remove[T comparable](list []T, one T) []T {
	kept := list[:0:0]
	for _, other := range list {
		if other != one {
			kept = append(kept, other)
		}
	}
	return kept
}

func (w *world) releaseTwice() string {
	if len(w.ended) == 0 {
		return "nothing"
	}
	l := pick(w, w.ended...)
	l.Release()
	w.misuses++
	return "a second release"
}

func (w *world) provision() string {
	f := pick(w, w.model.functions...)
	targets := map[string]quota.Provision{}
	for _, number := range []string{"1", "2"} {
		if w.chance(60) {
			targets[number] = quota.Provision{Instances: w.rng.IntN(6), MemoryMB: pick(w, 64, 128), Concurrency: pick(w, 1, 1, 3)}
		}
	}
	w.model.change(f, func() { f.targets = targets })
	w.model.settle()
	w.scene.Provision(f.id, targets)
	return fmt.Sprintf("provision %s: %v", f.id.Name, targets)
}

func (w *world) reconfigure() string {
	f := pick(w, w.model.functions...)
	var s quota.FunctionSettings
	s.MemoryMB, s.Concurrency = pick(w, 128, 300), pick(w, 1, 3)
	switch w.rng.IntN(5) {
	case 0:
		s.Reserved = &faas.Amount{Unit: faas.UnitExecutions, Value: w.rng.IntN(30)}
	case 1:
		s.Reserved = &faas.Amount{Unit: faas.UnitMemoryMB, Value: w.rng.IntN(4000)}
	case 2:
		s.Reserved = &faas.Amount{Unit: pick(w, faas.UnitExecutions, faas.UnitMemoryMB)}
	case 3:
		n := w.rng.IntN(10)
		s.Maximum = &n
	}
	w.model.change(f, func() { f.settings = s })
	w.model.settle()
	w.scene.function(f.id.Name, func(old *quota.FunctionSettings) { *old = s })
	return fmt.Sprintf("configure %s: reserved %v, maximum %v", f.id.Name, s.Reserved, s.Maximum)
}

func (w *world) relimit() string {
	w.model.limits = faas.AccountLimits{
		MemoryMB:        2000 + w.rng.IntN(8000),
		Executions:      20 + w.rng.IntN(100),
		FunctionMaximum: pick(w, 0, 5, 20),
		Expansion:       pick(w, 0, 3, 10, 30, 200),
	}
	w.model.settle()
	w.scene.limit(func(l *faas.AccountLimits) { *l = w.model.limits })
	return fmt.Sprintf("limit the account: %+v", w.model.limits)
}

// probe shows that a reservation that is whole can be had, at once and in full.
func (w *world) probe() string {
	f := pick(w, w.model.functions...)
	r := f.reserved()
	if r == nil || r.Unit != faas.UnitExecutions || len(f.targets) > 0 || f.parts[demandPart].funded[0] < r.Value {
		return "nothing"
	}
	v := version(f.id.Name, "2", 64, 1)
	var leases []quota.Lease
	for n := w.model.use(f, demandPart, inExecutions); n < r.Value; n++ {
		lease, err := w.scene.Admit(v, quota.Asynchronous)
		if err != nil {
			w.t.Errorf("%d of %d reserved executions could be had: %v", n, r.Value, err)
			break
		}
		leases = append(leases, lease)
	}
	for _, l := range leases {
		l.Release()
	}
	return fmt.Sprintf("take the whole reservation of %s", f.id.Name)
}

// check compares what both say and checks the invariants that need no model.
func (w *world) check(reconfigured bool) {
	w.t.Helper()
	u := w.scene.Usage(account)
	if u.Misuses != w.misuses {
		w.t.Errorf("%d misuses counted, there were %d", u.Misuses, w.misuses)
	}
	seen := map[faas.FunctionID]quota.FunctionUsage{}
	for _, f := range u.Functions {
		seen[f.Function] = f
	}
	var wanted, funded quota.Share
	for _, f := range w.model.functions {
		got, p, d := seen[f.id], f.parts[provisionedPart], f.parts[demandPart]
		want := quota.Share{Executions: p.want[0] + d.want[0], MemoryMB: p.want[1] + d.want[1]}
		set := quota.Share{Executions: p.funded[0] + d.funded[0], MemoryMB: p.funded[1] + d.funded[1]}
		use := quota.Share{Executions: w.model.use(f, provisionedPart, inExecutions) + w.model.use(f, demandPart, inExecutions),
			MemoryMB: max(p.want[1], w.model.use(f, provisionedPart, inMB)) + w.model.use(f, demandPart, inMB)}
		if got.Wanted != want || got.Funded != set || got.InUse != use {
			w.t.Errorf("%s: wanted %v, funded %v, in use %v; the model has %v, %v, %v", f.id.Name, got.Wanted, got.Funded, got.InUse, want, set, use)
		}
		if got.Instances != w.model.onDemand(f)+w.model.placed(f) {
			w.t.Errorf("%s: %d instances, the model has %d and %d", f.id.Name, got.Instances, w.model.onDemand(f), w.model.placed(f))
		}
		if before := w.funded[f.id]; !reconfigured && (set.Executions < before.Executions && !w.over[inExecutions] || set.MemoryMB < before.MemoryMB && !w.over[inMB]) {
			w.t.Errorf("%s had %v set aside and has %v", f.id.Name, before, set)
		}
		w.funded[f.id] = set
		wanted.Executions += want.Executions
		wanted.MemoryMB += want.MemoryMB
		funded.Executions += set.Executions
		funded.MemoryMB += set.MemoryMB
	}
	if u.Reserved != funded {
		w.t.Errorf("%v are set aside in all, the model has %v", u.Reserved, funded)
	}
	free := quota.Share{Executions: max(0, w.model.free(inExecutions)), MemoryMB: max(0, w.model.free(inMB))}
	if u.Free != free {
		w.t.Errorf("%v are free, the model has %v", u.Free, free)
	}
	if free.Executions > 0 && funded.Executions < wanted.Executions || free.MemoryMB > 0 && funded.MemoryMB < wanted.MemoryMB {
		w.t.Errorf("%v are free while of %v only %v are set aside", free, wanted, funded)
	}
	w.over = [2]bool{w.model.free(inExecutions) < 0, w.model.free(inMB) < 0}
	w.checkWindow(u)
}

// checkWindow counts the starts of the last minute one by one.
func (w *world) checkWindow(u quota.Usage) {
	w.t.Helper()
	starts, ahead := 0, 0
	for _, s := range w.model.starts {
		if w.scene.now.Sub(s.at) < time.Minute {
			starts++
			if s.ahead {
				ahead++
			}
		}
	}
	if u.Starts != starts || u.StartsAhead != ahead {
		w.t.Errorf("%d starts, %d ahead; there were %d and %d", u.Starts, u.StartsAhead, starts, ahead)
	}
}

// end gives everything back: nothing may be left.
func (w *world) end() {
	for _, c := range w.calls {
		c.lease.Release()
	}
	for _, i := range w.insts {
		i.lease.Release()
	}
	w.model.calls, w.model.instances = nil, nil
	for _, f := range w.model.functions {
		w.scene.Provision(f.id, nil)
	}
	w.scene.Configure(account, quota.Settings{Limits: w.model.limits})
	u := w.scene.Usage(account)
	if len(u.Functions) != 0 || u.InUse != (quota.Share{}) || u.Reserved != (quota.Share{}) || u.Free != (quota.Share{Executions: u.Limits.Executions, MemoryMB: u.Limits.MemoryMB}) {
		w.t.Errorf("something is left: %+v", u)
	}
}
