package async_test

import (
	"testing"
	"testing/synctest"
	"time"

	"hearth/async"
	"hearth/faas"
	"hearth/invoke"
	"hearth/metric"
)

func TestAnEventRunsOnceAndIsRemembered(t *testing.T) {
	play(t, nil, func(s *scene) {
		f := s.deploy("f", sleeping(time.Second))
		id := s.send(f, `{"n":1}`)
		if r := s.get(id); r.Status.Final() || r.Function != f || r.PayloadBytes != 7 {
			s.t.Errorf("accepted: %+v", r)
		}
		synctest.Wait()
		if r := s.get(id); r.Status != faas.EventRunning || len(r.Attempts) != 1 || r.Attempts[0].Instance == "" || !r.Attempts[0].Ended.IsZero() {
			s.t.Errorf("running: %+v", r)
		}
		time.Sleep(2 * time.Second)
		r := s.get(id)
		if r.Status != faas.EventDone || r.Reason != "" || len(r.Attempts) != 1 || r.Ended.Sub(r.Accepted) != time.Second {
			s.t.Fatalf("done: %+v", r)
		}
		if a := r.Attempts[0]; a.Number != 1 || a.Version != faas.Latest || a.Status != faas.StatusSuccess || a.Log.Until != a.Ended {
			s.t.Errorf("attempt %+v", a)
		}
		if runs := s.ran(); len(runs) != 1 || runs[0].attempt != 1 || runs[0].payload != `{"n":1}` || runs[0].request != id {
			s.t.Errorf("ran %+v", runs)
		}
		if n := s.events(f); n[metric.EventsAccepted] != 1 || n[metric.EventsStarted] != 1 || n[metric.EventsDropped] != 0 {
			s.t.Errorf("counted %v", n)
		}
	})
}

func TestFunctionErrorsAreTriedAgainAfterOneAndTwoMinutes(t *testing.T) {
	two, none := 2, 0
	for name, tt := range map[string]struct {
		config faas.AsyncConfig
		want   []time.Duration
	}{
		"default": {faas.AsyncConfig{}, []time.Duration{0, time.Minute, 3 * time.Minute}},
		"two":     {faas.AsyncConfig{Retries: &two}, []time.Duration{0, time.Minute, 3 * time.Minute}},
		"none":    {faas.AsyncConfig{Retries: &none}, []time.Duration{0}},
		"minute":  {faas.AsyncConfig{Delay: faas.RetryMinute}, []time.Duration{0, time.Minute, 2 * time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(s *scene) {
				f := s.deploy("f", failing)
				s.shelf.configure(f, tt.config)
				id := s.send(f, "")
				time.Sleep(time.Second)
				if r := s.get(id); name != "none" && (r.Status != faas.EventRetrying || r.Next.Sub(s.began) != time.Minute || r.Attempts[0].ErrorMessage != "no luck") {
					s.t.Errorf("after the first: %+v", r)
				}
				time.Sleep(time.Hour)
				r := s.get(id)
				if r.Status != faas.EventFailed || r.Reason != faas.DropRetries || !r.Dropped || len(r.Attempts) != len(tt.want) {
					s.t.Errorf("at the end: %+v", r)
				}
				runs := s.ran()
				if len(runs) != len(tt.want) {
					s.t.Fatalf("ran %d times", len(runs))
				}
				for i, run := range runs {
					if run.at.Sub(s.began) != tt.want[i] || run.attempt != i+1 || run.payload != "{}" {
						s.t.Errorf("run %d: %+v after %v", i, run, run.at.Sub(s.began))
					}
				}
				if n := s.events(f); n[metric.EventsDropped] != 1 || n[metric.EventsRetried] != uint64(len(tt.want)-1) {
					s.t.Errorf("counted %v", n)
				}
			})
		})
	}
}

func TestDelaysSurviveARestart(t *testing.T) {
	play(t, nil, func(s *scene) {
		f := s.deploy("f", failing)
		id := s.send(f, "")
		time.Sleep(30 * time.Second)
		s.close()
		time.Sleep(10 * time.Second)
		s.open(nil)
		time.Sleep(time.Hour)
		runs := s.ran()
		if len(runs) != 3 || runs[1].at.Sub(s.began) != time.Minute || runs[2].attempt != 3 {
			s.t.Errorf("ran %+v", runs)
		}
		if r := s.get(id); r.Reason != faas.DropRetries || len(r.Attempts) != 3 {
			s.t.Errorf("%+v", r)
		}
	})
}

func TestOneInstanceRunsEventsInOrder(t *testing.T) {
	play(t, nil, func(s *scene) {
		f := s.deploy("f", sleeping(100*time.Millisecond))
		s.reserve(f, 1)
		for range 200 {
			s.send(f, "")
		}
		time.Sleep(time.Minute)
		checkOrder(s, 200)
		if s.peak("f") != 1 {
			s.t.Errorf("%d at once", s.peak("f"))
		}
		if took := s.ran()[199].at.Sub(s.began); took > 21*time.Second {
			s.t.Errorf("the last began after %v", took)
		}
	})
}

func TestManyInstancesBeginEventsInOrder(t *testing.T) {
	play(t, nil, func(s *scene) {
		f := s.deploy("f", sleeping(time.Second))
		for range 1000 {
			s.send(f, "")
		}
		time.Sleep(time.Minute)
		checkOrder(s, 1000)
		// A second of work each, to be done in 10 s.
		if p := s.peak("f"); p < 90 || p > 300 {
			s.t.Errorf("%d instances", p)
		}
		if took := s.ran()[999].at.Sub(s.began); took > 12*time.Second {
			s.t.Errorf("the last began after %v", took)
		}
	})
}

// checkOrder says whether n events began in the order of their acceptance, as far as
// it can be told: what begins at the same instant has no order.
func checkOrder(s *scene, n int) {
	s.t.Helper()
	runs := s.ran()
	if len(runs) != n {
		s.t.Fatalf("ran %d times, want %d", len(runs), n)
	}
	latest := map[string]time.Time{}
	for _, r := range runs {
		latest[r.request] = r.at
	}
	for i := 2; i <= n; i++ {
		if latest[requestID(i)].Before(latest[requestID(i-1)]) {
			s.t.Fatalf("event %d began before the one that was accepted before it", i)
		}
	}
}

func TestARefusedQueueWaitsLongerEachTimeAndKeepsItsOrder(t *testing.T) {
	play(t, nil, func(s *scene) {
		f := s.deploy("f", nil)
		s.reserve(f, 0)
		var ids []string
		for range 3 {
			ids = append(ids, s.send(f, ""))
		}
		time.Sleep(time.Minute)
		q := s.async.Queues(scope)
		if len(q) != 1 || q[0].Waiting != 3 || q[0].Held == nil || q[0].Held.Limit != faas.LimitOff || !q[0].Next.After(time.Now()) || q[0].Age(time.Now()) != time.Minute {
			s.t.Errorf("queues %+v", q)
		}
		time.Sleep(time.Hour)
		if q := s.async.Queues(scope)[0]; q.Next.Sub(time.Now()) > 5*time.Minute {
			s.t.Errorf("the next try is in %v", time.Until(q.Next))
		}
		if len(s.ran()) != 0 {
			s.t.Error("a function ran that is switched off")
		}
		s.reserve(f, 1)
		time.Sleep(time.Second) // the change of the limit is a signal
		checkOrder(s, 3)
		for _, id := range ids {
			if r := s.get(id); r.Status != faas.EventDone || len(r.Attempts) != 1 || r.Attempts[0].Number != 1 {
				s.t.Errorf("%+v", r)
			}
		}
	})
}

func TestWhatIsTooOldExpires(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		play(t, nil, func(s *scene) {
			f := s.deploy("f", nil)
			s.reserve(f, 0)
			id := s.send(f, "")
			time.Sleep(7 * time.Hour)
			if r := s.get(id); r.Status != faas.EventExpired || r.Reason != faas.DropAge || r.Ended.Sub(r.Accepted) != 6*time.Hour {
				s.t.Errorf("%+v", r)
			}
		})
	})
	t.Run("behind one that runs for long", func(t *testing.T) {
		play(t, nil, func(s *scene) {
			f := s.deploy("f", sleeping(time.Hour))
			s.shelf.configure(f, faas.AsyncConfig{MaxAgeSeconds: 90, TimeoutSeconds: 7200})
			s.reserve(f, 1)
			first := s.send(f, "")
			time.Sleep(time.Second)
			second, third := s.send(f, ""), s.send(f, "")
			time.Sleep(5 * time.Minute)
			for _, id := range []string{second, third} {
				if r := s.get(id); r.Status != faas.EventExpired || r.Ended.Sub(r.Accepted) > 2*time.Minute+30*time.Second {
					s.t.Errorf("%+v", r)
				}
			}
			time.Sleep(time.Hour)
			if r := s.get(first); r.Status != faas.EventDone {
				s.t.Errorf("%+v", r)
			}
		})
	})
	t.Run("before its retry", func(t *testing.T) {
		play(t, nil, func(s *scene) {
			f := s.deploy("f", failing)
			s.shelf.configure(f, faas.AsyncConfig{MaxAgeSeconds: 100})
			id := s.send(f, "")
			time.Sleep(10 * time.Minute)
			if r := s.get(id); r.Status != faas.EventExpired || len(r.Attempts) != 2 {
				s.t.Errorf("%+v", r)
			}
		})
	})
}

func TestDeletedFunctionsAndQualifiers(t *testing.T) {
	play(t, nil, func(s *scene) {
		f, letters := s.deploy("f", nil), s.deploy("letters", nil)
		s.shelf.configure(f, faas.AsyncConfig{DeadLetter: faas.Destination(faas.FunctionARN(letters, ""))})
		s.reserve(f, 0)
		id := s.send(f, `"mine"`)
		s.n++
		req := &invoke.Request{RequestID: requestID(s.n), Function: f, Qualifier: "7", Type: invoke.Event}
		if _, err := s.invoke.Invoke(s.t.Context(), req); !faas.IsCode(err, faas.CodeNotFound) {
			s.t.Errorf("error %v", err)
		}
		s.shelf.remove(f)
		time.Sleep(10 * time.Minute)
		r := s.get(id)
		if r.Status != faas.EventFailed || r.Reason != faas.DropFunction || r.Dropped || len(r.Deliveries) != 1 {
			s.t.Errorf("%+v", r)
		}
		if runs := s.ran(); len(runs) != 1 || runs[0].function != "letters" || runs[0].payload != `"mine"` {
			s.t.Errorf("ran %+v", runs)
		}
	})
}

func TestTheBacklogIsBounded(t *testing.T) {
	play(t, func(o *async.Options) { o.Caps.KeyEvents, o.Caps.AccountEvents = 2, 3 }, func(s *scene) {
		f, g := s.deploy("f", nil), s.deploy("g", nil)
		s.quota.Configure(accountOf(f), off(f, g))
		s.send(f, "")
		s.send(f, "")
		s.n++
		_, err := s.invoke.Invoke(s.t.Context(), &invoke.Request{RequestID: requestID(s.n), Function: f, Type: invoke.Event})
		if refusal := refusalOf(err); refusal == nil || refusal.Limit != faas.LimitBacklog || refusal.Value != 2 || refusal.Use != 2 || refusal.Unit != faas.UnitEvents {
			s.t.Errorf("error %v", err)
		}
		s.send(g, "")
		s.n++
		_, err = s.invoke.Invoke(s.t.Context(), &invoke.Request{RequestID: requestID(s.n), Function: g, Type: invoke.Event})
		if refusal := refusalOf(err); refusal == nil || refusal.Value != 3 || refusal.Subject != f.Account {
			s.t.Errorf("error %v", err)
		}
	})
}

func TestAnIdempotencyKeyDropsDuplicates(t *testing.T) {
	play(t, nil, func(s *scene) {
		f, g := s.deploy("f", nil), s.deploy("g", nil)
		accept := func(n int, id faas.FunctionID) invoke.Accepted {
			res, err := s.invoke.Invoke(s.t.Context(), &invoke.Request{RequestID: requestID(n), Function: id, Type: invoke.Event, IdempotencyKey: "k"})
			if err != nil {
				s.t.Fatal(err)
			}
			return *res.Accepted
		}
		first, second, other := accept(1, f), accept(2, f), accept(3, g)
		if first.Duplicate || !second.Duplicate || second.RequestID != requestID(1) || other.Duplicate {
			s.t.Errorf("%+v %+v %+v", first, second, other)
		}
		time.Sleep(3 * time.Minute)
		if again := accept(4, f); again.Duplicate {
			s.t.Error("the window has no end")
		}
		time.Sleep(time.Minute)
		if n := len(s.ran()); n != 3 {
			s.t.Errorf("ran %d times", n)
		}
	})
}

func TestTerminate(t *testing.T) {
	play(t, nil, func(s *scene) {
		f := s.deploy("f", sleeping(time.Hour))
		s.shelf.configure(f, faas.AsyncConfig{TimeoutSeconds: 86_400})
		s.reserve(f, 1)
		first, second, third := s.send(f, ""), s.send(f, ""), s.send(f, "")
		time.Sleep(time.Minute)
		for _, grace := range []time.Duration{-1, async.MaxTerminationGrace + 1} {
			if err := s.async.Terminate(s.t.Context(), scope, first, grace); !faas.IsCode(err, faas.CodeInvalid) {
				s.t.Errorf("%v: %v", grace, err)
			}
		}
		if err := s.async.Terminate(s.t.Context(), scope, second, 0); err != nil {
			s.t.Error(err)
		}
		if r := s.get(second); r.Status != faas.EventAborted || r.Reason != faas.DropTerminated || r.Dropped || len(r.Attempts) != 0 {
			s.t.Errorf("waiting: %+v", r)
		}
		if err := s.async.Terminate(s.t.Context(), scope, first, 0); err != nil {
			s.t.Error(err)
		}
		if r := s.get(first); r.Status != faas.EventAborted || len(r.Attempts) != 1 || r.Attempts[0].Status != faas.StatusAborted {
			s.t.Errorf("running: %+v", r)
		}
		if err := s.async.Terminate(s.t.Context(), scope, first, 0); !faas.IsCode(err, faas.CodeConflict) {
			s.t.Errorf("twice: %v", err)
		}
		time.Sleep(time.Minute)
		if r := s.get(third); r.Status != faas.EventRunning {
			s.t.Errorf("the next: %+v", r)
		}
		if err := s.async.Terminate(s.t.Context(), scope, third, time.Second); err != nil {
			s.t.Error(err)
		}
		if r := s.get(third); r.Status != faas.EventAborted {
			s.t.Errorf("with grace: %+v", r)
		}
		if err := s.async.Terminate(s.t.Context(), scope, requestID(99), 0); !faas.IsCode(err, faas.CodeNotFound) {
			s.t.Errorf("unknown: %v", err)
		}
		other := scope
		other.Account = "111111111111"
		if err := s.async.Terminate(s.t.Context(), other, third, 0); !faas.IsCode(err, faas.CodeNotFound) {
			s.t.Errorf("of another account: %v", err)
		}
	})
}

func TestARestartRunsWhatWasCutOffWithTheSameNumber(t *testing.T) {
	play(t, nil, func(s *scene) {
		f := s.deploy("f", sleeping(2*time.Hour))
		s.shelf.configure(f, faas.AsyncConfig{TimeoutSeconds: 86_400})
		id := s.send(f, "")
		time.Sleep(time.Minute)
		s.close()                    // drains for 30 s, and kills
		s.engine.Queue().Release(id) // as a restart does
		s.open(nil)
		time.Sleep(3 * time.Hour)
		r := s.get(id)
		if r.Status != faas.EventDone || len(r.Attempts) != 2 || r.Attempts[0].Status != faas.StatusAborted || r.Attempts[1].Number != 1 {
			s.t.Errorf("%+v", r)
		}
		if runs := s.ran(); len(runs) != 2 || runs[1].attempt != 1 {
			s.t.Errorf("ran %+v", runs)
		}
	})
}

func TestStoppedServersAcceptNothing(t *testing.T) {
	play(t, nil, func(s *scene) {
		f := s.deploy("f", nil)
		s.async.Stop()
		_, err := s.async.Accept(s.t.Context(), &invoke.Request{RequestID: requestID(1), Function: f, Type: invoke.Event})
		if !faas.IsCode(err, faas.CodeShuttingDown) {
			s.t.Errorf("error %v", err)
		}
	})
}

func TestAFullDiskStopsAcceptanceNotExecution(t *testing.T) {
	play(t, nil, func(s *scene) {
		f := s.deploy("f", sleeping(time.Minute/2))
		id := s.send(f, "")
		s.engine.Refuse(errFull)
		_, err := s.async.Accept(s.t.Context(), &invoke.Request{RequestID: requestID(9), Function: f, Type: invoke.Event})
		if !faas.IsCode(err, faas.CodeDiskFull) {
			s.t.Errorf("error %v", err)
		}
		time.Sleep(time.Minute)
		if r := s.get(id); r.Status != faas.EventDone {
			s.t.Errorf("%+v", r)
		}
	})
}
