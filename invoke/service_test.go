package invoke_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/invoke"
	"hearth/keepalive"
	"hearth/metric"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/quota"
)

// shelf resolves the qualifiers that it holds.
type shelf map[string]*faas.Version

func (s shelf) Resolve(id faas.FunctionID, qualifier string) (*faas.Version, error) {
	if v, ok := s[qualifier]; ok {
		return v, nil
	}
	return nil, &faas.Error{Code: faas.CodeNotFound, Subject: id.String(), Message: "Function not found", Cause: faas.ErrNoFunction}
}

var id = faas.FunctionID{Name: "thumb",
	Scope: faas.Scope{Account: faas.DefaultAccount, Region: faas.DefaultRegion, Namespace: faas.DefaultNamespace}}

func version(state faas.State) *faas.Version {
	return &faas.Version{
		ID: faas.VersionID{Function: id, Number: "7"}, Revision: "r", State: state,
		Config: faas.Config{MemoryMB: 256, TimeoutSeconds: 3, InitTimeoutSeconds: 10, InstanceConcurrency: 1},
	}
}

// serve runs f in a bubble with a service over a fake starter; "" is the version
// that it calls.
func serve(t *testing.T, fake *pooltest.Starter, f func(t *testing.T, s *invoke.Service)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ps := pool.New(pool.Options{Starter: fake})
		s := invoke.New(invoke.Options{Resolver: shelf{"": version(faas.StateActive),
			"pending": version(faas.StatePending), "failed": version(faas.StateFailed)}, Pools: ps})
		f(t, s)
		if err := ps.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func request(payload string) *invoke.Request {
	return &invoke.Request{RequestID: "req-1", Function: id, Type: invoke.RequestResponse, Payload: []byte(payload), LogTail: true}
}

func TestInvokeColdThenWarm(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{StartTime: 20 * time.Millisecond, InitTime: 100500 * time.Microsecond, Handle: pooltest.Sleep(1200 * time.Microsecond)}
	})
	serve(t, fake, func(t *testing.T, s *invoke.Service) {
		cold, err := s.Invoke(t.Context(), request(""))
		if err != nil {
			t.Fatal(err)
		}
		r := cold.Report
		if string(cold.Outcome.Payload) != `"done"` || cold.ExecutedVersion != "7" || !strings.HasPrefix(string(cold.LogTail), "END RequestId: req-1") {
			t.Errorf("result %+v", cold)
		}
		if r.Start != faas.StartCold || r.Cold != faas.ColdRestart || r.Status != "success" || r.MemoryMB != 256 || r.MaxMemory != 30<<20 || r.Instance == "" {
			t.Errorf("report %+v", r)
		}
		// 1.2 ms + 100.5 ms = 101.7 ms, billed as 102.
		if r.Duration != 1200*time.Microsecond || r.Init != 100500*time.Microsecond || r.Billed != 102*time.Millisecond {
			t.Errorf("duration %v, init %v, billed %v", r.Duration, r.Init, r.Billed)
		}
		want := faas.Timeline{Sandbox: 20 * time.Millisecond, Init: r.Init, Handler: r.Duration}
		if r.Timeline != want {
			t.Errorf("timeline %+v, want %+v", r.Timeline, want)
		}
		warm, err := s.Invoke(t.Context(), request("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r = warm.Report
		if r.Start != faas.StartWarm || r.Cold != "" || r.Init != 0 || r.Billed != 2*time.Millisecond || r.Instance != cold.Report.Instance {
			t.Errorf("warm report %+v", r)
		}
		if reports := fake.Runtimes()[0].Reports(); len(reports) != 2 || reports[1].RequestID != "req-1" {
			t.Errorf("settled %+v", reports)
		}
	})
}

func TestInvokeChecksItsInput(t *testing.T) {
	long := strings.Repeat(" ", invoke.MaxPayload-1)
	for name, tt := range map[string]struct {
		edit func(*invoke.Request)
		code faas.ErrorCode
		text string
	}{
		"not JSON":        {func(r *invoke.Request) { r.Payload = []byte(`{"a":`) }, faas.CodeInvalidBody, "at byte 5"},
		"two values":      {func(r *invoke.Request) { r.Payload = []byte(`{} {}`) }, faas.CodeInvalidBody, "at byte 4"},
		"too large":       {func(r *invoke.Request) { r.Payload = []byte(long + "12") }, faas.CodeTooLarge, "6291456"},
		"largest":         {func(r *invoke.Request) { r.Payload = []byte(long + "1") }, "", ""},
		"asynchronous":    {func(r *invoke.Request) { r.Type = invoke.Event }, faas.CodeUnsupported, "RequestResponse"},
		"unknown type":    {func(r *invoke.Request) { r.Type = "Later" }, faas.CodeInvalid, `"Later"`},
		"unknown name":    {func(r *invoke.Request) { r.Qualifier = "nobody" }, faas.CodeNotFound, "not found"},
		"pending":         {func(r *invoke.Request) { r.Qualifier = "pending" }, faas.CodeNotReady, "Pending"},
		"failed":          {func(r *invoke.Request) { r.Qualifier = "failed" }, faas.CodeNotReady, "Failed"},
		"context":         {func(r *invoke.Request) { r.ClientContext = []byte("{") }, faas.CodeInvalidBody, "Client context"},
		"long context":    {func(r *invoke.Request) { r.ClientContext = bytes.Repeat([]byte("1"), 3000) }, faas.CodeTooLarge, "3583"},
		"dry run":         {func(r *invoke.Request) { r.Type = invoke.DryRun }, "", ""},
		"dry run unknown": {func(r *invoke.Request) { r.Type, r.Qualifier = invoke.DryRun, "nobody" }, faas.CodeNotFound, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := pooltest.New(nil)
			serve(t, fake, func(t *testing.T, s *invoke.Service) {
				req := request("{}")
				tt.edit(req)
				res, err := s.Invoke(t.Context(), req)
				switch {
				case tt.code == "" && (err != nil || res.ExecutedVersion != "7"):
					t.Errorf("%v, %v", res, err)
				case tt.code != "" && (!faas.IsCode(err, tt.code) || !strings.Contains(err.Error(), tt.text)):
					t.Errorf("error %v, want %s with %q", err, tt.code, tt.text)
				}
				if want := name == "largest"; (fake.Starts() > 0) != want {
					t.Errorf("%d starts", fake.Starts())
				}
			})
		})
	}
}

func TestInvokeDeliversWhatTheRuntimeNeeds(t *testing.T) {
	var got *faas.Event
	var left time.Duration
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{Handle: func(_ context.Context, e *faas.Event) (faas.Outcome, error) {
			got, left = e, time.Until(e.Deadline)
			return faas.Outcome{Payload: e.Payload}, nil
		}}
	})
	serve(t, fake, func(t *testing.T, s *invoke.Service) {
		req := request("")
		req.ClientContext, req.InvokedARN = []byte(`{"a":1}`), "arn:x"
		if _, err := s.Invoke(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		if string(got.Payload) != "{}" || got.RequestID != "req-1" || got.InvokedARN != "arn:x" || string(got.ClientContext) != `{"a":1}` {
			t.Errorf("event %+v", got)
		}
		if left != 3*time.Second {
			t.Errorf("%v left", left)
		}
		if !regexp.MustCompile(`^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0$`).MatchString(got.TraceID) {
			t.Errorf("trace %q", got.TraceID)
		}
		req.TraceID = "Root=mine"
		if _, err := s.Invoke(t.Context(), req); err != nil || got.TraceID != "Root=mine" {
			t.Errorf("trace %q, %v", got.TraceID, err)
		}
	})
}

func TestInvokeAnswersFailuresAsLambda(t *testing.T) {
	worded := pooltest.Failed(pool.FailedExit)
	worded.ForRequest = func(id string) faas.Outcome {
		return faas.Outcome{Payload: []byte(`"for ` + id + `"`), FunctionError: "Unhandled", ErrorType: "Runtime.ExitError"}
	}
	for name, tt := range map[string]struct {
		script  pooltest.Script
		payload string
		status  string
		billed  time.Duration
	}{
		"timeout": {pooltest.Script{Handle: pooltest.Sleep(time.Hour), KillTime: time.Second},
			`{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: req-1 Error: Task timed out after 3.00 seconds"}`, "timeout", 3 * time.Second},
		"init error": {pooltest.Script{InitErr: pooltest.Failed(pool.FailedInit), InitTime: time.Second},
			`{"errorType":"Fake.init","errorMessage":"scripted"}`, "error", time.Second},
		"init exit": {pooltest.Script{InitErr: worded}, `"for req-1"`, "exit", 0},
		"init timeout": {pooltest.Script{InitTime: time.Hour},
			`{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: req-1 Error: Task timed out after 3.00 seconds"}`, "timeout", 3 * time.Second},
		"oom": {pooltest.Script{Handle: func(context.Context, *faas.Event) (faas.Outcome, error) {
			return faas.Outcome{}, pooltest.Failed(pool.FailedOOM)
		}}, `{"errorType":"Fake.oom","errorMessage":"scripted"}`, "oom", 0},
		"function error": {pooltest.Script{Handle: func(context.Context, *faas.Event) (faas.Outcome, error) {
			return faas.Outcome{Payload: []byte(`{"errorType":"E"}`), FunctionError: "Unhandled", ErrorType: "E"}, nil
		}}, `{"errorType":"E"}`, "error", 0},
	} {
		t.Run(name, func(t *testing.T) {
			fake := pooltest.New(func(int, *faas.Version) pooltest.Script { return tt.script })
			serve(t, fake, func(t *testing.T, s *invoke.Service) {
				res, err := s.Invoke(t.Context(), request("{}"))
				if err != nil {
					t.Fatal(err)
				}
				if string(res.Outcome.Payload) != tt.payload || res.Outcome.FunctionError != "Unhandled" || !json.Valid(res.Outcome.Payload) {
					t.Errorf("outcome %s %+v", res.Outcome.Payload, res.Outcome)
				}
				if res.Report.Status != tt.status || res.Report.Billed != tt.billed || res.Report.ErrorType != res.Outcome.ErrorType {
					t.Errorf("report %+v", res.Report)
				}
				if strings.HasPrefix(name, "init") && res.Report.Duration != 0 {
					t.Errorf("no handler ran, and it took %v", res.Report.Duration)
				}
				if len(res.LogTail) == 0 {
					t.Error("the invocation was not settled")
				}
				if name != "function error" && name != "oom" && fake.Running() != 0 {
					t.Error("answered while the instance lives")
				}
			})
		})
	}
}

func TestInvokeAnswersTheStoredInitError(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitErr: pooltest.Failed(pool.FailedInit)}
	})
	serve(t, fake, func(t *testing.T, s *invoke.Service) {
		for range 3 {
			res, err := s.Invoke(t.Context(), request("{}"))
			if err != nil || res.Outcome.ErrorType != "Fake.init" || res.Outcome.FunctionError != "Unhandled" {
				t.Errorf("%+v, %v", res, err)
			}
		}
		if fake.Starts() != 1 {
			t.Errorf("%d starts", fake.Starts())
		}
	})
}

func TestInvokeRunsOnAfterItsCallerLeft(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{Handle: pooltest.Sleep(time.Second)}
	})
	serve(t, fake, func(t *testing.T, s *invoke.Service) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := s.Invoke(ctx, request("{}")); err != nil {
			t.Error(err)
		}
		if report, ok := s.Find("req-1"); !ok || report.Status != "success" || report.Duration != time.Second {
			t.Errorf("report %+v", report)
		}
	})
}

func TestPlatformErrorsAreNoFunctionErrors(t *testing.T) {
	secret := errors.New("open /var/secret")
	fake := pooltest.New(func(n int, _ *faas.Version) pooltest.Script {
		if n == 0 {
			return pooltest.Script{StartErr: secret}
		}
		return pooltest.Script{Handle: func(context.Context, *faas.Event) (faas.Outcome, error) { return faas.Outcome{}, secret }}
	})
	serve(t, fake, func(t *testing.T, s *invoke.Service) {
		for range 2 {
			if res, err := s.Invoke(t.Context(), request("{}")); res != nil || !faas.IsCode(err, faas.CodeInternal) {
				t.Errorf("%v, %v", res, err)
			}
		}
	})
}

// full is a quota without room.
type full struct{ quota.Unlimited }

func (full) Admit(*faas.Version, quota.Kind) (quota.Lease, error) {
	return nil, faas.Errorf(faas.CodeThrottled, "account", "Rate exceeded")
}

func TestInvokeAsksTheQuota(t *testing.T) {
	fake := pooltest.New(nil)
	s := invoke.New(invoke.Options{Resolver: shelf{"": version(faas.StateActive)}, Quota: full{}})
	if _, err := s.Invoke(t.Context(), request("{}")); !faas.IsCode(err, faas.CodeThrottled) || fake.Starts() != 0 {
		t.Errorf("error %v", err)
	}
}

func TestRecentIsBounded(t *testing.T) {
	fake := pooltest.New(nil)
	serve(t, fake, func(t *testing.T, s *invoke.Service) {
		for i := range 100 {
			req := request("{}")
			req.RequestID = fmt.Sprint("r", i)
			if _, err := s.Invoke(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		list := s.Recent(id)
		if len(list) != 32 {
			t.Fatalf("%d reports", len(list))
		}
		for i, r := range list {
			if want := fmt.Sprint("r", 99-i); r.RequestID != want {
				t.Errorf("at %d: %s, want %s", i, r.RequestID, want)
			}
		}
		if _, ok := s.Find("r68"); !ok {
			t.Error("r68 is not found")
		}
		if _, ok := s.Find("r67"); ok {
			t.Error("r67 is found")
		}
		if s.Recent(faas.FunctionID{Name: "other"}) != nil {
			t.Error("reports of a function that was never called")
		}
	})
}

// anyone resolves every function to a version of its own.
type anyone struct{}

func (anyone) Resolve(id faas.FunctionID, _ string) (*faas.Version, error) {
	v := version(faas.StateActive)
	v.ID.Function = id
	return v, nil
}

func TestRecentForgetsTheFunctionsThatWereCalledLongestAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := pool.New(pool.Options{Starter: pooltest.New(nil), KeepAlive: keepalive.Fixed(time.Millisecond)})
		s := invoke.New(invoke.Options{Resolver: anyone{}, Pools: ps})
		for i := range 1025 {
			req := request("{}")
			req.Function.Name = fmt.Sprint("f", i)
			if _, err := s.Invoke(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		for i, want := range map[int]int{0: 0, 1: 1, 1024: 1} {
			other := id
			other.Name = fmt.Sprint("f", i)
			if got := len(s.Recent(other)); got != want {
				t.Errorf("f%d: %d reports, want %d", i, got, want)
			}
		}
		if err := ps.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestInvocationsThatShareAnInstanceAreBilledOnce(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{InitTime: 100 * time.Millisecond, Handle: pooltest.Sleep(50 * time.Millisecond)}
	})
	synctest.Test(t, func(t *testing.T) {
		ps := pool.New(pool.Options{Starter: fake})
		v := version(faas.StateActive)
		v.Config.InstanceConcurrency = 10
		s := invoke.New(invoke.Options{Resolver: shelf{"": v}, Pools: ps})
		var wg sync.WaitGroup
		var billed atomic.Int64
		for i := range 10 {
			wg.Go(func() {
				// The last five come 10 ms after the first, all of which wait for init.
				time.Sleep(time.Duration(i/5) * 110 * time.Millisecond)
				res, err := s.Invoke(t.Context(), request(""))
				if err != nil {
					t.Error(err)
					return
				}
				billed.Add(int64(res.Report.Billed))
			})
		}
		wg.Wait()
		// Init, and the handlers' time from 100 ms to 160 ms.
		if got := time.Duration(billed.Load()); got != 160*time.Millisecond || fake.Starts() != 1 {
			t.Errorf("billed %v on %d instances", got, fake.Starts())
		}
		if err := ps.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestAliasNeverCountsMoreThanItsInstancesHold hands the place of one call to the
// next again and again: on the alias too there is one at a time.
func TestAliasNeverCountsMoreThanItsInstancesHold(t *testing.T) {
	m := metric.New()
	defer m.Close()
	q := quota.New(quota.Options{})
	q.Configure(quota.AccountOf(id.Scope), quota.Settings{Limits: faas.AccountLimits{MemoryMB: 256, Executions: 100}})
	ps := pool.New(pool.Options{Starter: pooltest.New(nil), Quota: q, Metrics: m})
	s := invoke.New(invoke.Options{Resolver: shelf{"live": version(faas.StateActive)}, Pools: ps, Quota: q, Metrics: m})
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for range 2000 {
				req := request("{}")
				req.Qualifier = "live"
				if _, err := s.Invoke(context.Background(), req); err != nil && !faas.IsCode(err, faas.CodeThrottled) {
					t.Error(err)
				}
			}
		})
	}
	calls.Wait()
	if err := ps.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, r := range m.Read() {
		if l := r.Levels[metric.InFlight]; max(l.Minute, l.LastMinute) > 1 {
			t.Errorf("%d calls of %+v in flight at once", max(l.Minute, l.LastMinute), r.Key)
		}
	}
}
