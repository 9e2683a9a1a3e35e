package cell

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Class is what a cell can become. Cells of one class are interchangeable.
type Class struct {
	Runtime  string // as functions name it, for people
	Build    string // what of the runtime is booted; another build is another class
	MemoryMB int    // the only size that it serves; 0 is any
	Egress   string
}

// Body is what a cell holds. Safe for concurrent use.
type Body interface {
	// Done is closed when it has ended by itself.
	Done() <-chan struct{}
	// Kill ends it and returns when nothing of it is left, at most about a second
	// later. Idempotent.
	Kill(cause string) error
	// Cost is the CPU time that making it took.
	Cost() time.Duration
}

// Room is the machine's budget for what stands by. Safe for concurrent use; it
// may be asked while a lock of Pool is held, and must not call back.
type Room interface {
	// TakeSpare takes the room of one cell; false where the machine is full.
	TakeSpare() bool
	// GiveSpare gives it back.
	GiveSpare()
}

// Options configure a Pool.
type Options[B Body] struct {
	Policy Policy
	// Boot makes the body of a cell, at most until ctx ends.
	Boot func(ctx context.Context, class Class) (B, error)
	Room Room // nil is unbounded
	// Busy reports whether a call waits for a start now: boots wait a little for it
	// to end. Saturated reports whether the CPUs have no time to spare: boots wait
	// longer. Both return at once; nil is never.
	Busy, Saturated func() bool
	Pressure        func() float64 // how much of the machine's memory is in use, 0..1; nil is 0
	Logger          *slog.Logger   // nil discards
}

// Pool keeps cells. One goroutine makes and ends them, one for each parked cell
// sees its death. Safe for concurrent use.
type Pool[B Body] struct {
	o      Options[B]
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{} // 1-buffered: something changed that the filler acts on

	mu      sync.Mutex
	classes map[Class]*class[B]
	order   []*class[B] // of classes, as they were met
	asked   time.Time   // when one was claimed or asked for last
	soon    *time.Timer // tells the filler of claims, a pause after Refill
	due     bool        // soon is set
	boot    *attempt    // the boot that is under way; nil where there is none
	closed  bool
	illegal int // illegal moves seen: faults of this package
}

// class is what is known of one class. Guarded by Pool.mu.
type class[B Body] struct {
	Class
	deployed int
	used     time.Time
	demand   demand
	parked   []*Cell[B] // the newest last
	booting  int
	refill   time.Duration // what a boot takes, lately
	failing  backoff
	counts   Counts
}

// New returns a pool that is empty and works. Close it.
func New[B Body](o Options[B]) *Pool[B] {
	if o.Room == nil {
		o.Room = unbounded{}
	}
	if o.Busy == nil {
		o.Busy = func() bool { return false }
	}
	if o.Saturated == nil {
		o.Saturated = func() bool { return false }
	}
	if o.Pressure == nil {
		o.Pressure = func() float64 { return 0 }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Pool[B]{o: o, wake: make(chan struct{}, 1), classes: make(map[Class]*class[B])}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.soon = time.AfterFunc(0, p.signalDue)
	p.work.Go(p.fill)
	return p
}

type unbounded struct{}

func (unbounded) TakeSpare() bool { return true }
func (unbounded) GiveSpare()      {}

// Deploy says that n more versions could use cells of the class; n < 0 is fewer.
func (p *Pool[B]) Deploy(of Class, n int) {
	p.mu.Lock()
	c := p.classLocked(of)
	if c.deployed += n; n > 0 {
		c.used = time.Now()
	}
	p.mu.Unlock()
	p.signal()
}

func (p *Pool[B]) classLocked(of Class) *class[B] {
	c := p.classes[of]
	if c == nil {
		c = &class[B]{Class: of, refill: firstRefill}
		p.classes[of] = c
		p.order = append(p.order, c)
	}
	return c
}

// firstRefill is what a boot is taken to last before the first one.
const firstRefill = 100 * time.Millisecond

// Claim takes the newest cell of the class out of the pool, for good: whoever
// claims it owns its body, and kills it with Discard where no instance comes of
// it. Nil where none is parked. Either way the demand is remembered, and the claimer
// calls Refill.
func (p *Pool[B]) Claim(of Class) *Cell[B] {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	now := time.Now()
	c := p.classLocked(of)
	c.used, p.asked = now, now
	c.demand.add(now)
	cell := p.takeLocked(c)
	if cell == nil {
		c.counts.Misses++
		return nil
	}
	c.counts.Hits++
	return cell
}

// Again is Claim after the cell claimed before failed its claimer: the demand was
// counted.
func (p *Pool[B]) Again(of Class) *Cell[B] {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.classes[of]; c != nil && !p.closed {
		return p.takeLocked(c)
	}
	return nil
}

// takeLocked claims the newest cell that lives; nil where there is none.
func (p *Pool[B]) takeLocked(c *class[B]) *Cell[B] {
	for len(c.parked) > 0 {
		cell := c.parked[len(c.parked)-1]
		select {
		case <-cell.body.Done():
			p.loseLocked(cell)
		default:
			p.leaveLocked(cell, Claimed)
			c.failing = backoff{}
			return cell
		}
	}
	return nil
}

// attempt is one boot under way.
type attempt struct {
	cancel context.CancelFunc
	over   chan struct{} // closed when its cell is parked, or gone with its room
	parked bool          // set before over is closed
}

// Yield ends the parked cell that is worth least, or else the boot that is under
// way, for the room that it takes, and returns when it is gone; false where there is
// neither.
func (p *Pool[B]) Yield() bool {
	for {
		p.mu.Lock()
		cell, boot := p.yieldLocked(), p.boot
		p.mu.Unlock()
		switch {
		case cell != nil:
			p.kill(cell, "room")
			return true
		case boot == nil:
			return false
		}
		boot.cancel()
		<-boot.over // within about a second: a body that is made is killed
		if !boot.parked {
			return true
		}
	}
}

// yieldLocked takes the parked cell that is worth least out of the pool; nil where
// none is parked.
func (p *Pool[B]) yieldLocked() *Cell[B] {
	var idlest *class[B]
	for _, c := range p.order {
		if len(c.parked) > 0 && (idlest == nil || c.used.Before(idlest.used)) {
			idlest = c
		}
	}
	if idlest == nil {
		return nil
	}
	cell := idlest.parked[0]
	p.leaveLocked(cell, Dead)
	idlest.counts.Evicted++
	return cell
}

// Close ends every parked cell and returns when they are gone and nothing of the
// pool runs. Claims find nothing from then on. Safe to call more than once.
func (p *Pool[B]) Close() {
	p.cancel()
	p.soon.Stop()
	p.mu.Lock()
	p.closed = true
	var left []*Cell[B]
	for _, c := range p.order {
		for len(c.parked) > 0 {
			cell := c.parked[0]
			p.leaveLocked(cell, Dead)
			left = append(left, cell)
		}
	}
	p.mu.Unlock()
	for _, cell := range left {
		p.kill(cell, "shutdown")
	}
	p.work.Wait()
}

// Refill has the filler see to what was claimed, in a while: even to look at what there
// is to do takes CPU time that a start needs, and so does setting a timer.
func (p *Pool[B]) Refill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.due && !p.closed {
		p.due = true
		p.soon.Reset(pause)
	}
}

func (p *Pool[B]) signalDue() {
	p.mu.Lock()
	p.due = false
	p.mu.Unlock()
	p.signal()
}

func (p *Pool[B]) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
