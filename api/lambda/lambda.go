package lambda

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hearth/auth"
	"hearth/faas"
	"hearth/internal/uuid"
)

// Options are what a Handler is made from. All of the first block
// are required.
type Options struct {
	Registry     Registry
	Invoker      Invoker
	Quotas       Quotas
	Provisioning Provisioning
	Events       EventConfigs
	Policies     Policies
	URLs         FunctionURLs
	Mappings     Mappings
	Layers       Layers

	// Objects is the object store of S3Bucket and S3Key; nil refuses them.
	Objects Objects
	// Auth says who sent a request; nil believes what each says of itself.
	Auth Authenticator
	// Account is the account of requests that name none, where Auth is nil;
	// faas.DefaultAccount where empty.
	Account string
	// Region is where a request without a credential scope goes,
	// faas.DefaultRegion where empty.
	Region string
	// Regions are those that the server serves; empty is any.
	Regions []string
	// BaseURL, such as https://hearth.example, begins the links that answers
	// carry; empty takes the scheme and host that the request came to.
	BaseURL string
	// LinkKey signs the links to deployment packages. Servers that answer for one
	// another need the same; nil is a random one, and links end with the process.
	LinkKey []byte
	// MaxUploads bounds the large requests that are held in memory at once; 0 is 2.
	MaxUploads int

	Clock  func() time.Time // nil is time.Now
	Logger *slog.Logger     // nil discards
}

// Handler serves the dialect. It is safe for concurrent use and starts nothing
// that outlives a request.
type Handler struct {
	registry     Registry
	invoker      Invoker
	quotas       Quotas
	provisioning Provisioning
	events       EventConfigs
	policies     Policies
	urls         FunctionURLs
	mappings     Mappings
	objects      Objects
	layers       Layers
	auth         Authenticator
	region       string
	regions      []string
	baseURL      string
	links        linkSigner
	uploads      chan struct{} // holds a token for each large request in memory
	now          func() time.Time
	log          *slog.Logger
	endpoints    map[string]endpoint
}

var _ http.Handler = (*Handler)(nil)

// New returns the dialect's handler. It panics where a required option is missing.
func New(o Options) *Handler {
	for _, required := range []any{o.Registry, o.Invoker, o.Quotas, o.Provisioning, o.Events, o.Policies, o.URLs, o.Mappings, o.Layers} {
		if required == nil {
			panic("lambda.New: a required option is missing")
		}
	}
	h := &Handler{
		registry: o.Registry, invoker: o.Invoker, quotas: o.Quotas, provisioning: o.Provisioning, events: o.Events,
		policies: o.Policies, urls: o.URLs, mappings: o.Mappings, layers: o.Layers, objects: o.Objects,
		auth: o.Auth, region: o.Region, regions: o.Regions,
		baseURL: strings.TrimSuffix(o.BaseURL, "/"),
		links:   linkSigner{key: o.LinkKey},
		now:     o.Clock, log: o.Logger,
		endpoints: endpoints(),
	}
	maps.Copy(h.endpoints, quotaEndpoints())
	maps.Copy(h.endpoints, eventEndpoints())
	maps.Copy(h.endpoints, policyEndpoints())
	maps.Copy(h.endpoints, urlEndpoints())
	maps.Copy(h.endpoints, mappingEndpoints())
	maps.Copy(h.endpoints, layerEndpoints())
	maps.Copy(h.endpoints, absentEndpoints())
	maps.Copy(h.endpoints, runtimeEndpoints())
	if h.auth == nil {
		h.auth = auth.NewTrusting(cmp.Or(o.Account, faas.DefaultAccount))
	}
	if h.region == "" {
		h.region = faas.DefaultRegion
	}
	if h.links.key == nil {
		h.links.key = make([]byte, 32)
		_, _ = rand.Read(h.links.key) // never fails (crypto/rand)
	}
	if o.MaxUploads <= 0 {
		o.MaxUploads = 2
	}
	h.uploads = make(chan struct{}, o.MaxUploads)
	if h.now == nil {
		h.now = time.Now
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h
}

// Serves reports whether a request for path belongs to this dialect: every path
// of Lambda's begins with a date.
func Serves(path string) bool {
	if len(path) < len("/2015-03-31/") || path[0] != '/' || path[11] != '/' {
		return false
	}
	for i, c := range []byte(path[1:11]) {
		if dash := i == 4 || i == 7; dash != (c == '-') || !dash && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// Names of headers as Lambda spells them. They are set in the map itself, so that
// they keep their case and are not canonicalised for each request.
const (
	headerRequestID = "x-amzn-RequestId"
	headerErrorType = "x-amzn-ErrorType"
)

var jsonType = []string{"application/json"}

// ServeHTTP answers one request. Invoke has a way of its own, before the router:
// it is what a busy server does all day.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := uuid.New()
	w.Header()[headerRequestID] = []string{id}
	if token, ok := strings.CutPrefix(r.URL.Path, linkPath); ok {
		h.serveLink(w, r, token, id) // a link is a right of its own
		return
	}
	who, err := h.auth.Authenticate(r, serviceName)
	if err != nil {
		h.fail(w, r, id, err)
		return
	}
	defer r.Body.Close()
	if name, ok := invokePath(r); ok {
		h.serveInvoke(w, r, who, name, id)
		return
	}
	h.serveControl(w, r, who, id)
}

// call is one request of the control plane on its way through an endpoint.
type call struct {
	op    *operation
	vars  map[string]string // the path's variables, decoded
	scope faas.Scope
	who   *auth.Identity
	r     *http.Request
}

func (c *call) ctx() context.Context { return c.r.Context() }

func (h *Handler) serveControl(w http.ResponseWriter, r *http.Request, who *auth.Identity, requestID string) {
	op, vars, err := route(r.Method, r.URL.EscapedPath(), r.URL.RawQuery)
	if err != nil {
		h.fail(w, r, requestID, err)
		return
	}
	switch op.name {
	case opInvoke: // its name was percent-encoded
		h.serveInvoke(w, r, who, vars["FunctionName"], requestID)
		return
	case opInvokeAsync:
		h.serveInvokeAsync(w, r, who, vars["FunctionName"], requestID)
		return
	case opInvokeStream:
		h.serveInvokeStream(w, r, who, vars["FunctionName"], requestID)
		return
	}
	answer, err := h.dispatch(r, who, op, vars)
	if err != nil {
		h.fail(w, r, requestID, err)
		return
	}
	writeJSON(w, op.status, answer)
}

func (h *Handler) dispatch(r *http.Request, who *auth.Identity, op *operation, vars map[string]string) (any, error) {
	e, ok := h.endpoints[op.name]
	if !ok {
		return nil, unserved(op.name)
	}
	scope, err := h.scope(who)
	if err != nil {
		return nil, err
	}
	c := &call{op: op, vars: vars, scope: scope, who: who, r: r}
	if err := c.authorize(); err != nil {
		return nil, err
	}
	return e.serve(h, c)
}

// fail answers with an error, and logs what is Hearth's own fault.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, requestID string, err error) {
	e := describe(err, requestID)
	if e.fault {
		h.log.Error("lambda request failed", "requestId", requestID, "method", r.Method, "path", r.URL.Path, "error", err)
	}
	writeError(w, e)
}

// writeJSON answers with status and answer, or with 204 where that is nil (the
// newest model gives DeleteFunction a 200; what Lambda sends is 204).
func writeJSON(w http.ResponseWriter, status int, answer any) {
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, err := marshal(answer)
	if err != nil { // the wire types hold nothing that cannot be written
		writeError(w, &apiError{wire: wires[faas.CodeInternal], message: "The answer could not be written."})
		return
	}
	header := w.Header()
	header["Content-Type"] = jsonType
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away is told nothing
}

// marshal writes JSON as Lambda does, where <, > and & stay what they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
