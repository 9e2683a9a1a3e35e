package native

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"hearth/auth"
	"hearth/faas"
	"hearth/metric"
)

// maxDeploy bounds the body of a deployment: a 50 MB zip in base64 and its settings.
const maxDeploy = 70_167_211

// Options are what the API is made of. All are required but Logger, Now and what
// says otherwise.
type Options struct {
	Registry     Registry
	Invoker      Invoker
	Instances    Instances
	Logs         Logs
	Runtimes     Runtimes
	Quotas       Quotas
	QuotaUse     QuotaUse
	Provisioning Provisioning
	URLs         FunctionURLs          // serves function URLs; nil leaves them out
	EventConfigs EventConfigs          // serves the settings of asynchronous invocations; nil leaves them out
	Layers       Layers                // serves layers; nil leaves them out
	Events       Events                // serves events and queues; nil leaves them out
	Losses       func() []Loss         // what was found damaged; nil leaves it out
	Invocations  Invocations           // serves the route that explains a call; nil leaves it out
	Metrics      *metric.Registry      // serves top and metrics; nil leaves them out
	Cells        func() []metric.Cells // what stands by, for top; nil shows none
	Keys         Keys                  // serves the keys; nil leaves them out
	Auth         Authenticator         // nil believes what each request says of itself
	Account      string                // of requests that name none, where Auth is nil
	Region       string                // of requests that name none
	Regions      []string              // those served; empty is any
	Isolation    string                // the server's default, for Status
	Version      string
	Logger       *slog.Logger
	Now          func() time.Time
}

// API serves /hearth/v1/. Safe for concurrent use.
type API struct {
	Options
	started time.Time
	mux     *http.ServeMux

	stopping     context.Context // ends the streams that have no end of their own
	endOfStreams context.CancelFunc
}

// New returns the handler.
func New(o Options) *API {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Auth == nil {
		o.Auth = auth.NewTrusting(o.Account)
	}
	a := &API{Options: o, started: o.Now(), mux: http.NewServeMux()}
	a.stopping, a.endOfStreams = context.WithCancel(context.Background())
	a.route("GET /hearth/v1/status", a.status)
	a.route("GET /hearth/v1/runtimes", a.runtimes)
	a.route("GET /hearth/v1/functions", a.list)
	a.route("PUT /hearth/v1/functions/{name}", a.deploy)
	a.route("GET /hearth/v1/functions/{name}", a.describe)
	a.route("DELETE /hearth/v1/functions/{name}", a.remove)
	a.route("POST /hearth/v1/functions/{name}/invoke", a.invoke)
	a.route("GET /hearth/v1/logs", a.logs)
	a.routeReleases()
	if a.URLs != nil {
		a.routeURLs()
	}
	a.routeQuotas()
	if a.Layers != nil {
		a.routeLayers()
	}
	if a.Keys != nil {
		a.routeKeys()
	}
	if a.EventConfigs != nil {
		a.routeAsync()
	}
	if a.Events != nil {
		a.routeEvents()
	}
	if a.Losses != nil {
		a.route("GET /hearth/v1/losses", a.losses)
	}
	if a.Invocations != nil {
		a.route("GET /hearth/v1/invocations/{requestId}", a.explain)
	}
	if a.Metrics != nil {
		a.route("GET /hearth/v1/top", a.top)
		a.route("GET /hearth/v1/metrics", a.metrics)
	}
	a.route(anyPath, func(http.ResponseWriter, *http.Request) error {
		return faas.Errorf(faas.CodeNotFound, "path", "there is no such resource or method below /hearth/v1/")
	})
	return a
}

// EndStreams ends the answers that have no end of their own, which a server that
// stops would wait for. Others go on.
func (a *API) EndStreams() { a.endOfStreams() }

// ServeHTTP answers one request. Who sends it is known before it is routed.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	known, err := a.authenticate(r)
	if err != nil {
		writeError(w, a.Logger, err)
		return
	}
	defer known.Body.Close()
	a.mux.ServeHTTP(w, known)
}

// route registers a handler whose error becomes the answer.
func (a *API) route(pattern string, handle func(http.ResponseWriter, *http.Request) error) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		err := a.checkScope(r)
		if err == nil {
			err = a.authorize(pattern, r)
		}
		if err == nil {
			err = handle(w, r)
		}
		if err != nil {
			writeError(w, a.Logger, err)
		}
	})
}

// checkScope refuses a scope that is none, and a region that this server does not
// serve.
func (a *API) checkScope(r *http.Request) error {
	scope := a.scope(r)
	region := scope.Region
	if !faas.ValidRegion(region) {
		return faas.Errorf(faas.CodeInvalid, "region", "region must be a name such as us-east-1, not %q", region)
	}
	if !faas.ValidNamespace(scope.Namespace) {
		return faas.Errorf(faas.CodeInvalid, "namespace", "namespace must be letters, digits, - and _, at most %d, not %q",
			faas.MaxNamespace, scope.Namespace)
	}
	if len(a.Regions) == 0 || slices.Contains(a.Regions, region) {
		return nil
	}
	return faas.Errorf(faas.CodeInvalid, "region", "this server serves %s, not %q", strings.Join(a.Regions, ", "), region)
}

// scope is where a request's functions live.
func (a *API) scope(r *http.Request) faas.Scope {
	q, who := r.URL.Query(), caller(r)
	s := faas.Scope{Account: who.Account, Region: cmp.Or(q.Get("region"), who.Region, a.Region), Namespace: q.Get("namespace")}
	if s.Namespace == "" {
		s.Namespace = faas.DefaultNamespace
	}
	return s
}

func (a *API) function(r *http.Request) faas.FunctionID {
	return faas.FunctionID{Scope: a.scope(r), Name: r.PathValue("name")}
}

func (a *API) status(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, Status{
		Version: a.Version, Account: a.Account, Region: a.Region,
		Isolation: a.Isolation, Started: a.started,
	})
	return nil
}

func (a *API) runtimes(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, a.Runtimes.List())
	return nil
}

// readBody reads a bounded body whole.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, over := err.(*http.MaxBytesError); over {
		return nil, faas.Errorf(faas.CodeTooLarge, "body", "the request is larger than %d bytes", limit)
	}
	if err != nil {
		return nil, faas.Errorf(faas.CodeInvalidBody, "body", "the request's body could not be read: %w", err)
	}
	return body, nil
}
