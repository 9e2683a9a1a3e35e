package main

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"hearth/api/cwlogs"
	"hearth/api/funcurl"
)

// front is the one HTTP entrance: it sends each request to the dialect that its
// path belongs to.
type front struct {
	lambda, native, metrics, urls http.Handler
	logs                          http.Handler // CloudWatch Logs; nil leaves it out
	// hosts are the names that a request may call this server by; empty allows
	// any. It keeps a page in a browser from reaching a loopback server through a
	// name of its own that resolves to 127.0.0.1 (DNS rebinding).
	hosts    []string
	origins  *http.CrossOriginProtection
	ready    atomic.Bool
	draining atomic.Bool
}

func newFront(lambda, native, metrics, urls http.Handler, hosts []string) *front {
	return &front{lambda: lambda, native: native, metrics: metrics, urls: urls, hosts: hosts, origins: http.NewCrossOriginProtection()}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if funcurl.Serves(r) && f.allowed(r.Host) { // pages of other origins: by its CORS
		f.urls.ServeHTTP(w, r)
		return
	}
	// SDKs send no Origin and no Sec-Fetch-Site: only browsers are held back.
	if err := f.origins.Check(r); err != nil || !f.allowed(r.Host) {
		refuse(w, http.StatusForbidden, "AccessDeniedException",
			"requests from other origins and under other host names are refused: "+r.Host)
		return
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/hearth/v1/"):
		f.native.ServeHTTP(w, r)
	case f.logs != nil && cwlogs.Serves(r):
		f.logs.ServeHTTP(w, r)
	case r.URL.Path == "/healthz":
		f.health(w)
	case r.URL.Path == "/metrics":
		f.metrics.ServeHTTP(w, r)
	default:
		f.lambda.ServeHTTP(w, r)
	}
}

func (f *front) health(w http.ResponseWriter) {
	if !f.ready.Load() || f.draining.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (f *front) allowed(hostport string) bool {
	if len(f.hosts) == 0 {
		return true
	}
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.Trim(host, "[]")
	if ip := net.ParseIP(host); ip != nil {
		return true // a name is what rebinding needs
	}
	for _, h := range f.hosts {
		if host == h || strings.HasSuffix(host, "."+h) {
			return true
		}
	}
	return false
}

// hostsOf are the names by which a server may be called that believes everybody. One
// that verifies signatures needs none: a page in a browser cannot make them.
func hostsOf(v values) []string {
	if verifies(v) {
		return nil
	}
	return []string{"localhost"}
}

func refuse(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("x-amzn-ErrorType", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"Type": "User", "message": message})
}

// isLoopback reports whether only this machine can reach a listen address.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// newHTTPServer bounds what a slow or silent client can hold: headers, idle
// connections. Bodies and answers have no bound of time, since an invocation may
// last fifteen minutes; their bound is size.
func newHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
