package faas

import (
	"errors"
	"fmt"
)

// ErrorCode is one of a closed set of reasons for which Hearth refuses or fails a
// request. Dialects map codes to their wire in one file each. A function's own
// error is not a Code: it is data in the invocation's result.
type ErrorCode string

const (
	CodeInvalid      ErrorCode = "invalid"       // a parameter is wrong; Subject names it
	CodeInvalidBody  ErrorCode = "invalid-body"  // the request's body cannot be parsed
	CodeInvalidZip   ErrorCode = "invalid-zip"   // the deployment package cannot be used
	CodeTooLarge     ErrorCode = "too-large"     // a payload or a package is over its bound
	CodeNotFound     ErrorCode = "not-found"     // no such function, version, alias, or other subject
	CodeConflict     ErrorCode = "conflict"      // exists already, or is in a state that forbids the request
	CodeUpdating     ErrorCode = "updating"      // an update of the subject is in progress
	CodePrecondition ErrorCode = "precondition"  // the RevisionId given is not the latest
	CodePolicyLimit  ErrorCode = "policy-limit"  // a resource policy above MaxPolicy
	CodeStorageLimit ErrorCode = "storage-limit" // the account's code storage is used up
	CodeDenied       ErrorCode = "denied"        // the caller has no right to do this
	CodeThrottled    ErrorCode = "throttled"     // a quota refuses; Subject names the limit
	CodeNoCapacity   ErrorCode = "no-capacity"   // the machine has no room for another instance now
	CodeNotReady     ErrorCode = "not-ready"     // the function is Pending or Inactive
	CodeInitFailing  ErrorCode = "init-failing"  // the version's instances fail to start; the last error is in Cause
	CodeRuntime      ErrorCode = "runtime"       // the runtime is unknown or not installed on this machine
	CodeUnsupported  ErrorCode = "unsupported"   // a known request that this server does not serve
	CodeShuttingDown ErrorCode = "shutting-down" // the server is draining
	CodeDiskFull     ErrorCode = "disk-full"     // the data directory has no room
	CodeCanceled     ErrorCode = "canceled"      // the caller went away
	CodeInternal     ErrorCode = "internal"      // Hearth's own fault; the text never reaches a user
)

// Codes returns every code, in a fixed order: dialects prove with it that they
// map them all.
func Codes() []ErrorCode {
	return []ErrorCode{
		CodeInvalid, CodeInvalidBody, CodeInvalidZip, CodeTooLarge, CodeNotFound, CodeConflict,
		CodeUpdating, CodePrecondition, CodePolicyLimit, CodeStorageLimit, CodeDenied, CodeThrottled, CodeNoCapacity,
		CodeNotReady, CodeInitFailing, CodeRuntime, CodeUnsupported, CodeShuttingDown, CodeDiskFull,
		CodeCanceled, CodeInternal,
	}
}

// What was not found, for errors.Is on an *Error with CodeNotFound.
var (
	ErrNoFunction  = errors.New("no such function")
	ErrNoQualifier = errors.New("no such version or alias of the function")
	// ErrNoProvisioned: the version or alias has no provisioned concurrency.
	ErrNoProvisioned = errors.New("no provisioned concurrency")
	// ErrNoMapping: there is no event source mapping of that UUID.
	ErrNoMapping = errors.New("no such event source mapping")
	// ErrNoEventConfig: nothing was set for the qualifier's asynchronous invocations.
	ErrNoEventConfig = errors.New("no configuration of asynchronous invocations")
	// ErrNoLayer: there is no such version of a layer.
	ErrNoLayer = errors.New("no such layer version")
)

// ErrPolicyTooLong, in the chain of an *Error with CodeTooLarge: a resource's policy
// has no room for another statement.
var ErrPolicyTooLong = errors.New("policy is too long")

// Error is the one error type that crosses package borders towards a user.
type Error struct {
	Code    ErrorCode
	Subject string // what it is about: a field, a function, a limit
	Message string // what is wrong and what to do, in one or two sentences
	Cause   error  // may be nil
}

// Error prints code, subject and message. The cause is reachable with
// errors.Is and errors.As; its text belongs in Message where a user needs it.
func (e *Error) Error() string {
	s := string(e.Code)
	if e.Subject != "" {
		s += " " + e.Subject
	}
	if e.Message != "" {
		return s + ": " + e.Message
	}
	if e.Cause != nil {
		return s + ": " + e.Cause.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Cause }

// Errorf builds an Error; the operand of a %w verb becomes its Cause.
func Errorf(code ErrorCode, subject, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Subject: subject, Message: err.Error(), Cause: errors.Unwrap(err)}
}

// CodeOf returns the code of err, or CodeInternal for an error of any other kind.
func CodeOf(err error) ErrorCode {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// IsCode reports whether err carries the code.
func IsCode(err error, code ErrorCode) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}
