package funcurl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"hearth/faas"
	"hearth/internal/uuid"
	"hearth/invoke"
	"hearth/registry"
)

// maxBody is Lambda's bound on a synchronous payload, in bytes.
const maxBody = 6291456

// URLs finds what a function URL leads to and what a resource policy lets through;
// both without waiting. *registry.Registry is one.
type URLs interface {
	ResolveURL(id string) (registry.URLTarget, bool)
	Permits(id faas.FunctionID, qualifier string, a faas.Access) bool
}

// Invoker runs functions; see invoke.Service.
type Invoker interface {
	Invoke(ctx context.Context, req *invoke.Request) (*invoke.Result, error)
}

// Identity is who signed a request.
type Identity struct {
	Account   string
	ARN       string
	AccessKey string
	UserID    string
	// Allowed says that the caller's own rights let it call the URL.
	Allowed bool
}

// Options are what a Handler is made from. URLs and Invoker are required.
type Options struct {
	URLs    URLs
	Invoker Invoker
	// Identify says who signed a request and whether it may take the action on the
	// function with that ARN. Nil is a server that verifies nothing: then anybody may
	// call every URL.
	Identify func(r *http.Request, action, arn string) (Identity, error)
	Clock    func() time.Time // nil is time.Now
	Logger   *slog.Logger     // nil discards
}

// Handler serves function URLs. It is safe for concurrent use and starts nothing
// that outlives a request.
type Handler struct {
	urls     URLs
	invoker  Invoker
	identify func(r *http.Request, action, arn string) (Identity, error)
	now      func() time.Time
	log      *slog.Logger
}

var _ http.Handler = (*Handler)(nil)

// New returns a handler. It panics where a required option is missing.
func New(o Options) *Handler {
	if o.URLs == nil || o.Invoker == nil {
		panic("funcurl.New: URLs and Invoker are required")
	}
	h := &Handler{urls: o.URLs, invoker: o.Invoker, identify: o.Identify, now: o.Clock, log: o.Logger}
	if h.now == nil {
		h.now = time.Now
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h
}

// Serves reports whether a request is one to a function URL.
func Serves(r *http.Request) bool {
	if strings.HasPrefix(r.URL.Path, faas.FunctionURLPath) {
		return true
	}
	id, _, ok := splitHost(r.Host)
	return ok && faas.ValidFunctionURLID(id)
}

// splitHost takes ID.lambda-url.REGION.HOST apart.
func splitHost(host string) (id, region string, ok bool) {
	id, rest, _ := strings.Cut(host, ".")
	rest, ok = strings.CutPrefix(rest, "lambda-url.")
	region, _, found := strings.Cut(rest, ".")
	return id, region, ok && found
}

// address is what a request asks for: the URL's target, and the path below it as
// it was sent.
type address struct {
	registry.URLTarget
	domain  string
	rawPath string
	path    string // decoded
}

func (h *Handler) address(r *http.Request) (address, bool) {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	a := address{domain: host, rawPath: r.URL.EscapedPath(), path: r.URL.Path}
	id, region, byHost := splitHost(host)
	if !byHost || !faas.ValidFunctionURLID(id) {
		id = below(&a.path)
		below(&a.rawPath)
	}
	target, ok := h.urls.ResolveURL(id)
	if !ok || byHost && region != target.Function.Region {
		return a, false
	}
	a.URLTarget = target
	return a, true
}

// below cuts faas.FunctionURLPath and the ID that follows it off a path, and returns the ID.
func below(path *string) string {
	id, rest, _ := strings.Cut(strings.TrimPrefix(*path, faas.FunctionURLPath), "/")
	*path = "/" + rest
	return id
}

// ServeHTTP answers one request to a function URL.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	requestID := uuid.New()
	w.Header()["x-amzn-RequestId"] = []string{requestID}
	a, ok := h.address(r)
	if !ok {
		fail(w, http.StatusNotFound, "ResourceNotFoundException", "There is no function with this URL.")
		return
	}
	cors := a.URL.CORS
	if cors != nil {
		if isPreflight(r) {
			answerPreflight(w, r, cors)
			return
		}
		setCORS(w.Header(), r, cors)
	}
	who, err := h.authorize(r, a)
	defer r.Body.Close() // another one than before, where a signature was verified
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		fail(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException",
			fmt.Sprintf("Request must be smaller than %d bytes for the InvokeFunction operation", maxBody))
		return
	case err != nil:
		fail(w, http.StatusBadRequest, "InvalidRequestContentException", "The request's body could not be read to its end.")
		return
	}
	event := newEvent(r, a, who, body, requestID, h.now())
	h.invoke(w, r, a, &invoke.Request{
		RequestID: requestID, Type: invoke.RequestResponse, Function: a.Function, Qualifier: a.URL.Qualifier,
		InvokedARN: faas.FunctionARN(a.Function, a.URL.Qualifier), Payload: event.encode(), TraceID: r.Header.Get("X-Amzn-Trace-Id"),
	})
}

// invoke runs the function and answers with what it returns or streams.
func (h *Handler) invoke(w http.ResponseWriter, r *http.Request, a address, req *invoke.Request) {
	var stream *streamed
	if a.URL.Mode == faas.URLStreamed {
		stream = &streamed{w: w, r: r}
		req.Stream = stream
	}
	result, err := h.invoker.Invoke(r.Context(), req)
	switch {
	case err != nil && stream != nil && stream.begun:
		panic(http.ErrAbortHandler)
	case err != nil:
		h.refuse(w, r, err)
		return
	case stream != nil:
		if stream.err != nil {
			h.log.Debug("a function URL's function streamed no HTTP response", "function", a.Function.String(), "requestId", req.RequestID, "error", stream.err)
		}
		stream.end(result.Outcome.FunctionError)
		return
	}
	if result.Outcome.FunctionError != "" {
		internalError(w)
		return
	}
	answer, err := parseAnswer(result.Outcome.Payload)
	if err != nil {
		h.log.Debug("a function URL's function returned no HTTP response", "function", a.Function.String(), "requestId", req.RequestID, "error", err)
		internalError(w)
		return
	}
	answer.write(w, r)
}

// authorize returns who calls, where the URL asks for a signature, or why the call
// is refused.
func (h *Handler) authorize(r *http.Request, a address) (*Identity, error) {
	arn := faas.FunctionARN(a.Function, a.URL.Qualifier)
	access := faas.Access{Action: faas.ActionInvokeURL, URLAuth: a.URL.Auth, ViaURL: true}
	if a.URL.Auth == faas.URLAuthNone {
		if h.identify == nil || h.urls.Permits(a.Function, a.URL.Qualifier, access) {
			return nil, nil
		}
		return nil, forbidden()
	}
	if h.identify == nil {
		return &Identity{Account: a.Function.Account, ARN: "arn:aws:iam::" + a.Function.Account + ":root", UserID: a.Function.Account}, nil
	}
	who, err := h.identify(r, faas.ActionInvokeURL, arn)
	if err != nil {
		return nil, err
	}
	access.Account, access.Caller = who.Account, who.ARN
	own := who.Allowed && who.Account == a.Function.Account
	if !own && !h.urls.Permits(a.Function, a.URL.Qualifier, access) {
		return nil, forbidden()
	}
	return &who, nil
}

func forbidden() error {
	return faas.Errorf(faas.CodeDenied, "function URL", "Forbidden. For troubleshooting Function URL authorization issues, "+
		"see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html")
}
