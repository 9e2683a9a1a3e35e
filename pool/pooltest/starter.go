// Package pooltest has a scripted pool.Starter: runtimes without processes, for
// the tests of what holds instances.
//
// It must not know how pools decide.
package pooltest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"hearth/faas"
	"hearth/pool"
)

// Script is how one start goes. The zero value starts at once and answers every
// event with its own payload.
type Script struct {
	StartErr  error         // Start fails with it
	StartTime time.Duration // what Start takes
	InitErr   error         // Init fails with it, after InitTime
	InitTime  time.Duration
	ReadyErr  error
	// SlotEvery is the time from one slot to the next, up to InstanceConcurrency
	// or, if it is not 0, Slots; the first is there after init. 0 is all at once.
	SlotEvery time.Duration
	Slots     int
	KillTime  time.Duration
	Lingers   time.Duration // how long an invocation is worked on after its answer
	// What Freeze and Thaw take, and fail with. One that cannot be frozen returns
	// pool.ErrCannotFreeze. One that fails may be frozen all the same.
	FreezeTime, ThawTime time.Duration
	FreezeErr, ThawErr   error
	// Handle answers an event. Its ctx ends at the deadline and when the runtime
	// is killed or crashes. Nil echoes.
	Handle func(ctx context.Context, event *faas.Event) (faas.Outcome, error)
}

// Starter is a fake pool.Starter. Safe for concurrent use.
type Starter struct {
	script func(n int, version *faas.Version) Script

	mu       sync.Mutex
	runtimes []*Runtime
	starts   int
	running  int
	peak     int
	alive    map[string]int // running, by the function's name
	peaks    map[string]int
}

// New returns a starter whose n-th start (from 0) goes as the script says; nil
// is the zero Script for all.
func New(script func(n int, version *faas.Version) Script) *Starter {
	if script == nil {
		script = func(int, *faas.Version) Script { return Script{} }
	}
	return &Starter{script: script, alive: map[string]int{}, peaks: map[string]int{}}
}

// Start implements pool.Starter.
func (s *Starter) Start(ctx context.Context, version *faas.Version, instance string) (pool.Runtime, error) {
	s.mu.Lock()
	script := s.script(s.starts, version)
	s.starts++
	s.mu.Unlock()
	if err := sleep(ctx, script.StartTime); err != nil {
		return nil, err
	}
	if script.StartErr != nil {
		return nil, script.StartErr
	}
	r := &Runtime{Version: version, Instance: instance, Provisioned: pool.Provisioned(ctx), script: script, starter: s,
		ended: make(chan struct{}), killed: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runtimes = append(s.runtimes, r)
	s.running++
	s.peak = max(s.peak, s.running)
	name := version.ID.Function.Name
	s.alive[name]++
	s.peaks[name] = max(s.peaks[name], s.alive[name])
	return r, nil
}

// Starts returns how many starts were asked for.
func (s *Starter) Starts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts
}

// Running returns how many runtimes are started and not killed.
func (s *Starter) Running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// Peak returns how many ran at once at most.
func (s *Starter) Peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

// PeakOf returns how many of one function ran at once at most.
func (s *Starter) PeakOf(function string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peaks[function]
}

// Runtimes returns every runtime that was started, in order.
func (s *Starter) Runtimes() []*Runtime {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Runtime(nil), s.runtimes...)
}

// Runtime is a fake pool.Runtime.
type Runtime struct {
	Version  *faas.Version
	Instance string
	// Provisioned is what the start's ctx said.
	Provisioned bool
	script      Script
	starter     *Starter
	asked       atomic.Int64 // for its memory

	mu       sync.Mutex
	ready    bool
	slots    int
	more     chan struct{} // closed and replaced when slots rise
	overfull bool
	held     int
	peak     int
	served   int
	foreign  string
	frozen   bool
	freezes  int
	numb     bool // it was given an event while it was frozen
	failure  *pool.Failure
	cause    string
	reports  []faas.Report
	ended    chan struct{}
	killed   chan struct{}
}

var errDouble = errors.New("pooltest: called twice, or too early")

// Init implements pool.Runtime.
func (r *Runtime) Init(ctx context.Context) error {
	select {
	case <-r.ended:
		return r.fault()
	default:
	}
	// No timer for no time: where two that are due are asked at once in a bubble of
	// synctest, the race detector ends the process (go.dev/issue/78156).
	if r.script.InitTime > 0 {
		timer := time.NewTimer(r.script.InitTime)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.ended:
			return r.fault()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	r.open()
	return r.script.InitErr
}

// Ready implements pool.Runtime.
func (r *Runtime) Ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ready {
		return errDouble
	}
	r.ready = true
	return r.script.ReadyErr
}

// open gives the runtime its first slots.
func (r *Runtime) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slots, r.more = r.most(), make(chan struct{})
	if r.script.SlotEvery > 0 && r.slots > 1 {
		r.slots = 1
		time.AfterFunc(r.script.SlotEvery, r.grow)
	}
}

func (r *Runtime) most() int {
	if r.script.Slots > 0 {
		return r.script.Slots
	}
	return max(1, r.Version.Config.InstanceConcurrency)
}

// grow adds a slot.
func (r *Runtime) grow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slots++
	close(r.more)
	r.more = make(chan struct{})
	if r.slots < r.most() {
		time.AfterFunc(r.script.SlotEvery, r.grow)
	}
}

// Slots implements pool.Runtime.
func (r *Runtime) Slots() (int, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.slots, r.more
}

// Overfull reports whether the runtime was ever given more than its slots.
func (r *Runtime) Overfull() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.overfull
}

// Invoke implements pool.Runtime.
func (r *Runtime) Invoke(ctx context.Context, event *faas.Event) (faas.Outcome, error) {
	if err := r.enter(event); err != nil {
		return faas.Outcome{}, err
	}
	defer r.leave()
	if r.script.Handle == nil {
		return faas.Outcome{Payload: event.Payload}, nil
	}
	inner, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { // ends with this call, which waits for it
		defer close(watched)
		select {
		case <-r.ended:
			cancel()
		case <-inner.Done():
		}
	}()
	defer func() { cancel(); <-watched }()
	out, err := r.script.Handle(inner, event)
	select {
	case <-r.ended:
		return faas.Outcome{}, r.fault()
	default:
	}
	if ctx.Err() != nil && err != nil {
		return faas.Outcome{}, context.Cause(ctx)
	}
	return out, err
}

func (r *Runtime) enter(event *faas.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ready {
		return errDouble
	}
	select {
	case <-r.ended:
		return r.failureLocked()
	default:
	}
	if event.RequestID != Mark(r.Version) {
		r.foreign = event.RequestID
	}
	r.numb = r.numb || r.frozen
	r.held++
	r.served++
	r.peak = max(r.peak, r.held)
	r.overfull = r.overfull || r.held > r.slots
	return nil
}

func (r *Runtime) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held--
}

// Crash ends the runtime as if by itself.
func (r *Runtime) Crash(kind pool.FailureKind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked(kind)
}

func (r *Runtime) endLocked(kind pool.FailureKind) {
	select {
	case <-r.ended:
	default:
		r.failure = Failed(kind)
		close(r.ended)
	}
}

// Failed is a failure with a document that names its kind.
func Failed(kind pool.FailureKind) *pool.Failure {
	return &pool.Failure{Kind: kind, Outcome: faas.Outcome{
		Payload:       []byte(`{"errorType":"Fake.` + string(kind) + `","errorMessage":"scripted"}`),
		FunctionError: "Unhandled", ErrorType: "Fake." + string(kind),
	}}
}

func (r *Runtime) fault() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failureLocked()
}

func (r *Runtime) failureLocked() error {
	if r.failure == nil {
		return Failed(pool.FailedExit)
	}
	return r.failure
}

// Settle implements pool.Runtime.
func (r *Runtime) Settle(report *faas.Report, wantTail bool) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.reports) == 16 {
		r.reports = append(r.reports[:0], r.reports[8:]...)
	}
	r.reports = append(r.reports, *report)
	if !wantTail {
		return nil
	}
	return []byte("END RequestId: " + report.RequestID + "\n")
}

// Lingering implements pool.Lingerer.
func (r *Runtime) Lingering() <-chan struct{} {
	if r.script.Lingers == 0 {
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-time.After(r.script.Lingers):
		case <-r.ended:
		}
	}()
	return done
}

// Freeze implements pool.Runtime.
func (r *Runtime) Freeze() error {
	time.Sleep(r.script.FreezeTime) // as KillTime
	r.mu.Lock()
	defer r.mu.Unlock()
	r.freezes++
	r.frozen = r.script.FreezeErr != pool.ErrCannotFreeze
	return r.script.FreezeErr
}

// Thaw implements pool.Runtime.
func (r *Runtime) Thaw() error {
	time.Sleep(r.script.ThawTime) // as KillTime
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.script.ThawErr == nil {
		r.frozen = false
	}
	return r.script.ThawErr
}

// Frozen reports whether the runtime is frozen, and how often it was.
func (r *Runtime) Frozen() (now bool, times int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.frozen, r.freezes
}

// Numb reports whether the runtime was ever given an event while it was frozen.
func (r *Runtime) Numb() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.numb
}

// MaxMemory implements pool.Runtime: 30 MiB, and one more each time that it is asked.
func (r *Runtime) MaxMemory() int64 { return (29 + r.asked.Add(1)) << 20 }

// Parts implements pool.Runtime.
func (r *Runtime) Parts() faas.Timeline {
	return faas.Timeline{Sandbox: r.script.StartTime, Init: r.script.InitTime}
}

// Done implements pool.Runtime.
func (r *Runtime) Done() <-chan struct{} { return r.ended }

// Kill implements pool.Runtime.
func (r *Runtime) Kill(cause string, grace time.Duration) error {
	r.mu.Lock()
	first := r.cause == ""
	if first {
		r.cause = cause
	}
	r.endLocked(pool.FailedExit)
	r.mu.Unlock()
	if !first {
		<-r.killed
		return nil
	}
	time.Sleep(r.script.KillTime) // what a kill takes, not a wait for a condition
	r.starter.mu.Lock()
	r.starter.running--
	r.starter.alive[r.Version.ID.Function.Name]--
	r.starter.mu.Unlock()
	close(r.killed)
	return nil
}

// Cause returns what the runtime was killed for; "" while it was not.
func (r *Runtime) Cause() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cause
}

// Dead reports whether the kill has ended.
func (r *Runtime) Dead() bool {
	select {
	case <-r.killed:
		return true
	default:
		return false
	}
}

// Served returns how many events the runtime was given, and how many it held at
// once at most.
func (r *Runtime) Served() (total, peak int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.served, r.peak
}

// Mark is a request id that names a revision.
func Mark(v *faas.Version) string { return v.ID.Function.Name + "/" + v.Revision }

// Foreign returns the request id of an event that was not Mark of the runtime's
// version; "" where there was none.
func (r *Runtime) Foreign() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.foreign
}

// Reports returns the reports of the last invocations that were settled on it.
func (r *Runtime) Reports() []faas.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]faas.Report(nil), r.reports...)
}

// Sleep is a handler that takes so long and answers "done".
func Sleep(d time.Duration) func(context.Context, *faas.Event) (faas.Outcome, error) {
	return func(ctx context.Context, _ *faas.Event) (faas.Outcome, error) {
		if err := sleep(ctx, d); err != nil {
			return faas.Outcome{}, err
		}
		return faas.Outcome{Payload: []byte(`"done"`)}, nil
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
