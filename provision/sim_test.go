package provision_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/internal/seeds"
	"hearth/provision"
)

// TestSimulation configures, moves aliases, deploys, deletes and lets instances
// die at random, in fake time, and compares with what a slow and obvious model
// wants. HEARTH_SEED repeats one run; HEARTH_LONG=1 makes ten times as many.
func TestSimulation(t *testing.T) {
	seeds.Run(t, 20, func(seed uint64) { simulate(t, seed) })
}

type sim struct {
	*world
	rng        *rand.Rand
	reconciler *provision.Reconciler
	revisions  int
	versions   map[faas.FunctionID][]*faas.Version
}

func simulate(t *testing.T, seed uint64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &sim{world: newWorld(t), rng: rand.New(rand.NewPCG(seed, 0)), versions: map[faas.FunctionID][]*faas.Version{}}
		s.describe = func() string { return fmt.Sprintf("seed %d", seed) }
		inits := rand.New(rand.NewPCG(seed, 1))
		s.initTime = func() time.Duration {
			s.mu.Lock()
			defer s.mu.Unlock()
			return time.Duration(inits.IntN(5000)) * time.Millisecond
		}
		s.reconciler = s.start()
		for range 300 {
			id := faas.FunctionID{Name: fmt.Sprint("f", s.rng.IntN(3))}
			s.step(id)
			if s.rng.IntN(4) == 0 {
				continue // the next change comes before this one was looked at
			}
			time.Sleep(time.Duration(s.rng.IntN(20_000)) * time.Millisecond)
			synctest.Wait()
			s.check()
			if t.Failed() {
				break
			}
		}
		for id := range s.configs {
			s.remove(id)
			s.reconciler.Changed(id)
		}
		synctest.Wait()
		s.check()
		s.reconciler.Close()
	})
}

// step is one random change of a function.
func (s *sim) step(id faas.FunctionID) {
	p, _ := source{s.world}.Provisioning(id)
	p.Function = id
	p.Routes = maps.Clone(p.Routes)
	if p.Routes == nil {
		p.Routes = map[string][]faas.Route{}
	}
	p.Configs = append([]faas.Provisioned(nil), p.Configs...)
	qualifier := []string{"live", "beta"}[s.rng.IntN(2)]
	switch op := s.rng.IntN(100); {
	case op < 15:
		s.publish(id)
		return
	case op < 45:
		p.Configs = append(without(p.Configs, qualifier), s.config(qualifier))
	case op < 55:
		p.Configs = without(p.Configs, qualifier)
	case op < 85:
		p.Routes[qualifier] = s.routes(id)
	case op < 90:
		s.remove(id)
		delete(s.versions, id) // the next one begins with version 1 again
		s.reconciler.Changed(id)
		return
	case op < 95:
		s.die()
		return
	default:
		s.mu.Lock()
		for _, v := range s.versions[id] {
			s.demand[v.Revision] = s.rng.IntN(60)
		}
		s.mu.Unlock()
		return
	}
	s.put(p)
	s.reconciler.Changed(id)
}

func (s *sim) publish(id faas.FunctionID) {
	s.revisions++
	number := fmt.Sprint(len(s.versions[id]) + 1)
	s.versions[id] = append(s.versions[id], version(id.Name, number, fmt.Sprint("r", s.revisions), 64*(1+s.rng.IntN(8)), 1+9*s.rng.IntN(2)))
}

func without(configs []faas.Provisioned, qualifier string) []faas.Provisioned {
	var rest []faas.Provisioned
	for _, c := range configs {
		if c.Qualifier != qualifier {
			rest = append(rest, c)
		}
	}
	return rest
}

func (s *sim) config(qualifier string) faas.Provisioned {
	c := faas.Provisioned{Qualifier: qualifier, Instances: s.rng.IntN(20), Modified: time.Now()}
	for i := range s.rng.IntN(3) {
		c.Schedules = append(c.Schedules, faas.Schedule{Name: fmt.Sprint(i), Cron: fmt.Sprintf("%d/20 * * * * *", s.rng.IntN(20)), Instances: s.rng.IntN(20)})
	}
	if s.rng.IntN(3) == 0 {
		least := 1 + s.rng.IntN(5)
		c.Tracking = &faas.Tracking{Target: 0.1 + s.rng.Float64()/2, Min: least, Max: least + s.rng.IntN(30)}
	}
	return c
}

func (s *sim) routes(id faas.FunctionID) []faas.Route {
	versions := s.versions[id]
	if len(versions) == 0 {
		return nil
	}
	first := versions[s.rng.IntN(len(versions))]
	second := versions[s.rng.IntN(len(versions))]
	if first == second || s.rng.IntN(2) == 0 {
		return to(first)
	}
	weight := float64(1+s.rng.IntN(99)) / 100
	return []faas.Route{{Version: first, Weight: 1 - weight}, {Version: second, Weight: weight}}
}

// die ends one instance somewhere; the pool, not the reconciler, replaces it.
func (s *sim) die() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.marks {
		if m.ready > 0 {
			m.ready--
			s.growLocked(m)
			return
		}
	}
}

// check compares what holds when nothing is on its way with the model.
func (s *sim) check() {
	s.t.Helper()
	now := time.Now()
	got, want := map[string]int{}, map[string]int{}
	s.mu.Lock()
	for rev, m := range s.marks {
		if m.target > 0 {
			got[rev] = m.target
		}
	}
	configs := maps.Clone(s.configs)
	s.mu.Unlock()
	for id, p := range configs {
		peak := 0
		for _, c := range p.Configs {
			peak += c.Peak()
			wanted := s.model(id, c, now)
			left := wanted
			for i, route := range p.Routes[c.Qualifier] {
				n := provision.Split(wanted, p.Routes[c.Qualifier])[i]
				left -= n
				if n > 0 {
					want[route.Version.Revision] += n
				}
			}
			if left != 0 && len(p.Routes[c.Qualifier]) > 0 {
				s.t.Errorf("%s: %d of %d instances of %s are nobody's", s.describe(), left, wanted, c.Qualifier)
			}
		}
		s.mu.Lock()
		s.most[id] = peak
		s.checkLocked(id)
		s.mu.Unlock()
	}
	if !maps.Equal(got, want) {
		s.t.Errorf("%s: at %s the pools were told %v, want %v", s.describe(), now.Format(time.TimeOnly), got, want)
	}
}

// model is what a configuration wants, found by looking at every second since it
// was made; what tracking wants is taken as it is when it is within its bounds.
func (s *sim) model(id faas.FunctionID, c faas.Provisioned, now time.Time) int {
	wanted, tracking := c.Instances, c.Tracking
	for at := c.Modified.Truncate(time.Second).Add(time.Second); !at.After(now); at = at.Add(time.Second) {
		for _, schedule := range c.Schedules {
			var first int
			if _, err := fmt.Sscanf(schedule.Cron, "%d/20", &first); err != nil {
				s.t.Fatal(err)
			}
			if at.Second() >= first && (at.Second()-first)%20 == 0 {
				wanted, tracking = schedule.Instances, schedule.Tracking
			}
		}
	}
	if tracking == nil {
		return wanted
	}
	got := s.reconciler.Status(id, c.Qualifier).Requested
	if got < tracking.Min || got > tracking.Max {
		s.t.Errorf("%s: tracking wants %d, outside %d to %d", s.describe(), got, tracking.Min, tracking.Max)
	}
	return got
}
