package quota_test

import (
	"errors"
	"testing"

	"hearth/faas"
	"hearth/quota"
)

// TestRefusalsInWords has each refusal say which limit it was, its value, its use
// and what to do.
func TestRefusalsInWords(t *testing.T) {
	f := version("resize", "1", 256, 1)
	for _, c := range []struct {
		before  func(*scene)
		ask     func(*scene) error
		says    string
		subject string
	}{
		{func(s *scene) { s.reserve("resize", faas.UnitExecutions, 0, 256) }, admit(f),
			"throttled switched-off: function resize is switched off: its reserved concurrency is 0; switch it on with `hearth quota reserve resize N` or `hearth quota unreserve resize`", f.ID.Function.String()},
		{func(s *scene) { s.reserve("resize", faas.UnitExecutions, 2, 256); s.fill(f) }, admit(f),
			"throttled reserved: function resize uses 2 of its 2 reserved executions; raise it with `hearth quota reserve resize N`", f.ID.Function.String()},
		{func(s *scene) { s.reserve("resize", faas.UnitMemoryMB, 700, 256); s.fill(f) }, start(f),
			"throttled reserved: function resize uses 512 of its 700 reserved MB, and 256 more are needed; raise it with `hearth quota reserve resize SIZE`", f.ID.Function.String()},
		{func(s *scene) {
			s.limit(func(l *faas.AccountLimits) { l.Executions = 10 })
			s.fill(version("other", "1", 128, 1))
			s.reserve("resize", faas.UnitExecutions, 5, 128)
		}, admit(f),
			"throttled reserved: the reserved concurrency of function resize is still filling: 0 of its 5 executions are set aside so far and 0 are in use; wait: it fills first from whatever ends in the account", f.ID.Function.String()},
		{func(s *scene) { s.limit(func(l *faas.AccountLimits) { l.FunctionMaximum = 3 }); s.fill(f) }, start(f),
			"throttled function-maximum: function resize has 3 of at most 3 instances busy, starting or provisioned; raise it with `hearth quota account --function-maximum N`", f.ID.Function.String()},
		{func(s *scene) {
			s.function("resize", func(f *quota.FunctionSettings) { n := 2; f.Maximum = &n })
			s.fill(f)
		}, start(f),
			"throttled function-maximum: function resize has 2 of at most 2 instances busy, starting or provisioned; raise it with `hearth quota maximum resize N`", f.ID.Function.String()},
		{func(s *scene) { s.limit(func(l *faas.AccountLimits) { l.Executions = 4 }); s.fill(f) }, admit(f),
			"throttled account-executions: account 111111111111/eu-central-1 uses 4 of its 4 executions; raise it with `hearth quota account --executions N`", account.String()},
		{func(s *scene) {
			s.reserve("kept", faas.UnitMemoryMB, 12_800, 128)
			s.limit(func(l *faas.AccountLimits) { l.MemoryMB = 13_800 })
			s.fill(f)
		}, start(f),
			"throttled account-memory: account 111111111111/eu-central-1 uses 768 of its 1000 shared MB (13800 less 12800 that are set aside for reserved and provisioned concurrency), and 256 more are needed; raise it with `hearth quota account --memory MB`", account.String()},
		{func(s *scene) { s.limit(func(l *faas.AccountLimits) { l.Expansion = 5 }); s.fill(f) }, start(f),
			"throttled expansion: expansion limited: account 111111111111/eu-central-1 has started 5 of at most 5 instances in the last 60 s; wait 60 s, or raise it with `hearth quota account --expansion N`", account.String()},
		{func(s *scene) {
			s.limit(func(l *faas.AccountLimits) { l.Expansion = 5 })
			if _, err := s.Start(f, quota.Ahead); err != nil {
				s.t.Fatal(err)
			}
		}, func(s *scene) error { _, err := s.Start(f, quota.Ahead); return err },
			"throttled expansion: expansion limited: account 111111111111/eu-central-1 has started 1 of at most 1 instances that no invocation waits for in the last 60 s; wait 60 s, or raise it with `hearth quota account --expansion N`", account.String()},
		{func(s *scene) {
			s.limit(func(l *faas.AccountLimits) { l.Executions = 200 })
			for range 100 {
				if _, err := s.Admit(f, quota.Synchronous); err != nil {
					s.t.Fatal(err)
				}
			}
		}, func(s *scene) error { _, err := s.Admit(f, quota.Asynchronous); return err },
			"throttled synchronous-share: asynchronous invocations may use 100 executions of account 111111111111/eu-central-1 and 100 are in use: 100 stay free for synchronous ones; wait until others end, or raise it with `hearth quota account --executions N`", account.String()},
		{func(*scene) {}, func(s *scene) error { _, err := s.Start(f, quota.ForProvisioned); return err },
			"throttled account-memory: function resize has 0 of the 0 provisioned instances that are wanted of this version; raise it with `hearth quota provision resize QUALIFIER N`", account.String()},
	} {
		s := newScene(t)
		c.before(s)
		err := c.ask(s)
		if err == nil || err.Error() != c.says {
			t.Errorf("got\n\t%v\nwant\n\t%s", err, c.says)
			continue
		}
		var r *faas.Refusal
		if !errors.As(err, &r) || r.Subject != c.subject {
			t.Errorf("%+v is not of %s", r, c.subject)
		}
	}
}

func admit(v *faas.Version) func(*scene) error {
	return func(s *scene) error { _, err := s.Admit(v, quota.Synchronous); return err }
}

func start(v *faas.Version) func(*scene) error {
	return func(s *scene) error { _, err := s.Start(v, quota.ForCall); return err }
}

// fill runs calls until one is refused.
func (s *scene) fill(v *faas.Version) {
	s.t.Helper()
	if calls, err := s.runMany(v, 5000); err == nil {
		s.t.Fatalf("%d calls and nothing is full", len(calls))
	}
}
