package invoke_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/invoke"
	"hearth/metric"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/quota"
)

// tight is a quota that refuses calls while it is told to.
type tight struct {
	quota.Unlimited
	refuses bool
}

func (q *tight) Admit(v *faas.Version, k quota.Kind) (quota.Lease, error) {
	if !q.refuses {
		return q.Unlimited.Admit(v, k)
	}
	r := &faas.Refusal{Limit: faas.LimitReserved, Unit: faas.UnitExecutions, Value: 5, Use: 5, Subject: v.ID.Function.String(), Raise: "raise it"}
	return nil, faas.Errorf(faas.CodeThrottled, string(r.Limit), "Rate exceeded: %w", r)
}

// metered runs f in a bubble with a service that counts and whose quota f switches.
func metered(t *testing.T, fake *pooltest.Starter, f func(t *testing.T, s *invoke.Service, q *tight, m *metric.Registry)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m, q := metric.New(), new(tight)
		defer m.Close()
		ps := pool.New(pool.Options{Starter: fake, Quota: q, Metrics: m})
		live := version(faas.StateActive)
		s := invoke.New(invoke.Options{Resolver: shelf{"": live, "live": live, "7": live}, Pools: ps, Quota: q, Metrics: m})
		f(t, s, q, m)
		if err := ps.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func counted(t *testing.T, m *metric.Registry, k metric.Key) metric.Reading {
	t.Helper()
	for _, r := range m.Read() {
		if r.Key == k {
			return r
		}
	}
	t.Fatalf("nothing is counted of %+v", k)
	return metric.Reading{}
}

// However many calls are refused, the reports of those that ran stay, and the
// last refusals can be found with the limit that refused them.
func TestAFloodOfRefusalsForgetsNoReport(t *testing.T) {
	metered(t, pooltest.New(nil), func(t *testing.T, s *invoke.Service, q *tight, m *metric.Registry) {
		if _, err := s.Invoke(t.Context(), request("{}")); err != nil {
			t.Fatal(err)
		}
		q.refuses = true
		for i := range 5000 {
			req := request("{}")
			req.RequestID, req.Qualifier = fmt.Sprint("refused-", i), "live"
			if _, err := s.Invoke(t.Context(), req); !faas.IsCode(err, faas.CodeThrottled) {
				t.Fatal(err)
			}
		}
		if r, ok := s.Find("req-1"); !ok || r.Status != faas.StatusSuccess {
			t.Errorf("the report is gone: %+v", r)
		}
		if len(s.Recent(id)) != 1 {
			t.Errorf("%d recent reports", len(s.Recent(id)))
		}
		r, ok := s.Find("refused-4999")
		if !ok || r.Status != faas.StatusRefused || r.Refusal == nil || r.Refusal.Limit != faas.LimitReserved || r.Qualifier != "live" || r.Start != "" || r.Instance != "" {
			t.Errorf("the last refusal is %+v", r)
		}
		if _, ok := s.Find("refused-3976"); !ok {
			t.Error("the oldest of 1,024 refusals is gone")
		}
		if _, ok := s.Find("refused-3975"); ok {
			t.Error("more than 1,024 refusals are kept")
		}
		if got := counted(t, m, metric.Key{Function: id}).Totals; got.Refused[faas.LimitReserved] != 5000 || got.Invocations != 1 || got.Errors != 0 {
			t.Errorf("counted %+v", got)
		}
	})
}

// The attempts of an event have one request id: the last is what people ask for.
func TestFindReturnsTheLastAttempt(t *testing.T) {
	metered(t, pooltest.New(nil), func(t *testing.T, s *invoke.Service, _ *tight, _ *metric.Registry) {
		began := time.Now().Add(2 * time.Minute)
		for range 3 {
			if _, err := s.Invoke(t.Context(), request("{}")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if r, ok := s.Find("req-1"); !ok || !r.Began.Equal(began) {
			t.Errorf("found the attempt of %s, want that of %s", r.Began, began)
		}
	})
}

func TestCallsThatNoInstanceRan(t *testing.T) {
	for name, test := range map[string]struct {
		script pooltest.Script
		status string
		limit  faas.Limit
	}{
		"no capacity":    {pooltest.Script{StartErr: faas.Errorf(faas.CodeNoCapacity, "slots", "the machine is full")}, faas.StatusRefused, faas.LimitMachine},
		"caller left":    {pooltest.Script{StartTime: time.Second}, faas.StatusCanceled, ""},
		"Hearth's fault": {pooltest.Script{StartErr: errors.New("no sandbox")}, faas.StatusError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fake := pooltest.New(func(int, *faas.Version) pooltest.Script { return test.script })
			metered(t, fake, func(t *testing.T, s *invoke.Service, _ *tight, _ *metric.Registry) {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if _, err := s.Invoke(ctx, request("{}")); err == nil {
					t.Fatal("it ran")
				}
				r, ok := s.Find("req-1")
				if !ok || r.Status != test.status || r.ErrorType == "" {
					t.Errorf("the report is %+v", r)
				}
				if (r.Refusal == nil) != (test.limit == "") || r.Refusal != nil && r.Refusal.Limit != test.limit {
					t.Errorf("the refusal is %+v, want %q", r.Refusal, test.limit)
				}
				if name == "caller left" && r.Timeline.Queue != 100*time.Millisecond {
					t.Errorf("it waited %v", r.Timeline.Queue)
				}
			})
		})
	}
}

// An alias counts the calls that instances hold for those who named it.
func TestAliasCountsItsCalls(t *testing.T) {
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script {
		return pooltest.Script{Handle: pooltest.Sleep(time.Second)}
	})
	metered(t, fake, func(t *testing.T, s *invoke.Service, _ *tight, m *metric.Registry) {
		done := make(chan error)
		for _, qualifier := range []string{"live", "live", "7", ""} {
			go func() {
				req := request("{}")
				req.Qualifier = qualifier
				_, err := s.Invoke(t.Context(), req)
				done <- err
			}()
		}
		synctest.Wait()
		k := metric.Key{Function: id, Alias: "live"}
		if got := counted(t, m, k).Levels[metric.InFlight]; got.Now != 2 {
			t.Errorf("in flight: %+v", got)
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if got := counted(t, m, k).Levels[metric.InFlight]; got.Now != 0 || got.Minute != 2 {
			t.Errorf("afterwards: %+v", got)
		}
		for _, r := range m.Read() {
			if r.Key.Alias != "" && r.Key != k {
				t.Errorf("there is a series of %+v", r.Key)
			}
		}
		totals := counted(t, m, metric.Key{Function: id}).Totals
		if totals.Invocations != 4 || totals.Errors != 0 || totals.Cold[faas.ColdRestart]+totals.Cold[faas.ColdScaleOut] != 4 {
			t.Errorf("the totals are %+v", totals)
		}
	})
}
