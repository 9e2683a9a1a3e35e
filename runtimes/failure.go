package runtimes

import (
	"encoding/json"
	"fmt"
	"time"

	"hearth/faas"
	"hearth/pool"
	"hearth/runtimeapi"
	"hearth/sandbox"
)

// failureDocument is the outcome of an invocation whose runtime failed, in
// Lambda's words. The reason follows "RequestId: <id> Error: ".
func failureDocument(requestID, errorType, reason string) faas.Outcome {
	message := "Error: " + reason
	if requestID != "" {
		message = "RequestId: " + requestID + " " + message
	}
	doc, err := json.Marshal(struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{errorType, message})
	if err != nil { // strings always marshal
		doc = []byte("{}")
	}
	return faas.Outcome{Payload: doc, FunctionError: runtimeapi.Unhandled, ErrorType: errorType}
}

// newFailure is a failure that the platform found. The request id is "" during init.
func newFailure(kind pool.FailureKind, requestID, errorType, reason string) *pool.Failure {
	f := &pool.Failure{Kind: kind, Outcome: failureDocument(requestID, errorType, reason)}
	if requestID == "" {
		f.ForRequest = func(id string) faas.Outcome { return failureDocument(id, errorType, reason) }
	}
	return f
}

// initFailure is a failure that the runtime reported itself.
func initFailure(e *runtimeapi.InitError) *pool.Failure {
	return &pool.Failure{Kind: pool.FailedInit, Outcome: faas.Outcome{
		Payload: e.Payload, FunctionError: runtimeapi.Unhandled, ErrorType: e.Type,
	}}
}

// exitFailure says how a runtime ended. An instance over its memory is killed by
// the kernel, which Lambda words like any other kill; the error type tells.
func exitFailure(exit sandbox.Exit, requestID string) *pool.Failure {
	switch {
	case exit.OOM:
		return newFailure(pool.FailedOOM, requestID, runtimeapi.TypeOutOfMemory, "Runtime exited with error: signal: killed")
	case exit.Signal != 0:
		return newFailure(pool.FailedExit, requestID, runtimeapi.TypeExit,
			"Runtime exited with error: signal: "+exit.Signal.String())
	case exit.Code != 0:
		return newFailure(pool.FailedExit, requestID, runtimeapi.TypeExit,
			fmt.Sprintf("Runtime exited with error: exit status %d", exit.Code))
	}
	return newFailure(pool.FailedExit, requestID, runtimeapi.TypeExit, "Runtime exited without providing a reason")
}

// brokenFailure is a runtime that lives and is not to be spoken with any more.
func brokenFailure(requestID, reason string) *pool.Failure {
	return newFailure(pool.FailedBroken, requestID, runtimeapi.TypeExit, reason)
}

// entrypointFailure is a package that has nothing to start. It is a failure of
// init, not an exit: a second start would find the same package.
func entrypointFailure(requestID, reason string) *pool.Failure {
	return newFailure(pool.FailedInit, requestID, runtimeapi.TypeEntrypoint, reason)
}

func timeoutReason(limit time.Duration) string {
	return fmt.Sprintf("Task timed out after %.2f seconds", limit.Seconds())
}
