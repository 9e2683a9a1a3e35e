package pool

import (
	"context"
	"errors"
	"fmt"

	"hearth/faas"
)

// ErrTerminated is the cause with which a context ends that terminates the
// invocation under it.
var ErrTerminated = errors.New("pool: terminated by the user")

var (
	// errGone: the pool was removed; the caller looks it up again.
	errGone = errors.New("pool: removed")
	// errInitLimit and errInvokeLimit are the causes of contexts whose time is up.
	errInitLimit   = errors.New("pool: init took too long")
	errInvokeLimit = errors.New("pool: the invocation took too long")
	errUnwound     = errors.New("pool: the invocation was unwound")
	errKilled      = errors.New("pool: the pools were closed")
	errNeedless    = errors.New("pool: no call needs the start any more")
	errNotAgain    = errors.New("pool: the start is not made again")
)

func shuttingDown() error {
	return faas.Errorf(faas.CodeShuttingDown, "server", "The server is shutting down. Try again when it is back.")
}

func canceled(ctx context.Context, version *faas.Version) error {
	return &faas.Error{Code: faas.CodeCanceled, Subject: version.ID.String(),
		Message: "The caller went away while the invocation waited for an instance.", Cause: context.Cause(ctx)}
}

// noTurn is what a call gets whose time was up before an instance began to start
// for it.
func noTurn(version *faas.Version, turns int) error {
	refusal := &faas.Refusal{Limit: faas.LimitMachine, Unit: faas.UnitStarts, Value: turns, Use: turns, Subject: "this machine",
		Raise: "Call it less at once, keep instances ready with provisioned concurrency, or use a machine with more CPUs."}
	return &faas.Error{Code: faas.CodeNoCapacity, Subject: string(faas.LimitMachine), Cause: refusal,
		Message: fmt.Sprintf("The machine was busy with the starts of other instances, %d at once, for as long as an invocation of %s may wait for its own. Try again later. %s",
			turns, version.ID, refusal.Raise)}
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
	case FailedTerminated:
		return CauseTerminated
	}
	return CauseExit
}
