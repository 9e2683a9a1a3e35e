package cell

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// world makes bodies and counts them. Its methods are safe for concurrent use.
type world struct {
	mu sync.Mutex
	counters
	room     int // rooms that there are; 0 is any number
	bootTime time.Duration
	bootErr  error
	pressure float64
	busy     bool
	cost     time.Duration // CPU time of a boot; 0 is that of a runtime
}

type counters struct {
	alive, boots int
	spares       int // rooms taken
	given        int // rooms given back
}

// body is a cell's. It is claimed at most once, and killed exactly once where it
// does not become an instance.
type body struct {
	world *world
	cost  time.Duration
	done  chan struct{}
	once  sync.Once
	kill  sync.Once
}

func (b *body) Done() <-chan struct{} { return b.done }
func (b *body) Cost() time.Duration   { return cmp.Or(b.cost, 7*time.Millisecond) }
func (b *body) die()                  { b.once.Do(func() { close(b.done) }) }

func (b *body) Kill(string) error {
	b.kill.Do(func() {
		b.die()
		b.world.mu.Lock()
		defer b.world.mu.Unlock()
		b.world.alive--
	})
	return nil
}

func (w *world) boot(ctx context.Context, _ Class) (*body, error) {
	w.mu.Lock()
	took, cost, err := w.bootTime, w.cost, w.bootErr
	w.boots++
	w.mu.Unlock()
	if took > 0 { // no timer for no time: see pooltest.Runtime.Init
		select {
		case <-time.After(took):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alive++
	return &body{world: w, cost: cost, done: make(chan struct{})}, nil
}

func (w *world) TakeSpare() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.room > 0 && w.spares >= w.room {
		return false
	}
	w.spares++
	return true
}

func (w *world) GiveSpare() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spares--
	w.given++
}

// now is a copy of the counters.
func (w *world) now() counters {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counters
}

func (w *world) set(change func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

func (w *world) pool(policy Policy) *Pool[*body] {
	return New(Options[*body]{Policy: policy, Boot: w.boot, Room: w,
		Busy:     func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.busy },
		Pressure: func() float64 { w.mu.Lock(); defer w.mu.Unlock(); return w.pressure },
	})
}

var node = Class{Runtime: "nodejs20.x", Build: "20.20.2", MemoryMB: 128, Egress: "none"}

// claim claims as a start does.
func claim(p *Pool[*body], of Class) *Cell[*body] {
	defer p.Refill()
	return p.Claim(of)
}

// wait lets time pass and everything that follows from it.
func wait(d time.Duration) {
	time.Sleep(d) // of the bubble's clock
	synctest.Wait()
}

func stat(t *testing.T, p *Pool[*body], of Class) Stat {
	t.Helper()
	for _, s := range p.Stats() {
		if s.Class == of {
			return s
		}
	}
	t.Fatalf("no class %+v in %+v", of, p.Stats())
	return Stat{}
}

func inBubble(t *testing.T, policy Policy, test func(t *testing.T, w *world, p *Pool[*body])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{bootTime: 50 * time.Millisecond}
		p := w.pool(policy)
		test(t, w, p)
		p.Close()
		p.Close()
		if p.illegal != 0 {
			t.Errorf("%d illegal moves", p.illegal)
		}
		if w.alive != 0 || w.spares != 0 {
			t.Errorf("after Close %d bodies live and %d rooms are taken", w.alive, w.spares)
		}
		if claim(p, node) != nil {
			t.Error("a closed pool gave a cell")
		}
	})
}

var usual = Policy{Floor: 2, Most: 4, Total: 6}

func TestFillsAndRefills(t *testing.T) {
	inBubble(t, usual, func(t *testing.T, w *world, p *Pool[*body]) {
		wait(time.Second)
		if w.now().boots != 0 {
			t.Error("cells were made for nobody")
		}
		p.Deploy(node, 1)
		wait(time.Second)
		if s := stat(t, p, node); s.Parked != 2 || s.Boots != 2 || s.BootCPU != 14*time.Millisecond || s.BootTime != 100*time.Millisecond {
			t.Errorf("%+v, want two made in 50 ms each", s)
		}
		first, second := claim(p, node), claim(p, node)
		if first == nil || second == nil || first == second || first.Body() == second.Body() {
			t.Fatalf("claimed %v and %v", first, second)
		}
		if claim(p, node) != nil {
			t.Error("a third cell was claimed of two")
		}
		wait(time.Second)
		if s := stat(t, p, node); s.Parked < 2 || s.Hits != 2 || s.Misses != 1 {
			t.Errorf("%+v", s)
		}
		first.Discard("test")
		second.Discard("test")
	})
}

func TestNewestFirst(t *testing.T) {
	inBubble(t, usual, func(t *testing.T, w *world, p *Pool[*body]) {
		p.Deploy(node, 1)
		wait(time.Second)
		p.mu.Lock()
		newest := p.classes[node].parked[1]
		p.mu.Unlock()
		got := claim(p, node)
		if got != newest {
			t.Error("the claimed cell is not the newest")
		}
		got.Discard("test")
	})
}

func TestTheDeadAreReplaced(t *testing.T) {
	inBubble(t, usual, func(t *testing.T, w *world, p *Pool[*body]) {
		p.Deploy(node, 1)
		wait(time.Second)
		p.mu.Lock()
		dead := p.classes[node].parked[1].body
		p.mu.Unlock()
		dead.die()
		got := claim(p, node) // before anybody has noticed
		if got == nil || got.Body() == dead {
			t.Fatal("the living one is to be claimed")
		}
		got.Discard("test")
		wait(2 * time.Second)
		if s := stat(t, p, node); s.Parked != 2 || s.Died != 1 || s.Failed != 1 || w.now().alive != 2 {
			t.Errorf("%+v, %d live", s, w.now().alive)
		}
	})
}

func TestFailingBootsBackOff(t *testing.T) {
	inBubble(t, usual, func(t *testing.T, w *world, p *Pool[*body]) {
		w.set(func(w *world) { w.bootErr = errors.New("no") })
		p.Deploy(node, 1)
		wait(10 * time.Minute)
		if w.now().boots < 5 || w.now().boots > 15 {
			t.Errorf("%d boots in ten minutes in which all fail", w.now().boots)
		}
		w.set(func(w *world) { w.bootErr = nil })
		wait(mostDelay + time.Second)
		if s := stat(t, p, node); s.Parked != 2 {
			t.Errorf("%+v after boots work again", s)
		}
	})
}

func TestCellsGiveWay(t *testing.T) {
	inBubble(t, usual, func(t *testing.T, w *world, p *Pool[*body]) {
		w.set(func(w *world) { w.room = 3 })
		p.Deploy(node, 1)
		python := Class{Runtime: "python3.11", Egress: "none"}
		time.Sleep(time.Millisecond)
		p.Deploy(python, 1)
		wait(3 * time.Second)
		if w.now().spares != 3 || w.now().alive != 3 {
			t.Errorf("%d cells where there is room for 3", w.now().alive)
		}
		w.set(func(w *world) { w.room = 1 })
		for n := range 3 {
			if !p.Yield() {
				t.Error("a cell did not give way")
			}
			if n == 0 && stat(t, p, node).Evicted != 1 {
				t.Error("the class that was used last gave way first")
			}
		}
		synctest.Wait()
		for p.Yield() { // what was made meanwhile
		}
		w.set(func(w *world) { w.room, w.pressure = 0, 1 })
		wait(3 * time.Second)
		if w.now().alive != 0 {
			t.Errorf("%d cells where memory is full", w.now().alive)
		}
	})
}

// A cell that is being made has its room already, and must not be why an instance has
// none.
func TestABootGivesWay(t *testing.T) {
	inBubble(t, usual, func(t *testing.T, w *world, p *Pool[*body]) {
		w.set(func(w *world) { w.bootTime = 5 * time.Second })
		p.Deploy(node, 1)
		wait(time.Second)
		if n := w.now(); n.spares != 1 || n.alive != 0 {
			t.Fatalf("%+v: no boot is under way", n)
		}
		if !p.Yield() {
			t.Error("it did not give way")
		}
		if n := w.now(); n.given != 1 {
			t.Errorf("%d rooms are given back after it gave way", n.given)
		}
		if s := stat(t, p, node); s.BootsFailed != 0 {
			t.Error("giving way counts as a failure")
		}
		wait(time.Minute)
		if n := w.now(); n.alive != 2 {
			t.Errorf("%d cells when there is room again", n.alive)
		}
	})
}

func TestShrinksWithDemandAndDeployment(t *testing.T) {
	inBubble(t, usual, func(t *testing.T, w *world, p *Pool[*body]) {
		p.Deploy(node, 1)
		wait(time.Second)
		for range 4 {
			if cell := claim(p, node); cell != nil {
				cell.Discard("test")
			}
		}
		wait(2 * time.Second)
		if s := stat(t, p, node); s.Parked != 4 {
			t.Errorf("%+v after a burst of 4", s)
		}
		wait(remembered*time.Second + time.Second)
		if s := stat(t, p, node); s.Parked != 2 || s.Shrunk != 2 {
			t.Errorf("%+v when the burst is forgotten", s)
		}
		wait(lately)
		if s := stat(t, p, node); s.Parked != 1 {
			t.Errorf("%+v when nobody asked for long", s)
		}
		p.Deploy(node, -1)
		wait(2 * time.Second)
		if len(p.Stats()) != 0 || w.now().alive != 0 {
			t.Errorf("%+v when nothing is deployed that could use it", p.Stats())
		}
	})
}

// A boot waits for starts that calls wait for, and not for ever.
func TestBootsWaitForStarts(t *testing.T) {
	inBubble(t, usual, func(t *testing.T, w *world, p *Pool[*body]) {
		w.set(func(w *world) { w.busy = true })
		p.Deploy(node, 1)
		wait(busyMost - poll)
		if w.now().boots != 0 {
			t.Error("a boot began while a call waited for its start")
		}
		wait(2 * poll)
		if w.now().boots != 1 {
			t.Errorf("%d boots after the longest wait", w.now().boots)
		}
	})
}

// Cells that cost next to nothing are made while the CPUs are busy too, but not in the
// first moments of the start that took one.
func TestLightCellsDoNotWait(t *testing.T) {
	inBubble(t, usual, func(t *testing.T, w *world, p *Pool[*body]) {
		w.set(func(w *world) { w.cost = time.Millisecond })
		p.Deploy(node, 1)
		wait(time.Second)
		w.set(func(w *world) { w.busy = true })
		if cell := claim(p, node); cell != nil {
			defer cell.Discard("test")
		}
		wait(pause - poll)
		if n := w.now().boots; n != 2 {
			t.Errorf("%d boots while the start needs the CPU", n)
		}
		wait(3*poll + w.bootTime)
		if n := w.now().boots; n != 3 {
			t.Errorf("%d boots after the pause", n)
		}
	})
}
