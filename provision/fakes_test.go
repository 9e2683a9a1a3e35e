package provision_test

import (
	"sync"
	"testing"
	"time"

	"hearth/faas"
	"hearth/provision"
	"hearth/quota"
)

// world is a source, an allocator and pools in one, which checks at every call
// that what it is told is allowed.
type world struct {
	t        *testing.T
	describe func() string // of the run, for failures
	initTime func() time.Duration

	mu      sync.Mutex
	configs map[faas.FunctionID]faas.Provisioning
	most    map[faas.FunctionID]int // what the configurations may have wanted since the last settle
	charged map[faas.FunctionID]map[string]quota.Provision
	marks   map[string]*marks // by revision
	demand  map[string]int    // by revision
	tells   int               // calls of Provision on the pools
	timers  sync.WaitGroup
}

// marks are the provisioned instances of one revision.
type marks struct {
	version *faas.Version
	target  int
	ready   int
	told    int
	failure error
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, describe: func() string { return "" }, initTime: func() time.Duration { return 0 },
		configs: map[faas.FunctionID]faas.Provisioning{}, most: map[faas.FunctionID]int{},
		charged: map[faas.FunctionID]map[string]quota.Provision{}, marks: map[string]*marks{}, demand: map[string]int{},
	}
	t.Cleanup(w.timers.Wait)
	return w
}

func (w *world) start() *provision.Reconciler {
	return provision.New(provision.Options{Source: source{w}, Pools: pools{w}, Quota: charges{w}, Demand: w.peak})
}

func (w *world) put(p faas.Provisioning) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.configs[p.Function] = p
	peak := 0
	for _, c := range p.Configs {
		peak += c.Peak()
	}
	w.most[p.Function] = max(w.most[p.Function], peak)
}

func (w *world) remove(id faas.FunctionID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.configs, id)
}

func (w *world) peak(v *faas.Version) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.demand[v.Revision]
}

func (w *world) target(rev string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m := w.marks[rev]; m != nil {
		return m.target
	}
	return 0
}

// checkLocked looks at what holds at every moment.
func (w *world) checkLocked(id faas.FunctionID) {
	w.t.Helper()
	sum := 0
	byNumber := map[string]int{}
	for _, m := range w.marks {
		if m.version.ID.Function == id {
			sum += m.target
			byNumber[m.version.ID.Number] += m.target
		}
	}
	if sum > w.most[id] {
		w.t.Errorf("%s: %s has %d provisioned instances, configured are %d", w.describe(), id.Name, sum, w.most[id])
	}
	for number, n := range byNumber {
		if c := w.charged[id][number]; n > c.Instances {
			w.t.Errorf("%s: version %s of %s has %d provisioned instances and is charged for %d", w.describe(), number, id.Name, n, c.Instances)
		}
	}
}

type source struct{ w *world }

func (s source) Provisioning(id faas.FunctionID) (faas.Provisioning, bool) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	p, ok := s.w.configs[id]
	return p, ok
}

func (s source) AllProvisioning() []faas.Provisioning {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	var all []faas.Provisioning
	for _, p := range s.w.configs {
		all = append(all, p)
	}
	return all
}

type charges struct{ w *world }

func (c charges) Provision(id faas.FunctionID, targets map[string]quota.Provision) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.charged[id] = targets
	sum := 0
	for number, p := range targets {
		sum += p.Instances
		if p.Instances <= 0 || p.MemoryMB <= 0 || p.Concurrency <= 0 {
			c.w.t.Errorf("%s: version %s is charged %+v", c.w.describe(), number, p)
		}
	}
	if sum > c.w.most[id] {
		c.w.t.Errorf("%s: %s is charged for %d instances, configured are %d", c.w.describe(), id.Name, sum, c.w.most[id])
	}
	c.w.checkLocked(id)
}

type pools struct{ w *world }

func (p pools) Provision(v *faas.Version, n int) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.tells++
	m := p.w.marks[v.Revision]
	if m == nil {
		m = &marks{version: v}
		p.w.marks[v.Revision] = m
	}
	m.told++
	if n == m.target {
		return
	}
	m.failure = nil
	m.target = n
	m.ready = min(m.ready, n)
	p.w.checkLocked(v.ID.Function)
	p.w.growLocked(m)
}

// growLocked starts what is missing, one init time for each.
func (w *world) growLocked(m *marks) {
	for range m.target - m.ready {
		w.timers.Go(func() {
			// No timer for no time: see pooltest.Runtime.Init.
			if d := w.initTime(); d > 0 {
				<-time.After(d)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if m.ready < m.target && m.failure == nil {
				m.ready++
			}
		})
	}
}

func (p pools) Provisioned(v *faas.Version) faas.ProvisionedCounts {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	m := p.w.marks[v.Revision]
	if m == nil {
		return faas.ProvisionedCounts{}
	}
	return faas.ProvisionedCounts{Target: m.target, Allocated: m.target, Ready: m.ready, Failure: m.failure}
}
