package cwlogs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"hearth/auth"
	"hearth/faas"
	"hearth/internal/uuid"
	"hearth/logs"
)

const (
	// serviceName is CloudWatch Logs' in the scope of a signature.
	serviceName = "logs"
	// targetPrefix begins the names of its operations in X-Amz-Target.
	targetPrefix = "Logs_20140328."
	targetHeader = "X-Amz-Target"
	contentType  = "application/x-amz-json-1.1"
	// maxBody bounds a request, in bytes.
	maxBody = 1 << 20
)

// Logs is what this dialect needs of the log store; see logs.Store.
type Logs interface {
	Find(ctx context.Context, q logs.Query) ([]logs.Line, error)
	Stored(ctx context.Context, id faas.FunctionID) ([]logs.Stored, error)
	Writers(ctx context.Context, id faas.FunctionID) ([]logs.Writer, error)
}

// Groups tells which functions log into which group.
type Groups interface {
	// GroupOf is the group of a function, "" where there is none of that name.
	GroupOf(id faas.FunctionID) string
	// InGroup returns the functions of a scope whose group has that name.
	InGroup(scope faas.Scope, group string) []faas.FunctionID
}

// Authenticator says who sent a request; *auth.Verifier and *auth.Trusting are two.
type Authenticator interface {
	Authenticate(r *http.Request, service string) (*auth.Identity, error)
}

// Options are what a Handler is made from. Logs, Groups and Auth are required.
type Options struct {
	Logs      Logs
	Groups    Groups
	Auth      Authenticator
	Region    string        // of requests that name none
	Retention time.Duration // of lines, for display
	Clock     func() time.Time
	Logger    *slog.Logger // nil discards
}

// Handler serves the dialect. Safe for concurrent use.
type Handler struct {
	logs      Logs
	groups    Groups
	auth      Authenticator
	region    string
	retention time.Duration
	now       func() time.Time
	log       *slog.Logger
}

// New returns the dialect's handler.
func New(o Options) *Handler {
	h := &Handler{logs: o.Logs, groups: o.Groups, auth: o.Auth, region: cmp.Or(o.Region, faas.DefaultRegion),
		retention: o.Retention, now: o.Clock, log: o.Logger}
	if h.now == nil {
		h.now = time.Now
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h
}

// Serves reports whether a request is of AWS's JSON protocol, in which the operation
// is a header: those of services that Hearth has not are answered here as well.
func Serves(r *http.Request) bool { return len(r.Header[targetHeader]) > 0 && r.URL.Path == "/" }

// call is one request on its way through an operation.
type call struct {
	ctx   context.Context
	op    string
	scope faas.Scope
	who   *auth.Identity
	body  []byte
}

var operations = map[string]func(*Handler, *call) (any, error){
	"DescribeLogGroups":  decoded((*Handler).describeLogGroups),
	"ListLogGroups":      decoded((*Handler).listLogGroups),
	"DescribeLogStreams": decoded((*Handler).describeLogStreams),
	"GetLogEvents":       decoded((*Handler).getLogEvents),
	"FilterLogEvents":    decoded((*Handler).filterLogEvents),
}

// decoded makes an operation of a function of its input.
func decoded[Input any](run func(*Handler, *call, *Input) (any, error)) func(*Handler, *call) (any, error) {
	return func(h *Handler, c *call) (any, error) {
		in := new(Input)
		if len(c.body) > 0 {
			if err := json.Unmarshal(c.body, in); err != nil {
				return nil, &apiError{"SerializationException", "The request's body is not the JSON of " + c.op + ": " + clip(err.Error())}
			}
		}
		return run(h, c, in)
	}
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := uuid.New()
	w.Header()["x-amzn-RequestId"] = []string{id}
	answer, err := h.serve(r)
	if err != nil {
		h.fail(w, r, id, err)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil { // the wire types hold nothing that cannot be written
		h.fail(w, r, id, err)
		return
	}
	write(w, http.StatusOK, body)
}

func (h *Handler) serve(r *http.Request) (any, error) {
	who, err := h.auth.Authenticate(r, serviceName)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	target := r.Header[targetHeader][0]
	name, ours := strings.CutPrefix(target, targetPrefix)
	run, known := operations[name]
	if !ours || !known {
		return nil, &apiError{"UnknownOperationException", "The operation " + clip(target) + " is not served by this version of Hearth."}
	}
	if r.Method != http.MethodPost {
		return nil, &apiError{"UnknownOperationException", "The operation " + name + " is a POST."}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, &apiError{"SerializationException", "The request's body could not be read to its end."}
	}
	if len(body) > maxBody {
		return nil, &apiError{"RequestEntityTooLargeException", fmt.Sprintf("A request must be smaller than %d bytes.", maxBody)}
	}
	return run(h, &call{ctx: r.Context(), op: name, who: who, body: body, scope: faas.Scope{
		Account: who.Account, Region: cmp.Or(who.Region, h.region), Namespace: faas.DefaultNamespace}})
}

// allow refuses what the caller has no right to, on a group and a stream that may
// both be "".
func (c *call) allow(group, stream string) error {
	return c.who.Allow("logs:"+c.op, c.arn(group)+":log-stream:"+stream)
}

// arn names a group.
func (c *call) arn(group string) string {
	return "arn:aws:logs:" + c.scope.Region + ":" + c.scope.Account + ":log-group:" + group
}

// apiError is an error that is worded for the wire.
type apiError struct{ name, message string }

func (e *apiError) Error() string { return e.name + ": " + e.message }

func invalid(format string, args ...any) error {
	return &apiError{"InvalidParameterException", fmt.Sprintf(format, args...)}
}

func (h *Handler) fail(w http.ResponseWriter, r *http.Request, id string, err error) {
	status, e := http.StatusBadRequest, new(apiError)
	var refused *auth.Error
	switch {
	case errors.As(err, &e):
	case errors.As(err, &refused):
		e = &apiError{refused.Kind.Exception(), refused.Message}
		if refused.Kind == auth.Busy {
			e.name = "ThrottlingException"
		}
	case r.Context().Err() != nil:
		return // nobody is there to read it
	default:
		h.log.Error("logs request failed", "requestId", id, "target", r.Header.Get(targetHeader), "error", err)
		status, e = http.StatusInternalServerError, &apiError{"ServiceUnavailableException",
			"Hearth failed to serve this request. Its log has the reason under request id " + id + "."}
	}
	w.Header()["x-amzn-ErrorType"] = []string{e.name}
	body, _ := json.Marshal(map[string]string{"__type": e.name, "message": e.message}) // strings: cannot fail
	write(w, status, body)
}

func write(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away is told nothing
}

// clip bounds what a message repeats of a request.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
