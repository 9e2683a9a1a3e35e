package native

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"hearth/async"
	"hearth/faas"
	"hearth/invoke"
	"hearth/metric"
	"hearth/registry"
)

// past is the asynchronous invocations of a test: records by request id, and what
// was asked of them.
type past struct {
	records  map[string]faas.EventRecord
	payloads map[string]string
	queues   []async.Queue
	filter   async.Filter
	stopped  map[string]time.Duration
	redriven []async.Redrive
	replayed async.Replay
	err      error
}

func (p *past) Get(_ context.Context, scope faas.Scope, requestID string) (faas.EventRecord, error) {
	record, ok := p.records[requestID]
	if !ok || scope.Account != record.Function.Account || scope.Namespace != "" && scope.Namespace != record.Function.Namespace {
		return faas.EventRecord{}, faas.Errorf(faas.CodeNotFound, "requestId", "No event %s is known.", requestID)
	}
	return record, p.err
}

func (p *past) Payload(ctx context.Context, scope faas.Scope, requestID string) ([]byte, error) {
	_, err := p.Get(ctx, scope, requestID)
	return []byte(p.payloads[requestID]), err
}

func (p *past) List(_ context.Context, f async.Filter) (async.Page, error) {
	p.filter = f
	var page async.Page
	for _, record := range p.records {
		if f.Function.Name == "" || record.Function == f.Function {
			page.Events, page.Next = append(page.Events, record), "more"
		}
	}
	return page, p.err
}

func (p *past) Terminate(_ context.Context, _ faas.Scope, requestID string, grace time.Duration) error {
	record, ok := p.records[requestID]
	if ok {
		record.Status = faas.EventAborted
		p.records[requestID], p.stopped = record, map[string]time.Duration{requestID: grace}
	}
	return p.err
}

func (p *past) Redrive(_ context.Context, r async.Redrive) ([]async.Redriven, error) {
	p.redriven = append(p.redriven, r)
	var out []async.Redriven
	for _, id := range r.RequestIDs {
		one := async.Redriven{From: id, RequestID: "new-" + id}
		if _, ok := p.records[id]; !ok {
			one = async.Redriven{From: id, Err: faas.Errorf(faas.CodeNotFound, "requestId", "No event %s is known.", id)}
		}
		out = append(out, one)
	}
	return out, p.err
}

func (p *past) Replay(_ context.Context, r async.Replay) (string, error) {
	p.replayed = r
	return "again", p.err
}

func (p *past) Queues(faas.Scope) []async.Queue { return p.queues }

// accepting is an invoker that takes events.
type accepting struct {
	*backend
	duplicate string // the request id that its key had before
}

func (i accepting) Invoke(_ context.Context, req *invoke.Request) (*invoke.Result, error) {
	i.request = req
	accepted := &invoke.Accepted{RequestID: req.RequestID}
	if i.duplicate != "" {
		accepted = &invoke.Accepted{RequestID: i.duplicate, Duplicate: true}
	}
	return &invoke.Result{Accepted: accepted}, i.err
}

func record(id string, edit func(*faas.EventRecord)) faas.EventRecord {
	r := faas.EventRecord{RequestID: id, Function: existing().ID.Function, Status: faas.EventQueued, Accepted: noon.Add(-time.Minute)}
	if edit != nil {
		edit(&r)
	}
	return r
}

func newPast(records ...faas.EventRecord) *past {
	p := &past{records: map[string]faas.EventRecord{}, payloads: map[string]string{}}
	for _, r := range records {
		p.records[r.RequestID] = r
		p.payloads[r.RequestID] = `{"of":"` + r.RequestID + `"}`
	}
	return p
}

func remembering(b *backend, p *past) *API {
	o := newAPI(b).Options
	o.Events, o.Invoker, o.Invocations = p, accepting{backend: b}, memory{}
	return New(o)
}

func TestAcceptEvents(t *testing.T) {
	b := &backend{version: existing()}
	a := remembering(b, newPast())
	w := send(a, "POST", "functions/f/events?qualifier=live", `{"n":1}`)
	out := decode[Accepted](t, w, http.StatusAccepted)
	if r := b.request; r.Type != invoke.Event || r.RequestID != out.RequestID || r.Qualifier != "live" || string(r.Payload) != `{"n":1}` ||
		r.InvokedARN != "arn:aws:lambda:us-east-1:000000000000:function:f:live" || out.Duplicate || w.Header().Get(HeaderRequestID) != out.RequestID {
		t.Errorf("%+v of %+v", out, r)
	}
	o := a.Options
	o.Invoker = accepting{b, "first"}
	w = send(New(o), "POST", "functions/f/events", "")
	if out := decode[Accepted](t, w, http.StatusAccepted); out.RequestID != "first" || !out.Duplicate || w.Header().Get(HeaderDuplicate) != "true" || w.Header().Get(HeaderRequestID) != "first" {
		t.Errorf("a duplicate: %+v %v", out, w.Header())
	}
	w = send(a, "POST", "functions/f/events", strings.Repeat("x", faas.MaxAsyncPayload+1))
	decode[Error](t, w, http.StatusRequestEntityTooLarge)
	refusal := &faas.Refusal{Limit: faas.LimitBacklog, Unit: faas.UnitEvents, Value: 5, Use: 5}
	b.err = &faas.Error{Code: faas.CodeThrottled, Subject: "backlog", Message: "full", Cause: refusal}
	w = send(a, "POST", "functions/f/events", "{}")
	if out := decode[Error](t, w, http.StatusTooManyRequests); out.Error.Refusal == nil || out.Error.Refusal.Limit != faas.LimitBacklog || w.Header().Get("Retry-After") == "" {
		t.Errorf("a full backlog: %+v", out)
	}
}

func TestListEvents(t *testing.T) {
	b, p := &backend{version: existing()}, newPast(record("one", nil))
	a := remembering(b, p)
	out := decode[EventPage](t, send(a, "GET", "functions/f/events?status=failed,expired&since=1h&until=2026-01-02T11:59:00Z&qualifier=live&reason=retries-exhausted&max=7&marker=m", ""), 200)
	if len(out.Events) != 1 || out.Events[0].RequestID != "one" || out.Next != "more" {
		t.Errorf("%+v", out)
	}
	want := fmt.Sprintf("%+v", async.Filter{Function: existing().ID.Function, Qualifier: "live", Statuses: []faas.EventStatus{"failed", "expired"},
		Reason: faas.DropRetries, From: noon.Add(-time.Hour), Until: noon.Add(-time.Minute), Marker: "m", Max: 7})
	if got := fmt.Sprintf("%+v", p.filter); got != want {
		t.Errorf("asked for %s\nwant      %s", got, want)
	}
	decode[EventPage](t, send(a, "GET", "events?namespace=team", ""), 200)
	if f := p.filter.Function; f.Name != "" || f.Namespace != "team" {
		t.Errorf("all events of a namespace: asked for %+v", f)
	}
	if w := send(a, "GET", "functions/f/events?status=lost", ""); !strings.Contains(w.Body.String(), "some of queued, running, retrying, done, failed, aborted, expired") {
		t.Errorf("%s", w.Body)
	}
	for _, path := range []string{"functions/f/events?max=0", "functions/f/events?since=soon", "events?until=x"} {
		decode[Error](t, send(a, "GET", path, ""), http.StatusBadRequest)
	}
	// A name that was never one is not a function without events.
	b.version = nil
	decode[Error](t, send(a, "GET", "functions/g/events", ""), http.StatusNotFound)
	decode[EventPage](t, send(a, "GET", "functions/f/events", ""), 200) // deleted, and remembered
}

func TestOneEvent(t *testing.T) {
	p := newPast(record("one", nil))
	a := remembering(&backend{}, p)
	if out := decode[faas.EventRecord](t, send(a, "GET", "events/one?namespace=other", ""), 200); out.Status != faas.EventQueued {
		t.Errorf("%+v", out)
	}
	if w := send(a, "GET", "events/one/payload", ""); w.Code != 200 || w.Body.String() != `{"of":"one"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, path := range []string{"events/two", "events/two/payload"} {
		decode[Error](t, send(a, "GET", path, ""), http.StatusNotFound)
	}
	out := decode[faas.EventRecord](t, send(a, "POST", "events/one/terminate", `{"graceSeconds":7}`), 200)
	if out.Status != faas.EventAborted || p.stopped["one"] != 7*time.Second {
		t.Errorf("%+v, stopped %v", out, p.stopped)
	}
	send(a, "POST", "events/one/terminate", "")
	if p.stopped["one"] != 0 {
		t.Errorf("stopped %v", p.stopped)
	}
	for _, bad := range []string{`{"grace":1}`, `{"graceSeconds":-1}`, `{"graceSeconds":901}`} {
		decode[Error](t, send(a, "POST", "events/one/terminate", bad), http.StatusBadRequest)
	}
	p.err = faas.Errorf(faas.CodeConflict, "one", "it is done already")
	decode[Error](t, send(a, "POST", "events/one/terminate", ""), http.StatusConflict)
}

func TestReplay(t *testing.T) {
	p := newPast(record("one", nil))
	a := remembering(&backend{}, p)
	f := existing().ID.Function
	g := f
	g.Name = "g"
	for body, want := range map[string]async.Replay{
		"":                     {},
		`{"payload":{"a": 1}}`: {Payload: []byte(`{"a": 1}`)},
		`{"toQualifier":"2"}`:  {To: faas.FunctionRef{ID: f, Qualifier: "2"}},
		`{"toFunction":"g"}`:   {To: faas.FunctionRef{ID: g}},
		`{"toFunction":"g","toQualifier":"live","payload":null}`: {To: faas.FunctionRef{ID: g, Qualifier: "live"}, Payload: []byte("null")},
	} {
		out := decode[Accepted](t, send(a, "POST", "events/one/replay", body), http.StatusAccepted)
		want.Scope, want.RequestID = faas.Scope{Account: f.Account, Region: f.Region}, "one"
		if got := p.replayed; out.RequestID != "again" || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s: %+v\nwant %+v", body, got, want)
		}
	}
	decode[Error](t, send(a, "POST", "events/two/replay", `{"toQualifier":"2"}`), http.StatusNotFound)
	decode[Error](t, send(a, "POST", "events/one/replay", `{"to":"g"}`), http.StatusBadRequest)
}

func TestRedrive(t *testing.T) {
	f := existing().ID.Function
	p := newPast(record("one", nil), record("two", func(r *faas.EventRecord) { r.Function.Name = "g" }))
	a := remembering(&backend{}, p)
	redrive := func(body string) RedrivePage {
		t.Helper()
		p.redriven = nil
		return decode[RedrivePage](t, send(a, "POST", "redrive", body), 200)
	}
	out := redrive(`{"requestIds":["one","none"],"payload":[]}`)
	if len(out.Redriven) != 2 || out.Redriven[0].RequestID != "new-one" || out.Failed != 1 || out.Redriven[1].Error.Code != faas.CodeNotFound ||
		len(p.redriven) != 1 || string(p.redriven[0].Payload) != "[]" || p.redriven[0].Scope.Namespace != "" {
		t.Errorf("%+v of %+v", out, p.redriven)
	}
	// Against another version: each event's own function.
	out = redrive(`{"requestIds":["one","two","none"],"toQualifier":"7"}`)
	if len(out.Redriven) != 3 || out.Failed != 1 || len(p.redriven) != 2 || p.redriven[0].To != (faas.FunctionRef{ID: f, Qualifier: "7"}) || p.redriven[1].To.ID.Name != "g" {
		t.Errorf("%+v of %+v", out, p.redriven)
	}
	redrive(`{"function":"f","reason":"retries-exhausted","qualifier":"live","since":"1h","toQualifier":"7"}`)
	if r := p.redriven[0]; r.Filter.Function != f || r.Filter.Reason != faas.DropRetries || r.Filter.Qualifier != "live" ||
		!r.Filter.From.Equal(noon.Add(-time.Hour)) || r.To != (faas.FunctionRef{ID: f, Qualifier: "7"}) || r.RequestIDs != nil {
		t.Errorf("%+v", r)
	}
	redrive(`{"function":"f"}`)
	if r := p.redriven[0]; r.To != (faas.FunctionRef{}) {
		t.Errorf("%+v", r)
	}
	for _, body := range []string{`{}`, `{"function":"f","payload":{}}`, `{"requestIds":["one"],"function":"f"}`, `{"function":"f","since":"x"}`,
		`{"requestIds":["` + strings.Repeat(`x","`, maxRequestIDs) + `"]}`, `{"ids":["one"]}`} {
		decode[Error](t, send(a, "POST", "redrive", body), http.StatusBadRequest)
	}
}

func TestQueues(t *testing.T) {
	p := newPast()
	p.queues = []async.Queue{{Function: existing().ID.Function, Waiting: 3, Delayed: 1, Running: 2, Bytes: 700, Oldest: noon.Add(-90 * time.Second),
		Held: &faas.Refusal{Limit: faas.LimitReserved, Value: 2, Use: 2}, Next: noon.Add(time.Second)}}
	a := remembering(&backend{}, p)
	out := decode[[]Queue](t, send(a, "GET", "queues", ""), 200)
	if len(out) != 1 || out[0].Name != "f" || out[0].Waiting != 3 || out[0].Age != 90*time.Second || out[0].Held.Limit != faas.LimitReserved {
		t.Errorf("%+v", out)
	}
}

// settings keeps what is set for asynchronous invocations of one qualifier.
type settings struct {
	set map[string]*registry.EventConfig
}

func (s settings) PutEventConfig(_ context.Context, _ faas.FunctionID, qualifier string, c faas.AsyncConfig) (*registry.EventConfig, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s.set[qualifier] = &registry.EventConfig{Qualifier: qualifier, Config: c, Modified: noon}
	return s.set[qualifier], nil
}

func (s settings) UpdateEventConfig(ctx context.Context, id faas.FunctionID, qualifier string, p registry.EventConfigPatch) (*registry.EventConfig, error) {
	old, err := s.GetEventConfig(ctx, id, qualifier)
	if err != nil && p.Create {
		old, err = &registry.EventConfig{}, nil
	}
	if err != nil {
		return nil, err
	}
	return s.PutEventConfig(ctx, id, qualifier, p.Over(old.Config))
}

func (s settings) GetEventConfig(_ context.Context, _ faas.FunctionID, qualifier string) (*registry.EventConfig, error) {
	if c := s.set[qualifier]; c != nil {
		return c, nil
	}
	return nil, &faas.Error{Code: faas.CodeNotFound, Message: "nothing is set", Cause: faas.ErrNoEventConfig}
}

func (s settings) ListEventConfigs(context.Context, faas.FunctionID, string, int) (registry.Page[*registry.EventConfig], error) {
	var page registry.Page[*registry.EventConfig]
	for _, c := range s.set {
		page.Items = append(page.Items, c)
	}
	return page, nil
}

func (s settings) DeleteEventConfig(ctx context.Context, id faas.FunctionID, qualifier string) error {
	_, err := s.GetEventConfig(ctx, id, qualifier)
	delete(s.set, qualifier)
	return err
}

func TestAsyncSettings(t *testing.T) {
	o := newAPI(&backend{version: existing()}).Options
	o.EventConfigs = settings{map[string]*registry.EventConfig{}}
	a := New(o)
	if out := decode[[]registry.EventConfig](t, send(a, "GET", "functions/f/async", ""), 200); len(out) != 0 {
		t.Errorf("%+v", out)
	}
	decode[Error](t, send(a, "GET", "functions/f/async/live", ""), http.StatusNotFound)
	out := decode[registry.EventConfig](t, send(a, "PATCH", "functions/f/async/live", `{"retries":0,"onFailure":"rescue:live"}`), 200)
	if *out.Config.Retries != 0 || out.Config.OnFailure != "arn:aws:lambda:us-east-1:000000000000:function:rescue:live" {
		t.Errorf("%+v", out)
	}
	out = decode[registry.EventConfig](t, send(a, "PATCH", "functions/f/async/live", `{"maxAgeSeconds":90,"deadLetter":"https://example.com/x"}`), 200)
	if *out.Config.Retries != 0 || out.Config.MaxAgeSeconds != 90 || out.Config.OnFailure == "" || out.Config.DeadLetter != "https://example.com/x" {
		t.Errorf("%+v", out)
	}
	if d := decode[Description](t, send(a, "GET", "functions/f", ""), 200); len(d.Async) != 1 || d.Async[0].Config.MaxAgeSeconds != 90 {
		t.Errorf("described with %+v", d.Async)
	}
	out = decode[registry.EventConfig](t, send(a, "PUT", "functions/f/async/live", `{"timeoutSeconds":7200,"delay":"minute"}`), 200)
	if out.Config != (faas.AsyncConfig{TimeoutSeconds: 7200, Delay: faas.RetryMinute}) {
		t.Errorf("%+v", out)
	}
	if w := send(a, "DELETE", "functions/f/async/live", ""); w.Code != http.StatusNoContent {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for body, says := range map[string]string{
		`{"retries":3}`:           "retries must have value less than or equal to 2",
		`{"maxAgeSeconds":59}`:    "maxAgeSeconds must have value greater than or equal to 60",
		`{"maxAgeSeconds":0}`:     "maxAgeSeconds must be a number of seconds from 1",
		`{"onSuccess":"ftp://x"}`: "onSuccess must be the ARN of a function",
		`{"onFailure":"a b"}`:     "onFailure must be the ARN of a function",
		`{"deadLetter":"arn:aws:sqs:us-east-1:000000000000:q"}`: "deadLetter must be the ARN of a function: queues",
		`{"attempts":3}`: "has no field attempts",
	} {
		if w := send(a, "PUT", "functions/f/async/live", body); w.Code != 400 || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s: %d %s, want %q", body, w.Code, w.Body, says)
		}
	}
}

func TestExplainEvents(t *testing.T) {
	failed := faas.Attempt{Number: 1, Version: "3", Status: faas.StatusError, ErrorType: "Error", ErrorMessage: "no luck", Began: noon.Add(-50 * time.Second)}
	const rescue = faas.Destination("arn:aws:lambda:us-east-1:000000000000:function:rescue")
	for name, test := range map[string]struct {
		edit func(*faas.EventRecord)
		want string
	}{
		"queued":   {func(r *faas.EventRecord) {}, "It has waited in the queue of f for 1m0s; no attempt began yet. What waits before it cannot start: The limit reserved of f refused it: 2 of 2 executions were in use. Raise it."},
		"starting": {func(r *faas.EventRecord) { r.Status = faas.EventRunning }, "Its first attempt waits for an instance."},
		"running": {func(r *faas.EventRecord) {
			r.Status, r.Attempts = faas.EventRunning, []faas.Attempt{failed, {Number: 2, Began: noon.Add(-3 * time.Second)}}
		}, "Attempt 2 has run for 3s."},
		"retrying": {func(r *faas.EventRecord) {
			r.Status, r.Attempts, r.Next = faas.EventRetrying, []faas.Attempt{failed}, noon.Add(40*time.Second)
		}, "Attempt 1 ended with error (Error): no luck. The next attempt is due in 40s."},
		"done": {func(r *faas.EventRecord) {
			r.Status, r.Attempts, r.Ended = faas.EventDone, []faas.Attempt{{Number: 1, Status: faas.StatusSuccess}}, noon
			r.Deliveries = []faas.Delivery{{Kind: faas.DeliverSuccess, Destination: rescue, Delivered: noon, RequestID: "next"}}
		}, "It was done in attempt 1, 1m0s after it was accepted. The outcome went to its on-success destination " + string(rescue) + ", as event next."},
		"failed": {func(r *faas.EventRecord) {
			r.Status, r.Reason, r.Attempts, r.Ended, r.Dropped = faas.EventFailed, faas.DropRetries, []faas.Attempt{failed}, noon, true
		}, "It failed: Attempt 1 ended with error (Error): no luck. No more attempts are allowed. Nobody was told: neither a dead-letter target nor an on-failure destination was set."},
		"dead letter": {func(r *faas.EventRecord) {
			r.Status, r.Reason, r.Ended, r.Redriven = faas.EventFailed, faas.DropFunction, noon, "later"
			r.Deliveries = []faas.Delivery{{Kind: faas.DeliverDeadLetter, Destination: "http://x", Attempts: 2, Next: noon.Add(time.Minute), Error: "refused"},
				{Kind: faas.DeliverFailure, Destination: "http://y", Attempts: 9, Error: "gone"}, {Kind: faas.DeliverFailure, Destination: "http://z"}}
		}, "It was given up: its function does not exist any more. The outcome has not reached its dead-letter target http://x yet; it is sent again in 1m0s: Refused. " +
			"The outcome did not reach its on-failure destination http://y, and is not sent again: Gone. The outcome is on its way to its on-failure destination http://z. It was sent again as later."},
		"aborted": {func(r *faas.EventRecord) { r.Status, r.Ended = faas.EventAborted, noon }, "It was terminated by its user, 1m0s after it was accepted."},
		"expired": {func(r *faas.EventRecord) {
			r.Status, r.Reason, r.Ended = faas.EventExpired, faas.DropAge, noon
			r.Origin = &faas.Origin{Kind: faas.OriginRedrive, RequestID: "dead"}
		}, "It was given up after 1m0s, older than it may become; no attempt had begun. It is the dead letter dead, sent again."},
	} {
		p := newPast(record("id", test.edit))
		p.queues = []async.Queue{{Function: existing().ID.Function, Waiting: 1,
			Held: &faas.Refusal{Limit: faas.LimitReserved, Unit: faas.UnitExecutions, Value: 2, Use: 2, Subject: existing().ID.Function.String(), Raise: "raise it"}}}
		o := remembering(&backend{silent: true}, p).Options
		out := decode[Explanation](t, send(New(o), "GET", "invocations/id", ""), 200)
		if out.Why != test.want || out.Source != SourceHistory || out.Event == nil || out.Event.Status != p.records["id"].Status {
			t.Errorf("%s: %s\nwant %s (%s)", name, out.Why, test.want, out.Source)
		}
		// With the report of its last attempt, that is explained as well.
		o.Invocations = memory{"id": report()}
		out = decode[Explanation](t, send(New(o), "GET", "invocations/id", ""), 200)
		if !strings.HasPrefix(out.Why, test.want) || !strings.HasSuffix(out.Why, "an instance was there.") || out.Source != SourceMemory {
			t.Errorf("%s: %s", name, out.Why)
		}
	}
	p := newPast()
	p.records["id"] = record("id", func(r *faas.EventRecord) { r.Function.Account = "111111111111" })
	decode[Error](t, send(remembering(&backend{silent: true}, p), "GET", "invocations/id", ""), http.StatusNotFound)
}

func TestTopShowsBacklogs(t *testing.T) {
	m := metric.New()
	defer m.Close()
	f := existing().ID.Function
	g := f
	g.Name = "g"
	p := newPast()
	p.queues = []async.Queue{{Function: f, Waiting: 3, Bytes: 30, Oldest: noon.Add(-time.Minute)}, {Function: g, Waiting: 4, Bytes: 40, Oldest: noon.Add(-time.Hour)}, {Function: f, Running: 1}}
	o := remembering(&backend{}, p).Options
	o.Metrics = m
	out := decode[Top](t, send(New(o), "GET", "top", ""), 200)
	if out.Backlog != (Backlog{Waiting: 7, Bytes: 70, Age: time.Hour}) || len(out.Functions) != 2 || out.Functions[0].Backlog.Age != time.Minute {
		t.Errorf("%+v", out)
	}
}
