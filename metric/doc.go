// Package metric counts what runs, exactly: instances by state and calls, for
// every account, function, version and alias, with the true maximum of every
// second and minute. Nothing is sampled.
//
// It owns the gauges, their history and the counters of calls. It must not know
// what an instance is, who reads the numbers, or in which format: the pool and
// the data plane say what changed, the API and package metric/prom read.
//
// A change is one atomic operation for each level (version, function, account);
// whoever makes it never waits for the clock or for a reader. Lock order:
// Registry.mu, Series.mu. A pool's lock may be held by whoever changes a gauge.
package metric
