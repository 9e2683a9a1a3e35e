package async

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"hearth/engine"
	"hearth/faas"
	"hearth/invoke"
	"hearth/metric"
)

// markAfter is how long an attempt runs before the queue is told that it does: what
// a crash cuts off later is known to have run.
const markAfter = 5 * time.Second

// flight is one event from its fetch to what becomes of it.
type flight struct {
	line    *line
	event   engine.Event
	header  header
	damaged error // why the header cannot be read
	config  faas.AsyncConfig
	size    int64

	done    chan struct{} // closed when it has its outcome, waits again, or is left
	bounced bool          // nothing ran; set before done is closed
	left    bool          // its line counts it as leaving
	marking chan struct{} // closed when mark has done its work
	mark    *time.Timer

	mu      sync.Mutex      // guards what follows
	attempt *invoke.Attempt // while it runs
	number  int             // of the attempt
	since   time.Time       // when it began
	stopped bool            // the user terminated it
}

func (d *dispatcher) flight(l *line, e *engine.Event) *flight {
	f := &flight{line: l, event: *e, size: int64(len(e.Body) + len(e.Header)), done: make(chan struct{})}
	f.header, f.damaged = decodeHeader(e.Header)
	f.header = f.header.cutOff(time.Now())
	f.config = d.functions.AsyncConfig(l.id, f.header.Qualifier)
	return f
}

func (f *flight) expiry() time.Time { return expiry(f.event.Accepted, f.config) }

func (f *flight) request() *invoke.Request {
	r := f.header.request(&f.event, f.line.id)
	r.Limit = time.Duration(f.config.TimeoutSeconds) * time.Second
	return r
}

// began notes the attempt under way.
func (f *flight) began(a *invoke.Attempt, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attempt, f.number, f.since = a, f.header.Failed+1, now
}

// open is the attempt under way, as far as it is known; false where there is none.
func (f *flight) open() (faas.Attempt, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.attempt == nil {
		return faas.Attempt{}, false
	}
	version := f.attempt.Version().ID.Number
	return faas.Attempt{Number: f.number, Version: version, Began: f.since, Instance: f.attempt.Instance(),
		Log: faas.LogPointer{Version: version, From: f.since}}, true
}

// terminate ends the attempt under way; false where there is none.
func (f *flight) terminate(grace time.Duration) bool {
	f.mu.Lock()
	a := f.attempt
	f.stopped = f.stopped || a != nil
	f.mu.Unlock()
	if a == nil {
		return false
	}
	a.Terminate(grace)
	return true
}

// fly runs an attempt that has begun, and sees to what becomes of its event.
func (d *dispatcher) fly(f *flight) {
	d.flights.put(f)
	d.count(f.line.id, metric.EventsStarted)
	d.markLater(f)
	d.spawn(func() {
		d.trap("begun")
		res, err := f.attempt.Run(f.leave)
		d.trap("ran")
		e := classify(res, err)
		d.unmark(f)
		f.mu.Lock()
		if f.stopped && e != succeeded && e != closing {
			e = terminated
		}
		f.attempt = nil
		f.mu.Unlock()
		took := time.Duration(0)
		if err == nil {
			took = max(res.Report.Duration, 1)
		}
		if e.held() { // the place that it was given led to no instance
			f.bounced = true
			d.report(func() { d.bounce(f, e, err) })
			return
		}
		d.finishing.Add(1)
		d.report(func() { d.landed(f, took) })
		d.finish(f, e, res, err)
		d.finished(f)
	})
}

// leave notes that the attempt gives its instance back.
func (f *flight) leave() {
	f.left = true
	f.line.leaving.Add(1)
}

// finished notes that what became of an event is on disk, or left.
func (d *dispatcher) finished(f *flight) {
	d.flights.drop(f)
	if d.finishing.Add(-1) == maxFinishing-1 { // nothing could begin
		d.tell(func() {})
	}
}

// bounce gives an event back that a limit refused after it had begun to wait.
func (d *dispatcher) bounce(f *flight, e ending, err error) {
	d.queue.Release(f.event.ID)
	d.flights.drop(f)
	f.place()
	d.hold(f.line, e, err, time.Now(), f.expiry())
}

// place takes back the place of an attempt that has ended.
func (f *flight) place() {
	f.line.running--
	if f.left {
		f.line.leaving.Add(-1)
	}
}

// end sees to what becomes of an event that did not begin.
func (d *dispatcher) end(f *flight, e ending, err error) {
	d.conclusion(f, func() { d.finish(f, e, nil, err) })
}

// expire ends an event that is too old to begin.
func (d *dispatcher) expire(f *flight) {
	d.conclusion(f, func() { _ = d.settle(f, verdict{status: faas.EventExpired, reason: faas.DropAge}, lastResult{}) })
}

// conclusion has the outcome of an event that is not running written.
func (d *dispatcher) conclusion(f *flight, write func()) {
	d.flights.put(f)
	d.finishing.Add(1)
	d.spawn(func() {
		write()
		d.finished(f)
	})
}

// markLater has the queue told of an attempt that runs for long.
func (d *dispatcher) markLater(f *flight) {
	f.marking = make(chan struct{})
	f.mark = time.AfterFunc(markAfter, func() {
		defer close(f.marking)
		if a, ok := f.open(); ok {
			err := d.queue.Update(d.ctx, f.event.ID, f.header.with(a).encode())
			if err != nil && d.ctx.Err() == nil {
				d.log.Warn("a long attempt could not be recorded while it runs", "request", f.event.ID, "err", err)
			}
		}
	})
}

// unmark returns when the queue will not be told any more.
func (d *dispatcher) unmark(f *flight) {
	if !f.mark.Stop() {
		<-f.marking
	}
}

// finish sees to what becomes of an event after a try.
func (d *dispatcher) finish(f *flight, e ending, res *invoke.Result, err error) {
	now := time.Now()
	if f.damaged != nil {
		d.log.Error("a stored event cannot be read", "request", f.event.ID, "err", f.damaged)
		_ = d.settle(f, verdict{status: faas.EventFailed, reason: faas.DropDamaged}, lastResult{})
		return
	}
	last := resultOf(res, err)
	switch e {
	case functionError:
		f.header.Failed++
		f.header.Faults = 0
	case faulted:
		f.header.Faults++
		d.log.Warn("an attempt failed by a fault of the platform", "request", f.event.ID, "function", f.line.id.String(), "err", err)
	}
	if attempt, ran := d.attemptOf(f, e, res, err, now); ran {
		f.header = f.header.with(attempt)
	}
	v := decide(e, f.header.Failed, f.header.Faults, f.event.Accepted, now, f.config, d.policy)
	switch {
	case v.leave:
	case v.status != "":
		_ = d.settle(f, v, last) // an error is of this server's end
	default:
		d.count(f.line.id, metric.EventsRetried)
		encoded := f.header.encode()
		d.trap("retry")
		_ = d.insist(f.event.ID, func(ctx context.Context) error { return d.queue.Retry(ctx, f.event.ID, v.at, encoded) })
	}
}

// attemptOf is the record of a try; false where nothing ran.
func (d *dispatcher) attemptOf(f *flight, e ending, res *invoke.Result, err error, now time.Time) (faas.Attempt, bool) {
	if e == closing || f.since.IsZero() {
		return faas.Attempt{}, false
	}
	a := faas.Attempt{Number: f.number, Began: f.since, Ended: now, Status: faas.StatusError}
	if res != nil {
		r := &res.Report
		a.Version, a.Instance, a.Status, a.ErrorType = res.ExecutedVersion, r.Instance, r.Status, r.ErrorType
		a.ErrorMessage = messageOf(res.Outcome)
	} else {
		a.ErrorType, a.ErrorMessage = "Hearth."+string(faas.CodeOf(err)), publicMessage(err)
	}
	if e == terminated {
		a.Status = faas.StatusAborted
	}
	a.Log = faas.LogPointer{Version: a.Version, From: a.Began, Until: now}
	return a, true
}

// messageOf is the text of a function error.
func messageOf(out faas.Outcome) string {
	if out.FunctionError == "" {
		return ""
	}
	var doc struct {
		Message string `json:"errorMessage"`
	}
	if json.Unmarshal(out.Payload, &doc) != nil {
		return clip(string(out.Payload), maxErrorMessage)
	}
	return clip(doc.Message, maxErrorMessage)
}

// publicMessage is what a user may read of an error of the platform.
func publicMessage(err error) string {
	var known *faas.Error
	if !errors.As(err, &known) || known.Code == faas.CodeInternal {
		return "The platform failed. Its log says more."
	}
	return clip(known.Message, maxErrorMessage)
}

// insist writes to the queue until it succeeds or this server ends: what could not be
// written is done again after a restart. An event that is gone has its outcome.
func (d *dispatcher) insist(id string, write func(ctx context.Context) error) error {
	for n := 1; ; n++ {
		err := write(d.ctx)
		if err == nil || errors.Is(err, engine.ErrNotFound) {
			return err
		}
		if d.ctx.Err() != nil || errors.Is(err, engine.ErrClosed) {
			return faas.Errorf(faas.CodeShuttingDown, "server", "The server is shutting down; the event %s goes on after its restart.", id)
		}
		d.log.Error("what became of an event cannot be written", "request", id, "try", n, "err", err)
		timer := time.NewTimer(min(d.policy.delay(n), time.Minute))
		select {
		case <-timer.C:
		case <-d.ctx.Done():
			timer.Stop()
		}
	}
}

// flights are the events that run, or whose outcome is being written.
type flights struct {
	mu   sync.Mutex
	byID map[string]*flight
	each map[string]int // by the line's key
}

func (s *flights) put(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[f.event.ID] = f
	s.each[f.line.key]++
}

func (s *flights) drop(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, f.event.ID)
	close(f.done)
	if s.each[f.line.key]--; s.each[f.line.key] == 0 {
		delete(s.each, f.line.key)
	}
}

func (s *flights) find(id string) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

func (s *flights) count(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.each[key]
}
