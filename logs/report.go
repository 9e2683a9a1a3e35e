package logs

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"hearth/faas"
)

// ParseReport reads the REPORT line of an invocation, in either log format, as
// package runtimes writes it: what is not in the line is zero. When the
// invocation began is reckoned from when the line was written. False where the
// line is no REPORT of the line's own request.
func ParseReport(line Line) (faas.Report, bool) {
	r := faas.Report{RequestID: line.RequestID, Version: faas.VersionID{Function: line.Function, Number: line.Version},
		Instance: line.Instance, Start: faas.StartWarm, Status: faas.StatusSuccess}
	ok := false
	if strings.HasPrefix(line.Text, "{") {
		ok = parseJSONReport(line.Text, &r)
	} else if rest, found := strings.CutPrefix(line.Text, "REPORT RequestId: "+line.RequestID+"\t"); found {
		ok = parseTextReport(rest, &r)
	}
	if !ok || line.RequestID == "" {
		return faas.Report{}, false
	}
	t := &r.Timeline
	t.Init, t.Handler = r.Init, r.Duration
	r.Began = line.Time.Add(-t.Queue - t.Thaw - t.Sandbox - t.Runtime - t.Code - t.Init - t.Handler - t.Settle)
	return r, true
}

// parseTextReport reads "Name: value" fields with tabs between. The fields that
// Lambda has, too, must be there; unknown ones are passed over.
func parseTextReport(fields string, r *faas.Report) bool {
	seen := 0
	for _, field := range strings.Split(strings.TrimRight(fields, "\t"), "\t") {
		name, value, found := strings.Cut(field, ": ")
		if !found {
			return false
		}
		ok := true
		switch name {
		case "Duration":
			ok = parseMillis(value, &r.Duration)
			seen++
		case "Billed Duration":
			ok = parseMillis(value, &r.Billed)
			seen++
		case "Memory Size":
			var n int64
			n, ok = parseMegabytes(value)
			r.MemoryMB = int(n)
			seen++
		case "Max Memory Used":
			var n int64
			n, ok = parseMegabytes(value)
			r.MaxMemory = n << 20
			seen++
		case "Init Duration":
			ok = parseMillis(value, &r.Init)
			r.Start = faas.StartCold
		case "Cold":
			r.Cold = faas.ColdReason(value)
		case "Way":
			setWay(&r.Timeline, value)
		case "Status":
			r.Status = value
		case "Error Type":
			r.ErrorType = value
		default:
			if part := partOf(&r.Timeline, name); part != nil {
				ok = parseMillis(value, part)
			}
		}
		if !ok {
			return false
		}
	}
	return seen == 4
}

// setWay reads how an instance was started: a word, and the reason of a direct start.
func setWay(t *faas.Timeline, text string) {
	way, reason, _ := strings.Cut(text, " ")
	t.Way, t.WayReason = faas.StartWay(way), reason
}

func partOf(t *faas.Timeline, name string) *time.Duration {
	switch name {
	case "Queue":
		return &t.Queue
	case "Thaw":
		return &t.Thaw
	case "Sandbox":
		return &t.Sandbox
	case "Runtime":
		return &t.Runtime
	case "Code":
		return &t.Code
	case "Settle":
		return &t.Settle
	}
	return nil
}

// longest bounds the durations and memoryMost the sizes that are taken for real.
const (
	longest    = 1000 * time.Hour
	memoryMost = 1 << 30 // MB
)

func parseMillis(s string, d *time.Duration) bool {
	number, found := strings.CutSuffix(s, " ms")
	ms, err := strconv.ParseFloat(number, 64)
	return found && err == nil && fromMillis(ms, d)
}

func fromMillis(ms float64, d *time.Duration) bool {
	if !(ms >= 0 && ms <= float64(longest/time.Millisecond)) { // not a number neither
		return false
	}
	*d = time.Duration(ms*1000+0.5) * time.Microsecond
	return true
}

func parseMegabytes(s string) (int64, bool) {
	number, found := strings.CutSuffix(s, " MB")
	n, err := strconv.ParseInt(number, 10, 64)
	return n, found && err == nil && n >= 0 && n <= memoryMost
}

func parseJSONReport(text string, r *faas.Report) bool {
	var line struct {
		Type   string
		Record struct {
			RequestID string
			Status    string
			ErrorType string
			Cold      faas.ColdReason
			Way       string
			Metrics   struct {
				DurationMs, BilledDurationMs  *float64
				InitDurationMs                *float64
				MemorySizeMB, MaxMemoryUsedMB int64
			}
			Timeline struct{ QueueMs, ThawMs, SandboxMs, RuntimeMs, CodeMs, SettleMs float64 }
		}
	}
	if json.Unmarshal([]byte(text), &line) != nil || line.Type != "platform.report" || line.Record.RequestID != r.RequestID {
		return false
	}
	m, t := line.Record.Metrics, line.Record.Timeline
	if m.DurationMs == nil || m.BilledDurationMs == nil || m.MemorySizeMB < 0 || m.MemorySizeMB > memoryMost ||
		m.MaxMemoryUsedMB < 0 || m.MaxMemoryUsedMB > memoryMost {
		return false
	}
	r.Status, r.ErrorType, r.Cold = line.Record.Status, line.Record.ErrorType, line.Record.Cold
	setWay(&r.Timeline, line.Record.Way)
	r.MemoryMB, r.MaxMemory = int(m.MemorySizeMB), m.MaxMemoryUsedMB<<20
	ok := fromMillis(*m.DurationMs, &r.Duration) && fromMillis(*m.BilledDurationMs, &r.Billed) &&
		fromMillis(t.QueueMs, &r.Timeline.Queue) && fromMillis(t.ThawMs, &r.Timeline.Thaw) &&
		fromMillis(t.SandboxMs, &r.Timeline.Sandbox) &&
		fromMillis(t.RuntimeMs, &r.Timeline.Runtime) && fromMillis(t.CodeMs, &r.Timeline.Code) &&
		fromMillis(t.SettleMs, &r.Timeline.Settle)
	if m.InitDurationMs != nil {
		r.Start = faas.StartCold
		ok = ok && fromMillis(*m.InitDurationMs, &r.Init)
	}
	return ok
}
