package soak

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"hearth/test/e2e"
)

func TestMain(m *testing.M) {
	code := m.Run()
	e2e.CleanUp()
	os.Exit(code)
}

const (
	shortRun = 20 * time.Second
	longRun  = 10 * time.Minute
	// Fewer instances than callers, and fewer than there are revisions at a time.
	maxInstances = 12
	keepAlive    = 300 * time.Millisecond
)

// What may be there after the load and was not before: descriptors of a kind,
// threads (the runtime keeps what it made for calls that block) and memory (the
// race detector's own included).
const (
	slackFiles   = 2 * maxInstances // places that the first load did not come to
	slackThreads = 48
	slackMB      = 256
)

func TestSoak(t *testing.T) {
	seed, duration := seed(t), duration(t)
	s := newScene(t, seed)
	s.deployAll(t, seed)

	// A first, short load makes what is made once: also the stock of namespaces and
	// their sockets, which grows until every place has been used.
	for range 10 {
		s.load(t, seed, duration/10)
		if s.crowd.roster.size() >= 4*maxInstances {
			break
		}
	}
	before := s.rest(t)
	s.load(t, seed+1, duration)
	// What a busy machine has not come to yet comes later.
	for n := uint64(0); len(s.crowd.never()) > 0 && n < 10; n++ {
		s.load(t, seed+10+n, duration/2)
	}
	after := s.rest(t)
	t.Logf("%v; after %d instances %v, grown %v", before, s.crowd.roster.size(), after, after.grown(before, 0))
	t.Logf("calls %v", s.crowd.tally)
	t.Logf("warnings %v", s.log.warnings())
	t.Logf("changes %v, the slowest took %v", s.deployer.done, s.deployer.slowest)
	for _, grown := range after.grown(before, slackFiles) {
		t.Errorf("open descriptors: %s", grown)
	}
	if after.threads > before.threads+slackThreads {
		t.Errorf("%d threads, were %d", after.threads, before.threads)
	}
	if after.rss > before.rss+slackMB<<10 {
		t.Errorf("%d MB, were %d", after.rss>>10, before.rss>>10)
	}
	if never := s.crowd.never(); len(never) > 0 && !t.Failed() {
		t.Errorf("no call ended with %q: the load was none", never)
	}
	s.stopUnderLoad(t, seed+2)
}

func seed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("HEARTH_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("HEARTH_SEED: %v", err)
		}
	}
	t.Logf("HEARTH_SEED=%d", seed)
	return seed
}

// duration is how long the load lasts: HEARTH_SOAK (as 90s) where it is set.
func duration(t *testing.T) time.Duration {
	t.Helper()
	if text := os.Getenv("HEARTH_SOAK"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("HEARTH_SOAK: %v", err)
		}
		return d
	}
	if os.Getenv("HEARTH_LONG") != "" {
		return longRun
	}
	return shortRun
}

// scene is a server under load.
type scene struct {
	*e2e.Server
	log       *watchedLog
	api       *api
	functions []*function
	deployer  *deployer
	crowd     *crowd
	stopping  context.CancelFunc
}

func newScene(t *testing.T, seed uint64) *scene {
	t.Helper()
	s := &scene{log: &watchedLog{warn: map[string]int{}}}
	s.Server = e2e.OpenBinary(t, raceBinary(t, t.TempDir()), s.log, t.TempDir(),
		"--max-instances", strconv.Itoa(maxInstances), "--keep-alive", keepAlive.String(),
		"--cells", "off") // else what is left at rest depends on the demand; package runtimes looks for leaks of cells
	t.Cleanup(func() {
		s.Stop(t)
		if bad := s.log.String(); bad != "" {
			t.Errorf("the server's log has:\n%s", bad)
		}
	})
	// Few instances for many functions: on a quiet machine more than the 500 starts of
	// a minute. What is looked for here is not that limit.
	if _, err := s.Run(t.Context(), t, "quota", "account", "--expansion", "off"); err != nil {
		t.Fatal(err)
	}
	s.api = newAPI(s.URL)
	s.functions = functions(languages(t, s.Server), rand.New(rand.NewPCG(seed, 0)))
	stopping, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s.stopping = cancel
	s.crowd = &crowd{api: s.api, functions: s.functions, roster: newRoster(), stopping: stopping, tally: map[string]int{}}
	return s
}

// deployAll creates every function, with a version and an alias.
func (s *scene) deployAll(t *testing.T, seed uint64) {
	t.Helper()
	s.deployer = &deployer{api: s.api, rng: rand.New(rand.NewPCG(seed, 0)), done: map[string]int{}}
	for _, f := range s.functions {
		if err := s.deployer.create(f); err != nil {
			t.Fatal(err)
		}
	}
}

// load runs the callers and the deployer for a while.
func (s *scene) load(t *testing.T, seed uint64, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	deployed := make(chan error, 1)
	go func() {
		deployed <- s.deployer.run(ctx, s.functions)
		cancel()
	}()
	s.crowd.run(ctx, seed)
	cancel()
	err := <-deployed
	s.report(t)
	if err != nil {
		t.Fatal(err)
	}
}

// report fails the test with what the callers met.
func (s *scene) report(t *testing.T) {
	t.Helper()
	if len(s.crowd.faults) > 0 {
		t.Fatalf("answers that must not be, %v:\n%s", s.crowd.tally, strings.Join(s.crowd.faults, "\n"))
	}
}

// rest waits until the server has no instances, and returns what it takes then.
func (s *scene) rest(t *testing.T) footprint {
	t.Helper()
	for _, f := range s.functions {
		var d struct{ Instances map[string]int }
		eventually(t, "the instances of "+f.name+" are gone", func() (bool, any) {
			d.Instances = nil
			if err := s.api.want(http.MethodGet, "/hearth/v1/functions/"+f.name, nil, &d); err != nil {
				t.Fatal(err)
			}
			left := 0
			for _, n := range d.Instances {
				left += n
			}
			return left == 0 && d.Instances != nil, d.Instances
		})
	}
	eventually(t, "their processes are gone", func() (bool, any) {
		left := e2e.Living(s.Processes())
		return len(left) == 0, left
	})
	s.api.http.CloseIdleConnections()
	p, err := measure(s.PID())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// stopUnderLoad: SIGTERM meets calls in flight. They are answered or refused, and
// nothing is left.
func (s *scene) stopUnderLoad(t *testing.T, seed uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.crowd.run(ctx, seed)
	}()
	eventually(t, "instances run", func() (bool, any) {
		n := len(e2e.Living(s.Processes()))
		return n >= maxInstances/2, n
	})
	s.stopping()
	s.Stop(t)
	cancel()
	<-ended
	s.report(t)
}

// eventually waits until holds does; neither the kernel nor the server has an
// event for what it is used for.
func eventually(t *testing.T, what string, holds func() (bool, any)) {
	t.Helper()
	const patience = 2 * time.Minute
	deadline := time.After(patience)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		ok, state := holds()
		if ok {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("not within %v: %s: %v", patience, what, state)
		case <-again.C:
		}
	}
}
