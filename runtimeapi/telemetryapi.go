package runtimeapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	telemetryPath    = "/2022-07-01/telemetry"
	logsPath         = "/2020-08-15/logs" // the older API for the same
	maxTelemetryBody = 64 << 10
)

// telemetryRequest is a subscription as an extension asks for it.
type telemetryRequest struct {
	Types     []string `json:"types"`
	Buffering struct {
		MaxItems  *int `json:"maxItems"`
		MaxBytes  *int `json:"maxBytes"`
		TimeoutMs *int `json:"timeoutMs"`
	} `json:"buffering"`
	Destination struct {
		Protocol string `json:"protocol"`
		URI      string `json:"URI"`
		Port     int    `json:"port"`
	} `json:"destination"`
}

// subscribe takes an extension's subscription; a second one replaces the first.
func (e *Extensions) subscribe(c *conn, q *query) {
	x := e.identify(c, q)
	if x == nil {
		return
	}
	body, err := e.body(c, q)
	if err != nil {
		return
	}
	s := &subscription{of: e.o.Telemetry, name: x.name, logs: q.path == logsPath}
	api := "Telemetry"
	if s.logs {
		api = "Logs"
	}
	if e.o.Telemetry == nil {
		c.reply(http.StatusAccepted, []byte(`{"errorMessage":"`+api+` API is not supported","errorType":"`+api+`.NotSupported"}`), q.last)
		return
	}
	var wanted telemetryRequest
	why := "the subscription is not the JSON it should be"
	if len(body) <= maxTelemetryBody && json.Unmarshal(body, &wanted) == nil {
		why = s.configure(wanted)
	}
	if why != "" {
		c.refuse(q, http.StatusBadRequest, "ValidationError", why)
		return
	}
	if !e.o.Telemetry.subscribe(s) {
		c.refuse(q, http.StatusForbidden, api+".SubscriptionClosed", api+" API subscription is closed already")
		return
	}
	c.reply(http.StatusOK, []byte(`"OK"`), q.last)
}

// configure takes over what is asked for, or says what is wrong with it.
func (s *subscription) configure(r telemetryRequest) (why string) {
	if len(r.Types) == 0 {
		return "types should not be empty"
	}
	for _, kind := range r.Types {
		if !slices.Contains(telemetryTypes, kind) {
			return "types holds " + clip(kind) + ": platform, function and extension are known"
		}
	}
	s.types = slices.Clone(r.Types)
	slices.Sort(s.types)
	s.types = slices.Compact(s.types)
	s.full = make(chan struct{}, 1)
	var ms int
	for _, bound := range []struct {
		name             string
		asked            *int
		usual, low, high int
		to               *int
	}{
		{"maxItems", r.Buffering.MaxItems, 10000, 1000, 10000, &s.maxItems},
		{"maxBytes", r.Buffering.MaxBytes, 262144, 262144, 1048576, &s.maxBytes},
		{"timeoutMs", r.Buffering.TimeoutMs, 1000, 25, 30000, &ms},
	} {
		*bound.to = bound.usual
		if bound.asked != nil {
			*bound.to = *bound.asked
		}
		if *bound.to < bound.low || *bound.to > bound.high {
			return fmt.Sprintf("%s must be from %d to %d", bound.name, bound.low, bound.high)
		}
	}
	s.timeout = time.Duration(ms) * time.Millisecond
	return s.address(r)
}

// address finds out where to deliver to.
func (s *subscription) address(r telemetryRequest) (why string) {
	switch strings.ToUpper(r.Destination.Protocol) {
	case "TCP":
		s.tcp, s.port = true, r.Destination.Port
	case "HTTP":
		to, err := url.Parse(r.Destination.URI)
		if err != nil || to.Scheme != "http" {
			return "URI must be an http URL"
		}
		if to.Hostname() != "sandbox.localdomain" && to.Hostname() != "sandbox" {
			return "URI host must be sandbox.localdomain"
		}
		if to.Port() == "" {
			return "URI port is not provided"
		}
		s.port, _ = strconv.Atoi(to.Port()) // url.Parse has seen that it is a number
		s.path = to.EscapedPath()
	default:
		return "protocol must be HTTP or TCP"
	}
	if s.port < 1 || s.port > 65535 {
		return "port must be from 1 to 65535"
	}
	if s.port == runtimeAPIPort {
		return "port " + strconv.Itoa(runtimeAPIPort) + " is reserved"
	}
	return ""
}

// runtimeAPIPort is Hearth's own inside a sandbox.
const runtimeAPIPort = 9001

// subscribe adds a subscription, which gets the platform's events from the start of
// init on; false where it is too late, or there are too many.
func (t *Telemetry) subscribe(s *subscription) bool {
	s.client = &http.Client{Transport: &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx, s.port) },
		MaxResponseHeaderBytes: 16 << 10, DisableCompression: true,
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.sealed || len(t.subs) >= maxSubscriptions {
		return false
	}
	if at := slices.IndexFunc(t.subs, func(old *subscription) bool { return old.name == s.name }); at >= 0 {
		old := t.subs[at] // its goroutine goes on with where it sends to now
		old.types, old.maxItems, old.maxBytes = s.types, s.maxItems, s.maxBytes
		return old.port == s.port && old.tcp == s.tcp && old.path == s.path
	}
	for _, e := range t.recorded {
		s.addLocked(e)
	}
	t.subs = append(t.subs, s)
	name := "platform.telemetrySubscription"
	if s.logs {
		name = "platform.logsSubscription"
	}
	e := newTelemetryEvent("platform", name, map[string]any{"name": s.name, "state": "Subscribed", "types": s.types})
	t.recorded = append(t.recorded, e)
	for _, each := range t.subs {
		each.addLocked(e)
	}
	t.tasks.Go(s.run)
	return true
}
