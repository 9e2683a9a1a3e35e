package invoke

import (
	"sync"
	"time"

	"hearth/faas"
)

// Bounds of the memory of recent reports: about 10 MB at most.
const (
	recentPerFunction = 32
	recentFunctions   = 1024
)

// recent remembers the last reports of each function, for people who ask what
// became of a call. Functions that were not called for longest are forgotten first.
type recent struct {
	byFunction sync.Map // faas.FunctionID → *ring

	mu    sync.Mutex // guards making and forgetting rings
	count int
}

// ring is the last reports of one function.
type ring struct {
	mu      sync.Mutex
	reports []faas.Report // grows to recentPerFunction, then next is overwritten
	next    int
}

func (r *recent) add(report *faas.Report) {
	id := report.Version.Function
	found, ok := r.byFunction.Load(id)
	if !ok {
		found = r.make(id)
	}
	found.(*ring).add(report)
}

func (g *ring) add(report *faas.Report) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.reports) < recentPerFunction {
		g.reports = append(g.reports, *report)
		return
	}
	g.reports[g.next] = *report
	g.next = (g.next + 1) % recentPerFunction
}

func (r *recent) make(id faas.FunctionID) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	if found, ok := r.byFunction.Load(id); ok {
		return found
	}
	if r.count >= recentFunctions {
		r.forgetOldestLocked()
	}
	g := new(ring)
	r.byFunction.Store(id, g)
	r.count++
	return g
}

func (r *recent) forgetOldestLocked() {
	var oldest any
	var at time.Time
	r.byFunction.Range(func(id, g any) bool {
		if t := g.(*ring).latest(); oldest == nil || t.Before(at) {
			oldest, at = id, t
		}
		return true
	})
	if oldest != nil {
		r.byFunction.Delete(oldest)
		r.count--
	}
}

// latest is when the newest of the reports began; zero where there is none.
func (g *ring) latest() time.Time {
	list := g.list(1)
	if len(list) == 0 {
		return time.Time{}
	}
	return list[0].Began
}

// list returns at most n reports, the newest first.
func (g *ring) list(n int) []faas.Report {
	g.mu.Lock()
	defer g.mu.Unlock()
	n = min(n, len(g.reports))
	list := make([]faas.Report, 0, n)
	for i := range n {
		at := (g.next - 1 - i + 2*len(g.reports)) % len(g.reports)
		list = append(list, g.reports[at])
	}
	return list
}

func (r *recent) of(id faas.FunctionID) []faas.Report {
	g, ok := r.byFunction.Load(id)
	if !ok {
		return nil
	}
	return g.(*ring).list(recentPerFunction)
}

func (r *recent) find(requestID string) (report faas.Report, ok bool) {
	r.byFunction.Range(func(_, g any) bool {
		report, ok = g.(*ring).find(requestID)
		return !ok
	})
	return report, ok
}

func (g *ring) find(requestID string) (faas.Report, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return findIn(g.reports, requestID)
}

// findIn returns the report that began last: the attempts of an event share one id.
func findIn(reports []faas.Report, requestID string) (last faas.Report, found bool) {
	for i := range reports {
		if r := &reports[i]; r.RequestID == requestID && (!found || !r.Began.Before(last.Began)) {
			last, found = *r, true
		}
	}
	return last, found
}
