// Package prom shows the series of package metric to Prometheus.
//
// It owns the names and labels of what Prometheus sees and how many series one
// scrape may have. It counts nothing itself and must not know pools or quotas.
package prom

import (
	"cmp"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"hearth/faas"
	"hearth/metric"
)

// maxFunctions bounds the functions of one scrape. Of more, those are shown in
// which something changed last; hearth_functions_unlisted says how many are not.
const maxFunctions = 1000

// Quotas tells what of an account's quotas is in use.
type Quotas interface {
	// Use returns the quotas of an account in a region and their use. It returns at
	// once and is safe for concurrent use.
	Use(account, region string) Use
}

// Use is the quotas of one account in one region and what of them is in use now.
type Use struct {
	Limits     faas.AccountLimits
	MemoryMB   int // of instances that are busy, starting or provisioned
	Executions int // invocations in flight
	Starts     int // of instances, in the last 60 s
}

// Queues tells what waits.
type Queues interface {
	// Queues returns the backlogs of an account in a region that are not empty. It
	// returns at once and is safe for concurrent use.
	Queues(account, region string) []Queue
}

// Queue is the asynchronous invocations of one function that wait.
type Queue struct {
	Function faas.FunctionID
	Waiting  int
	Bytes    int64
	Age      time.Duration // of the oldest
}

// Options configure a Handler.
type Options struct {
	Metrics *metric.Registry      // required
	Quotas  Quotas                // nil shows none
	Queues  Queues                // nil shows none
	Losses  func() uint64         // how often stored events were found damaged; nil shows none
	Cells   func() []metric.Cells // what stands by; nil shows none
	Version string                // of this binary
	Logger  *slog.Logger          // nil discards
}

// Handler answers scrapes: everything that is counted, in the text format or the
// one that the scraper prefers. Safe for concurrent use.
func Handler(o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{o, maxFunctions})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(o.Logger.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
	})
}

type collector struct {
	Options
	limit int
}

func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range descs {
		to <- d
	}
}

func (c *collector) Collect(to chan<- prometheus.Metric) {
	all := c.Metrics.Read()
	slices.SortFunc(all, func(a, b metric.Reading) int { return cmp.Compare(b.Changed, a.Changed) })
	listed := map[faas.FunctionID]bool{}
	unlisted := 0
	for _, r := range all {
		switch {
		case r.Key.Account():
			c.account(to, r)
		case r.Totals == nil: // a version or an alias: when its function is known
		case len(listed) == c.limit:
			unlisted++
		default:
			listed[r.Key.Function] = true
			function(to, r)
		}
	}
	for _, r := range all {
		switch {
		case !listed[r.Key.Function] || asleep(r):
		case r.Key.Version != "":
			version(to, r)
		case r.Key.Alias != "":
			alias(to, r)
		}
	}
	c.queues(to, listed)
	if c.Losses != nil {
		counter(to, queueLossesDesc, c.Losses())
	}
	if c.Cells != nil {
		for _, class := range c.Cells() {
			cells(to, &class)
		}
	}
	gauge(to, unlistedDesc, unlisted)
	gauge(to, infoDesc, 1, c.Version)
}

// asleep reports whether a version or alias had no instance and no call in this
// minute nor in the one before: it is left out until it has.
func asleep(r metric.Reading) bool {
	for _, l := range r.Levels {
		if l.Minute > 0 || l.LastMinute > 0 {
			return false
		}
	}
	return true
}

func gauge(to chan<- prometheus.Metric, d *prometheus.Desc, value int, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
}

func counter(to chan<- prometheus.Metric, d *prometheus.Desc, value uint64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
}

// levels shows the gauges of a series under the labels of what it is.
func levels(to chan<- prometheus.Metric, of gauges, r metric.Reading, labels ...string) {
	for _, state := range metric.States() {
		now, top, with := of.instances, of.instancesMax, labels
		switch state {
		case metric.InFlight:
			now, top = of.inFlight, of.inFlightMax
		case metric.Waiting:
			now, top = of.waiting, of.waitingMax
		default:
			with = append(slices.Clone(labels), state.String())
		}
		if now != nil {
			gauge(to, now, r.Levels[state].Now, with...)
		}
		gauge(to, top, r.Levels[state].LastMinute, with...)
	}
}

func (c *collector) account(to chan<- prometheus.Metric, r metric.Reading) {
	account, region := r.Key.Function.Account, r.Key.Function.Region
	levels(to, accountGauges, r, account, region)
	if c.Quotas == nil {
		return
	}
	use := c.Quotas.Use(account, region)
	for _, q := range []struct {
		limit      faas.Limit
		unit       faas.Unit
		value, use int
	}{
		{faas.LimitMemory, faas.UnitMemoryMB, use.Limits.MemoryMB, use.MemoryMB},
		{faas.LimitExecutions, faas.UnitExecutions, use.Limits.Executions, use.Executions},
		{faas.LimitExpansion, faas.UnitStarts, use.Limits.Expansion, use.Starts},
	} {
		if q.value > 0 || q.limit != faas.LimitExpansion { // 0 starts is no limit
			gauge(to, quotaDesc, q.value, account, region, string(q.limit), string(q.unit))
		}
		gauge(to, quotaUseDesc, q.use, account, region, string(q.limit), string(q.unit))
	}
}

// queues shows the backlogs of the functions that are listed, 0 where nothing waits.
func (c *collector) queues(to chan<- prometheus.Metric, listed map[faas.FunctionID]bool) {
	if c.Queues == nil {
		return
	}
	waiting := map[faas.FunctionID]Queue{}
	asked := map[[2]string]bool{}
	for id := range listed {
		account := [2]string{id.Account, id.Region}
		if !asked[account] {
			asked[account] = true
			for _, q := range c.Queues.Queues(id.Account, id.Region) {
				waiting[q.Function] = q
			}
		}
		q, labels := waiting[id], identity(id)
		gauge(to, queueDesc, q.Waiting, labels...)
		to <- prometheus.MustNewConstMetric(queueBytesDesc, prometheus.GaugeValue, float64(q.Bytes), labels...)
		to <- prometheus.MustNewConstMetric(queueAgeDesc, prometheus.GaugeValue, q.Age.Seconds(), labels...)
	}
}

func identity(id faas.FunctionID, more ...string) []string {
	return append([]string{id.Account, id.Region, id.Namespace, id.Name}, more...)
}

func function(to chan<- prometheus.Metric, r metric.Reading) {
	labels := identity(r.Key.Function)
	levels(to, functionGauges, r, labels...)
	t := r.Totals
	counter(to, invocationsDesc, t.Invocations, labels...)
	counter(to, errorsDesc, t.Errors, labels...)
	counter(to, thawsDesc, t.Thaws, labels...)
	counter(to, bytesDesc, t.ResponseBytes, labels...)
	for limit, n := range t.Refused {
		counter(to, refusalsDesc, n, identity(r.Key.Function, string(limit))...)
	}
	for event, n := range t.Events {
		counter(to, eventsDesc, n, identity(r.Key.Function, metric.EventCount(event).String())...)
	}
	for reason, n := range t.Cold {
		counter(to, coldDesc, n, identity(r.Key.Function, string(reason))...)
	}
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, bound := range metric.DurationBounds {
		sum += t.Durations.Counts[i]
		buckets[bound.Seconds()] = sum
	}
	sum += t.Durations.Counts[len(metric.DurationBounds)]
	to <- prometheus.MustNewConstHistogram(durationDesc, sum, t.Durations.Sum.Seconds(), buckets, labels...)
}

func version(to chan<- prometheus.Metric, r metric.Reading) {
	levels(to, versionGauges, r, identity(r.Key.Function, r.Key.Version)...)
}

func alias(to chan<- prometheus.Metric, r metric.Reading) {
	labels := identity(r.Key.Function, r.Key.Alias)
	gauge(to, aliasDesc, r.Levels[metric.InFlight].Now, labels...)
	gauge(to, aliasMaxDesc, r.Levels[metric.InFlight].LastMinute, labels...)
}

func cells(to chan<- prometheus.Metric, c *metric.Cells) {
	memory := "any"
	if c.MemoryMB > 0 {
		memory = strconv.Itoa(c.MemoryMB)
	}
	of := func(more ...string) []string { return append([]string{c.Runtime, memory, c.Egress}, more...) }
	gauge(to, cellsDesc, c.Parked, of("parked")...)
	gauge(to, cellsDesc, c.Booting, of("booting")...)
	gauge(to, cellsDesc, c.Wanted, of("wanted")...)
	counter(to, cellStartsDesc, c.Hits, of("hit")...)
	counter(to, cellStartsDesc, c.Misses, of("empty")...)
	counter(to, cellRefillsDesc, c.Refills, of()...)
	to <- prometheus.MustNewConstMetric(cellCPUDesc, prometheus.CounterValue, c.RefillCPU.Seconds(), of()...)
	for cause, n := range map[string]uint64{"boot": c.BootsFailed, "parked": c.Died, "claimed": c.Failed, "room": c.Evicted, "surplus": c.Shrunk} {
		counter(to, cellLossesDesc, n, of(cause)...)
	}
}
