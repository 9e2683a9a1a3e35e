package async

import (
	"context"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"hearth/invoke"
)

const (
	// maxFinishing bounds the events that have run and whose outcome is not on disk
	// yet; at it nothing begins.
	maxFinishing = 4096
	// freedEvery is how often what an account frees is acted on, at most.
	freedEvery   = 10 * time.Millisecond
	rousedAtOnce = 4
	// maxRounds is how often a goroutine looks into the inbox again that owns the lines
	// beside its own work: then that is loop's. maxSteps is how many steps it does
	// before it does so.
	maxRounds = 8
	maxSteps  = 64
)

// Runner runs attempts; *invoke.Service in the binary.
type Runner interface {
	// Begin admits an attempt and returns at once; see invoke.Service.
	Begin(req *invoke.Request) (*invoke.Attempt, error)
}

// dispatcher begins events: in order for each function, in turns between functions
// and accounts, as limits and wanted allow.
//
// One goroutine at a time owns the lines and the ring and decides; what others have to
// say comes as functions that it calls. It waits for nothing: events are fetched and
// attempts run elsewhere. Whose work on an event or a fetch is done owns them itself
// where no other does, so that what comes next need not wait for a goroutine to wake.
type dispatcher struct {
	*Service
	runner Runner
	client *http.Client // for the endpoints that are destinations

	ctx     context.Context // ends when nothing is to be written any more
	cancel  context.CancelFunc
	resting context.Context // ends before: when nothing is to begin any more
	rest    context.CancelFunc
	work    sync.WaitGroup // every goroutine but the owner
	wake    chan struct{}  // 1-buffered: there is something in the inbox
	quit    chan struct{}  // closed when the owner is to end
	ended   chan struct{}  // closed when it has

	mu     sync.Mutex // guards what follows
	ready  map[string]struct{}
	inbox  []func()
	owned  bool // a goroutine owns what is below, and looks into the inbox before it ends
	closed bool // no goroutine begins any more

	// Of the events that have run: those whose outcome is not on disk.
	finishing atomic.Int64

	// The owner's.
	lines      map[string]*line
	accounts   map[string]*account
	remembered map[string]time.Duration // of functions without a line
	ring       ring
	toFetch    fifo[fetch]
	fetches    int
	buffered   int64 // bytes of what lines have fetched and not begun
	starved    fifo[*line]
	heard      []func() // an inbox that was emptied, for its room
	more       bool     // a line may have a turn
	closing    bool
}

func newDispatcher(s *Service, runner Runner) *dispatcher {
	d := &dispatcher{Service: s, runner: runner,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{}),
		ready: make(map[string]struct{}), lines: make(map[string]*line), accounts: make(map[string]*account),
		remembered: make(map[string]time.Duration)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.resting, d.rest = context.WithCancel(d.ctx)
	return d
}

// notify is engine.Queue's: one of the key's events can be fetched.
func (d *dispatcher) notify(key string) {
	d.mu.Lock()
	d.ready[key] = struct{}{}
	d.mu.Unlock()
	d.poke()
}

// tell has the owner call f, and returns at once.
func (d *dispatcher) tell(f func()) {
	d.mu.Lock()
	d.inbox = append(d.inbox, f)
	d.mu.Unlock()
	d.poke()
}

// report has the owner call f: this goroutine, where there is none. It is for
// goroutines of spawn's, which hold no lock.
func (d *dispatcher) report(f func()) {
	d.mu.Lock()
	d.inbox = append(d.inbox, f)
	d.mu.Unlock()
	if !d.own(maxRounds) {
		d.poke()
	}
}

// spawn has f run in a goroutine that Close waits for; false where nothing begins any
// more.
func (d *dispatcher) spawn(f func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.work.Go(f)
	return true
}

func (d *dispatcher) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// loop is the owner.
func (d *dispatcher) loop() {
	defer close(d.ended)
	for {
		select {
		case <-d.wake:
			if !d.own(maxRounds) {
				d.poke()
			}
		case <-d.quit:
			d.own(math.MaxInt) // who waits for an answer gets it
			return
		}
	}
}

// own has this goroutine own the lines until the inbox is empty and no line can have
// its turn, unless another does: then that one goes on until it is so. False where
// something was left after so many rounds.
func (d *dispatcher) own(rounds int) (done bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owned {
		return true
	}
	d.owned = true
	for n := 0; n < rounds && !d.restLocked(); n++ {
		d.roundLocked()
	}
	d.owned = false
	return d.restLocked()
}

// restLocked says whether there is nothing for an owner to do.
func (d *dispatcher) restLocked() bool { return len(d.inbox) == 0 && len(d.ready) == 0 && !d.more }

// roundLocked does what others told, and gives lines their turns that can have one.
// It is without the lock meanwhile.
func (d *dispatcher) roundLocked() {
	inbox, ready := d.inbox, d.ready
	d.inbox = d.heard
	if len(ready) > 0 {
		d.ready = make(map[string]struct{})
	} else {
		ready = nil // it stays the one that others add to
	}
	d.mu.Unlock()
	for _, f := range inbox {
		f()
	}
	for key := range ready {
		if l := d.line(key); l != nil {
			d.turn(l)
		}
	}
	d.more = true
	for n := 0; n < maxSteps && d.more; n++ {
		d.more = d.step(time.Now())
	}
	clear(inbox)
	d.heard = inbox[:0]
	d.mu.Lock()
}

// step gives one line its turn; false where none can have one.
func (d *dispatcher) step(now time.Time) bool {
	if d.closing || d.finishing.Load() >= maxFinishing {
		return false
	}
	l := d.ring.next(now)
	if l == nil {
		return false
	}
	f, ok := l.buffer.head()
	if !ok || l.held || l.running >= l.allowed {
		d.ring.drop(l)
		d.plan(l, now)
		return true
	}
	if e, err := d.begin(l, f, now); err != nil {
		if d.closing {
			return false
		}
		d.ring.drop(l)
		d.hold(l, e, err, now, f.expiry())
		return true
	}
	l.buffer.pop()
	l.stirred = now
	d.buffered -= f.size
	d.ring.spend(l, costOf(l.duration))
	d.stock(l, now)
	d.startFetches()
	return true
}

// begin has the first event of a line run, or ends it where it cannot. An error is
// of what holds the line: then the event is still its first.
func (d *dispatcher) begin(l *line, f *flight, now time.Time) (ending, error) {
	f.config = d.functions.AsyncConfig(l.id, f.header.Qualifier) // it may have waited for its turn
	if !now.Before(f.expiry()) {
		d.expire(f)
		return 0, nil
	}
	attempt, err := d.runner.Begin(f.request())
	if err == nil {
		d.unrefuse(l)
		l.running++
		l.each = max(1, attempt.Version().Config.InstanceConcurrency)
		f.began(attempt, now)
		d.fly(f)
		return 0, nil
	}
	switch e := classify(nil, err); {
	case e.held():
		return e, err
	case e == closing:
		d.close()
		return e, err
	default:
		d.end(f, e, err)
		return e, nil
	}
}

// landed takes back the place of an attempt that ran for so long; 0 where nothing
// ran.
func (d *dispatcher) landed(f *flight, took time.Duration) {
	l := f.line
	f.place()
	if took > 0 {
		if l.duration == 0 {
			l.duration = took
		}
		l.duration += (took - l.duration) / 8
	}
	d.rouseStarved()
	if l.running == 0 && l.ceilingUntil.After(time.Now()) {
		l.ceilingUntil, l.planned = time.Time{}, time.Time{} // nothing of its own will make room: it asks again
	}
	// The place may be one that others of the account wait for: who was refused
	// longest ago is in the ring before the line that had it.
	if next := l.account.nextRefused(); next != nil && next != l {
		d.rouse(next, true)
	}
	d.turn(l)
}

// rouseStarved has the line try again that waits longest for room on the machine.
func (d *dispatcher) rouseStarved() {
	l, ok := d.starved.head()
	if !ok {
		return
	}
	d.starved.pop()
	l.starved = false
	if l.held {
		d.rouse(l, true)
	}
}

// watch has the lines of an account that were refused try again when something of it
// is freed.
func (d *dispatcher) watch(a *account) {
	if a.watched || d.freed == nil || a.refused.len() == 0 {
		return
	}
	a.watched = true
	l, _ := a.refused.head()
	freed := d.freed(l.id.Scope)
	d.spawn(func() {
		pause := time.NewTimer(freedEvery)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-d.resting.Done():
			return
		}
		select {
		case <-freed:
			d.tell(func() { d.freedOf(a) })
		case <-d.resting.Done():
		}
	})
}

// freedOf rouses a few: each that begins rouses the next.
func (d *dispatcher) freedOf(a *account) {
	a.watched = false
	for range rousedAtOnce {
		l := a.nextRefused()
		if l == nil {
			break
		}
		d.rouse(l, true)
	}
	d.watch(a)
}

// close begins nothing any more and gives back what did not begin.
func (d *dispatcher) close() {
	if d.closing {
		return
	}
	d.closing = true
	d.toFetch = fifo[fetch]{}
	for _, l := range d.lines {
		l.stopTimer()
		d.unbuffer(l)
	}
}
