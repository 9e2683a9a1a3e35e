package pool

import (
	"context"
	"errors"

	"hearth/faas"
)

var (
	// errGone: the pool was removed; the caller looks it up again.
	errGone = errors.New("pool: removed")
	// errInitLimit and errInvokeLimit are the causes of contexts whose time is up.
	errInitLimit   = errors.New("pool: init took too long")
	errInvokeLimit = errors.New("pool: the invocation took too long")
	errUnwound     = errors.New("pool: the invocation was unwound")
	errKilled      = errors.New("pool: the pools were closed")
	errNotAgain    = errors.New("pool: the start is not made again")
)

func shuttingDown() error {
	return faas.Errorf(faas.CodeShuttingDown, "server", "The server is shutting down. Try again when it is back.")
}

func canceled(ctx context.Context, version *faas.Version) error {
	return &faas.Error{Code: faas.CodeCanceled, Subject: version.ID.String(),
		Message: "The caller went away while the invocation waited for an instance.", Cause: context.Cause(ctx)}
}

// initFailing is what calls get that need a start while starts fail.
func initFailing(version *faas.Version, failure *Failure) error {
	return &faas.Error{Code: faas.CodeInitFailing, Subject: version.ID.String(),
		Message: "The instances of this version fail to start: " + failure.Error() + ". Look at its log, and mend its code or its configuration.",
		Cause:   failure}
}

// causeOf says why an instance whose runtime failed is recycled.
func causeOf(kind FailureKind) Cause {
	switch kind {
	case FailedInit:
		return CauseInit
	case FailedOOM:
		return CauseOOM
	case FailedTimeout:
		return CauseTimeout
	}
	return CauseExit
}
