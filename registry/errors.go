package registry

import (
	"context"
	"errors"

	"hearth/engine"
	"hearth/faas"
)

func noFunction(id faas.FunctionID, qualifier string) error {
	arn := faas.FunctionARN(id, qualifier)
	return &faas.Error{Code: faas.CodeNotFound, Subject: arn, Message: "Function not found: " + arn, Cause: faas.ErrNoFunction}
}

func noQualifier(id faas.FunctionID, qualifier string) error {
	arn := faas.FunctionARN(id, qualifier)
	return &faas.Error{Code: faas.CodeNotFound, Subject: arn, Message: "Function not found: " + arn, Cause: faas.ErrNoQualifier}
}

func noAlias(id faas.FunctionID, name string) error {
	arn := faas.FunctionARN(id, name)
	return &faas.Error{Code: faas.CodeNotFound, Subject: arn, Message: "Cannot find alias arn: " + arn, Cause: faas.ErrNoQualifier}
}

func stale(subject string) error { return staleFor(subject, "GetFunction/GetAlias") }

// staleFor names the operation that tells the revision which would have been right.
func staleFor(subject, operation string) error {
	return faas.Errorf(faas.CodePrecondition, subject,
		"The Revision Id provided does not match the latest Revision Id. Call the %s API to retrieve the latest Revision Id", operation)
}

// busy returns why the head can not be updated or published now, or nil.
func busy(id faas.FunctionID, head *faas.Version) error {
	arn := faas.FunctionARN(id, "")
	switch {
	case head.Update == faas.UpdateInProgress:
		return faas.Errorf(faas.CodeUpdating, arn,
			"The operation cannot be performed at this time. An update is in progress for resource: %s", arn)
	case head.State == faas.StatePending:
		return faas.Errorf(faas.CodeConflict, arn,
			"The operation cannot be performed at this time. The function is currently in the following state: %s", head.State)
	}
	return nil
}

// errChanged: somebody else changed the key meanwhile; read it again.
var errChanged = errors.New("registry: changed meanwhile")

// errUnknown: the write may or may not have happened.
var errUnknown = errors.New("registry: outcome of the write is unknown")

// engineError words a failure of the engine; its own text stays in the cause.
func engineError(doing string, err error) error {
	var known *faas.Error
	switch {
	case errors.Is(err, errChanged):
		return &faas.Error{Code: faas.CodeConflict, Subject: doing, Cause: err,
			Message: "Others change the same all the time. Try again."}
	case errors.Is(err, errUnknown):
		return &faas.Error{Code: faas.CodeInternal, Subject: doing, Cause: err,
			Message: "The store did not answer and the change may have happened. Look at what is there before trying again."}
	case errors.Is(err, engine.ErrFull):
		return &faas.Error{Code: faas.CodeDiskFull, Subject: doing, Cause: err,
			Message: "The disk of the data directory is full but for what the server keeps in reserve (64 MiB). Nothing was changed; free some space and try again."}
	case errors.Is(err, engine.ErrClosed):
		return &faas.Error{Code: faas.CodeShuttingDown, Subject: doing, Message: "The server is shutting down.", Cause: err}
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled):
		return &faas.Error{Code: faas.CodeCanceled, Subject: doing, Message: "The request was cancelled.", Cause: err}
	}
	return internal(doing, err)
}

func internal(doing string, err error) error {
	return &faas.Error{Code: faas.CodeInternal, Subject: doing, Cause: err,
		Message: "The request failed inside Hearth. Nothing is known to be wrong with it; try again."}
}

func noProvisioned(id faas.FunctionID, qualifier string) error {
	return &faas.Error{Code: faas.CodeNotFound, Subject: faas.FunctionARN(id, qualifier),
		Message: "No Provisioned Concurrency Config found for this function", Cause: faas.ErrNoProvisioned}
}

// messageOf returns the words of an error that are for its user.
func messageOf(err error) string {
	var e *faas.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}
