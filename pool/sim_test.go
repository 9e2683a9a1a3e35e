package pool_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/internal/seeds"
	"hearth/keepalive"
	"hearth/metric"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/quota"
)

// TestSimulation runs random operations against random runtimes in fake time and
// checks the invariants of the pools after each. HEARTH_SEED repeats one run;
// HEARTH_LONG=1 makes ten times as many.
func TestSimulation(t *testing.T) {
	seeds.Run(t, 30, func(seed uint64) { simulate(t, seed) })
}

const simOps = 400

// world is one simulation.
type world struct {
	t       *testing.T
	seed    uint64
	fake    *pooltest.Starter
	gate    simGate
	calm    bool // nothing fails and nobody hangs up
	pools   *pool.Pools
	metrics *metric.Registry

	mu       sync.Mutex // guards what follows: runtimes are scripted from other goroutines
	rng      *rand.Rand
	current  []*faas.Version // the revision of each function that calls go to
	revision int
	targets  map[string]int // provisioned instances, by function
	provided bool           // there were some
	above    bool           // a change of them made the use of a function pass its cap
	inFlight map[string]int // admitted calls, by function; "" is all
	asked    int            // calls begun
	answered int            // calls ended
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
			w.ceilings()
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
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), targets: map[string]int{}, inFlight: map[string]int{}}
	w.fake = pooltest.New(func(int, *faas.Version) pooltest.Script { return w.script() })
	concurrency := []int{1, 1, 3, 10}
	if w.chance(50) {
		concurrency = []int{1, 2, 1, 1}
	}
	var ids []faas.FunctionID
	for i, c := range concurrency {
		w.current = append(w.current, w.version(i, c))
		ids = append(ids, w.current[i].ID.Function)
	}
	w.calm = w.chance(30)
	switch w.pick(0, 1, 2) {
	case 0:
		w.gate = &chaos{t: t, rng: rand.New(rand.NewPCG(seed, 1))}
	case 1:
		c := newCaps(t)
		c.instances, c.ceiling = w.pick(2, 4), quota.Ceiling{Instances: 4}
		c.memoryMB, c.starts = w.pick(0, 8*128), w.pick(0, 30)
		w.gate = c
	default:
		w.gate = newReal(ids, concurrency)
	}
	w.metrics = metric.New()
	o := pool.Options{Starter: w.fake, Quota: w.gate, Metrics: w.metrics, KeepAlive: keepalive.Fixed(time.Minute)}
	if w.chance(50) {
		o.KeepAlive = keepalive.Auto
	}
	if w.chance(30) {
		o.Pressure = func() float64 { return float64(w.pick(0, 50, 90, 99)) / 100 }
	}
	if w.chance(50) {
		o.MaxInstances = 6
	}
	o.Starts = w.pick(0, 1, manyStarts)
	o.FreezeAfter = time.Duration(w.pick(-1, 0, 10, 300)) * time.Millisecond
	if w.chance(50) {
		o.ShutdownGrace = time.Second
	}
	w.pools = pool.New(o)
	return w
}

// version makes the next revision of a function. Those of the first two are
// $LATEST, those of the others are numbered and may have provisioned instances.
func (w *world) version(f, concurrency int) *faas.Version {
	v := version(fmt.Sprint("f", f), fmt.Sprint(w.revision), concurrency)
	if f >= 2 {
		v.ID.Number = fmt.Sprint(w.revision + 1)
	}
	return v
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
	if w.chance(50) {
		s.FreezeTime, s.ThawTime = w.upTo(20*time.Millisecond), w.upTo(5*time.Millisecond)
	}
	switch {
	case w.calm:
	case w.chance(5):
		s.FreezeErr = errors.New("no freezer")
	case w.chance(5):
		s.ThawErr = errors.New("not thawed")
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
		if !w.calm && w.chance(5) {
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
	case op < 88 && !w.calm:
		w.crash()
	case op < 91:
		w.deploy(f)
	case op < 94:
		w.takeIdle(f)
	case op < 98:
		w.provide(max(2, f), w.pick(0, 1, 2, 3))
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
	if !w.calm && w.chance(20) {
		ctx, cancel = context.WithTimeout(ctx, w.upTo(500*time.Millisecond))
	}
	deliver, late := w.chance(95), w.upTo(time.Second)
	w.calls.Go(func() {
		defer cancel()
		defer w.answer()
		if late > 900*time.Millisecond {
			time.Sleep(late) // it resolved the version long before
		}
		lease, err := w.gate.Admit(v, quota.Synchronous)
		if err != nil {
			w.known(err)
			return
		}
		defer lease.Release()
		w.admitted(v, 1)
		defer w.admitted(v, -1)
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

// admitted counts the calls in flight; none may be above its cap at any moment.
func (w *world) admitted(v *faas.Version, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range []string{"", v.ID.Function.Name} {
		w.inFlight[name] += n
		if most := w.gate.calls(name); most > 0 && w.inFlight[name] > most {
			w.t.Errorf("seed %d: %d calls of %q in flight, at most %d may be", w.seed, w.inFlight[name], name, most)
		}
	}
}

// provide sets the provisioned instances of a function's current version. The
// quota is told first where they rise and last where they fall.
func (w *world) provide(f, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.provideLocked(w.current[f], n)
}

func (w *world) provideLocked(v *faas.Version, n int) {
	name := v.ID.Function.Name
	w.provided = true
	before := w.targets[name]
	w.targets[name] = n
	if n > before {
		w.above = w.gate.provision(v, n) || w.above
		w.pools.Provision(v, n)
		return
	}
	w.pools.Provision(v, n)
	w.above = w.gate.provision(v, n) || w.above
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
	next := w.version(f, old.Config.InstanceConcurrency)
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
			if n := w.targets[old.ID.Function.Name]; n > 0 {
				w.provideLocked(old, 0)
				w.provideLocked(next, n)
			}
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
	synctest.Wait() // one that could not be thawed is killed by now
	// One that may not have it waits for a start under way.
	if h.Instance() != want && !w.unthawed(want) && v.Config.InstanceConcurrency == 1 && h.Cold() == "" && h.Timeline().Queue == 0 {
		w.t.Errorf("got %s, the newest idle is %s", h.Instance(), want)
	}
	h.Release()
}

// unthawed says whether an instance went because it could not be frozen or thawed.
func (w *world) unthawed(instance string) bool {
	for _, r := range w.fake.Runtimes() {
		if r.Instance == instance {
			return r.Cause() == string(pool.CauseFreeze)
		}
	}
	return false
}

// check looks at every invariant that holds at any moment.
func (w *world) check(quiet bool) {
	if err := w.pools.Check(quiet); err != nil {
		w.t.Errorf("seed %d: %v", w.seed, err)
	}
	if err := w.pools.CheckMetrics(); err != nil {
		w.t.Errorf("seed %d: %v", w.seed, err)
	}
	for _, r := range w.fake.Runtimes() {
		if _, peak := r.Served(); peak > r.Version.Config.InstanceConcurrency {
			w.t.Errorf("seed %d: an instance held %d of %d", w.seed, peak, r.Version.Config.InstanceConcurrency)
		}
		if r.Numb() {
			w.t.Errorf("seed %d: an instance was given an event while it was frozen", w.seed)
		}
		if r.Overfull() {
			w.t.Errorf("seed %d: an instance was given more than its slots", w.seed)
		}
		if other := r.Foreign(); other != "" {
			w.t.Errorf("seed %d: an instance of %s was given an event for %s", w.seed, r.Version.Revision, other)
		}
	}
}

// ceilings checks that no function ever had more instances than its ceiling. One
// that dies while it is provisioned and busy is replaced at once, which may pass it.
func (w *world) ceilings() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.current {
		name := v.ID.Function.Name
		if most := w.gate.peak(name); most > 0 && !w.above && (w.calm || !w.provided) && w.fake.PeakOf(name) > most {
			w.t.Errorf("seed %d: %d instances of %s at once, at most %d may be", w.seed, w.fake.PeakOf(name), name, most)
		}
		if c := w.pools.Provisioned(v); c.Target != w.targets[name] || c.Allocated > c.Target || c.Ready > c.Allocated {
			w.t.Errorf("seed %d: provisioned instances of %s are %+v, wanted %d", w.seed, name, c, w.targets[name])
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
	for _, r := range w.metrics.Read() {
		if r.Levels[metric.InFlight].Now != 0 || r.Levels[metric.Busy].Now != 0 || r.Levels[metric.Starting].Now != 0 || r.Levels[metric.Draining].Now != 0 {
			w.t.Errorf("seed %d: at the end %+v is %+v", w.seed, r.Key, r.Levels)
		}
	}
	w.metrics.Close()
	if c, ok := w.gate.(*caps); ok && w.calm && c.purposes[quota.ForCall] > w.asked {
		w.t.Errorf("seed %d: %d starts for %d calls", w.seed, c.purposes[quota.ForCall], w.asked)
	}
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
