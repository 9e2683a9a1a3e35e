package async

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"hearth/engine"
	"hearth/faas"
)

const (
	// ceilingLasts is how long a limit that refused one more is taken to be the
	// most, unless something is freed.
	ceilingLasts = time.Second
	// lookEvery is how often a line that cannot begin its first event looks whether
	// that is too old, at most.
	lookEvery = time.Minute
)

// line is one function's queue as the dispatcher sees it. It belongs to the
// dispatcher's goroutine.
type line struct {
	key     string
	id      faas.FunctionID
	account *account
	listed  bool // in the ring
	deficit int

	buffer   fifo[*flight] // fetched, in order, and not begun
	fetching bool          // a fetch is under way, or waits for its turn
	running  int           // attempts that have a place
	leaving  atomic.Int64  // of them, those that are about to give their instance back, or have
	duration time.Duration // that attempts took lately; 0 before the first
	each     int           // invocations that an instance may hold

	planned time.Time // when allowed was decided
	allowed int       // attempts that may run until then
	stirred time.Time // when something was fetched or begun
	wakes   time.Time // when timer gives the line its turn; zero where it does not

	grown   time.Time // when most was decided
	most    int       // attempts that may run until growEvery later, unless there are places
	growing bool      // more are wanted

	ceiling      int // running, when a limit refused one more
	ceilingUntil time.Time
	held         bool // a refusal keeps the line from its turn
	until        time.Time
	refused      bool // it is in its account's list of those
	starved      bool // it is in the list of those for whom the machine had no room
	refusals     int  // in a row, each after its whole pause
	early        bool // woken before the pause was over
	lookAt       time.Time
	timer        *time.Timer
	recall       bool          // what the fetch under way brings goes back: what is before it did
	wanted       []termination // of events that the fetch under way may bring
}

// notice is why a line does not begin its first event, for people.
type notice struct {
	refusal *faas.Refusal
	next    time.Time
}

// notices are those of all lines, by key.
type notices struct {
	mu    sync.Mutex
	byKey map[string]notice
}

func (n *notices) of(key string) (notice, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	found, ok := n.byKey[key]
	return found, ok
}

func (n *notices) set(key string, what notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.byKey[key] = what
}

func (n *notices) clear(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.byKey, key)
}

// line returns the line of a key, made where there is none; nil for a key that is
// not a function's.
func (d *dispatcher) line(key string) *line {
	if l := d.lines[key]; l != nil {
		return l
	}
	id, delivery, ok := functionOf(key)
	if !ok || delivery {
		return nil
	}
	name := id.Account + "/" + id.Region
	a := d.accounts[name]
	if a == nil {
		a = &account{name: name}
		d.accounts[name] = a
	}
	l := &line{key: key, id: id, account: a, each: 1}
	l.duration = d.remembered[key]
	d.lines[key] = l
	return l
}

// forget drops a line that has nothing to do. What it knew of the function's
// duration is kept for as many as there is room for.
func (d *dispatcher) forget(l *line) {
	if l.running > 0 || l.buffer.len() > 0 || l.fetching || l.held || l.listed {
		return
	}
	l.stopTimer()
	d.unrefuse(l)
	delete(d.lines, l.key)
	if len(d.remembered) < maxRemembered {
		d.remembered[l.key] = l.duration
	} else if _, there := d.remembered[l.key]; there {
		d.remembered[l.key] = l.duration
	}
	d.notices.clear(l.key)
}

const maxRemembered = 10_000

// plan decides how many attempts of a line may run, and fetches events for them where
// none is at hand.
func (d *dispatcher) plan(l *line, now time.Time) {
	fetched := l.buffer.len() > 0
	switch {
	case l.held, !fetched && l.fetching:
		return
	case fetched && now.Before(l.wakes) && now.Sub(l.planned) < growEvery:
		return // as many run as were allowed a moment ago
	}
	b := d.queue.Backlog(l.key)
	if first, ok := l.buffer.head(); ok {
		b.Ready += l.buffer.len()
		b.Oldest = first.event.Accepted
	}
	if b.Ready == 0 {
		d.forget(l)
		return
	}
	n := d.room(l, b, now)
	l.planned, l.allowed = now, l.running+n
	switch {
	case n > 0 && fetched:
		d.turn(l)
	case n > 0:
		d.fetch(l, n+d.ahead(l, now), b, false)
	case fetched:
		d.keepStock(l, now)
	default:
		d.lookLater(l, b, now)
	}
}

// roomAt is when a line without room may have more, if that is before at.
func (l *line) roomAt(at, now time.Time) time.Time {
	if now.Before(l.ceilingUntil) {
		if l.ceilingUntil.Before(at) {
			return l.ceilingUntil
		}
		return at
	}
	if grow := l.grown.Add(growEvery); l.growing && grow.Before(at) {
		return grow
	}
	return at
}

// room is how many more events of a line are to begin.
func (d *dispatcher) room(l *line, b engine.Backlog, now time.Time) int {
	state := load{waiting: b.Ready, running: l.running, age: now.Sub(b.Oldest), duration: l.duration, each: l.each}
	if now.Before(l.ceilingUntil) {
		state.ceiling = max(l.ceiling, 1)
	}
	if d.idle != nil {
		// An instance that was given back is idle before its attempt has left: counted
		// twice, it would have another started each time that this is seen.
		idle := d.idle(l.id)
		state.places = l.running - int(l.leaving.Load()) + idle*l.each
	}
	if now.Sub(l.grown) >= growEvery {
		l.grown, l.most = now, reach(max(state.places, l.running), l.each, runtime.GOMAXPROCS(0), d.saturated != nil && d.saturated())
	}
	state.most = l.most
	all := wanted(state, d.policy)
	state.most = 0
	l.growing = wanted(state, d.policy) > all
	n := all - l.running
	if l.refusals > 0 {
		n = min(n, 1) // to see whether it is still refused
	}
	return n
}

// lookLater has a line whose first event cannot begin look in time whether that is
// too old.
func (d *dispatcher) lookLater(l *line, b engine.Backlog, now time.Time) {
	at := b.Oldest.Add(faas.MinEventAgeSeconds * time.Second)
	if l.lookAt.After(at) {
		at = l.lookAt
	}
	if !at.After(now) {
		d.fetch(l, maxFetch, b, true)
		return
	}
	d.wakeAt(l, l.roomAt(at, now), now)
}

// turn gives a line its turn, if it may have one.
func (d *dispatcher) turn(l *line) {
	if !d.closing && !l.held {
		d.ring.add(l)
	}
}

// hold keeps a line from its turn because its first event, which is too old at
// expiry, was refused. Attempts of its own that run make room when they end; else it
// waits, each time longer, or until something is freed.
func (d *dispatcher) hold(l *line, e ending, err error, now, expiry time.Time) {
	var refusal *faas.Refusal
	errors.As(err, &refusal)
	d.unbuffer(l)
	if !ownLimit(refusal) {
		l.account.contended = now.Add(ceilingLasts)
	}
	if !l.refused {
		l.refused = true
		l.account.refused.push(l)
	}
	d.watch(l.account)
	if l.running > 0 {
		l.ceiling, l.ceilingUntil = l.running, now.Add(ceilingLasts)
		d.notices.set(l.key, notice{refusal, l.ceilingUntil})
		d.wakeAt(l, l.ceilingUntil, now)
		return
	}
	d.pause(l, e, refusal, now, expiry)
	if e == crowded && !l.starved {
		l.starved = true
		d.starved.push(l)
	}
}

// ownLimit says whether a limit refused that leaves a function nothing of others' to
// wait for.
func ownLimit(r *faas.Refusal) bool {
	return r != nil && (r.Limit == faas.LimitOff || r.Limit == faas.LimitReserved || r.Limit == faas.LimitFunction)
}

// pause holds a line for the next delay; one that was woken early goes on with the
// one that it had.
func (d *dispatcher) pause(l *line, e ending, refusal *faas.Refusal, now, expiry time.Time) {
	if !l.early || !l.until.After(now) {
		l.refusals++
		delay := d.policy.delay(l.refusals)
		if e == crowded {
			delay = min(delay, d.policy.CapacityDelay)
		}
		l.until = now.Add(delay)
	}
	l.held, l.early = true, false
	at := l.until
	if !expiry.IsZero() && expiry.Before(at) {
		at = expiry
	}
	d.notices.set(l.key, notice{refusal, at})
	d.wakeAt(l, at, now)
}

// wakeAt gives the line its turn at a time.
func (d *dispatcher) wakeAt(l *line, at, now time.Time) {
	l.stopTimer()
	l.wakes = at
	l.timer = time.AfterFunc(at.Sub(now), func() {
		d.tell(func() { d.rouse(l, false) })
	})
}

func (l *line) stopTimer() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer, l.wakes = nil, time.Time{}
	}
}

// rouse has a line try again, before its time where something was freed.
func (d *dispatcher) rouse(l *line, early bool) {
	if d.lines[l.key] != l {
		return // forgotten meanwhile
	}
	l.early = l.held && early
	l.held, l.ceilingUntil, l.planned = false, time.Time{}, time.Time{}
	d.turn(l)
}

// unrefuse notes that nothing refuses a line any more. Then there may be room for
// the next that was refused, too.
func (d *dispatcher) unrefuse(l *line) {
	l.refusals, l.early = 0, false
	if l.refused {
		l.refused = false
		d.notices.clear(l.key)
	}
	if next := l.account.nextRefused(); next != nil {
		d.rouse(next, true)
	}
}

// nextRefused takes the line out of the list that was refused longest ago; nil where
// none is.
func (a *account) nextRefused() *line {
	for a.refused.len() > 0 {
		l, _ := a.refused.head()
		a.refused.pop()
		if l.refused {
			l.refused = false
			return l
		}
	}
	return nil
}
