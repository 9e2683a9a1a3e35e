package registry

import (
	"context"
	"errors"
	"time"

	"hearth/faas"
	"hearth/internal/uuid"
)

const (
	unpackTimeout   = 5 * time.Minute
	initMargin      = 30 * time.Second // on top of a function's own init limit
	activateAgain   = 250 * time.Millisecond
	activateAgainAt = 15 * time.Second // the longest pause
)

// activate makes a function's head ready and says so in the record. It goes on
// until the outcome is durable, the function's head is another, or ctx ends:
// then the next New resumes it.
func (r *Registry) activate(ctx context.Context, id faas.FunctionID) {
	for pause := activateAgain; ; pause = min(2*pause, activateAgainAt) {
		s := r.table.load(id)
		if s == nil || !s.record.pending() {
			return
		}
		failure := r.makeReady(ctx, s.record)
		if ctx.Err() != nil {
			return
		}
		err := r.finish(ctx, s.record, failure)
		if err == nil {
			return
		}
		r.log.Error("the end of a deployment cannot be stored; trying again", "function", id.String(), "error", err, "after", pause)
		if !sleep(ctx, pause) {
			return
		}
	}
}

// makeReady does what must be done before calls may go to the head. Nil is success.
func (r *Registry) makeReady(ctx context.Context, rec *record) *failure {
	head := rec.Head
	unpack, cancel := context.WithTimeout(ctx, unpackTimeout)
	defer cancel()
	if err := r.packages.Prepare(unpack, head.Code, layerCodes(head.Config.Layers)...); err != nil {
		r.log.Warn("a package cannot be prepared", "function", head.ID.Function.String(), "sha256", head.Code.SHA256, "error", err)
		return newFailure(err)
	}
	if err := r.runtimes.Check(head.Config.Runtime); err != nil {
		return newFailure(err)
	}
	if r.compiler != nil {
		if err := r.compiler.Compile(ctx, head); err != nil {
			r.log.Warn("a package cannot be compiled ahead; its starts do it", "version", head.ID.String(), "error", err)
		}
	}
	if rec.Serving == nil {
		return nil
	}
	start, cancel := context.WithTimeout(ctx, head.Config.InitTimeout()+initMargin)
	defer cancel()
	if err := r.deployer.Prepare(start, rec.Serving, head); err != nil {
		// The deployment is good; its first callers pay for a cold start.
		r.log.Warn("no instance could be started ahead of a deployment", "version", head.ID.String(), "error", err)
	}
	return nil
}

// newFailure words an error as the reason that users see.
func newFailure(err error) *failure {
	var e *faas.Error
	if !errors.As(err, &e) || e.Code == faas.CodeInternal {
		return &failure{"InternalError", "The function could not be made ready because of an error inside Hearth. Update it to try again."}
	}
	f := &failure{"InternalError", e.Message}
	switch e.Code {
	case faas.CodeInvalidZip, faas.CodeTooLarge:
		f.Code = "InvalidZipFileException"
	case faas.CodeRuntime, faas.CodeInvalid:
		f.Code = "InvalidRuntime"
	}
	return f
}

// finish commits the outcome, unless the head is another by now.
func (r *Registry) finish(ctx context.Context, began *record, failed *failure) error {
	id := began.Head.ID.Function
	current := false
	err := r.change(ctx, id, func(_ context.Context, s *snapshot) (*record, error) {
		current = s.record.Head.Revision == began.Head.Revision && s.record.pending()
		if !current {
			return nil, nil
		}
		return s.record.settle(failed), nil
	})
	switch {
	case err == nil && current && failed == nil:
		if began.Serving != nil {
			r.deployer.Retire(began.Serving)
		}
		return nil
	case err == nil || errors.Is(err, faas.ErrNoFunction):
		if !current || err != nil { // what was started ahead has no function any more
			r.deployer.Retire(began.Head)
		}
		return nil
	}
	return err
}

// settle returns the record after its head became ready, or failed to.
func (r *record) settle(failed *failure) *record {
	next := r.clone()
	head := *r.Head
	head.RevisionID = uuid.New()
	if failed == nil {
		head.State, head.StateCode, head.StateReason = faas.StateActive, "", ""
		head.Update, head.UpdateCode, head.UpdateReason = faas.UpdateSuccessful, "", ""
		next.Serving = nil
	} else if r.Head.State == faas.StatePending {
		head.State, head.StateCode, head.StateReason = faas.StateFailed, failed.Code, failed.Reason
	} else {
		head.Update, head.UpdateCode, head.UpdateReason = faas.UpdateFailed, failed.Code, failed.Reason
	}
	next.Head = &head
	for i, p := range next.Published {
		if p.Pending {
			next.Published[i] = published{Number: p.Number, Failure: failed}
		}
	}
	return next
}
