package async

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"hearth/engine"
	"hearth/faas"
	"hearth/internal/uuid"
	"hearth/invoke"
)

const (
	maxNamed    = 1000 // request ids of one redrive
	maxRedrives = 100  // of one event
)

// Terminate ends an event: one that waits leaves its queue, one that runs has its
// instance killed, its runtime being sent SIGTERM that long before where grace is not
// 0; it is at most MaxTerminationGrace. It returns when the outcome is recorded, which is
// EventAborted unless the function succeeded meanwhile. CodeNotFound, or
// CodeConflict where the event has its outcome already.
func (s *Service) Terminate(ctx context.Context, scope faas.Scope, requestID string, grace time.Duration) error {
	if grace < 0 || grace > MaxTerminationGrace {
		return faas.Errorf(faas.CodeInvalid, "grace", "An event is terminated at once or with up to %v of grace, not %v.", MaxTerminationGrace, grace)
	}
	e, _, err := s.find(ctx, scope, requestID)
	switch {
	case err != nil:
		return err
	case e == nil:
		return ended(requestID)
	}
	for {
		err := s.cancel(ctx, e)
		if !errors.Is(err, engine.ErrInFlight) {
			return terminationError(requestID, err)
		}
		if err = s.terminateFetched(ctx, e, grace); err != errAgain {
			return err
		}
	}
}

// errAgain: the event was between two states.
var errAgain = errors.New("async: again")

// terminateFetched ends an event that runs or is about to.
func (s *Service) terminateFetched(ctx context.Context, e *engine.Event, grace time.Duration) error {
	d := s.dispatcher.Load()
	if d == nil {
		return stopping()
	}
	answer := make(chan error, 1)
	d.tell(func() { d.terminate(e.Key, termination{e.ID, grace, answer}) })
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return faas.Errorf(faas.CodeCanceled, e.ID, "The caller went away; the event is being terminated: %w", context.Cause(ctx))
	case <-d.ended:
		return stopping()
	}
}

func stopping() error {
	return faas.Errorf(faas.CodeShuttingDown, "server", "The server is shutting down. Try again when it is back.")
}

func ended(requestID string) error {
	return faas.Errorf(faas.CodeConflict, requestID, "The event has ended already.")
}

// terminationError words the result of cancelling an event.
func terminationError(requestID string, err error) error {
	if isNotFound(err) {
		return ended(requestID)
	}
	if err != nil {
		return engineError(err)
	}
	return nil
}

// cancel aborts an event that waits.
func (s *Service) cancel(ctx context.Context, e *engine.Event) error {
	h, _ := decodeHeader(e.Header) // of one that cannot be read there is less to record
	encoded, err := json.Marshal(details{Qualifier: h.Qualifier, Attempts: h.Attempts, Reason: faas.DropTerminated,
		Payload: len(e.Body), Trace: h.Trace, Origin: h.Origin})
	if err != nil {
		return err
	}
	return s.queue.Cancel(ctx, e.ID, engine.Outcome{Status: string(faas.EventAborted), Details: encoded, Keep: true})
}

// termination is of an event that was fetched. It is answered once; errAgain where the
// event is not any more.
type termination struct {
	id     string
	grace  time.Duration
	answer chan<- error
}

// terminate ends an event that was fetched. Called by the owner.
func (d *dispatcher) terminate(key string, t termination) {
	if f := d.flights.find(t.id); f != nil {
		begun := d.spawn(func() {
			running := f.terminate(t.grace)
			<-f.done
			if running && !f.bounced {
				t.answer <- nil
				return
			}
			t.answer <- errAgain // it has its outcome, or waits again
		})
		if !begun {
			t.answer <- stopping()
		}
		return
	}
	l := d.lines[key]
	if l == nil {
		t.answer <- errAgain
		return
	}
	f, found := l.buffer.take(func(f *flight) bool { return f.event.ID == t.id })
	switch {
	case found:
		d.buffered -= f.size
		d.conclusion(f, func() {
			t.answer <- d.settle(f, verdict{status: faas.EventAborted, reason: faas.DropTerminated}, lastResult{})
		})
	case l.fetching:
		l.wanted = append(l.wanted, t)
	default:
		t.answer <- errAgain
	}
}

// Redrive sends dead letters again as new events and returns one entry for each,
// in order. The error is for the request as a whole: CodeInvalid.
func (s *Service) Redrive(ctx context.Context, r Redrive) ([]Redriven, error) {
	if len(r.RequestIDs) > maxNamed {
		return nil, faas.Errorf(faas.CodeInvalid, "requestIds", "At most %d events are redriven by their ids; there are %d.", maxNamed, len(r.RequestIDs))
	}
	if r.Payload != nil && len(r.RequestIDs) != 1 {
		return nil, faas.Errorf(faas.CodeInvalid, "payload", "A payload of its own is for exactly one event; there are %d.", len(r.RequestIDs))
	}
	ids := r.RequestIDs
	if len(ids) == 0 {
		var err error
		if ids, err = s.deadLetters(ctx, r); err != nil {
			return nil, err
		}
	}
	var all []Redriven
	for _, id := range ids {
		if len(all) == s.policy.Redriven {
			break
		}
		requestID, err := s.redrive(ctx, r, id, len(r.RequestIDs) == 0)
		if errors.Is(err, errRedriven) {
			continue
		}
		all = append(all, Redriven{From: id, RequestID: requestID, Err: err})
	}
	return all, nil
}

// errRedriven: the event is none of those that were not redriven before.
var errRedriven = errors.New("async: redriven before")

// deadLetters are the events of a filter that ended without success, the oldest
// first.
func (s *Service) deadLetters(ctx context.Context, r Redrive) ([]string, error) {
	f := r.Filter
	f.Function.Scope, f.Marker, f.Max = r.Scope, "", maxPage
	f.Statuses = []faas.EventStatus{faas.EventFailed, faas.EventExpired, faas.EventAborted}
	var ids []string
	for {
		page, err := s.List(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Events {
			ids = append(ids, e.RequestID)
		}
		if f.Marker = page.Next; f.Marker == "" {
			slices.Reverse(ids)
			return ids, nil
		}
	}
}

// redrive sends one dead letter again. The ids of the new events come from that of the
// old one, so that it is known whether it was redriven before; with once it is errRedriven
// then.
func (s *Service) redrive(ctx context.Context, r Redrive, id string, once bool) (string, error) {
	_, record, err := s.find(ctx, r.Scope, id)
	if err != nil {
		return "", err
	}
	if record == nil || record.Status == string(faas.EventDone) {
		return "", faas.Errorf(faas.CodeConflict, id, "The event did not fail: only what ended without success is redriven. Replay it instead.")
	}
	last, next, err := s.redrives(ctx, record.ID)
	if err != nil {
		return "", err
	}
	if once && last != "" {
		return "", errRedriven
	}
	return s.again(ctx, next, source{record.ID, record.Key, record.Header, record.Body, record.Kept}, r.To, r.Payload, faas.OriginRedrive)
}

// redrives returns the last event that was made of one by a redrive, "" where there
// is none, and the id of the next.
func (s *Service) redrives(ctx context.Context, id string) (last, next string, err error) {
	for n := 1; n <= maxRedrives; n++ {
		next = derivedID(id, "redrive/"+strconv.Itoa(n))
		if _, err := s.queue.Find(ctx, next); err == nil {
			last = next
			continue
		} else if !isNotFound(err) {
			return "", "", engineError(err)
		}
		if _, err := s.history.Get(ctx, next); isNotFound(err) {
			return last, next, nil
		} else if err != nil {
			return "", "", engineError(err)
		}
		last = next
	}
	return "", "", faas.Errorf(faas.CodeConflict, id, "The event was redriven %d times. Replay it instead.", maxRedrives)
}

// Replay sends a recorded event once more and returns the request id of the new
// one. Errors are those of Accept and Payload.
func (s *Service) Replay(ctx context.Context, r Replay) (string, error) {
	e, record, err := s.find(ctx, r.Scope, r.RequestID)
	switch {
	case err != nil:
		return "", err
	case e != nil:
		return s.again(ctx, uuid.New(), source{e.ID, e.Key, e.Header, e.Body, true}, r.To, r.Payload, faas.OriginReplay)
	}
	return s.again(ctx, uuid.New(), source{record.ID, record.Key, record.Header, record.Body, record.Kept}, r.To, r.Payload, faas.OriginReplay)
}

// source is an event that is sent again.
type source struct {
	id, key      string
	header, body []byte
	kept         bool // header and body are there
}

// again sends what an event asked for as a new one.
func (s *Service) again(ctx context.Context, id string, from source, to faas.FunctionRef, payload []byte, kind faas.OriginKind) (string, error) {
	if !from.kept {
		return "", faas.Errorf(faas.CodeNotFound, from.id, "The payload of the event is not kept any more.")
	}
	h, err := decodeHeader(from.header)
	if err != nil {
		return "", faas.Errorf(faas.CodeInternal, from.id, "%w", err)
	}
	function, _, _ := functionOf(from.key)
	body := from.body
	qualifier := h.Qualifier
	if to.ID.Name != "" {
		if !inScope(to.ID, faas.Scope{Account: function.Account, Region: function.Region}) {
			return "", faas.Errorf(faas.CodeInvalid, "to", "An event is sent again to a function of its own account and region.")
		}
		function, qualifier = to.ID, to.Qualifier
	}
	if payload != nil {
		body = payload
	}
	req := &invoke.Request{RequestID: id, Function: function, Qualifier: qualifier, Type: invoke.Event,
		Payload: body, ClientContext: h.Client}
	if err := invoke.Validate(req); err != nil {
		return "", err
	}
	accepted, err := s.accept(ctx, req, &faas.Origin{Kind: kind, RequestID: from.id})
	return accepted.RequestID, err
}
