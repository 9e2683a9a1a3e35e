package lambda

import (
	"errors"

	"hearth/faas"
)

// throttleReasons is the Reason of a TooManyRequestsException for each limit that
// refuses with one; tools read it, people read the message. A test holds it
// complete. The machine is not among them: what it refuses is a ServiceException.
var throttleReasons = map[faas.Limit]string{
	faas.LimitOff:         "ReservedFunctionConcurrentInvocationLimitExceeded",
	faas.LimitReserved:    "ReservedFunctionConcurrentInvocationLimitExceeded",
	faas.LimitFunction:    reasonConcurrent,
	faas.LimitExecutions:  reasonConcurrent,
	faas.LimitMemory:      reasonConcurrent,
	faas.LimitSynchronous: reasonConcurrent,
	faas.LimitExpansion:   "FunctionInvocationRateLimitExceeded",
	faas.LimitBacklog:     "CallerRateLimitExceeded", // who sends more than is worked off
}

const reasonConcurrent = "ConcurrentInvocationLimitExceeded"

// throttleReason returns the Reason for the limit that an error with
// faas.CodeThrottled names: in the refusal behind it, else as its subject.
func throttleReason(e *faas.Error) string {
	limit := faas.Limit(e.Subject)
	var refusal *faas.Refusal
	if errors.As(e, &refusal) {
		limit = refusal.Limit
	}
	if reason, known := throttleReasons[limit]; known {
		return reason
	}
	return reasonConcurrent
}
