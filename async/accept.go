package async

import (
	"context"
	"errors"
	"strings"

	"hearth/engine"
	"hearth/faas"
	"hearth/invoke"
	"hearth/metric"
)

// Accept makes a request durable and returns: 202. It implements invoke.Acceptor.
//
// The payload is JSON of at most faas.MaxAsyncPayload bytes; the function exists
// and can be called by the qualifier now. Where the caller's IdempotencyKey named
// another event of the function within the window, that one's request id comes
// back with Duplicate, and nothing is stored.
//
// Errors: CodeInvalid, CodeInvalidBody, CodeTooLarge for the request, CodeNotFound,
// CodeNotReady, CodeThrottled with a *faas.Refusal where the backlog of the function
// or the account is full, CodeDiskFull where the data directory nearly is,
// CodeShuttingDown.
func (s *Service) Accept(ctx context.Context, req *invoke.Request) (invoke.Accepted, error) {
	return s.accept(ctx, req, nil)
}

func (s *Service) accept(ctx context.Context, req *invoke.Request, origin *faas.Origin) (invoke.Accepted, error) {
	h := header{Qualifier: req.Qualifier, Client: req.ClientContext, Origin: origin}
	if len(req.TraceID) <= maxTrace {
		h.Trace = req.TraceID
	}
	m := engine.Message{ID: strings.ToLower(req.RequestID), Body: req.Payload, Idempotency: req.IdempotencyKey, Window: s.window}
	receipt, err := s.enqueue(ctx, req.Function, h, m)
	if err != nil {
		return invoke.Accepted{}, err
	}
	return invoke.Accepted{RequestID: receipt.ID, Duplicate: receipt.Duplicate}, nil
}

// enqueue appends an event to the queue of a function that can be called.
func (s *Service) enqueue(ctx context.Context, id faas.FunctionID, h header, m engine.Message) (engine.Receipt, error) {
	if s.stopped.Load() {
		return engine.Receipt{}, stopping()
	}
	version, err := s.functions.Resolve(id, h.Qualifier)
	if err != nil {
		return engine.Receipt{}, err
	}
	if err := invoke.Callable(version); err != nil {
		return engine.Receipt{}, err
	}
	c := s.functions.AsyncConfig(id, h.Qualifier)
	if h.DeadLetter = c.DeadLetter; h.DeadLetter == "" {
		h.DeadLetter = c.OnFailure
	}
	m.Key, m.Header = keyOf(id), h.encode()
	s.trap("accept")
	receipt, err := s.queue.Append(ctx, m, s.caps)
	if err != nil {
		return engine.Receipt{}, acceptError(err, id)
	}
	s.trap("accepted")
	if receipt.Duplicate {
		s.count(id, metric.EventsDuplicate)
	} else {
		s.count(id, metric.EventsAccepted)
	}
	return receipt, nil
}

// acceptError words what the queue refused an event for.
func acceptError(err error, id faas.FunctionID) error {
	var full *engine.Backlogged
	switch {
	case errors.As(err, &full):
		return backlogError(full, id)
	case errors.Is(err, engine.ErrFull):
		return &faas.Error{Code: faas.CodeDiskFull, Subject: "data directory", Cause: err,
			Message: "The data directory has no room for another event. What runs goes on; free some room, and try again."}
	}
	return engineError(err)
}

func backlogError(full *engine.Backlogged, id faas.FunctionID) error {
	whose, setting := "function "+id.Name, "function"
	subject := id.String()
	if full.Subject == id.Account {
		whose, setting, subject = "account "+id.Account, "account", id.Account
	}
	r := &faas.Refusal{Limit: faas.LimitBacklog, Unit: faas.Unit(full.Unit), Value: int(full.Limit), Use: int(full.Use), Subject: subject,
		Raise: "wait until some have run, or raise it with --async-" + setting + "-" + full.Unit}
	return &faas.Error{Code: faas.CodeThrottled, Subject: string(faas.LimitBacklog), Cause: r,
		Message: "The backlog of " + whose + " is full: " + r.Error() + "; " + r.Raise}
}

// engineError makes an error of the queue one for a user.
func engineError(err error) error {
	var known *faas.Error
	if errors.As(err, &known) {
		return known
	}
	return faas.Errorf(faas.CodeInternal, "queue", "the queue failed: %w", err)
}
