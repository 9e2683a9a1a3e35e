package async

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"hearth/engine"
	"hearth/faas"
	"hearth/metric"
)

// Functions is what the dispatcher needs of the control plane. Both methods
// return at once and touch no disk.
type Functions interface {
	// Resolve returns the version that the next event of the qualifier goes to, or
	// a *faas.Error with faas.CodeNotFound whose cause is faas.ErrNoFunction or
	// faas.ErrNoQualifier.
	Resolve(id faas.FunctionID, qualifier string) (*faas.Version, error)
	// AsyncConfig returns what is configured for the qualifier ("" is
	// faas.Latest), with the dead-letter target of the version that it names (of an
	// alias, the primary one); the zero value where nothing is, or where there is no
	// such function or qualifier.
	AsyncConfig(id faas.FunctionID, qualifier string) faas.AsyncConfig
}

// Options configure a Service.
type Options struct {
	Queue     engine.Queue   // required
	History   engine.History // required
	Functions Functions      // required
	Policy    Policy         // zero fields are defaults
	Caps      engine.Caps    // of what may wait; zero is no bound
	// Window is how long an idempotency key drops duplicates; 0 is the engine's
	// default, 2 min.
	Window time.Duration
	// Freed returns a channel that gets a value when something of the account of a
	// scope was given back; nil: refused events wait out their pauses.
	Freed func(faas.Scope) <-chan struct{}
	// Idle returns how many instances of a function are idle; nil is none. They are
	// used whatever the backlog asks for.
	Idle func(faas.FunctionID) int
	// Saturated reports whether the CPUs have had no time to spare lately; nil is
	// never. The dispatcher asks it before it has instances started.
	Saturated func() bool
	// Destination says which addresses HTTP destinations may have; nil is public
	// ones.
	Destination func(netip.Addr) bool
	// Trap is called at points that a crash test names; nil in the binary.
	Trap    func(point string)
	Metrics *metric.Registry // nil counts nothing
	Logger  *slog.Logger     // nil discards
}

// Service accepts, runs and remembers asynchronous invocations. Safe for
// concurrent use. All errors are *faas.Error.
type Service struct {
	queue     engine.Queue
	history   engine.History
	functions Functions
	policy    Policy
	caps      engine.Caps
	window    time.Duration
	freed     func(faas.Scope) <-chan struct{}
	idle      func(faas.FunctionID) int
	saturated func() bool
	allowed   func(netip.Addr) bool
	trapped   func(point string)
	metrics   *metric.Registry
	log       *slog.Logger

	flights    flights
	notices    notices
	stopped    atomic.Bool // nothing is accepted and nothing begins any more
	dispatcher atomic.Pointer[dispatcher]
}

// New returns a service that accepts events and runs none until Start.
func New(o Options) *Service {
	s := &Service{queue: o.Queue, history: o.History, functions: o.Functions, policy: o.Policy.withDefaults(), caps: o.Caps,
		window: o.Window, freed: o.Freed, idle: o.Idle, saturated: o.Saturated, allowed: o.Destination, trapped: o.Trap, metrics: o.Metrics, log: o.Logger,
		flights: flights{byID: make(map[string]*flight), each: make(map[string]int)},
		notices: notices{byKey: make(map[string]notice)}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.allowed == nil {
		s.allowed = AllowDestinations(nil)
	}
	return s
}

// Start begins to run what is accepted, and what was before. Called once.
func (s *Service) Start(runner Runner) {
	d := newDispatcher(s, runner)
	d.client = newClient(s.allowed)
	v := newDeliverer(d)
	s.dispatcher.Store(d)
	go d.loop()
	notify := func(key string) {
		if _, delivery, ok := functionOf(key); !ok {
			s.log.Error("a queue belongs to no function", "queue", key)
		} else if delivery {
			v.notify(key)
		} else {
			d.notify(key)
		}
	}
	s.queue.Notify(notify)
	for _, b := range s.queue.Backlogs() {
		if id, _, ok := functionOf(b.Key); ok {
			s.metrics.Function(id).Release() // so that its backlog is shown
		}
		if b.Ready > 0 {
			notify(b.Key)
		}
	}
}

// Stop accepts and begins nothing any more; what runs goes on. It returns when that is
// so.
func (s *Service) Stop() {
	s.stopped.Store(true)
	d := s.dispatcher.Load()
	if d == nil {
		return
	}
	heard := make(chan struct{})
	d.tell(func() {
		d.close()
		close(heard)
	})
	select {
	case <-heard:
	case <-d.ended:
	}
}

// Close stops, and waits for what runs to end and for its outcome to be recorded,
// until ctx ends. What has no outcome then is tried again by the next server, with
// the same attempt number. The instances are the pools': those are drained before.
func (s *Service) Close(ctx context.Context) error {
	s.Stop()
	d := s.dispatcher.Swap(nil)
	if d == nil {
		return nil
	}
	s.queue.Notify(nil)
	d.rest() // what only waits ends at once; what writes, when it is done
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		d.work.Wait()
	}()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = fmt.Errorf("async: events in flight are left for the next start: %w", context.Cause(ctx))
	}
	d.cancel()
	d.client.CloseIdleConnections()
	close(d.quit)
	<-d.ended
	return err
}

// trap is where a crash test may end the process.
func (s *Service) trap(point string) {
	if s.trapped != nil {
		s.trapped(point)
	}
}

func (s *Service) count(id faas.FunctionID, c metric.EventCount) {
	series := s.metrics.Function(id)
	series.Event(c)
	series.Release()
}

// notFound is the error for a request id that nothing is known of.
func notFound(requestID string) error {
	return faas.Errorf(faas.CodeNotFound, requestID,
		"There is no event of this request id here, or it ended so long ago that its record is gone.")
}

func isNotFound(err error) bool { return errors.Is(err, engine.ErrNotFound) }
