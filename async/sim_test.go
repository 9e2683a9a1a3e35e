package async_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/internal/seeds"
	"hearth/invoke"
)

// TestSimulation does a thousand of random things to a service, crashes included, and
// looks at the end whether each event that was accepted has one outcome and ran.
func TestSimulation(t *testing.T) {
	seeds.Run(t, 4, func(seed uint64) {
		play(t, nil, func(s *scene) { simulate(s, rand.New(rand.NewPCG(seed, 0))) })
	})
}

// simulation is what a run knows of its events.
type simulation struct {
	*scene
	random    *rand.Rand
	functions []faas.FunctionID
	accepted  []string
	of        map[string]faas.FunctionID
	aborted   map[string]bool // termination succeeded
	crashes   int
}

func simulate(s *scene, random *rand.Rand) {
	m := &simulation{scene: s, random: random, of: map[string]faas.FunctionID{}, aborted: map[string]bool{}}
	behaviours := map[string]func(context.Context, *faas.Event) (faas.Outcome, error){
		"quick": nil, "slow": sleeping(3 * time.Second), "long": sleeping(50 * time.Second), "bad": failing,
		"ordered": sleeping(time.Second),
		"moody": func(ctx context.Context, e *faas.Event) (faas.Outcome, error) {
			switch m.pick(4) {
			case 0:
				return failing(ctx, e)
			case 1:
				return faas.Outcome{}, errors.New("a fault")
			}
			return faas.Outcome{Payload: []byte("1")}, nil
		},
	}
	for _, name := range []string{"quick", "slow", "long", "bad", "moody", "ordered"} {
		m.functions = append(m.functions, s.deploy(name, behaviours[name]))
	}
	s.shelf.configure(function("quick"), faas.AsyncConfig{OnSuccess: to(function("slow"))})
	s.shelf.configure(function("bad"), faas.AsyncConfig{OnFailure: to(function("quick"))})
	m.limit("ordered", 1)
	for range 1000 {
		m.step()
	}
	for _, f := range m.functions {
		m.limit(f.Name, 1+m.pick(5))
	}
	m.limit("ordered", 1)
	time.Sleep(12 * time.Hour)
	synctest.Wait()
	m.check()
}

// pick is used by handlers too.
func (m *simulation) pick(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.random.IntN(n)
}

func (m *simulation) step() {
	switch n := m.pick(1000); {
	case n < 600:
		m.send(m.functions[m.pick(len(m.functions))])
	case n < 900:
		time.Sleep(time.Duration(m.pick(2000)) * time.Millisecond)
	case n < 940 && len(m.accepted) > 0:
		m.terminate(m.accepted[m.pick(len(m.accepted))])
	case n < 960:
		if f := m.functions[m.pick(len(m.functions)-1)]; f.Name != "ordered" {
			m.limit(f.Name, m.pick(6))
		}
	case n < 970:
		time.Sleep(time.Duration(m.pick(600)) * time.Second)
	case n < 980:
		m.crash()
	}
}

func (m *simulation) limit(name string, n int) { m.reserve(function(name), n) }

func (m *simulation) send(f faas.FunctionID) {
	m.n++
	req := &invoke.Request{RequestID: requestID(m.n), Function: f, Type: invoke.Event, Payload: fmt.Appendf(nil, "%d", m.n)}
	if _, err := m.invoke.Invoke(m.t.Context(), req); err != nil {
		m.t.Fatal(err)
	}
	m.accepted = append(m.accepted, req.RequestID)
	m.of[req.RequestID] = f
}

func (m *simulation) terminate(id string) {
	switch err := m.async.Terminate(m.t.Context(), scope, id, time.Duration(m.pick(2))*10*time.Second); {
	case err == nil:
		m.aborted[id] = true
	case !faas.IsCode(err, faas.CodeConflict):
		m.t.Errorf("terminate: %v", err)
	}
}

// crash ends the server such that what runs is cut off, and begins another over the
// same engine, where nothing is in flight.
func (m *simulation) crash() {
	m.crashes++
	m.async.Stop()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = m.pools.Drain(now)
	_ = m.async.Close(now)
	_ = m.pools.Close(now)
	synctest.Wait()
	for _, id := range m.accepted {
		m.engine.Queue().Release(id)
	}
	for _, b := range m.engine.Queue().Backlogs() {
		events, err := m.engine.Queue().List(context.Background(), b.Key, "", 100_000)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, e := range events {
			m.engine.Queue().Release(e.ID)
		}
	}
	m.open(nil)
}

func (m *simulation) check() {
	m.t.Helper()
	if q := m.async.Queues(scope); len(q) != 0 {
		m.t.Errorf("left: %+v", q)
	}
	runs := map[string][]ran{}
	for _, r := range m.ran() {
		runs[r.request] = append(runs[r.request], r)
	}
	for _, id := range m.accepted {
		r := m.get(id)
		m.checkOne(r, runs[id])
	}
	if m.t.Failed() {
		m.t.Logf("%d events, %d crashes", len(m.accepted), m.crashes)
	}
	m.checkOrdered(runs)
}

func (m *simulation) checkOne(r faas.EventRecord, runs []ran) {
	m.t.Helper()
	name := r.Function.Name
	ok := r.Status.Final() && !r.Ended.IsZero()
	switch {
	case r.Status == faas.EventAborted:
		ok = ok && r.Reason == faas.DropTerminated
	case r.Status == faas.EventExpired:
		ok = ok && r.Reason == faas.DropAge
	case m.aborted[r.RequestID]: // it ended by itself before the signal came
		ok = ok && len(runs) > 0
	case name == "bad":
		ok = ok && r.Status == faas.EventFailed && r.Reason == faas.DropRetries && len(runs) >= 3 && !r.Dropped
	case name == "moody":
		ok = ok && len(runs) > 0 && (r.Status == faas.EventDone || r.Reason == faas.DropRetries)
	default:
		ok = ok && r.Status == faas.EventDone && len(runs) > 0
	}
	for i := 1; i < len(runs); i++ {
		ok = ok && runs[i].attempt >= runs[i-1].attempt && runs[i].payload == runs[0].payload
	}
	if !ok {
		m.t.Errorf("%s of %s: %+v, ran %d times", r.RequestID, name, r, len(runs))
	}
}

// checkOrdered says whether the events of the function with one instance that never
// fails began in order, as far as no crash made one run again.
func (m *simulation) checkOrdered(runs map[string][]ran) {
	m.t.Helper()
	var last time.Time
	for _, id := range m.accepted {
		if m.of[id].Name != "ordered" || len(runs[id]) == 0 {
			continue
		}
		if first := runs[id][0].at; first.Before(last) {
			m.t.Errorf("%s began before one that was accepted before it", strings.TrimLeft(id, "0-"))
		} else {
			last = first
		}
	}
}
