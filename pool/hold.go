package pool

import (
	"context"
	"errors"
	"time"

	"hearth/faas"
	"hearth/internal/deadline"
	"hearth/metric"
)

// Hold is one invocation's place on an instance, from Acquire to Release. It
// belongs to one goroutine.
type Hold struct {
	grant
	under     context.Context // whose end terminates the invocation; nil is never
	within    time.Duration   // the limit of the invocation; 0 is the version's timeout
	handed    time.Time       // when Deliver began
	delivered bool            // the event was handed over and no answer is here yet
	broken    bool            // the invocation failed in a way that ends its instance
	released  bool
}

// Instance returns the instance's id.
func (h *Hold) Instance() string { return h.inst.id }

// Series returns the metrics of the version that the instance is of; nil where
// nothing is counted. It is the caller's until Release.
func (h *Hold) Series() *metric.Series { return h.inst.pool.mu.series }

// Cold says why the invocation had to wait for a new instance; "" where it had
// not. With several invocations per instance all that waited for one are cold.
func (h *Hold) Cold() faas.ColdReason { return h.cold }

// InitDuration is how long the instance's init took, for the invocation that the
// instance was started for; 0 for all others.
func (h *Hold) InitDuration() time.Duration {
	if !h.first {
		return 0
	}
	return h.inst.parts.Init
}

// Timeline returns where the time went until the instance was there and ran: the
// parts of its start, as far as this invocation waited for them, what thawing it
// took, and the rest as Queue. They sum to the wait.
func (h *Hold) Timeline() faas.Timeline {
	t := faas.Timeline{Queue: h.waited, Thaw: h.thawed}
	if !h.first {
		return t
	}
	// Who came while the start was on its way waited for its last parts only.
	parts := h.inst.parts
	t.Way, t.WayReason = parts.Way, parts.WayReason
	spend := func(part time.Duration) time.Duration {
		part = min(part, t.Queue)
		t.Queue -= part
		return part
	}
	t.Init = spend(parts.Init)
	t.Runtime = spend(parts.Runtime)
	t.Code = spend(parts.Code)
	t.Sandbox = spend(parts.Sandbox)
	return t
}

// peakAge is how old what is known of an instance's memory may be. To read it takes
// some microseconds, which is much of a call that takes a hundred.
const peakAge = time.Millisecond

// MaxMemory is the instance's highest memory use so far, in bytes, as it was at
// most peakAge before now; where the invocation ended the instance, as it is.
func (h *Hold) MaxMemory(now time.Time) int64 {
	inst := h.inst
	at, read := int64(now.Sub(inst.readyAt)), inst.peakRead.Load()
	if read > 0 && at-read < int64(peakAge) && !h.broken {
		return inst.peak.Load()
	}
	most := inst.runtime.MaxMemory()
	inst.peak.Store(most)
	inst.peakRead.Store(at)
	inst.pool.resident.Store(most)
	return most
}

// InitFailed reports whether the instance's init failed: then Deliver returns that
// failure, and no handler runs.
func (h *Hold) InitFailed() bool { return h.grant.failed != nil }

// Under has Deliver wait so long in place of the version's timeout (0 leaves that),
// and terminate the invocation when ctx ends: it fails with FailedTerminated, and
// with no other invocation on the instance everything in it is dead then.
func (h *Hold) Under(ctx context.Context, limit time.Duration) { h.under, h.within = ctx, limit }

// Deliver hands the event to the instance and waits for the outcome, at most for
// the function's timeout from now; it sets the event's deadline. A *Failure says
// that init or the runtime failed, or with FailedTimeout (and no document) that
// the time was up: with no other invocation on the instance everything in it is
// dead then. Other errors are *faas.Error.
func (h *Hold) Deliver(event *faas.Event) (faas.Outcome, error) {
	h.handed = time.Now()
	if h.failed != nil {
		return faas.Outcome{}, h.failed
	}
	event.Deadline = h.handed.Add(h.limit())
	h.delivered = true
	out, err := h.invoke(event)
	h.delivered = false
	if err == nil {
		return out, nil
	}
	h.broken = true
	return faas.Outcome{}, h.inst.pool.recycle(h.inst, err)
}

// invoke bounds the invocation by its deadline, and by the context that it is under.
func (h *Hold) invoke(event *faas.Event) (faas.Outcome, error) {
	if h.under == nil {
		ctx := deadline.New(event.Deadline)
		defer ctx.Stop()
		return h.inst.runtime.Invoke(ctx, event)
	}
	ctx, cancel := context.WithDeadline(h.under, event.Deadline)
	defer cancel()
	return h.inst.runtime.Invoke(ctx, event)
}

func (h *Hold) limit() time.Duration {
	if h.within > 0 {
		return h.within
	}
	return h.inst.pool.version.Config.Timeout()
}

// Terminate has the instance take no new invocations and, where it holds no other,
// tells its runtime to end; what is left of it after grace is killed. It returns
// then. Any goroutine may call it between Acquire and Release.
func (h *Hold) Terminate(grace time.Duration) {
	p := h.inst.pool
	p.mu.Lock()
	p.condemnLocked(h.inst, CauseTerminated)
	runtime, alone := h.inst.runtime, h.inst.state.n == 1
	p.mu.Unlock()
	if !alone || runtime == nil {
		return
	}
	if err := runtime.Kill(string(CauseTerminated), grace); err != nil {
		p.pools.log.Error("an instance could not be terminated in time", "instance", h.inst.id,
			"version", p.version.ID.String(), "err", err)
	}
}

// Handed is when the event was handed over, after Deliver.
func (h *Hold) Handed() time.Time { return h.handed }

// Settle hands the invocation's last log lines over and returns the tail of its
// log, if wanted. After Deliver, before Release.
func (h *Hold) Settle(report *faas.Report, wantTail bool) []byte {
	return h.inst.runtime.Settle(report, wantTail)
}

// Release gives the place back. A second call does nothing. An instance whose
// init failed is dead when it returns.
func (h *Hold) Release() {
	if h.released {
		return
	}
	h.released = true
	if h.delivered { // Deliver panicked; its caller's defer runs
		h.inst.pool.recycle(h.inst, errUnwound)
	}
	if lingering := h.lingering(); lingering != nil {
		h.inst.pool.pools.spawn(func() {
			<-lingering
			h.inst.pool.release(h.inst, false)
		})
	} else {
		h.inst.pool.release(h.inst, h.failed != nil)
	}
	h.inst.pool.habit.left()
}

// lingering is closed when what runs beside the runtime is done with the invocation;
// nil where it is, or where the instance has failed.
func (h *Hold) lingering() <-chan struct{} {
	l, ok := h.inst.runtime.(Lingerer)
	if !ok || h.failed != nil {
		return nil
	}
	return l.Lingering()
}

// recycle takes an instance out of service on which an invocation failed, and
// returns the error to answer with. After a timeout everything in the instance
// is dead, unless it holds other invocations: then it is killed when they end.
func (p *pool) recycle(inst *instance, err error) error {
	var failure *Failure
	switch {
	case errors.As(err, &failure):
	case errors.Is(err, ErrTerminated):
		failure = &Failure{Kind: FailedTerminated}
		err = failure
	case errors.Is(err, context.DeadlineExceeded):
		failure = &Failure{Kind: FailedTimeout}
		err = failure
	default:
		err = &faas.Error{Code: faas.CodeInternal, Subject: p.version.ID.String(),
			Message: "the invocation could not be delivered: " + err.Error(), Cause: err}
	}
	cause := CauseExit
	if failure != nil {
		cause = causeOf(failure.Kind)
	}
	p.mu.Lock()
	p.condemnLocked(inst, cause)
	cause = inst.state.cause // the first one
	alone := inst.state.n == 1
	kill := alone && p.seizeLocked(inst)
	p.mu.Unlock()
	if kill {
		inst.reap()
	} else if alone {
		<-inst.stopped
	}
	if cause == CauseShutdown {
		return shuttingDown()
	}
	return err
}
