package native

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"hearth/faas"
)

// Error is the body of every answer that is not 2xx.
type Error struct {
	Error ErrorDetail `json:"error"`
}

// ErrorDetail names what is wrong.
type ErrorDetail struct {
	Code    faas.ErrorCode `json:"code"`
	Subject string         `json:"subject,omitempty"`
	Message string         `json:"message"`
	// Refusal is which limit refused an invocation, with its value and its use.
	Refusal *faas.Refusal `json:"refusal,omitempty"`
}

// status is the HTTP status of each code; internal where a code is missing.
var status = map[faas.ErrorCode]int{
	faas.CodeInvalid:      http.StatusBadRequest,
	faas.CodeInvalidBody:  http.StatusBadRequest,
	faas.CodeInvalidZip:   http.StatusBadRequest,
	faas.CodeTooLarge:     http.StatusRequestEntityTooLarge,
	faas.CodeNotFound:     http.StatusNotFound,
	faas.CodeConflict:     http.StatusConflict,
	faas.CodeUpdating:     http.StatusConflict,
	faas.CodePrecondition: http.StatusPreconditionFailed,
	faas.CodePolicyLimit:  http.StatusBadRequest,
	faas.CodeStorageLimit: http.StatusBadRequest,
	faas.CodeDenied:       http.StatusForbidden,
	faas.CodeThrottled:    http.StatusTooManyRequests,
	faas.CodeNoCapacity:   http.StatusServiceUnavailable,
	faas.CodeNotReady:     http.StatusConflict,
	faas.CodeInitFailing:  http.StatusBadGateway,
	faas.CodeRuntime:      http.StatusBadRequest,
	faas.CodeUnsupported:  http.StatusNotImplemented,
	faas.CodeShuttingDown: http.StatusServiceUnavailable,
	faas.CodeDiskFull:     http.StatusInsufficientStorage,
	faas.CodeCanceled:     499, // nginx's "client closed request"; nobody reads it
	faas.CodeInternal:     http.StatusInternalServerError,
}

func writeError(w http.ResponseWriter, log *slog.Logger, err error) {
	err = wordRefusal(err)
	var e *faas.Error
	if !errors.As(err, &e) || e.Code == faas.CodeInternal {
		log.Error("request failed", "error", err)
		e = &faas.Error{Code: faas.CodeInternal}
	}
	code, known := status[e.Code]
	if !known {
		code = http.StatusInternalServerError
	}
	if code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, code, Error{*detail(e)})
}

// detail is what an error tells its user; one of Hearth's own is not told.
func detail(err error) *ErrorDetail {
	var e *faas.Error
	if !errors.As(err, &e) || e.Code == faas.CodeInternal {
		e = &faas.Error{Code: faas.CodeInternal, Message: "internal error; the server's log has the details"}
	}
	e = inOurNames(e)
	var refusal *faas.Refusal
	errors.As(e, &refusal)
	return &ErrorDetail{e.Code, e.Subject, e.Message, refusal}
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// A client that went away is no error of ours.
	_ = json.NewEncoder(w).Encode(body)
}

// noContent answers a deletion that left nothing to tell.
func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
