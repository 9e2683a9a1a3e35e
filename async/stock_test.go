package async_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"hearth/async"
	"hearth/engine"
	"hearth/faas"
)

// long is which event of those of stocked lasts long.
const long = 200

// stocked has a function with one instance run short events until some are fetched
// before there is room for them. Then one holds the instance for as long as longer
// says. It returns the request ids of all, in order.
func stocked(s *scene, longer time.Duration) (f faas.FunctionID, ids []string) {
	f = s.deploy("f", func(ctx context.Context, e *faas.Event) (faas.Outcome, error) {
		if string(e.Payload) == "1" {
			return sleeping(longer)(ctx, e)
		}
		return sleeping(time.Millisecond)(ctx, e)
	})
	s.quota.Configure(accountOf(f), off(f))
	for n := range long + 50 {
		payload := "0"
		if n == long {
			payload = "1"
		}
		ids = append(ids, s.send(f, payload))
	}
	s.reserve(f, 1)
	for len(s.ran()) <= long {
		s.pass(time.Millisecond)
	}
	return f, ids
}

// inFlight counts what the queue has handed out of a function.
func (s *scene) inFlight(f faas.FunctionID) int {
	for _, b := range s.engine.Queue().Backlogs() {
		if b.Key == f.Account+"/"+f.Region+"/"+f.Namespace+"/"+f.Name {
			return b.InFlight
		}
	}
	return 0
}

// TestEventsAreFetchedAheadAndGivenBack has an event that lasts long come between
// short ones: what was fetched to follow at once goes back to the disk.
func TestEventsAreFetchedAheadAndGivenBack(t *testing.T) {
	play(t, nil, func(s *scene) {
		f, ids := stocked(s, 50*time.Second)
		if n := s.inFlight(f); n < 5 || n > 65 {
			s.t.Errorf("%d events are in flight beside a short function's one attempt", n)
		}
		s.pass(2 * time.Second)
		if n := s.inFlight(f); n != 1 {
			s.t.Errorf("%d events are in flight while one runs for long", n)
		}
		s.pass(2 * time.Minute)
		s.wantOrder(ids)
	})
}

// wantOrder fails unless all events ran, once each and in this order.
func (s *scene) wantOrder(ids []string) {
	s.t.Helper()
	runs := s.ran()
	if len(runs) != len(ids) {
		s.t.Fatalf("%d of %d ran", len(runs), len(ids))
	}
	for n, r := range runs {
		if r.request != ids[n] {
			s.t.Fatalf("%s ran as number %d, in place of %s", r.request, n, ids[n])
		}
	}
}

// TestAnEventFetchedAheadIsTerminated ends one that waits for its turn in memory:
// it does not run.
func TestAnEventFetchedAheadIsTerminated(t *testing.T) {
	play(t, nil, func(s *scene) {
		_, ids := stocked(s, 100*time.Millisecond)
		if err := s.async.Terminate(s.t.Context(), scope, ids[long+2], 0); err != nil {
			s.t.Fatal(err)
		}
		s.pass(time.Minute)
		if r := s.get(ids[long+2]); r.Status != faas.EventAborted || r.Reason != faas.DropTerminated || len(r.Attempts) != 0 {
			s.t.Errorf("%+v", r)
		}
		s.wantOrder(append(ids[:long+2:long+2], ids[long+3:]...))
	})
}

// TestAnEventFetchedAheadHasTheConfigurationOfItsBeginning changes what is configured
// while an event waits for its turn in memory.
func TestAnEventFetchedAheadHasTheConfigurationOfItsBeginning(t *testing.T) {
	play(t, nil, func(s *scene) {
		f, ids := stocked(s, 500*time.Millisecond)
		s.pass(100 * time.Millisecond)
		g := s.deploy("g", nil)
		s.shelf.configure(f, faas.AsyncConfig{OnSuccess: to(g)})
		s.pass(time.Minute)
		if r := s.get(ids[long+1]); r.Status != faas.EventDone || len(r.Deliveries) != 1 {
			s.t.Errorf("%+v", r)
		}
	})
}

// TestARefusedEventKeepsItsPlaceBeforeThoseFetchedAhead switches a function off and on
// while events wait for their turn in memory.
func TestARefusedEventKeepsItsPlaceBeforeThoseFetchedAhead(t *testing.T) {
	play(t, nil, func(s *scene) {
		f, ids := stocked(s, 100*time.Millisecond)
		s.quota.Configure(accountOf(f), off(f))
		s.pass(200 * time.Millisecond)
		if n := s.inFlight(f); n != 0 {
			s.t.Errorf("%d events of a function that is switched off are in flight", n)
		}
		s.reserve(f, 1)
		s.pass(10 * time.Minute)
		s.wantOrder(ids)
	})
}

// slowQueue hands events out a moment after it has taken them from their places.
type slowQueue struct{ engine.Queue }

func (q slowQueue) Fetch(ctx context.Context, key string, n int) ([]engine.Event, error) {
	events, err := q.Queue.Fetch(ctx, key, n)
	linger(15 * time.Millisecond)
	return events, err
}

// TestWhatIsFetchedBehindARefusedEventGoesBackToo has refusals come at every moment
// between two fetches, some of which are under way then.
func TestWhatIsFetchedBehindARefusedEventGoesBackToo(t *testing.T) {
	play(t, func(o *async.Options) { o.Queue = slowQueue{o.Queue} }, func(s *scene) {
		f := s.deploy("f", sleeping(5*time.Millisecond))
		s.reserve(f, 1)
		var ids []string
		for range 1500 {
			ids = append(ids, s.send(f, ""))
		}
		for n := range 16 { // a stock lasts 20 ms, a fetch 15 ms
			s.pass(200*time.Millisecond + time.Duration(n)*2*time.Millisecond)
			s.quota.Configure(accountOf(f), off(f))
			s.pass(6 * time.Millisecond)
			s.reserve(f, 1)
		}
		s.pass(time.Hour)
		s.wantOrder(ids)
	})
}

// TestNoInstanceIsStartedBesideOneThatWasGivenBack has attempts take their time between
// giving their instance back and telling so, while the CPUs have no time to spare.
func TestNoInstanceIsStartedBesideOneThatWasGivenBack(t *testing.T) {
	edit := func(o *async.Options) {
		o.Saturated = func() bool { return true }
		o.Trap = func(point string) {
			if point == "ran" {
				linger(60 * time.Millisecond)
			}
		}
	}
	play(t, edit, func(s *scene) {
		f := s.deploy("f", sleeping(20*time.Millisecond))
		for range 400 {
			s.send(f, "")
		}
		s.pass(time.Minute)
		if n, most := s.pools.Function(f).Idle, 2*runtime.GOMAXPROCS(0); n > most || len(s.ran()) != 400 {
			s.t.Errorf("%d instances, more than %d, ran %d events", n, most, len(s.ran()))
		}
	})
}
