package prom

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	accountLabels  = []string{"account", "region"}
	functionLabels = []string{"account", "region", "namespace", "function"}
	versionLabels  = with(functionLabels, "version")
	aliasLabels    = with(functionLabels, "alias")

	descs []*prometheus.Desc
)

func with(labels []string, more ...string) []string { return append(slices.Clone(labels), more...) }

func desc(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc(name, help, labels, nil)
	descs = append(descs, d)
	return d
}

// gauges are the names of one level's gauges. Their present values are nil where
// those of the level below sum up to them. Maxima do not: each level has its own.
type gauges struct {
	instances, instancesMax, inFlight, inFlightMax, waiting, waitingMax *prometheus.Desc
}

func newGauges(prefix, of string, labels []string, present bool) gauges {
	instances := "Instances of " + of + " by state; provisioned ones are in another state as well"
	calls, waiting := "Calls that instances of "+of+" hold", "Calls of "+of+" that wait for an instance"
	const top = ", the exact maximum of the last whole minute"
	g := gauges{
		instancesMax: desc(prefix+"instances_max", instances+top, with(labels, "state")...),
		inFlightMax:  desc(prefix+"concurrency_max", calls+top, labels...),
		waitingMax:   desc(prefix+"waiting_max", waiting+top, labels...),
	}
	if present {
		g.instances = desc(prefix+"instances", instances, with(labels, "state")...)
		g.inFlight = desc(prefix+"concurrency", calls, labels...)
		g.waiting = desc(prefix+"waiting", waiting, labels...)
	}
	return g
}

// What Prometheus sees. docs/guide/observe.md lists it.
var (
	versionGauges  = newGauges("hearth_", "a version", versionLabels, true)
	functionGauges = newGauges("hearth_function_", "a function", functionLabels, false)
	accountGauges  = newGauges("hearth_account_", "an account", accountLabels, true)

	aliasDesc    = desc("hearth_alias_concurrency", "Calls in flight that named an alias", aliasLabels...)
	aliasMaxDesc = desc("hearth_alias_concurrency_max", "Calls in flight that named an alias, the exact maximum of the last whole minute", aliasLabels...)

	invocationsDesc = desc("hearth_invocations_total", "Invocations that reached their version", functionLabels...)
	errorsDesc      = desc("hearth_errors_total", "Invocations that ended in an error", functionLabels...)
	thawsDesc       = desc("hearth_thaws_total", "Frozen instances that were thawed for a call", functionLabels...)
	bytesDesc       = desc("hearth_response_bytes_total", "Bytes that the function answered", functionLabels...)
	refusalsDesc    = desc("hearth_refusals_total", "Invocations that a limit refused", with(functionLabels, "limit")...)
	coldDesc        = desc("hearth_cold_starts_total", "Invocations that waited for a new instance, by reason", with(functionLabels, "reason")...)
	durationDesc    = desc("hearth_invocation_duration_seconds", "From the hand-over of the event to the handler's answer", functionLabels...)

	eventsDesc     = desc("hearth_events_total", "What became of asynchronous invocations", with(functionLabels, "event")...)
	queueDesc      = desc("hearth_queue_events", "Asynchronous invocations that wait", functionLabels...)
	queueBytesDesc = desc("hearth_queue_bytes", "Bytes of the asynchronous invocations that wait", functionLabels...)
	queueAgeDesc   = desc("hearth_queue_oldest_seconds", "How long the oldest asynchronous invocation has waited", functionLabels...)

	queueLossesDesc = desc("hearth_queue_losses_total", "Times that stored asynchronous invocations were found damaged since the start")

	quotaDesc    = desc("hearth_account_quota", "The quotas of an account", with(accountLabels, "limit", "unit")...)
	quotaUseDesc = desc("hearth_account_quota_use", "What of an account's quotas is in use", with(accountLabels, "limit", "unit")...)

	cellLabels      = []string{"runtime", "memory_mb", "egress"}
	cellsDesc       = desc("hearth_cells", "Stem cells by state, and those that there should be", with(cellLabels, "state")...)
	cellStartsDesc  = desc("hearth_cell_starts_total", "Starts that wanted a stem cell, by whether one stood by", with(cellLabels, "result")...)
	cellRefillsDesc = desc("hearth_cell_refills_total", "Stem cells made", cellLabels...)
	cellCPUDesc     = desc("hearth_cell_refill_cpu_seconds_total", "CPU time that making stem cells took", cellLabels...)
	cellLossesDesc  = desc("hearth_cell_losses_total", "Stem cells that no instance came of, by cause", with(cellLabels, "cause")...)

	unlistedDesc = desc("hearth_functions_unlisted", "Functions that this scrape leaves out, because there are too many")
	infoDesc     = desc("hearth_build_info", "The version of Hearth", "version")
)
