package bench

import (
	"context"
	"time"

	"hearth/bench/record"
	"hearth/bench/report"
)

// row is one thing that is measured.
type row struct {
	name  string
	limit time.Duration // deadline of its measurement
	needs []string      // settings of Hearth without which there is nothing to measure
	// measure puts up what is measured and keeps its samples.
	measure func(context.Context, *measurement) error
	// section concludes from the samples. It also has to do with a record that is
	// empty or ends early.
	section func(*record.Record) report.Section
}

// rows are all that are measured, in the order of the report.
var rows = []row{
	{name: "warm", limit: 6 * time.Minute, measure: measureWarm, section: warmSection},
	{name: "small", limit: 4 * time.Minute, measure: measureSmall, section: smallSection},
	{name: "frozen", limit: 4 * time.Minute, needs: []string{"freeze-after"}, measure: measureFrozen, section: frozenSection},
	{name: "peers", limit: 4 * time.Minute, measure: measurePeers, section: peersSection},
	{name: "cold", limit: 8 * time.Minute, measure: measureCold, section: coldSection},
	{name: "cold-peers", limit: 5 * time.Minute, measure: measureColdPeers, section: coldPeersSection},
	{name: "compiled", limit: 6 * time.Minute, needs: []string{"compile"}, measure: measureCompiled, section: compiledSection},
	{name: "rate", limit: 3 * time.Minute, measure: measureRate, section: rateSection},
	{name: "idle", limit: 4 * time.Minute, measure: measureIdle, section: idleSection},
	{name: "scale", limit: 6 * time.Minute, measure: measureScale, section: scaleSection},
	{name: "events", limit: 5 * time.Minute, needs: []string{"async-function-events"}, measure: measureEvents, section: eventsSection},
	{name: "fair", limit: 4 * time.Minute, needs: []string{"async-function-events"}, measure: measureFair, section: fairSection},
	{name: "backlog", limit: 6 * time.Minute, needs: []string{"async-function-events"}, measure: measureBacklog, section: backlogSection},
}
