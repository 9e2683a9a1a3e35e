package lambda

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"hearth/auth"
	"hearth/faas"
)

// casing is how the body of an error names its message: Lambda is not uniform,
// and clients read what they expect.
type casing uint8

const (
	casingLower       casing = iota // {"Type":…,"message":…}
	casingCapital                   // {"Type":…,"Message":…}
	casingBare                      // {"message":…}
	casingCapitalBare               // {"Message":…}
)

// wire is how an error leaves: everything of it that does not depend on the case.
type wire struct {
	status     int
	name       string // the exception's, in x-amzn-ErrorType
	casing     casing
	retryAfter int // seconds, 0 is no header
}

// apiError is an error that is worded for the wire.
type apiError struct {
	wire
	message string
	reason  string // of a TooManyRequestsException
	allow   string // the Allow header of a 405
	fault   bool   // Hearth's own, for the log
}

func (e *apiError) Error() string { return e.name + ": " + e.message }

// The errors that arise in the dialect itself.
var (
	wireValidation       = wire{status: http.StatusBadRequest, name: "ValidationException", casing: casingBare}
	wireSerialization    = wire{status: http.StatusBadRequest, name: "SerializationException", casing: casingCapital}
	wireContent          = wire{status: http.StatusBadRequest, name: "InvalidRequestContentException", casing: casingLower}
	wireParameter        = wire{status: http.StatusBadRequest, name: "InvalidParameterValueException", casing: casingLower}
	wireTooLarge         = wire{status: http.StatusRequestEntityTooLarge, name: "RequestEntityTooLargeException", casing: casingBare}
	wireNotFound         = wire{status: http.StatusNotFound, name: "ResourceNotFoundException", casing: casingCapital}
	wireUnknownOperation = wire{status: http.StatusNotFound, name: "UnknownOperationException", casing: casingCapital}
	wireMethod           = wire{status: http.StatusMethodNotAllowed, name: "MethodNotAllowedException", casing: casingCapital}
	wireUnsupported      = wire{status: http.StatusNotImplemented, name: "UnsupportedOperationException", casing: casingCapital}
	wireRegion           = wire{status: http.StatusForbidden, name: "InvalidSignatureException", casing: casingBare}
	wireDenied           = wire{status: http.StatusForbidden, name: "AccessDeniedException", casing: casingCapital}
	wireBusy             = wire{status: http.StatusTooManyRequests, name: "TooManyRequestsException", casing: casingLower, retryAfter: 1}
	wireUploadTimeout    = wire{status: http.StatusRequestTimeout, name: "RequestTimeoutException", casing: casingBare}
	wireNoProvisioned    = wire{status: http.StatusNotFound, name: "ProvisionedConcurrencyConfigNotFoundException", casing: casingLower}
	wirePolicyTooLong    = wire{status: http.StatusBadRequest, name: "PolicyLengthExceededException", casing: casingLower}
	wireInvalidRuntime   = wire{status: http.StatusBadGateway, name: "InvalidRuntimeException", casing: casingCapital}
)

// wires maps every code of the domain. A test holds it complete.
var wires = map[faas.ErrorCode]wire{
	faas.CodeInvalid:      wireParameter,
	faas.CodeInvalidBody:  wireContent,
	faas.CodeInvalidZip:   wireParameter,
	faas.CodeTooLarge:     wireTooLarge,
	faas.CodeNotFound:     wireNotFound,
	faas.CodeConflict:     {status: http.StatusConflict, name: "ResourceConflictException", casing: casingLower},
	faas.CodeUpdating:     {status: http.StatusConflict, name: "ResourceConflictException", casing: casingLower},
	faas.CodePrecondition: {status: http.StatusPreconditionFailed, name: "PreconditionFailedException", casing: casingLower},
	faas.CodePolicyLimit:  {status: http.StatusBadRequest, name: "PolicyLengthExceededException", casing: casingLower},
	faas.CodeStorageLimit: {status: http.StatusBadRequest, name: "CodeStorageExceededException", casing: casingLower},
	faas.CodeDenied:       wireDenied,
	faas.CodeThrottled:    wireBusy,
	faas.CodeNoCapacity:   {status: http.StatusInternalServerError, name: "ServiceException", casing: casingCapital, retryAfter: 1},
	faas.CodeNotReady:     {status: http.StatusConflict, name: "ResourceConflictException", casing: casingLower},
	faas.CodeInitFailing:  {status: http.StatusBadGateway, name: "ResourceNotReadyException", casing: casingLower, retryAfter: 1},
	faas.CodeRuntime:      wireParameter,
	faas.CodeUnsupported:  wireUnsupported,
	faas.CodeShuttingDown: {status: http.StatusServiceUnavailable, name: "ServiceException", casing: casingCapital, retryAfter: 1},
	faas.CodeDiskFull:     {status: http.StatusServiceUnavailable, name: "ServiceException", casing: casingCapital, retryAfter: 30},
	faas.CodeCanceled:     {status: 499, name: "RequestCanceledException", casing: casingCapital}, // nobody reads it
	faas.CodeInternal:     {status: http.StatusInternalServerError, name: "ServiceException", casing: casingCapital},
}

// invalidZipText is Lambda's own sentence, before what exactly is wrong.
const invalidZipText = "Could not unzip uploaded file. Please check your file, then try to upload again."

// describe words any error for the wire. What is not a faas.Error is Hearth's own
// fault: its text is for the log only.
func describe(err error, requestID string) *apiError {
	var worded *apiError
	if errors.As(err, &worded) {
		return worded
	}
	var refused *auth.Error
	if errors.As(err, &refused) {
		return wordRefusal(refused)
	}
	var e *faas.Error
	if !errors.As(err, &e) {
		e = &faas.Error{Code: faas.CodeInternal}
	}
	to, known := wires[e.Code]
	if !known {
		to = wires[faas.CodeInternal]
	}
	out := &apiError{wire: to, message: e.Message}
	switch e.Code {
	case faas.CodeInvalidZip:
		out.message = strings.TrimSpace(invalidZipText + " " + e.Message)
	case faas.CodeThrottled:
		out.message = strings.TrimSpace("Rate Exceeded. " + e.Message)
		out.reason = throttleReason(e)
	case faas.CodeNotFound:
		if errors.Is(e, faas.ErrNoProvisioned) {
			out.wire = wireNoProvisioned
		}
	case faas.CodeTooLarge:
		if errors.Is(e, faas.ErrPolicyTooLong) {
			out.wire = wirePolicyTooLong
		}
		if e.Subject == "package" { // what it unpacks to: what was sent is within its bounds
			out.wire = wireParameter
		}
	}
	var fields faas.FieldErrors
	if e.Code == faas.CodeInvalid && errors.As(e.Cause, &fields) && len(fields) > 0 {
		out.message = fieldText(fields)
		if own := settingText(fields); own != "" {
			out.message = own
		}
	}
	if !known || e.Code == faas.CodeInternal {
		out.fault = true
		out.message = "Hearth failed to serve this request. Its log has the reason under request id " + requestID + "."
	}
	if out.message == "" {
		out.message = e.Error()
	}
	return out
}

// fieldText words the wrong fields that only the domain could find the way that
// validation words the others.
func fieldText(fields faas.FieldErrors) string {
	v := violations{}
	for _, f := range fields {
		v.add("'"+f.Value+"'", f.Field, "Member "+f.Constraint)
	}
	return v.text()
}

// settingText words what Lambda has sentences of its own for, "" for the rest.
func settingText(fields faas.FieldErrors) string {
	const environment = "Lambda was unable to configure your environment variables because the environment variables you have provided "
	var reserved []string
	for _, f := range fields {
		switch {
		case f.Field == "runtime" && f.Value != "":
			return "Value " + f.Value + " at 'runtime' failed to satisfy constraint: Member " + f.Constraint + " or be a valid ARN"
		case f.Field == "environment.variables" && faas.ReservedEnvironmentName(f.Value):
			reserved = append(reserved, f.Value)
		case f.Field == "environment.variables" && strings.HasSuffix(f.Value, " bytes"):
			return environment + "exceeded the 4KB limit. String measured: " + f.Value // not the values, as Lambda's
		}
	}
	if reserved == nil {
		return ""
	}
	return environment + "contains reserved keys that are currently not supported for modification. Reserved keys used in this request: " +
		strings.Join(reserved, ", ")
}

func validationError(message string) error { return &apiError{wire: wireValidation, message: message} }

func parameterError(message string) error { return &apiError{wire: wireParameter, message: message} }

// unsupportedParameter refuses a setting that would change what a function does
// and that this server does not have: ignoring it would be worse.
func unsupportedParameter(name, advice string) error {
	return parameterError(name + " is not supported by this version of Hearth. " + advice)
}

// writeError answers with err. The request id is in the response's header already.
func writeError(w http.ResponseWriter, e *apiError) {
	header := w.Header()
	header["Content-Type"] = jsonType
	header[headerErrorType] = []string{e.name}
	if e.retryAfter > 0 {
		header["Retry-After"] = []string{strconv.Itoa(e.retryAfter)}
	}
	if e.allow != "" {
		header["Allow"] = []string{e.allow}
	}
	body := errorBody(e)
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(e.status)
	_, _ = w.Write(body) // a client that went away is told nothing
}

func errorBody(e *apiError) []byte {
	blame := "User"
	if e.status >= http.StatusInternalServerError {
		blame = "Service"
	}
	body := struct {
		Type    string `json:"Type,omitempty"`
		Capital string `json:"Message,omitempty"`
		Lower   string `json:"message,omitempty"`
		Reason  string `json:"Reason,omitempty"`
	}{Type: blame, Reason: e.reason}
	switch e.casing {
	case casingCapital:
		body.Capital = e.message
	case casingLower:
		body.Lower = e.message
	case casingBare:
		body.Type, body.Lower = "", e.message
	case casingCapitalBare:
		body.Type, body.Capital = "", e.message
	}
	text, err := marshal(body)
	if err != nil { // strings only: cannot be
		return []byte(`{"message":"the error could not be written"}`)
	}
	return text
}

// wordInvokeError is the one error that reads differently in an invocation: a
// runtime that this machine has not is no wrong parameter there.
func wordInvokeError(err error, requestID string) error {
	if !faas.IsCode(err, faas.CodeRuntime) {
		return err
	}
	e := describe(err, requestID)
	e.wire = wireInvalidRuntime
	return e
}
