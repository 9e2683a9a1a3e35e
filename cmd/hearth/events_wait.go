package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"hearth/faas"
)

// eventPoll is how often --wait looks what has become of an event.
const eventPoll = 200 * time.Millisecond

// send has an event accepted and prints its request id, and with --wait its outcome.
func (f *invokeFlags) send(ctx context.Context, t *terminal, v values, name string, event []byte) error {
	c := newClient(v)
	accepted, err := c.accept(ctx, name, f.qualifier, f.key, event)
	if err != nil {
		return err
	}
	if accepted.Duplicate {
		t.progress("an event with this idempotency key was accepted before")
	}
	if !f.wait {
		return t.show(v, accepted, func() { fmt.Fprintln(t.out, accepted.RequestID) })
	}
	e, err := awaitEvent(ctx, t, c, accepted.RequestID)
	if err != nil {
		return err
	}
	if err := t.show(v, e, func() { printEvent(t, e, v["namespace"], time.Now()) }); err != nil {
		return err
	}
	switch e.Status {
	case faas.EventDone:
		return nil
	case faas.EventFailed:
		return &exitError{code: exitFunctionError}
	}
	return &exitError{code: exitFailure}
}

// awaitEvent looks until an event has its outcome, and tells of attempts that failed.
// It has no bound of its own: an event may be tried for hours.
func awaitEvent(ctx context.Context, t *terminal, c *client, requestID string) (*faas.EventRecord, error) {
	tick := time.NewTicker(eventPoll)
	defer tick.Stop()
	for told := 0; ; {
		e := new(faas.EventRecord)
		err := c.do(ctx, http.MethodGet, eventPath(requestID, ""), nil, nil, e)
		if ctx.Err() != nil {
			err = errors.New("interrupted; the event goes on: 'hearth events show " + requestID + "'")
		}
		if err != nil || e.Status.Final() {
			return e, err
		}
		if n := len(e.Attempts); e.Status == faas.EventRetrying && n > told {
			last := e.Attempts[n-1]
			t.progress("attempt %d: %s; the next is due at %s", last.Number, printable(attemptOutcome(&last)), e.Next.Local().Format(time.TimeOnly))
			told = n
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
