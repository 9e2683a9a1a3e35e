package quota_test

import (
	"errors"
	"testing"
	"time"

	"hearth/faas"
	"hearth/quota"
)

// scene is an allocator with a clock that is moved by hand.
type scene struct {
	*quota.Allocator
	t        *testing.T
	now      time.Time
	settings quota.Settings
}

var account = quota.Account{ID: "111111111111", Region: "eu-central-1"}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, now: time.Unix(1_700_000_000, 0),
		settings: quota.Settings{Limits: faas.DefaultAccountLimits(), Functions: map[faas.FunctionID]quota.FunctionSettings{}}}
	s.Allocator = quota.New(quota.Options{Now: func() time.Time { return s.now }})
	return s
}

// limit changes the account's limits.
func (s *scene) limit(change func(*faas.AccountLimits)) {
	change(&s.settings.Limits)
	s.Configure(account, s.settings)
}

// function changes the settings of one function.
func (s *scene) function(name string, change func(*quota.FunctionSettings)) {
	id := functionID(name)
	f := s.settings.Functions[id]
	change(&f)
	functions := map[faas.FunctionID]quota.FunctionSettings{id: f}
	for other, settings := range s.settings.Functions {
		if other != id {
			functions[other] = settings
		}
	}
	s.settings.Functions = functions
	s.Configure(account, s.settings)
}

func (s *scene) reserve(name string, unit faas.Unit, value, memoryMB int) {
	s.function(name, func(f *quota.FunctionSettings) {
		f.Reserved = &faas.Amount{Unit: unit, Value: value}
		f.MemoryMB, f.Concurrency = memoryMB, 1
	})
}

func functionID(name string) faas.FunctionID {
	return faas.FunctionID{Scope: faas.Scope{Account: account.ID, Region: account.Region, Namespace: faas.DefaultNamespace}, Name: name}
}

func version(name, number string, memoryMB, concurrency int) *faas.Version {
	return &faas.Version{ID: faas.VersionID{Function: functionID(name), Number: number},
		Config: faas.Config{MemoryMB: memoryMB, InstanceConcurrency: concurrency}}
}

// call is one invocation on an instance of its own.
type call struct {
	admitted quota.Lease
	instance quota.StartLease
}

func (c call) end() {
	c.instance.Release()
	c.admitted.Release()
}

// run admits an invocation and starts an instance for it.
func (s *scene) run(v *faas.Version) (call, error) {
	admitted, err := s.Admit(v, quota.Synchronous)
	if err != nil {
		return call{}, err
	}
	instance, err := s.Start(v, quota.ForCall)
	if err != nil {
		admitted.Release()
		return call{}, err
	}
	return call{admitted, instance}, nil
}

// runMany runs calls until one is refused, at most n.
func (s *scene) runMany(v *faas.Version, n int) ([]call, error) {
	var calls []call
	for range n {
		c, err := s.run(v)
		if err != nil {
			return calls, err
		}
		calls = append(calls, c)
	}
	return calls, nil
}

func end(calls []call) {
	for _, c := range calls {
		c.end()
	}
}

// refused checks that an error is the refusal of a limit with this value and use.
func refused(t *testing.T, err error, limit faas.Limit, value, use int) *faas.Refusal {
	t.Helper()
	var known *faas.Error
	var r *faas.Refusal
	if !errors.As(err, &known) || !errors.As(err, &r) {
		t.Fatalf("got %v, want a refusal of %s", err, limit)
	}
	if known.Code != faas.CodeThrottled || known.Subject != string(limit) {
		t.Errorf("%s %s, want %s %s", known.Code, known.Subject, faas.CodeThrottled, limit)
	}
	if r.Limit != limit || r.Value != value || r.Use != use {
		t.Errorf("%s with %d of %d in use, want %s with %d of %d: %v", r.Limit, r.Use, r.Value, limit, use, value, err)
	}
	if r.Raise == "" || r.Subject == "" || r.Unit == "" {
		t.Errorf("the refusal does not say everything: %+v", r)
	}
	return r
}

// quiet checks that nothing is in use any more.
func (s *scene) quiet() {
	s.t.Helper()
	u := s.Usage(account)
	if u.Misuses != 0 {
		s.t.Errorf("%d leases were ended twice", u.Misuses)
	}
	for _, f := range u.Functions {
		for _, v := range f.Versions {
			if v.InFlight != 0 || v.OnDemand != 0 || v.Marked != 0 {
				s.t.Errorf("%s:%s is still in use: %+v", f.Function.Name, v.Version, v)
			}
		}
	}
}
