package hostile

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/test/e2e"
)

func TestMain(m *testing.M) {
	code := m.Run()
	e2e.CleanUp()
	os.Exit(code)
}

// long says whether the long forms run.
func long() bool { return os.Getenv("HEARTH_LONG") != "" }

// language is one of the managed runtimes, with the functions of testdata.
type language struct {
	name     string // the folder in testdata
	runtime  string
	handler  string
	settings settings // a deployment of the bad functions
}

// stage is a server with a good neighbour of each language, whom nothing that a
// test does may disturb.
type stage struct {
	*e2e.Server
	api
	languages  []language
	neighbours []*neighbour
}

// newStage starts a server and its neighbours. Arguments go to the server. When
// the test ends the server stops and may leave nothing on the machine.
func newStage(t *testing.T, args ...string) *stage {
	t.Helper()
	s := &stage{}
	t.Cleanup(func() { // after the server has stopped
		if s.Server != nil && strings.Contains(s.Log(), "level=ERROR") {
			t.Errorf("the server met errors that were not the functions' own:\n%s", s.Log())
		}
	})
	// What processes there are is looked at: none but the functions' own.
	s.Server = e2e.Start(t, append(args, "--cells", "off")...)
	s.api = api{s.URL}
	s.languages = languages(t, s.Server)
	for _, l := range s.languages {
		s.neighbours = append(s.neighbours, s.settle(t, l))
	}
	return s
}

// languages are the managed runtimes, each the newest that this machine has.
func languages(t *testing.T, s *e2e.Server) []language {
	t.Helper()
	found := []language{
		{name: "node", runtime: s.Newest(t, "nodejs"), handler: "index.handler"},
		{name: "python", runtime: s.Newest(t, "python"), handler: "app.handler"},
	}
	for i := range found {
		l := &found[i]
		l.settings = settings{
			"runtime": l.runtime, "handler": l.handler, "memoryMB": 1769, "timeoutSeconds": 20, "egress": "none",
			"zip": packDir(t, l.name, nil),
		}
	}
	return found
}

// neighbour is a function that is called again and again in one instance. Its
// module counter tells whether anybody ended or replaced that instance.
type neighbour struct {
	name string
	api  api

	mu      sync.Mutex
	answers int
	worst   time.Duration
	fault   error
}

// pace is how often a neighbour is called; slowest is how long an answer of it
// may take. It is generous: machines that test are busy, and the rows fill both
// of their cores.
const (
	pace    = 20 * time.Millisecond
	slowest = 15 * time.Second
)

// settle deploys a neighbour and calls it until the test ends.
func (s *stage) settle(t *testing.T, l language) *neighbour {
	t.Helper()
	n := &neighbour{name: "neighbour-" + l.name, api: s.api}
	s.deploy(t, n.name, l.settings)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() {
		cancel()
		<-done
		if _, _, err := n.state(); err != nil {
			t.Errorf("%s: %v", n.name, err)
		}
	})
	n.once() // its instance is there before anything happens
	go func() {
		defer close(done)
		again := time.NewTicker(pace)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
				n.once()
			}
		}
	}()
	return n
}

// once calls the neighbour, unless it had a fault before.
func (n *neighbour) once() {
	answers, _, fault := n.state()
	if fault != nil {
		return
	}
	began := time.Now()
	out, err := n.api.invoke(n.name, do("count"))
	took := time.Since(began)
	if err == nil && !sameJSON(out.Payload, fmt.Sprintf(`{"count":%d}`, answers+1)) {
		err = fmt.Errorf("call %d answered %s", answers+1, out.Payload)
	}
	if err == nil && took > slowest {
		err = fmt.Errorf("call %d took %v", answers+1, took)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers, n.fault, n.worst = answers+1, err, max(n.worst, took)
}

func (n *neighbour) state() (answers int, worst time.Duration, fault error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.answers, n.worst, n.fault
}

// undisturbed runs fn and checks what holds for every row: each neighbour answers
// on, rightly and in time, and no process is left that was not there before.
func (s *stage) undisturbed(t *testing.T, fn func()) {
	t.Helper()
	answers := make([]int, len(s.neighbours))
	for i, n := range s.neighbours {
		answers[i], _, _ = n.state()
	}
	before := s.Processes()
	defer func() {
		t.Helper()
		for i, n := range s.neighbours {
			eventually(t, n.name+" answers", func() bool {
				now, _, fault := n.state()
				return now > answers[i] || fault != nil
			})
			if _, _, fault := n.state(); fault != nil {
				t.Errorf("%s was disturbed: %v", n.name, fault)
			}
		}
		var left []e2e.Process
		eventually(t, "nothing is left", func() bool {
			left = s.since(before)
			return len(left) == 0
		})
	}()
	fn()
}

// since lists the processes of functions that live now and did not before.
func (s *stage) since(before []e2e.Process) []e2e.Process {
	return slices.DeleteFunc(e2e.Living(s.Processes()), func(p e2e.Process) bool {
		return slices.ContainsFunc(before, func(b e2e.Process) bool { return b.PID == p.PID && b.Start == p.Start })
	})
}
