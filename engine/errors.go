package engine

import (
	"errors"
	"fmt"

	"hearth/faas"
)

// Failure builds the error of an operation on subject: a *faas.Error for which
// errors.Is(err, kind) holds, kind being one of this package's Err variables. The
// message says what to do.
func Failure(kind error, subject, format string, args ...any) error {
	return &faas.Error{Code: codeOf(kind), Subject: subject, Message: fmt.Sprintf(format, args...), Cause: kind}
}

// NotFound is the Failure of an operation on a key or digest that is not there.
func NotFound(subject string) error {
	return Failure(ErrNotFound, subject, "there is no such entry")
}

// Conflict is the Failure of a write whose precondition does not hold. The
// revision found is 0 where there is no entry.
func Conflict(subject string, found uint64) error {
	if found == 0 {
		return Failure(ErrConflict, subject, "the entry does not exist any more; read again and retry")
	}
	return Failure(ErrConflict, subject, "the entry is at revision %d; read again and retry", found)
}

// Closed is the Failure of every operation after Close.
func Closed(subject string) error {
	return Failure(ErrClosed, subject, "the engine is closed")
}

// Fetched is the Failure of cancelling a message that has been fetched.
func Fetched(id string) error {
	return Failure(ErrInFlight, id, "the message is in flight; whoever fetched it must end it")
}

func codeOf(kind error) faas.ErrorCode {
	switch {
	case errors.Is(kind, ErrNotFound):
		return faas.CodeNotFound
	case errors.Is(kind, ErrConflict), errors.Is(kind, ErrLocked), errors.Is(kind, ErrInFlight):
		return faas.CodeConflict
	case errors.Is(kind, ErrClosed):
		return faas.CodeShuttingDown
	case errors.Is(kind, ErrBacklog):
		return faas.CodeThrottled
	case errors.Is(kind, ErrFull):
		return faas.CodeDiskFull
	}
	return faas.CodeInternal
}
