package async_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hearth/async"
	"hearth/engine"
	"hearth/engine/fake"
	"hearth/faas"
	"hearth/invoke"
	"hearth/metric"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/quota"
)

var scope = faas.Scope{Account: faas.DefaultAccount, Region: faas.DefaultRegion, Namespace: faas.DefaultNamespace}

func function(name string) faas.FunctionID { return faas.FunctionID{Scope: scope, Name: name} }

// shelf is the control plane: functions that are there, with their configuration.
type shelf struct {
	mu       sync.Mutex
	versions map[string]*faas.Version // by name:qualifier
	configs  map[string]faas.AsyncConfig
}

func (s *shelf) put(id faas.FunctionID, edit func(*faas.Version)) *faas.Version {
	v := &faas.Version{ID: faas.VersionID{Function: id, Number: faas.Latest}, Revision: "r-" + id.String(), State: faas.StateActive,
		Config: faas.Config{MemoryMB: 128, TimeoutSeconds: 60, InitTimeoutSeconds: 10, InstanceConcurrency: 1}}
	if edit != nil {
		edit(v)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[id.String()+":"] = v
	s.versions[id.String()+":"+v.ID.Number] = v
	return v
}

func (s *shelf) configure(id faas.FunctionID, c faas.AsyncConfig) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.configs[id.String()] = c
}

func (s *shelf) remove(id faas.FunctionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.configs, id.String())
	for key := range s.versions {
		if strings.HasPrefix(key, id.String()+":") {
			delete(s.versions, key)
		}
	}
}

func (s *shelf) Resolve(id faas.FunctionID, qualifier string) (*faas.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.versions[id.String()+":"+qualifier]; v != nil {
		return v, nil
	}
	cause := faas.ErrNoFunction
	if s.versions[id.String()+":"] != nil {
		cause = faas.ErrNoQualifier
	}
	return nil, &faas.Error{Code: faas.CodeNotFound, Subject: id.String(), Message: "Function not found", Cause: cause}
}

func (s *shelf) AsyncConfig(id faas.FunctionID, _ string) faas.AsyncConfig {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.configs[id.String()]
}

// ran is one run of a handler.
type ran struct {
	function, request, payload string
	attempt                    int
	at                         time.Time
	client                     string
}

// scene is a service over the fake engine and fake runtimes, in a bubble of fake time.
type scene struct {
	t      *testing.T
	engine *fake.Engine
	shelf  *shelf
	quota  *quota.Allocator
	pools  *pool.Pools
	m      *metric.Registry
	invoke *invoke.Service
	async  *async.Service
	began  time.Time
	n      int

	mu      sync.Mutex
	runs    []ran
	handles map[string]func(ctx context.Context, e *faas.Event) (faas.Outcome, error)
	running map[string]int
	peaks   map[string]int
}

// play runs f with a scene; edit may change the options of its service.
func play(t *testing.T, edit func(*async.Options), f func(s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{t: t, engine: fake.New(), quota: quota.New(quota.Options{}), m: metric.New(), began: time.Now(),
			shelf:   &shelf{versions: map[string]*faas.Version{}, configs: map[string]faas.AsyncConfig{}},
			handles: map[string]func(context.Context, *faas.Event) (faas.Outcome, error){}, running: map[string]int{}, peaks: map[string]int{}}
		s.open(edit)
		f(s)
		s.close()
		s.engine.Close()
		s.m.Close()
	})
}

// open starts a server over what the engine has.
func (s *scene) open(edit func(*async.Options)) {
	starter := pooltest.New(func(_ int, v *faas.Version) pooltest.Script {
		return pooltest.Script{Handle: func(ctx context.Context, e *faas.Event) (faas.Outcome, error) { return s.handle(ctx, v, e) }}
	})
	s.pools = pool.New(pool.Options{Starter: starter, Quota: s.quota, Metrics: s.m, Starts: 1 << 16})
	o := async.Options{Queue: s.engine.Queue(), History: s.engine.History(), Functions: s.shelf, Metrics: s.m,
		Freed: func(of faas.Scope) <-chan struct{} { return s.quota.Freed(quota.AccountOf(of)) },
		Idle:  func(id faas.FunctionID) int { return s.pools.Function(id).Idle }}
	if edit != nil {
		edit(&o)
	}
	s.async = async.New(o)
	s.invoke = invoke.New(invoke.Options{Resolver: s.shelf, Pools: s.pools, Quota: s.quota, Acceptor: s.async, Metrics: s.m})
	s.async.Start(s.invoke)
}

// close stops the server as the binary does.
func (s *scene) close() {
	s.t.Helper()
	s.async.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = s.pools.Drain(ctx)
	if err := s.async.Close(context.Background()); err != nil {
		s.t.Error(err)
	}
	if err := s.pools.Close(ctx); err != nil && ctx.Err() == nil {
		s.t.Error(err)
	}
}

func (s *scene) handle(ctx context.Context, v *faas.Version, e *faas.Event) (faas.Outcome, error) {
	name := v.ID.Function.Name
	s.mu.Lock()
	s.runs = append(s.runs, ran{name, e.RequestID, string(e.Payload), e.Attempt, time.Now(), string(e.ClientContext)})
	s.running[name]++
	s.peaks[name] = max(s.peaks[name], s.running[name])
	handle := s.handles[name]
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.running[name]--
		s.mu.Unlock()
	}()
	if handle == nil {
		return faas.Outcome{Payload: []byte(`"ok"`)}, nil
	}
	return handle(ctx, e)
}

// deploy makes a function whose handler is given; nil succeeds at once.
func (s *scene) deploy(name string, handle func(context.Context, *faas.Event) (faas.Outcome, error)) faas.FunctionID {
	id := function(name)
	s.shelf.put(id, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handles[name] = handle
	return id
}

// id makes the request id number n.
func requestID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

// send has one event accepted and returns its request id.
func (s *scene) send(id faas.FunctionID, payload string) string {
	s.t.Helper()
	s.n++
	req := &invoke.Request{RequestID: requestID(s.n), Function: id, Type: invoke.Event, Payload: []byte(payload)}
	res, err := s.invoke.Invoke(s.t.Context(), req)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.Accepted.RequestID
}

func (s *scene) get(id string) faas.EventRecord {
	s.t.Helper()
	r, err := s.async.Get(s.t.Context(), scope, id)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *scene) ran() []ran {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]ran(nil), s.runs...)
}

func (s *scene) peak(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peaks[name]
}

// events are the counters of a function.
func (s *scene) events(id faas.FunctionID) metric.EventCounts {
	for _, r := range s.m.Read() {
		if r.Key.Function == id && r.Totals != nil {
			return r.Totals.Events
		}
	}
	return metric.EventCounts{}
}

// reserve caps a function.
func (s *scene) reserve(id faas.FunctionID, executions int) {
	s.quota.Configure(quota.AccountOf(id.Scope), quota.Settings{Limits: faas.DefaultAccountLimits(),
		Functions: map[faas.FunctionID]quota.FunctionSettings{id: {Reserved: &faas.Amount{Unit: faas.UnitExecutions, Value: executions}}}})
}

func failing(context.Context, *faas.Event) (faas.Outcome, error) {
	return faas.Outcome{Payload: []byte(`{"errorType":"Error","errorMessage":"no luck"}`), FunctionError: "Unhandled", ErrorType: "Error"}, nil
}

func sleeping(d time.Duration) func(context.Context, *faas.Event) (faas.Outcome, error) {
	return pooltest.Sleep(d)
}

func accountOf(id faas.FunctionID) quota.Account { return quota.AccountOf(id.Scope) }

// off switches functions off.
func off(ids ...faas.FunctionID) quota.Settings {
	set := quota.Settings{Limits: faas.DefaultAccountLimits(), Functions: map[faas.FunctionID]quota.FunctionSettings{}}
	for _, id := range ids {
		set.Functions[id] = quota.FunctionSettings{Reserved: &faas.Amount{Unit: faas.UnitExecutions}}
	}
	return set
}

func refusalOf(err error) *faas.Refusal {
	var r *faas.Refusal
	if errors.As(err, &r) {
		return r
	}
	return nil
}

var errFull = engine.Failure(engine.ErrFull, "disk", "no room")

func settings(l faas.AccountLimits) quota.Settings { return quota.Settings{Limits: l} }

// linger is what something that takes time does in a scene.
func linger(d time.Duration) { time.Sleep(d) }

// pass lets time go by, and what is due then happen.
func (s *scene) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
