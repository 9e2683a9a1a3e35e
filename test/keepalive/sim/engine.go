package sim

import (
	"cmp"
	"math"
	"slices"
	"time"

	"hearth/keepalive"
	"hearth/test/keepalive/workload"
)

// Setup is one run.
type Setup struct {
	Policy keepalive.Policy
	// Calls come from Begin to To; those from From on are scored, and those before
	// warm the policy.
	Begin, From, To time.Duration
	// CapMB is the memory for instances; 0 is no bound. With a bound all apps run
	// in one machine, without one each runs alone.
	CapMB float64
	// Instant makes calls and starts take no time, as published simulations do.
	Instant bool
	// Linger is how long an instance is idle before the policy is first asked, as
	// in package pool.
	Linger time.Duration
}

// Foresight is a policy that is told when the next call comes. It is a floor for
// the others, and nothing that could be built.
type Foresight interface {
	Foresee(history keepalive.History, next time.Time) // zero where none comes
}

// Evictee is a policy that wants to know what it took to be evicted.
type Evictee interface {
	Evicted(worth float64)
}

// timed is how many decisions come to one that is timed.
const timed = 64

// epoch is when simulated time begins: a Monday.
var epoch = time.Date(2026, 11, 16, 0, 0, 0, 0, time.UTC)

func clock(at int64) time.Time { return epoch.Add(time.Duration(at)) }

type life uint8

const (
	dead life = iota
	starting
	idle
	busy
)

type instance struct {
	life    life
	since   int64 // idle since, or when it will be ready
	born    int64
	scaled  bool // started beside live ones
	prewarm bool // started ahead and not used yet
}

// app is the state of one app.
type app struct {
	*workload.App
	next      int // call
	instances []instance
	free      []int32 // dead ones
	idle      []int32 // the newest last
	waiting   []int   // calls
	starting  int
	busy      int
	history   keepalive.History
	due       int64 // when the policy looks next; 0 for never
	ahead     int64 // when to start ahead; 0 for never
	cold      int64
	score     AppScore
}

type engine struct {
	setup     Setup
	apps      []app
	events    queue
	now       int64
	used      float64 // MB of all instances
	foresight Foresight
	totals    *Totals
}

// Run runs the policy over the apps and returns what came of it.
func Run(apps []*workload.App, s Setup) *Result {
	r := &Result{Totals: newTotals(s)}
	if s.CapMB > 0 {
		r.run(apps, s)
		return r
	}
	for i := range apps {
		r.run(apps[i:i+1], s)
	}
	return r
}

func (r *Result) run(apps []*workload.App, s Setup) {
	e := &engine{setup: s, totals: &r.Totals}
	e.foresight, _ = s.Policy.(Foresight)
	for _, a := range apps {
		first, _ := slices.BinarySearchFunc(a.Calls, s.Begin, func(c workload.Call, begin time.Duration) int {
			return cmp.Compare(c.At, begin)
		})
		if first == len(a.Calls) {
			continue
		}
		state := app{App: a, next: first, history: s.Policy.NewHistory(), cold: int64(a.Cold)}
		state.score.App = a
		if s.Instant {
			state.cold = 0
		}
		e.apps = append(e.apps, state)
		e.events.push(event{at: int64(a.Calls[first].At), app: int32(len(e.apps) - 1), kind: arrival})
	}
	e.loop()
	for i := range e.apps {
		e.finish(&e.apps[i])
		r.Apps = append(r.Apps, e.apps[i].score)
	}
}

func (e *engine) loop() {
	end := int64(e.setup.To)
	for len(e.events.events) > 0 && e.events.events[0].at < end {
		ev := e.events.pop()
		e.now = ev.at
		a := &e.apps[ev.app]
		switch ev.kind {
		case arrival:
			e.arrive(a, ev.app)
		case started:
			e.started(a, ev)
		case ended:
			a.busy--
			e.freed(a, ev.app, ev.instance)
		case look:
			if ev.at == a.due {
				a.due = 0
				e.look(a, ev.app)
			}
		case ahead:
			e.startAhead(a, ev)
		}
	}
	e.now = end
}

func (e *engine) arrive(a *app, index int32) {
	call := a.next
	a.next++
	if a.next < len(a.Calls) {
		e.events.push(event{at: int64(a.Calls[a.next].At), app: index, kind: arrival})
	}
	a.history.Arrived(clock(e.now))
	a.ahead = 0
	if e.scored() {
		a.score.Calls++
	}
	if n := len(a.idle); n > 0 {
		i := a.idle[n-1]
		a.idle = a.idle[:n-1]
		e.unrest(a, i)
		e.serve(a, index, i, call)
		e.totals.waited(0, e.scored())
		return
	}
	a.waiting = append(a.waiting, call)
	e.step(a, index)
}

func (e *engine) scored() bool { return e.now >= int64(e.setup.From) }

// serve lets an instance run a call.
func (e *engine) serve(a *app, index, i int32, call int) {
	in := &a.instances[i]
	in.life, in.prewarm = busy, false
	a.busy++
	took := int64(a.Calls[call].Duration())
	if e.setup.Instant {
		took = 0
	}
	e.events.push(event{at: e.now + took, app: index, instance: i, kind: ended})
}

// step starts instances until they cover the calls that wait.
func (e *engine) step(a *app, index int32) {
	for a.starting < len(a.waiting) {
		if e.start(a, index, true) {
			continue
		}
		a.waiting = a.waiting[:len(a.waiting)-1]
		if e.scored() {
			a.score.Refused++
		}
		e.rested(a)
	}
}

// start starts an instance, for a call or ahead of one. A start ahead takes no
// other's place.
func (e *engine) start(a *app, index int32, forCall bool) bool {
	if !e.room(a.MemoryMB, forCall) {
		return false
	}
	e.used += a.MemoryMB
	scaled := a.busy+a.starting+len(a.idle) > 0
	var i int32
	if n := len(a.free); n > 0 {
		i = a.free[n-1]
		a.free = a.free[:n-1]
	} else {
		i = int32(len(a.instances))
		a.instances = append(a.instances, instance{})
	}
	a.instances[i] = instance{life: starting, born: e.now, scaled: scaled, prewarm: !forCall}
	a.starting++
	if e.scored() {
		a.score.Loads++
		if !forCall {
			a.score.Ahead++
		}
	}
	e.events.push(event{at: e.now + a.cold, app: index, instance: i, kind: started})
	return true
}

// room makes room, where the memory is bounded, by evicting what is worth least.
func (e *engine) room(mb float64, evict bool) bool {
	limit := e.setup.CapMB
	if limit == 0 {
		return true
	}
	for e.used+mb > limit {
		if !evict || !e.evict() {
			return false
		}
	}
	return true
}

// evict stops the idle instance that is worth least. Of one app it is always the
// one that is idle longest.
func (e *engine) evict() bool {
	least, victim := math.Inf(1), -1
	now := clock(e.now)
	for n := range e.apps {
		a := &e.apps[n]
		if len(a.idle) == 0 {
			continue
		}
		if worth := e.setup.Policy.Worth(e.observe(a, 0), now); worth < least || victim < 0 {
			least, victim = worth, n
		}
	}
	if victim < 0 {
		return false
	}
	if p, ok := e.setup.Policy.(Evictee); ok {
		p.Evicted(least)
	}
	a := &e.apps[victim]
	if e.scored() {
		a.score.Evicted++
	}
	e.stop(a, 0)
	return true
}

func (e *engine) started(a *app, ev event) {
	a.starting--
	in := &a.instances[ev.instance]
	if len(a.waiting) == 0 {
		e.rest(a, ev.app, ev.instance)
		return
	}
	call := a.waiting[0]
	a.waiting = a.waiting[1:]
	came := int64(a.Calls[call].At)
	if came >= int64(e.setup.From) {
		if in.scaled {
			a.score.Scaled++
		} else {
			a.score.Cold++
		}
	}
	e.totals.waited(e.now-came, came >= int64(e.setup.From))
	e.serve(a, ev.app, ev.instance, call)
}

// freed gives an instance to the first call that waits, or lets it rest.
func (e *engine) freed(a *app, index, i int32) {
	if len(a.waiting) == 0 {
		e.rested(a)
		e.rest(a, index, i)
		return
	}
	call := a.waiting[0]
	a.waiting = a.waiting[1:]
	came := int64(a.Calls[call].At)
	e.totals.waited(e.now-came, came >= int64(e.setup.From))
	e.serve(a, index, i, call)
}

// rested tells the history when no call is left.
func (e *engine) rested(a *app) {
	if a.busy == 0 && len(a.waiting) == 0 {
		a.history.Rested(clock(e.now))
		if e.foresight != nil {
			var next time.Time
			if a.next < len(a.Calls) {
				next = clock(int64(a.Calls[a.next].At))
			}
			e.foresight.Foresee(a.history, next)
		}
	}
}

func (e *engine) rest(a *app, index, i int32) {
	a.instances[i].life, a.instances[i].since = idle, e.now
	a.idle = append(a.idle, i)
	if e.setup.Linger > 0 {
		e.schedule(a, index, e.now+int64(e.setup.Linger))
		return
	}
	e.decide(a, index, len(a.idle)-1)
}

func (e *engine) observe(a *app, n int) keepalive.Observation {
	return keepalive.Observation{
		History:   a.history,
		IdleSince: clock(a.instances[a.idle[n]].since),
		Rank:      len(a.idle) - 1 - n,
		Busy:      a.busy,
		MemoryMB:  a.MemoryMB,
		Cold:      time.Duration(a.cold),
		Pressure:  e.pressure(),
	}
}

func (e *engine) pressure() float64 {
	if e.setup.CapMB == 0 {
		return 0
	}
	return e.used / e.setup.CapMB
}

// decide asks about the n-th idle instance and reports whether it was stopped.
func (e *engine) decide(a *app, index int32, n int) bool {
	o := e.observe(a, n)
	var d keepalive.Decision
	if e.totals.Decisions++; e.totals.Decisions%timed == 0 {
		began := time.Now()
		d = e.setup.Policy.Decide(o, clock(e.now))
		e.totals.Deciding += time.Since(began)
	} else {
		d = e.setup.Policy.Decide(o, clock(e.now))
	}
	if !d.Prewarm.IsZero() {
		e.expect(a, index, int64(d.Prewarm.Sub(epoch)))
	}
	if d.Stop {
		e.stop(a, n)
		return true
	}
	e.schedule(a, index, max(e.now+1, int64(d.Again.Sub(epoch))))
	return false
}

func (e *engine) schedule(a *app, index int32, at int64) {
	if a.due == 0 || at < a.due {
		a.due = at
		e.events.push(event{at: at, app: index, kind: look})
	}
}

func (e *engine) expect(a *app, index int32, at int64) {
	at = max(e.now+1, at)
	if a.ahead != at {
		a.ahead = at
		e.events.push(event{at: at, app: index, kind: ahead})
	}
}

// look asks about every idle instance that has lingered, the longest idle first.
func (e *engine) look(a *app, index int32) {
	for n := 0; n < len(a.idle); {
		if first := a.instances[a.idle[n]].since + int64(e.setup.Linger); e.now < first {
			e.schedule(a, index, first)
			n++
			continue
		}
		if !e.decide(a, index, n) {
			n++
		}
	}
}

func (e *engine) startAhead(a *app, ev event) {
	if a.ahead != ev.at {
		return // a call came, or another time was set
	}
	a.ahead = 0
	if a.busy+a.starting+len(a.idle) == 0 {
		e.start(a, ev.app, false)
	}
}

// stop ends the n-th idle instance.
func (e *engine) stop(a *app, n int) {
	i := a.idle[n]
	a.idle = append(a.idle[:n], a.idle[n+1:]...)
	e.unrest(a, i)
	in := &a.instances[i]
	if in.prewarm && e.scored() {
		a.score.Vain++
	}
	e.totals.resident(in.born, e.now, a.MemoryMB)
	in.life = dead
	a.free = append(a.free, i)
	e.used -= a.MemoryMB
}

// unrest adds the time that an instance was idle to the waste.
func (e *engine) unrest(a *app, i int32) {
	from := max(a.instances[i].since, int64(e.setup.From))
	if e.now > from {
		a.score.Idle += time.Duration(e.now - from)
	}
}

// finish accounts for what is still there at the end.
func (e *engine) finish(a *app) {
	for i := range a.instances {
		in := &a.instances[i]
		switch in.life {
		case idle:
			e.unrest(a, int32(i))
			e.totals.resident(in.born, e.now, a.MemoryMB)
		case starting, busy:
			e.totals.resident(in.born, e.now, a.MemoryMB)
		}
	}
}
