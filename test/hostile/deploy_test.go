package hostile

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestLife: what happens to a function while it runs.
func TestLife(t *testing.T) {
	s := newStage(t)
	for _, l := range s.languages {
		t.Run(l.name+"/deleted in flight", func(t *testing.T) { s.deletedInFlight(t, l) })
		t.Run(l.name+"/deployed in flight", func(t *testing.T) { s.deployedInFlight(t, l) })
		t.Run(l.name+"/counters", func(t *testing.T) { s.counters(t, l) })
		t.Run(l.name+"/deleted while it ignores SIGTERM", func(t *testing.T) { s.deletedIgnoring(t, l) })
	}
	// The last ones stay, so that the server's own stop meets them.
	for _, l := range s.languages {
		s.deploy(t, "stays-"+l.name, l.settings)
		s.mustInvoke(t, "stays-"+l.name, do("ignoreTerm"))
		s.mustInvoke(t, "stays-"+l.name, do("daemon"))
	}
}

// deletedInFlight: the call that began before the deletion is answered.
func (s *stage) deletedInFlight(t *testing.T, l language) {
	s.undisturbed(t, func() {
		s.deploy(t, "doomed", l.settings)
		answer := make(chan *invoked, 1)
		go func() {
			in, err := s.invoke("doomed", do("slow", "ms", 4000))
			if err != nil {
				t.Error(err)
			}
			answer <- in
		}()
		eventually(t, "the call is in flight", func() bool {
			busy, _, _ := s.instances(t, "doomed")
			return busy == 1
		})
		s.remove(t, "doomed")
		if r := s.must(t, http.MethodPost, "/hearth/v1/functions/doomed/invoke", do("count")); r.status != http.StatusNotFound {
			t.Errorf("invoking the deleted function: %v", r)
		}
		select {
		case in := <-answer:
			t.Errorf("the call ended before the function was deleted: %s", in.Payload)
		default:
		}
		if in := <-answer; in != nil && !sameJSON(in.Payload, `{"slept":4000,"count":1}`) {
			t.Errorf("the call in flight answered %s", in.Payload)
		}
	})
}

// deployedInFlight: no call fails while versions come and go, each is served by
// one version whole, and once a deployment is done no call meets what it replaced.
func (s *stage) deployedInFlight(t *testing.T, l language) {
	const callers, deployments = 4, 5
	var deployed atomic.Int64
	s.undisturbed(t, func() {
		s.deploy(t, "moving", l.settings.with(settings{"zip": s.numbered(t, l, 0)}))
		defer s.remove(t, "moving")
		stop := make(chan struct{})
		var all sync.WaitGroup
		var calls atomic.Int64
		for range callers {
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					oldest := deployed.Load()
					in, err := s.invoke("moving", do("slow", "ms", 30))
					if err != nil {
						t.Error(err)
						return
					}
					calls.Add(1)
					var number int64
					if _, err := fmt.Sscan(string(in.Payload), &number); err != nil || in.FunctionError != "" || number < oldest {
						t.Errorf("after deployment %d a call answered %s", oldest, in.Payload)
					}
				}
			})
		}
		for number := range deployments {
			before := calls.Load()
			s.deploy(t, "moving", settings{"zip": s.numbered(t, l, number+1)})
			deployed.Store(int64(number + 1))
			eventually(t, "calls go on", func() bool { return calls.Load() > before+callers || t.Failed() })
		}
		close(stop)
		all.Wait()
	})
}

// numbered is a function that answers, after a while, with a number.
func (s *stage) numbered(t *testing.T, l language, number int) []byte {
	source := map[string]map[string]string{
		"node": {"index.mjs": fmt.Sprintf("export const handler = async (event) => {\n"+
			"  await new Promise((resolve) => setTimeout(resolve, event.ms));\n  return %d;\n};\n", number)},
		"python": {"app.py": fmt.Sprintf("import time\n\ndef handler(event, context):\n    time.sleep(event['ms'] / 1000)\n    return %d\n", number)},
	}
	return pack(t, source[l.name])
}

// counters: a counter of the module counts on in one instance, and neither another
// instance nor another function of the same code shares it.
func (s *stage) counters(t *testing.T, l language) {
	s.undisturbed(t, func() {
		s.deploy(t, "one", l.settings)
		defer s.remove(t, "one")
		s.deploy(t, "two", l.settings)
		defer s.remove(t, "two")
		type counted struct{ Count int }
		for call := 1; call <= 3; call++ {
			if got := result[counted](t, s.mustInvoke(t, "one", do("count"))); got.Count != call {
				t.Errorf("call %d counted %d", call, got.Count)
			}
		}
		if got := result[counted](t, s.mustInvoke(t, "two", do("count"))); got.Count != 1 {
			t.Errorf("the other function counted %d", got.Count)
		}
		// Two at once: one in the instance that counted to 3, one in a new one.
		var both sync.WaitGroup
		var answers [2]*invoked
		for i := range answers {
			both.Go(func() {
				in, err := s.invoke("one", do("slow", "ms", 2000))
				if err != nil {
					t.Error(err)
				}
				answers[i] = in
			})
		}
		both.Wait()
		if answers[0] == nil || answers[1] == nil {
			return
		}
		a, b := result[counted](t, answers[0]).Count, result[counted](t, answers[1]).Count
		if min(a, b) != 1 || max(a, b) != 4 || answers[0].Report.Instance == answers[1].Report.Instance {
			t.Errorf("two calls at once counted %d and %d", a, b)
		}
	})
}

// deletedIgnoring: an instance that does not listen to SIGTERM ends all the same,
// soon.
func (s *stage) deletedIgnoring(t *testing.T, l language) {
	s.undisturbed(t, func() {
		s.deploy(t, "deaf", l.settings)
		result[any](t, s.mustInvoke(t, "deaf", do("ignoreTerm")))
		result[any](t, s.mustInvoke(t, "deaf", do("daemon")))
		began := time.Now()
		s.remove(t, "deaf")
		if took := time.Since(began); took > slowest {
			t.Errorf("the deletion took %v", took)
		}
	})
}
