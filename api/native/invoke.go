package native

import (
	"encoding/json"
	"net/http"

	"github.com/google/uuid"

	"hearth/faas"
	"hearth/invoke"
)

// maxPayload is the bound of a synchronous invocation's event, in bytes.
const maxPayload = 6 << 20

// HeaderRequestID has the request id of an invocation, also of one that was refused.
const HeaderRequestID = "Hearth-Request-Id"

// invoke runs a function and answers with its result, its report and, with
// ?tail=1, the end of its log. A function error is data, with status 200.
func (a *API) invoke(w http.ResponseWriter, r *http.Request) error {
	payload, err := readBody(w, r, maxPayload)
	if err != nil {
		return err
	}
	id, q, requestID := a.function(r), r.URL.Query(), uuid.NewString()
	w.Header().Set(HeaderRequestID, requestID)
	result, err := a.Invoker.Invoke(r.Context(), &invoke.Request{
		RequestID: requestID, Function: id, Qualifier: q.Get("qualifier"),
		Type: invoke.RequestResponse, Payload: payload, LogTail: q.Get("tail") == "1",
		TraceID: r.Header.Get("X-Amzn-Trace-Id"), InvokedARN: faas.FunctionARN(id, q.Get("qualifier")),
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, Invoked{
		RequestID: result.Report.RequestID, Version: result.ExecutedVersion,
		Payload: asJSON(result.Outcome.Payload), FunctionError: result.Outcome.FunctionError,
		LogTail: string(result.LogTail), Report: result.Report,
	})
	return nil
}

// asJSON returns the payload itself where it is JSON, else as a JSON string: a
// custom runtime may answer with anything.
func asJSON(payload []byte) json.RawMessage {
	if len(payload) > 0 && json.Valid(payload) {
		return payload
	}
	quoted, _ := json.Marshal(string(payload)) // strings always marshal
	return quoted
}
