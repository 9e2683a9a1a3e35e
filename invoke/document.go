package invoke

import (
	"encoding/json"
	"fmt"
	"time"

	"hearth/faas"
)

// The function errors that the platform itself reports, in Lambda's words.
const (
	unhandled    = "Unhandled"
	typeTimeout  = "Sandbox.Timedout"
	typeInternal = "Runtime.Unknown"
	// typeTerminated is Hearth's own: Lambda has no such request.
	typeTerminated = "Sandbox.Terminated"
)

// errorDocument is the outcome of an invocation that failed in a way that the
// runtime could not report.
func errorDocument(requestID, errorType, reason string) faas.Outcome {
	doc, err := json.Marshal(struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{errorType, "RequestId: " + requestID + " Error: " + reason})
	if err != nil { // a struct of strings always marshals
		doc = []byte("{}")
	}
	return faas.Outcome{Payload: doc, FunctionError: unhandled, ErrorType: errorType}
}

func timeoutDocument(requestID string, limit time.Duration) faas.Outcome {
	return errorDocument(requestID, typeTimeout, fmt.Sprintf("Task timed out after %.2f seconds", limit.Seconds()))
}
