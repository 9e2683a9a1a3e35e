package lambda

import (
	"fmt"
	"net/http"

	"hearth/auth"
	"hearth/faas"
	"hearth/invoke"
)

const opInvokeAsync = "InvokeAsync"

// Headers of an asynchronous invocation that are Hearth's own.
const (
	headerIdempotencyKey = "X-Hearth-Idempotency-Key"
	headerDuplicate      = "X-Hearth-Duplicate"
)

// readIdempotencyKey fills in the caller's name for an event. Where somebody waits
// for the answer nothing is dropped: better to say so than to run it twice.
func readIdempotencyKey(r *http.Request, req *invoke.Request) error {
	req.IdempotencyKey = headerValue(r, headerIdempotencyKey)
	if req.IdempotencyKey != "" && req.Type != invoke.Event {
		return parameterError(headerIdempotencyKey + " is for the invocation type Event only. Invoke with X-Amz-Invocation-Type: Event, or leave it out.")
	}
	return nil
}

func eventTooLarge(size int) error {
	return &apiError{wire: wireTooLarge, message: fmt.Sprintf(
		"%d byte payload is too large for the Event invocation type (limit %d bytes)", size, faas.MaxAsyncPayload)}
}

var (
	emptyLength = []string{"0"}
	isDuplicate = []string{"true"}
)

// writeAccepted answers an event that is durable: 202 without a body. A duplicate's
// request id is that of the event which had its key first.
func writeAccepted(w http.ResponseWriter, req *invoke.Request, accepted *invoke.Accepted) {
	header := acceptedHeader(w, req, accepted)
	header["Content-Length"] = emptyLength
	w.WriteHeader(http.StatusAccepted)
}

func acceptedHeader(w http.ResponseWriter, req *invoke.Request, accepted *invoke.Accepted) http.Header {
	header := w.Header()
	if accepted.Duplicate {
		header[headerRequestID] = []string{accepted.RequestID}
		header[headerDuplicate] = isDuplicate
	}
	if req.TraceID != "" {
		header["X-Amzn-Trace-Id"] = []string{req.TraceID}
	}
	return header
}

type invokeAsyncInput struct{ FunctionName *string }

// invokeAsyncOutput is the model's InvokeAsyncResponse.
type invokeAsyncOutput struct{ Status int }

// serveInvokeAsync is the operation that Invoke with the type Event replaced.
func (h *Handler) serveInvokeAsync(w http.ResponseWriter, r *http.Request, who *auth.Identity, name, requestID string) {
	accepted, req, err := h.invokeAsync(r, who, name, requestID)
	if err != nil {
		h.fail(w, r, requestID, wordInvokeError(err, requestID))
		return
	}
	acceptedHeader(w, req, accepted)
	writeJSON(w, http.StatusAccepted, &invokeAsyncOutput{http.StatusAccepted})
}

func (h *Handler) invokeAsync(r *http.Request, who *auth.Identity, name, requestID string) (*invoke.Accepted, *invoke.Request, error) {
	scope, err := h.scope(who)
	if err != nil {
		return nil, nil, err
	}
	if err := validate(&invokeAsyncInput{&name}, shapeInvokeAsyncRequest); err != nil {
		return nil, nil, err
	}
	req := &invoke.Request{RequestID: requestID, Type: invoke.Event, TraceID: headerValue(r, "X-Amzn-Trace-Id")}
	if req.Function, req.Qualifier, err = target(scope, name, nil); err != nil {
		return nil, nil, err
	}
	req.InvokedARN = faas.FunctionARN(req.Function, req.Qualifier)
	if err := who.Allow(actionOf(opInvokeAsync), req.InvokedARN); err != nil {
		return nil, nil, err
	}
	if err := readIdempotencyKey(r, req); err != nil {
		return nil, nil, err
	}
	req.Payload, err = readAll(r.Body, r.ContentLength, faas.MaxAsyncPayload, opInvokeAsync)
	if err != nil {
		return nil, nil, err
	}
	result, err := h.invoker.Invoke(r.Context(), req)
	if err != nil {
		return nil, nil, err
	}
	return result.Accepted, req, nil
}
