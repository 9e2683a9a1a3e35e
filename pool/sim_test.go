package pool_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/keepalive"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/quota"
)

// TestSimulation runs random operations against random runtimes in fake time and
// checks the invariants of the pools after each. HEARTH_SEED repeats one run;
// HEARTH_LONG=1 makes ten times as many.
func TestSimulation(t *testing.T) {
	if text := os.Getenv("HEARTH_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		simulate(t, seed)
		return
	}
	runs := 30
	if os.Getenv("HEARTH_LONG") != "" {
		runs *= 10
	}
	base := rand.Uint64() >> 1
	for i := range runs {
		simulate(t, base+uint64(i))
		if t.Failed() {
			return
		}
	}
}

const simOps = 400

// world is one simulation.
type world struct {
	t     *testing.T
	seed  uint64
	fake  *pooltest.Starter
	gate  *gate
	pools *pool.Pools

	mu       sync.Mutex // guards what follows: runtimes are scripted from other goroutines
	rng      *rand.Rand
	current  []*faas.Version // the revision of each function that calls go to
	revision int
	asked    int // calls begun
	answered int // calls ended
	calls    sync.WaitGroup
}

func simulate(t *testing.T, seed uint64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		for range simOps {
			w.step()
			synctest.Wait()
			w.check(false)
			if t.Failed() {
				break
			}
		}
		w.end()
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0))}
	w.fake = pooltest.New(func(int, *faas.Version) pooltest.Script { return w.script() })
	w.gate = &gate{w: w}
	for i, concurrency := range []int{1, 1, 3, 10} {
		w.current = append(w.current, version(fmt.Sprint("f", i), "0", concurrency))
	}
	o := pool.Options{Starter: w.fake, Quota: w.gate, KeepAlive: keepalive.Fixed(time.Minute)}
	if w.chance(50) {
		o.KeepAlive = keepalive.Auto
	}
	if w.chance(30) {
		o.Pressure = func() float64 { return float64(w.pick(0, 50, 90, 99)) / 100 }
	}
	if w.chance(50) {
		o.MaxInstances = 6
	}
	if w.chance(50) {
		o.ShutdownGrace = time.Second
	}
	w.pools = pool.New(o)
	return w
}

func (w *world) chance(percent int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(100) < percent
}

func (w *world) pick(from ...int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return from[w.rng.IntN(len(from))]
}

// upTo is a random duration, often zero.
func (w *world) upTo(d time.Duration) time.Duration {
	if w.chance(30) {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.rng.Int64N(int64(d)))
}

// script is how the next runtime behaves.
func (w *world) script() pooltest.Script {
	s := pooltest.Script{StartTime: w.upTo(50 * time.Millisecond), InitTime: w.upTo(time.Second), KillTime: w.upTo(300 * time.Millisecond)}
	if w.chance(50) {
		s.SlotEvery, s.Slots = w.upTo(100*time.Millisecond), w.pick(1, 2, 3)
	}
	switch {
	case w.chance(4):
		s.StartErr = errors.New("no sandbox")
	case w.chance(3):
		s.StartErr = faas.Errorf(faas.CodeNoCapacity, "slots", "none")
	case w.chance(4):
		s.InitErr = pooltest.Failed(pool.FailedInit)
	case w.chance(4):
		s.InitErr = pooltest.Failed(pool.FailedExit)
	case w.chance(3):
		s.InitTime = time.Hour
	}
	s.Handle = func(ctx context.Context, e *faas.Event) (faas.Outcome, error) {
		d := w.upTo(time.Second)
		if w.chance(5) {
			d = time.Hour
		}
		return pooltest.Sleep(d)(ctx, e)
	}
	return s
}

// step is one random operation.
func (w *world) step() {
	w.mu.Lock()
	op, f := w.rng.IntN(100), w.rng.IntN(len(w.current))
	w.mu.Unlock()
	switch {
	case op < 60:
		w.call(f)
	case op < 82:
		time.Sleep(w.upTo(500 * time.Millisecond))
	case op < 84:
		time.Sleep(w.upTo(3 * time.Minute))
	case op < 89:
		w.crash()
	case op < 93:
		w.deploy(f)
	case op < 96:
		w.takeIdle(f)
	default:
		w.pools.Stats()
	}
}

// call runs one invocation in a goroutine of its own, as a caller who may hang up.
func (w *world) call(f int) {
	w.mu.Lock()
	v := w.current[f]
	w.asked++
	w.mu.Unlock()
	ctx, cancel := context.Background(), func() {}
	if w.chance(20) {
		ctx, cancel = context.WithTimeout(ctx, w.upTo(500*time.Millisecond))
	}
	deliver, late := w.chance(95), w.upTo(time.Second)
	w.calls.Go(func() {
		defer cancel()
		defer w.answer()
		if late > 900*time.Millisecond {
			time.Sleep(late) // it resolved the version long before
		}
		h, err := w.pools.Acquire(ctx, v)
		if err != nil {
			w.known(err)
			return
		}
		defer h.Release()
		if !deliver {
			return
		}
		if _, err := h.Deliver(event(pooltest.Mark(v))); err != nil {
			w.known(err)
		}
		h.Settle(&faas.Report{}, false)
	})
}

func (w *world) answer() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered++
}

// known fails the test for an error that no caller should see.
func (w *world) known(err error) {
	var failure *pool.Failure
	if errors.As(err, &failure) {
		return
	}
	for _, code := range []faas.ErrorCode{faas.CodeCanceled, faas.CodeNoCapacity, faas.CodeThrottled, faas.CodeShuttingDown, faas.CodeInternal} {
		if faas.IsCode(err, code) {
			return
		}
	}
	w.t.Errorf("seed %d: error %v", w.seed, err)
}

func (w *world) crash() {
	runtimes := w.fake.Runtimes()
	if len(runtimes) == 0 {
		return
	}
	w.mu.Lock()
	// The last ones are likely to be alive.
	r := runtimes[len(runtimes)-1-w.rng.IntN(min(len(runtimes), 8))]
	kind := []pool.FailureKind{pool.FailedExit, pool.FailedOOM, pool.FailedBroken}[w.rng.IntN(3)]
	w.mu.Unlock()
	r.Crash(kind)
}

// deploy replaces a function's revision, prepared or not.
func (w *world) deploy(f int) {
	w.mu.Lock()
	old := w.current[f]
	w.revision++
	next := version(old.ID.Function.Name, fmt.Sprint(w.revision), old.Config.InstanceConcurrency)
	w.mu.Unlock()
	prepare, abandon := w.chance(70), w.chance(10)
	w.calls.Go(func() {
		if prepare {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			if err := w.pools.Prepare(ctx, old, next); err != nil && !faas.IsCode(err, faas.CodeCanceled) {
				w.t.Errorf("prepare: %v", err)
			}
		}
		w.mu.Lock()
		if abandon || w.current[f] != old {
			old, next = next, old
		} else {
			w.current[f] = next
		}
		w.mu.Unlock()
		w.pools.Retire(old)
	})
}

// takeIdle checks that the newest idle instance is the one that a call gets.
func (w *world) takeIdle(f int) {
	w.mu.Lock()
	v := w.current[f]
	w.mu.Unlock()
	synctest.Wait()
	want := w.pools.NewestIdle(v)
	if want == "" {
		return
	}
	h, err := w.pools.Acquire(context.Background(), v)
	if err != nil {
		w.known(err) // the gate refuses now and then
		return
	}
	if h.Instance() != want && v.Config.InstanceConcurrency == 1 {
		w.t.Errorf("got %s, the newest idle is %s", h.Instance(), want)
	}
	h.Release()
}

// check looks at every invariant that holds at any moment.
func (w *world) check(quiet bool) {
	if err := w.pools.Check(quiet); err != nil {
		w.t.Errorf("seed %d: %v", w.seed, err)
	}
	for _, r := range w.fake.Runtimes() {
		if _, peak := r.Served(); peak > r.Version.Config.InstanceConcurrency {
			w.t.Errorf("seed %d: an instance held %d of %d", w.seed, peak, r.Version.Config.InstanceConcurrency)
		}
		if r.Overfull() {
			w.t.Errorf("seed %d: an instance was given more than its slots", w.seed)
		}
		if other := r.Foreign(); other != "" {
			w.t.Errorf("seed %d: an instance of %s was given an event for %s", w.seed, r.Version.Revision, other)
		}
	}
}

// end closes the pools, in peace or in a hurry, and looks at what is left.
func (w *world) end() {
	ctx, cancel := context.WithTimeout(context.Background(), w.upTo(20*time.Second))
	defer cancel()
	// An error says that calls were cut off, which is the point of a short end.
	_ = w.pools.Close(ctx)
	w.calls.Wait()
	w.check(true)
	if w.asked != w.answered {
		w.t.Errorf("seed %d: %d calls, %d answers", w.seed, w.asked, w.answered)
	}
	if n := w.fake.Running(); n != 0 {
		w.t.Errorf("seed %d: %d runtimes were left", w.seed, n)
	}
	if n := w.gate.out(); n != 0 {
		w.t.Errorf("seed %d: %d leases were not released", w.seed, n)
	}
}

// gate is a quota that refuses now and then and counts its leases.
type gate struct {
	w *world

	mu     sync.Mutex
	leases int
}

func (g *gate) Admit(*faas.Version, quota.Kind) (quota.Lease, error) { return g.grant(0) }

func (g *gate) Occupy(*faas.Version) (quota.Lease, error) { return g.grant(2) }

func (g *gate) Start(*faas.Version, quota.Purpose) (quota.StartLease, error) { return g.grant(5) }

func (g *gate) Assume(*faas.Version) quota.Lease { return g.granted() }

func (g *gate) Ceiling(*faas.Version) quota.Ceiling { return quota.Ceiling{} }

func (g *gate) grant(refusals int) (quota.StartLease, error) {
	if g.w.chance(refusals) {
		return nil, faas.Errorf(faas.CodeThrottled, "test", "no")
	}
	return g.granted(), nil
}

func (g *gate) granted() *lease {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leases++
	return &lease{gate: g}
}

func (g *gate) out() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.leases
}

type lease struct {
	gate  *gate
	ended bool
}

func (l *lease) Release() {
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	if l.ended {
		l.gate.w.t.Errorf("seed %d: a lease was released twice", l.gate.w.seed)
	}
	l.ended = true
	l.gate.leases--
}

func (l *lease) Void() { l.Release() }

func (l *lease) Again() error { return nil }
