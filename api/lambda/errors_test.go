package lambda

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hearth/faas"
)

func invokeWith(t *testing.T, err error) *httptest.ResponseRecorder {
	t.Helper()
	h := newHandler(Options{Registry: newFakeRegistry(), Invoker: &fakeInvoker{err: err}})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/2015-03-31/functions/f/invocations", strings.NewReader("{}")))
	return w
}

func TestEveryCodeHasAWire(t *testing.T) {
	for _, code := range faas.Codes() {
		to, ok := wires[code]
		if !ok || to.name == "" || to.status < 400 {
			t.Errorf("%s: wire %+v", code, to)
		}
		w := invokeWith(t, faas.Errorf(code, "subject", "what is wrong"))
		var body map[string]string
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Errorf("%s: %v", code, err)
		}
		message := body["message"] + body["Message"]
		if code != faas.CodeInternal && !strings.Contains(message, "what is wrong") {
			t.Errorf("%s: message %q", code, message)
		}
		if w.Header()[headerErrorType][0] == "" {
			t.Errorf("%s: no error type", code)
		}
	}
	if len(wires) != len(faas.Codes()) {
		t.Errorf("%d wires for %d codes", len(wires), len(faas.Codes()))
	}
}

// The casing and the status of each exception are those of the service model
// (the members and errors of its exception shapes) and of recorded answers.
func TestErrorBodies(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		name   string
		body   string
		retry  string
	}{
		{faas.Errorf(faas.CodeNotFound, "f", "Function not found: arn"), 404, "ResourceNotFoundException",
			`{"Type":"User","Message":"Function not found: arn"}`, ""},
		{faas.Errorf(faas.CodeThrottled, "reserved", "0 of 0."), 429, "TooManyRequestsException",
			`{"Type":"User","message":"Rate Exceeded. 0 of 0.","Reason":"ReservedFunctionConcurrentInvocationLimitExceeded"}`, "1"},
		{faas.Errorf(faas.CodeThrottled, "account-memory", "full."), 429, "TooManyRequestsException",
			`{"Type":"User","message":"Rate Exceeded. full.","Reason":"ConcurrentInvocationLimitExceeded"}`, "1"},
		{faas.Errorf(faas.CodeThrottled, "expansion", "full."), 429, "TooManyRequestsException",
			`{"Type":"User","message":"Rate Exceeded. full.","Reason":"FunctionInvocationRateLimitExceeded"}`, "1"},
		{&faas.Error{Code: faas.CodeNotFound, Subject: "f:1", Message: "none", Cause: faas.ErrNoProvisioned}, 404,
			"ProvisionedConcurrencyConfigNotFoundException", `{"Type":"User","message":"none"}`, ""},
		{faas.Errorf(faas.CodeNoCapacity, "machine", "no memory"), 500, "ServiceException", `{"Type":"Service","Message":"no memory"}`, "1"},
		{faas.Errorf(faas.CodeShuttingDown, "", "draining"), 503, "ServiceException", `{"Type":"Service","Message":"draining"}`, "1"},
		{faas.Errorf(faas.CodeTooLarge, "payload", "7 MB"), 413, "RequestEntityTooLargeException", `{"message":"7 MB"}`, ""},
		{faas.Errorf(faas.CodeTooLarge, "package", "unpacked"), 400, "InvalidParameterValueException", `{"Type":"User","message":"unpacked"}`, ""},
		{faas.Errorf(faas.CodeRuntime, "runtime", "install it"), 502, "InvalidRuntimeException", `{"Type":"Service","Message":"install it"}`, ""},
		{faas.Errorf(faas.CodePrecondition, "f", "stale"), 412, "PreconditionFailedException", `{"Type":"User","message":"stale"}`, ""},
		{faas.FieldErrors{{Field: "environment", Value: "AWS_REGION", Constraint: "must not be reserved"}, {Field: "b", Value: "1", Constraint: "must c"}}.Err(),
			400, "InvalidParameterValueException", `{"Type":"User","message":"2 validation errors detected: ` +
				`Value 'AWS_REGION' at 'environment' failed to satisfy constraint: Member must not be reserved; ` +
				`Value '1' at 'b' failed to satisfy constraint: Member must c"}`, ""},
	} {
		w := invokeWith(t, c.err)
		if w.Code != c.status || w.Header()[headerErrorType][0] != c.name || w.Header().Get("Retry-After") != c.retry {
			t.Errorf("%v: %d %v, Retry-After %q", c.err, w.Code, w.Header(), w.Header().Get("Retry-After"))
		}
		// encoding/json writes ' as it is, and nothing else here is escaped.
		if got := w.Body.String(); got != c.body {
			t.Errorf("%v:\n got %s\nwant %s", c.err, got, c.body)
		}
	}
}

func TestInternalErrorsStayInTheLog(t *testing.T) {
	for _, err := range []error{errors.New("secret path"), faas.Errorf(faas.CodeInternal, "x", "secret path"), faas.Errorf("new-code", "", "secret path")} {
		var log bytes.Buffer
		h := newHandler(Options{Registry: newFakeRegistry(), Invoker: &fakeInvoker{err: err}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/2015-03-31/functions/f/invocations", strings.NewReader("{}")))
		id := w.Header()[headerRequestID][0]
		if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), id) {
			t.Errorf("%v: answered %d %s", err, w.Code, w.Body)
		}
		if !strings.Contains(log.String(), "secret path") || !strings.Contains(log.String(), id) {
			t.Errorf("%v: logged %q", err, &log)
		}
	}
}
