package invoke

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"hearth/faas"
	"hearth/internal/eager"
	"hearth/metric"
	"hearth/pool"
	"hearth/quota"
)

// Bounds of a synchronous invocation, in bytes.
const (
	MaxPayload       = 6 << 20 // 6,291,456
	MaxClientContext = 3583    // of its base64 form
)

// Resolver is what the data plane needs of the control plane.
type Resolver interface {
	// Resolve returns the version that the next call of the qualifier goes to. It
	// touches no disk. The version is shared: read only.
	Resolve(id faas.FunctionID, qualifier string) (*faas.Version, error)
}

// Pools is where instances come from; *pool.Pools in the binary.
type Pools interface {
	Acquire(ctx context.Context, version *faas.Version) (*pool.Hold, error)
	// Ask is the first half of Acquire: it takes the next place in the order of the
	// version's calls and returns at once.
	Ask(version *faas.Version) (pool.Claim, error)
}

// Acceptor makes Events durable; *async.Service in the binary.
type Acceptor interface {
	// Accept returns once the event is on disk. The request is valid.
	Accept(ctx context.Context, req *Request) (Accepted, error)
}

// Options configure a Service.
type Options struct {
	Resolver Resolver // required
	Pools    Pools    // required
	// Quota admits invocations; nil admits all. It is the one that the pools ask.
	Quota quota.Gate
	// Acceptor takes the requests of type Event; nil refuses them.
	Acceptor Acceptor
	// Metrics counts calls; nil counts none. It is the one that the pools tell.
	Metrics *metric.Registry
	Logger  *slog.Logger // nil discards
}

// Service runs invocations. Safe for concurrent use. It has no goroutines of its
// own: an invocation runs in its caller's.
type Service struct {
	resolver Resolver
	pools    Pools
	quota    quota.Gate
	acceptor Acceptor
	metrics  *metric.Registry
	log      *slog.Logger
	recent   recent
	unserved unserved
}

// New returns a service that is ready.
func New(o Options) *Service {
	s := &Service{resolver: o.Resolver, pools: o.Pools, quota: o.Quota, acceptor: o.Acceptor, metrics: o.Metrics, log: o.Logger}
	if s.quota == nil {
		s.quota = quota.Unlimited{}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// Invoke runs one invocation. A function error is part of the result; the error
// is a *faas.Error: what the request has wrong, what does not exist or is not
// ready, what refuses, or who went away.
//
// A ctx that ends while the invocation waits for an instance ends it. Once the
// event was delivered the invocation runs to its end, whatever becomes of the
// caller, and Invoke returns then. An Event is durable when Invoke returns, and runs
// later.
func (s *Service) Invoke(ctx context.Context, req *Request) (*Result, error) {
	if err := Validate(req); err != nil {
		return nil, err
	}
	if req.Type == Event {
		return s.accept(ctx, req)
	}
	version, err := s.resolver.Resolve(req.Function, req.Qualifier)
	if err != nil {
		return nil, err
	}
	if req.Type == DryRun {
		return &Result{ExecutedVersion: version.ID.Number}, nil
	}
	if req.Stream != nil {
		return s.stream(ctx, req, version)
	}
	return s.call(ctx, req, version)
}

// call runs an invocation of the version in the caller's goroutine.
func (s *Service) call(ctx context.Context, req *Request, version *faas.Version) (*Result, error) {
	if err := Callable(version); err != nil {
		return nil, err
	}
	eager.Begin()
	defer eager.End()
	began := time.Now()
	lease, err := s.quota.Admit(version, quota.Synchronous)
	if err != nil {
		return nil, s.unserve(req, version, began, err)
	}
	defer lease.Release()
	hold, err := s.pools.Acquire(ctx, version)
	if err != nil {
		return s.unheld(req, version, began, err)
	}
	defer hold.Release()
	alias := s.enter(req, version)
	defer leave(alias) // before the hold: whoever gets its place counts it anew
	return s.run(req, version, hold, began)
}

// Validate refuses a request that no version could serve: an unknown type, a
// payload or client context that is too large or is not JSON. Invoke calls it.
func Validate(req *Request) error {
	switch req.Type {
	case RequestResponse, DryRun, "", Event:
	default:
		return faas.Errorf(faas.CodeInvalid, "invocationType",
			"The invocation type %.40q is none of RequestResponse, Event, DryRun.", string(req.Type))
	}
	if err := validateSize(req); err != nil {
		return err
	}
	if len(req.Payload) > 0 && !json.Valid(req.Payload) {
		return faas.Errorf(faas.CodeInvalidBody, "payload", "Could not parse request body into json: %s", jsonFault(req.Payload))
	}
	if len(req.ClientContext) > MaxClientContext*3/4 {
		return faas.Errorf(faas.CodeTooLarge, "clientContext",
			"The client context has %d bytes; its base64 form may have at most %d.", len(req.ClientContext), MaxClientContext)
	}
	if len(req.ClientContext) > 0 && !json.Valid(req.ClientContext) {
		return faas.Errorf(faas.CodeInvalidBody, "clientContext", "Client context must be a valid Base64-encoded JSON object.")
	}
	return nil
}

func validateSize(req *Request) error {
	limit, kind := MaxPayload, "a synchronous"
	if req.Type == Event {
		limit, kind = faas.MaxAsyncPayload, "an asynchronous"
	}
	if len(req.Payload) > limit {
		return faas.Errorf(faas.CodeTooLarge, "payload",
			"The payload has %d bytes; %s invocation takes at most %d. Pass a reference to the data instead.", len(req.Payload), kind, limit)
	}
	if len(req.IdempotencyKey) > MaxIdempotencyKey {
		return faas.Errorf(faas.CodeInvalid, "idempotencyKey",
			"The idempotency key has %d bytes; it may have at most %d.", len(req.IdempotencyKey), MaxIdempotencyKey)
	}
	return nil
}

// accept hands an Event to whoever makes it durable.
func (s *Service) accept(ctx context.Context, req *Request) (*Result, error) {
	if s.acceptor == nil {
		return nil, faas.Errorf(faas.CodeUnsupported, "InvocationType",
			"Asynchronous invocations (InvocationType Event) are not served here. Use RequestResponse.")
	}
	accepted, err := s.acceptor.Accept(ctx, req)
	if err != nil {
		return nil, err
	}
	return &Result{Accepted: &accepted}, nil
}

// jsonFault says where a text stops being JSON.
func jsonFault(text []byte) string {
	var v json.RawMessage
	err := json.Unmarshal(text, &v)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return faas.Errorf(faas.CodeInvalidBody, "", "%w (at byte %d)", syntax, syntax.Offset).Message
	case err != nil:
		return err.Error()
	}
	return "invalid JSON"
}

// Callable refuses a version that cannot run now, with faas.CodeNotReady.
func Callable(v *faas.Version) error {
	switch v.State {
	case faas.StateActive, "":
		return nil
	case faas.StatePending:
		return faas.Errorf(faas.CodeNotReady, v.ID.String(),
			"The operation cannot be performed at this time. The function is currently in the following state: Pending. Wait until it is Active.")
	}
	why := v.StateReason
	if why == "" {
		why = "Update the function to try again."
	}
	return faas.Errorf(faas.CodeNotReady, v.ID.String(),
		"The operation cannot be performed at this time. The function is currently in the following state: %s. %s", string(v.State), why)
}

// run delivers the event to the instance and settles the invocation.
func (s *Service) run(req *Request, version *faas.Version, hold *pool.Hold, began time.Time) (*Result, error) {
	call := &struct { // one allocation for both
		event faas.Event
		res   Result
	}{event: newEvent(req, began)}
	if req.relay != nil {
		req.relay.version, call.event.Stream = version.ID.Number, req.relay
	}
	out, err := hold.Deliver(&call.event)
	handed, ended := hold.Handed(), time.Now()
	failure, err := asFailure(err)
	if err != nil {
		s.log.Error("an invocation could not be delivered", "request", req.RequestID,
			"version", version.ID.String(), "instance", hold.Instance(), "err", err)
	}
	if failure != nil {
		out = failureOutcome(failure, req.limit(version), req.RequestID)
	}
	res := &call.res
	res.Outcome, res.ExecutedVersion, res.Report = out, version.ID.Number, newReport(req, version, began)
	report := &res.Report
	report.Status = status(out, failure, err)
	report.ErrorType = out.ErrorType
	report.ResponseBytes = req.relay.produced(out)
	took := ended.Sub(handed)
	switch {
	case hold.InitFailed():
		took = 0 // no handler ran
	case failure != nil && failure.Kind == pool.FailedTimeout:
		// The time that the kill took is Hearth's own.
		took = min(took, req.limit(version))
	}
	measure(report, hold, handed, took)
	report.Timeline.Settle = ended.Sub(handed) - took
	tail := hold.Settle(report, req.LogTail)
	report.Timeline.Settle += time.Since(ended)
	if req.LogTail {
		res.LogTail = tail
	}
	s.settled(report, hold.Series())
	if err != nil {
		return nil, err
	}
	return res, nil
}

// newReport is the report of an invocation as far as the request says it.
func newReport(req *Request, version *faas.Version, began time.Time) faas.Report {
	return faas.Report{
		RequestID: req.RequestID,
		Version:   version.ID,
		Qualifier: req.Qualifier,
		Start:     faas.StartWarm,
		MemoryMB:  version.Config.MemoryMB,
		Began:     began,
	}
}

// measure fills in what the instance says of the invocation, whose handler got
// the event then and took so long.
func measure(r *faas.Report, hold *pool.Hold, handed time.Time, took time.Duration) {
	r.Instance = hold.Instance()
	if r.Cold = hold.Cold(); r.Cold != "" {
		r.Start = faas.StartCold
	}
	r.Duration = took
	r.Init = hold.InitDuration()
	r.Billed = billed(hold.Bill(handed, handed.Add(took)) + r.Init)
	r.MaxMemory = hold.MaxMemory(handed.Add(took))
	r.Timeline = hold.Timeline()
	r.Timeline.Handler = took
}

// billed rounds up to whole milliseconds. As Lambda bills since August 2025, what
// is rounded is the duration plus, on a cold start, the init of the instance. Time
// that several invocations of an instance share is billed to one of them.
func billed(d time.Duration) time.Duration {
	return (d + time.Millisecond - 1).Truncate(time.Millisecond)
}

// asFailure tells a failed runtime, which is the function's own, from an error of
// the platform.
func asFailure(err error) (*pool.Failure, error) {
	if err == nil {
		return nil, nil
	}
	var known *faas.Error
	var failure *pool.Failure
	switch {
	case errors.As(err, &known) && known.Code != faas.CodeInitFailing:
		return nil, err
	case errors.As(err, &failure):
		return failure, nil
	}
	return nil, err
}

// failureOutcome is the document that answers an invocation whose runtime failed.
func failureOutcome(f *pool.Failure, limit time.Duration, requestID string) faas.Outcome {
	switch {
	case f.ForRequest != nil:
		return f.ForRequest(requestID)
	case len(f.Outcome.Payload) > 0:
		return f.Outcome
	case f.Kind == pool.FailedTimeout:
		return timeoutDocument(requestID, limit)
	case f.Kind == pool.FailedTerminated:
		return errorDocument(requestID, typeTerminated, "Task was terminated by its user")
	}
	return errorDocument(requestID, typeInternal, "Runtime failed without a reason")
}

func status(out faas.Outcome, failure *pool.Failure, err error) string {
	switch {
	case failure != nil && (failure.Kind == pool.FailedTimeout || failure.Kind == pool.FailedOOM || failure.Kind == pool.FailedExit):
		return string(failure.Kind)
	case failure != nil && failure.Kind == pool.FailedTerminated:
		return faas.StatusAborted
	case failure != nil || err != nil || out.FunctionError != "":
		return faas.StatusError
	}
	return faas.StatusSuccess
}

// unheld answers an invocation that got no instance. Where that is because the
// version's instances fail to start, the answer is the function error that they
// failed with, as it would be from an instance.
func (s *Service) unheld(req *Request, version *faas.Version, began time.Time, err error) (*Result, error) {
	failure, err := asFailure(err)
	if err != nil {
		return nil, s.unserve(req, version, began, err)
	}
	out := failureOutcome(failure, req.limit(version), req.RequestID)
	res := &Result{Outcome: out, ExecutedVersion: version.ID.Number, Report: newReport(req, version, began)}
	report := &res.Report
	report.Start, report.Cold = faas.StartCold, faas.ColdRecycle
	report.Status = status(out, failure, nil)
	report.ErrorType = out.ErrorType
	report.Timeline.Queue = time.Since(began)
	function := s.metrics.Function(version.ID.Function)
	defer function.Release()
	s.settled(report, function)
	return res, nil
}

var emptyPayload = []byte("{}")

// newEvent makes what the runtime receives. Deliver sets its deadline.
func newEvent(req *Request, now time.Time) faas.Event {
	event := faas.Event{
		RequestID:     req.RequestID,
		Payload:       req.Payload,
		InvokedARN:    req.InvokedARN,
		TraceID:       req.TraceID,
		ClientContext: req.ClientContext,
		Attempt:       req.Attempt,
	}
	if len(event.Payload) == 0 {
		event.Payload = emptyPayload
	}
	if event.TraceID == "" {
		event.TraceID = newTraceID(now)
	}
	return event
}

// newTraceID makes an X-Amzn-Trace-Id for a call that came without one. It is an
// identifier, not a secret.
func newTraceID(now time.Time) string {
	var id [24]byte
	binary.BigEndian.PutUint32(id[:], uint32(now.Unix()))
	binary.BigEndian.PutUint32(id[4:], rand.Uint32())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	binary.BigEndian.PutUint64(id[16:], rand.Uint64())
	b := make([]byte, 0, 80)
	b = append(b, "Root=1-"...)
	b = hex.AppendEncode(b, id[:4])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[4:16])
	b = append(b, ";Parent="...)
	b = hex.AppendEncode(b, id[16:])
	b = append(b, ";Sampled=0"...)
	return string(b)
}

// Recent returns the reports of a function's last invocations, the newest first:
// at most 32, fewer after a restart and for functions that are called rarely.
func (s *Service) Recent(id faas.FunctionID) []faas.Report { return s.recent.of(id) }

// Find returns the report of one of the recent invocations of any function: the
// last 32 of each, and the last 1,024 that no instance ran.
func (s *Service) Find(requestID string) (faas.Report, bool) {
	if report, ok := s.recent.find(requestID); ok {
		return report, true
	}
	return s.unserved.find(requestID)
}
