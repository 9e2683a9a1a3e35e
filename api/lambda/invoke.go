package lambda

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"hearth/auth"
	"hearth/faas"
	"hearth/invoke"
)

const (
	opInvoke = "Invoke"
	// opInvokeText is what Lambda calls it in the error about its size.
	opInvokeText = "InvokeFunction"
	// maxPayload is Lambda's bound on a synchronous payload.
	maxPayload = 6291456
	// maxClientContext bounds the header as it is sent, in base64.
	maxClientContext = 3583
)

// invokeInput is what an Invoke request says outside its body; its fields are the
// members of the model's InvocationRequest.
type invokeInput struct {
	FunctionName         *string
	Qualifier            *string
	InvocationType       *string
	LogType              *string
	ClientContext        *string
	TenantId             *string
	DurableExecutionName *string
}

// serveInvoke answers one Invoke. On the common way it allocates what it must
// keep (the payload, the request, the response's headers) and nothing else.
func (h *Handler) serveInvoke(w http.ResponseWriter, r *http.Request, who *auth.Identity, name, requestID string) {
	req, err := h.invokeRequest(r, who, name, requestID, shapeInvocationRequest)
	if err != nil {
		h.fail(w, r, requestID, err)
		return
	}
	result, err := h.invoker.Invoke(r.Context(), req)
	if err != nil {
		h.fail(w, r, requestID, wordInvokeError(err, requestID))
		return
	}
	switch {
	case req.Type == invoke.DryRun:
		w.WriteHeader(http.StatusNoContent)
	case result.Accepted != nil:
		writeAccepted(w, req, result.Accepted)
	default:
		writeResult(w, req, result)
	}
}

// invokeRequest reads a request whose input has that shape: of Invoke, or of
// InvokeWithResponseStream.
func (h *Handler) invokeRequest(r *http.Request, who *auth.Identity, name, requestID string, input *shape) (*invoke.Request, error) {
	scope, err := h.scope(who)
	if err != nil {
		return nil, err
	}
	req := &invoke.Request{RequestID: requestID, Type: invoke.RequestResponse, TraceID: headerValue(r, "X-Amzn-Trace-Id")}
	if err := h.readInvokeInput(r, who, scope, name, req, input); err != nil {
		return nil, err
	}
	if err := who.Allow(actionInvoke, req.InvokedARN); err != nil {
		return nil, err
	}
	// Whether it is JSON is the data plane's to say: it looks once.
	req.Payload, err = readAll(r.Body, r.ContentLength, maxPayload, opInvokeText)
	if req.Type == invoke.Event && len(req.Payload) > faas.MaxAsyncPayload {
		err = eventTooLarge(len(req.Payload))
	}
	return req, err
}

// readInvokeInput fills req from name, query and headers. A plain name without
// query and with the usual headers is taken as it is; everything else goes through
// the validation that words Lambda's errors.
func (h *Handler) readInvokeInput(r *http.Request, who *auth.Identity, scope faas.Scope, name string, req *invoke.Request, input *shape) error {
	in := invokeInput{
		FunctionName:         &name,
		InvocationType:       headerField(r, "X-Amz-Invocation-Type"),
		LogType:              headerField(r, "X-Amz-Log-Type"),
		ClientContext:        headerField(r, "X-Amz-Client-Context"),
		TenantId:             headerField(r, "X-Amz-Tenant-Id"),
		DurableExecutionName: headerField(r, "X-Amz-Durable-Execution-Name"),
	}
	if r.URL.RawQuery == "" && faas.ValidFunctionName(name) && in.usual(input) {
		req.Function = faas.FunctionID{Scope: scope, Name: name}
	} else if err := h.resolveUnusual(r, who, scope, &in, req, input); err != nil {
		return err
	}
	req.InvokedARN = faas.FunctionARN(req.Function, req.Qualifier)
	if in.LogType != nil {
		req.LogTail = *in.LogType == "Tail"
	}
	if in.InvocationType != nil {
		req.Type = invoke.Type(*in.InvocationType)
	}
	if err := readIdempotencyKey(r, req); err != nil {
		return err
	}
	if in.ClientContext != nil {
		var err error
		req.ClientContext, err = decodeClientContext(*in.ClientContext)
		return err
	}
	return nil
}

// usual reports that nothing here can break a constraint of the model.
func (in *invokeInput) usual(input *shape) bool {
	if t := in.InvocationType; t != nil && *t != string(invoke.RequestResponse) && *t != string(invoke.DryRun) &&
		(*t != string(invoke.Event) || input != shapeInvocationRequest) {
		return false
	}
	if l := in.LogType; l != nil && *l != "Tail" && *l != "None" {
		return false
	}
	return in.TenantId == nil && in.DurableExecutionName == nil
}

// resolveUnusual validates everything and resolves names in any form.
func (h *Handler) resolveUnusual(r *http.Request, who *auth.Identity, scope faas.Scope, in *invokeInput, req *invoke.Request, input *shape) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return parameterError("The query cannot be parsed: " + clip(err.Error()) + ".")
	}
	if values := query["Qualifier"]; len(values) > 0 {
		in.Qualifier = &values[0]
	}
	if err := validate(in, input); err != nil {
		return err
	}
	if in.TenantId != nil {
		return unsupportedParameter("TenantId", "Invoke the function without X-Amz-Tenant-Id.")
	}
	if in.DurableExecutionName != nil {
		return unsupportedParameter("DurableExecutionName", "Invoke the function without X-Amz-Durable-Execution-Name.")
	}
	req.Function, req.Qualifier, err = h.invoked(who, scope, in)
	return err
}

// invoked resolves the function that is invoked: one of the caller's account, or of
// another whose resource policy lets the caller invoke it.
func (h *Handler) invoked(who *auth.Identity, scope faas.Scope, in *invokeInput) (faas.FunctionID, string, error) {
	ref, err := faas.ParseFunctionRef(*in.FunctionName, scope)
	if err != nil || ref.ID.Account == scope.Account || ref.ID.Region != scope.Region {
		return target(scope, *in.FunctionName, in.Qualifier)
	}
	if ref, err = ref.WithQualifier(value(in.Qualifier)); err != nil {
		return faas.FunctionID{}, "", err
	}
	access := faas.Access{Action: actionInvoke, Account: who.Account, Caller: who.ARN()}
	if !h.policies.Permits(ref.ID, ref.Qualifier, access) {
		return faas.FunctionID{}, "", &apiError{wire: wireDenied, message: fmt.Sprintf(
			"User: %s is not authorized to perform: %s on resource: %s because no resource-based policy allows the %[2]s action",
			who.ARN(), actionInvoke, faas.FunctionARN(ref.ID, ref.Qualifier))}
	}
	return ref.ID, ref.Qualifier, nil
}

// headerField returns a header whose canonical name is given, or nil.
func headerField(r *http.Request, name string) *string {
	if values := r.Header[name]; len(values) > 0 {
		return &values[0]
	}
	return nil
}

func headerValue(r *http.Request, name string) string {
	if values := r.Header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func decodeClientContext(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxClientContext {
		return nil, &apiError{wire: wireContent, message: "Client context must be at most " + strconv.Itoa(maxClientContext) + " bytes of Base64-encoded data."}
	}
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !json.Valid(decoded) || decoded[0] != '{' && firstByte(decoded) != '{' {
		return nil, &apiError{wire: wireContent, message: "Client context must be a valid Base64-encoded JSON object."}
	}
	return decoded, nil
}

// firstByte returns the first byte of a valid JSON text that is not white space.
func firstByte(text []byte) byte {
	for _, c := range text {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

// writeResult answers a synchronous invocation: 200 also where the function failed.
func writeResult(w http.ResponseWriter, req *invoke.Request, result *invoke.Result) {
	payload := result.Outcome.Payload
	values := [4]string{result.ExecutedVersion, strconv.Itoa(len(payload)), result.Outcome.FunctionError}
	header := w.Header()
	header["Content-Type"] = jsonType
	header["X-Amz-Executed-Version"] = values[0:1:1]
	header["Content-Length"] = values[1:2:2]
	if values[2] != "" {
		header["X-Amz-Function-Error"] = values[2:3:3]
	}
	if req.LogTail {
		values[3] = base64.StdEncoding.EncodeToString(result.LogTail)
		header["X-Amz-Log-Result"] = values[3:4:4]
	}
	if req.TraceID != "" {
		header["X-Amzn-Trace-Id"] = []string{req.TraceID}
	}
	_, _ = w.Write(payload) // a client that went away is told nothing; the invocation is settled
}
