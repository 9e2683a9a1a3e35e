package native

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"hearth/async"
	"hearth/faas"
	"hearth/metric"
)

// Top is what runs in an account and region now.
type Top struct {
	At      time.Time           `json:"at"`
	Account string              `json:"account"`
	Region  string              `json:"region"`
	Limits  *faas.AccountLimits `json:"limits,omitempty"` // nil where the server tells no quotas
	Use     *AccountUse         `json:"use,omitempty"`
	Load    Load                `json:"load"`
	Cells   []metric.Cells      `json:"cells,omitempty"` // of all accounts together
	Backlog Backlog             `json:"backlog"`         // of all functions
	// Functions has those with an instance, a call or a backlog in this minute or the
	// one before, the ones with most calls in flight first.
	Functions []TopFunction `json:"functions"`
	// Left is how many more there are.
	Left int `json:"left"`
}

// TopFunction is what runs of one function.
type TopFunction struct {
	Namespace string        `json:"namespace"`
	Name      string        `json:"name"`
	Load      Load          `json:"load"`
	Minute    MinuteCounts  `json:"minute"`
	Median    time.Duration `json:"median"` // of the handler, over the last 32 calls; nanoseconds
	Backlog   Backlog       `json:"backlog"`
	Versions  []TopVersion  `json:"versions"`
	Aliases   []TopAlias    `json:"aliases"`
}

// Backlog is the asynchronous invocations that wait.
type Backlog struct {
	Waiting int           `json:"waiting"`
	Bytes   int64         `json:"bytes"` // of them
	Age     time.Duration `json:"age"`   // of the oldest; nanoseconds
}

func (b *Backlog) add(q async.Queue, now time.Time) {
	b.Waiting += q.Waiting
	b.Bytes += q.Bytes
	b.Age = max(b.Age, q.Age(now))
}

// TopVersion is what runs of one version.
type TopVersion struct {
	Number string `json:"number"`
	Load   Load   `json:"load"`
}

// TopAlias is the calls in flight that named one alias.
type TopAlias struct {
	Name     string        `json:"name"`
	InFlight metric.Levels `json:"inFlight"`
}

// MinuteCounts is what was counted in the last 60 s.
type MinuteCounts struct {
	Invocations uint64 `json:"invocations"`
	Errors      uint64 `json:"errors"`
	Cold        uint64 `json:"cold"`
	Refused     uint64 `json:"refused"`
}

// Load is the instances by state and the calls, now and at most.
type Load struct {
	Starting    metric.Levels `json:"starting"`
	Idle        metric.Levels `json:"idle"`
	Busy        metric.Levels `json:"busy"`
	Frozen      metric.Levels `json:"frozen"`
	Draining    metric.Levels `json:"draining"`
	Provisioned metric.Levels `json:"provisioned"`
	InFlight    metric.Levels `json:"inFlight"`
	Waiting     metric.Levels `json:"waiting"`
}

func load(r metric.Reading) Load {
	l := &r.Levels
	return Load{Starting: l[metric.Starting], Idle: l[metric.Idle], Busy: l[metric.Busy], Frozen: l[metric.Frozen],
		Draining: l[metric.Draining], Provisioned: l[metric.Provisioned], InFlight: l[metric.InFlight], Waiting: l[metric.Waiting]}
}

// awake reports whether there was something in this minute or the one before.
func awake(r metric.Reading) bool {
	if r.Recent != (metric.Recent{}) {
		return true
	}
	for _, l := range r.Levels {
		if l.Minute > 0 || l.LastMinute > 0 {
			return true
		}
	}
	return false
}

// The functions of one Top, where the request says nothing, and at most.
const (
	usualTop = 100
	maxTop   = 1000
)

func (a *API) top(w http.ResponseWriter, r *http.Request) error {
	limit, err := number(r, "max", usualTop, maxTop)
	if err != nil {
		return err
	}
	scope := a.scope(r)
	out := Top{At: a.Now(), Account: scope.Account, Region: scope.Region, Functions: []TopFunction{}}
	functions := map[faas.FunctionID]*TopFunction{}
	all := a.Metrics.Read()
	for _, one := range all {
		id := one.Key.Function
		switch {
		case id.Account != scope.Account || id.Region != scope.Region || !awake(one):
		case one.Key.Account():
			out.Load = load(one)
		case one.Totals != nil:
			functions[id] = &TopFunction{Namespace: id.Namespace, Name: id.Name, Load: load(one),
				Minute: MinuteCounts(one.Recent), Versions: []TopVersion{}, Aliases: []TopAlias{}}
		}
	}
	a.addBacklogs(scope, &out, functions)
	for _, one := range all {
		f := functions[one.Key.Function]
		switch {
		case f == nil || !awake(one):
		case one.Key.Version != "":
			f.Versions = append(f.Versions, TopVersion{one.Key.Version, load(one)})
		case one.Key.Alias != "":
			f.Aliases = append(f.Aliases, TopAlias{one.Key.Alias, one.Levels[metric.InFlight]})
		}
	}
	for _, f := range functions {
		slices.SortFunc(f.Versions, func(x, y TopVersion) int { return versionOrder(x.Number, y.Number) })
		slices.SortFunc(f.Aliases, func(x, y TopAlias) int { return cmp.Compare(x.Name, y.Name) })
		out.Functions = append(out.Functions, *f)
	}
	slices.SortFunc(out.Functions, busiest)
	if len(out.Functions) > limit {
		out.Left = len(out.Functions) - limit
		out.Functions = out.Functions[:limit]
	}
	for i := range out.Functions {
		f := &out.Functions[i]
		id := faas.FunctionID{Scope: faas.Scope{Account: scope.Account, Region: scope.Region, Namespace: f.Namespace}, Name: f.Name}
		f.Median = median(a.Invoker.Recent(id))
	}
	if a.Cells != nil {
		out.Cells = a.Cells()
	}
	if a.Quotas != nil {
		limits, err := a.Quotas.AccountLimits(r.Context(), scope)
		if err != nil {
			return err
		}
		use := a.QuotaUse.Usage(scope).Account
		out.Limits, out.Use = &limits, &use
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// addBacklogs adds the queues of the account and region, also of functions of which
// nothing runs.
func (a *API) addBacklogs(scope faas.Scope, out *Top, functions map[faas.FunctionID]*TopFunction) {
	if a.Events == nil {
		return
	}
	scope.Namespace = ""
	for _, q := range a.Events.Queues(scope) {
		if q.Waiting == 0 {
			continue
		}
		f := functions[q.Function]
		if f == nil {
			f = &TopFunction{Namespace: q.Function.Namespace, Name: q.Function.Name, Versions: []TopVersion{}, Aliases: []TopAlias{}}
			functions[q.Function] = f
		}
		f.Backlog.add(q, out.At)
		out.Backlog.add(q, out.At)
	}
}

// busiest orders by calls in flight, then by the most there were, then by name.
func busiest(x, y TopFunction) int {
	most := func(f TopFunction) int { return max(f.Load.InFlight.Minute, f.Load.InFlight.LastMinute) }
	return cmp.Or(cmp.Compare(y.Load.InFlight.Now, x.Load.InFlight.Now), cmp.Compare(most(y), most(x)),
		cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
}

// versionOrder puts the head first and the newest after it.
func versionOrder(x, y string) int {
	m, _ := strconv.Atoi(x) // faas.Latest is 0
	n, _ := strconv.Atoi(y)
	switch {
	case m == 0 || n == 0:
		return cmp.Compare(m, n)
	}
	return cmp.Compare(n, m)
}

// median is that of the handlers' durations; 0 where none ran.
func median(reports []faas.Report) time.Duration {
	all := make([]time.Duration, 0, len(reports))
	for _, r := range reports {
		if r.Duration > 0 { // else its init failed
			all = append(all, r.Duration)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// History is the maxima of one series, interval by interval, the oldest first.
type History struct {
	Interval string         `json:"interval"` // second or minute
	Points   []HistoryPoint `json:"points"`
}

// HistoryPoint is one whole interval.
type HistoryPoint struct {
	Began   time.Time      `json:"began"`
	Maximum map[string]int `json:"maximum"` // by gauge, as in Load
}

// metrics answers with the maxima of an account, a function, a version or an alias.
func (a *API) metrics(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	scope := a.scope(r)
	k := metric.Key{Function: faas.FunctionID{Scope: scope, Name: q.Get("function")}, Version: q.Get("version"), Alias: q.Get("alias")}
	if k.Version != "" && k.Alias != "" {
		return faas.Errorf(faas.CodeInvalid, "alias", "name a version or an alias, not both")
	}
	if k.Account() {
		if k.Version != "" || k.Alias != "" {
			return faas.Errorf(faas.CodeInvalid, "function", "name the function of the version or alias: ?function=NAME")
		}
		k.Function.Namespace = ""
	}
	interval, read, most := q.Get("interval"), a.Metrics.Minutes, 60
	switch interval {
	case "second":
		read, most = a.Metrics.Seconds, 120
	case "", "minute":
		interval = "minute"
	default:
		return faas.Errorf(faas.CodeInvalid, "interval", "interval must be second or minute, not %.40q", interval)
	}
	n, err := number(r, "last", most, most)
	if err != nil {
		return err
	}
	points, found := read(k, n)
	if !found && !k.Account() {
		if _, err := a.Registry.Get(r.Context(), k.Function, k.Version+k.Alias); err != nil {
			return err
		}
	}
	out := History{Interval: interval, Points: []HistoryPoint{}} // none: nothing ran for an hour
	for _, p := range points {
		maximum := make(map[string]int, len(p.Maximum))
		for _, state := range metric.States() {
			maximum[state.String()] = p.Maximum[state]
		}
		out.Points = append(out.Points, HistoryPoint{p.Began, maximum})
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// number reads a parameter from 1 to most.
func number(r *http.Request, name string, usual, most int) (int, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, faas.Errorf(faas.CodeInvalid, name, "%s must be a number from 1 to %d, not %.40q", name, most, s)
	}
	return n, nil
}
