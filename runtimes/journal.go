package runtimes

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"hearth/faas"
	"hearth/runtimeapi"
)

// LogSource says whose log a stream is.
type LogSource struct {
	Function faas.FunctionID
	Version  string
	Instance string
	Group    string
}

// LogStore is what the launcher needs of package logs.
type LogStore interface {
	// Stream reads the pipe, of which it becomes the owner, until its end.
	Stream(source LogSource, pipe *os.File) LogStream
}

// LogStream is the log of one instance. Methods are safe for concurrent use.
type LogStream interface {
	// Begin writes the START line, unless it is ""; output from now on belongs to
	// the request.
	Begin(requestID string, line string)
	// Settle attributes all output so far, then appends the lines.
	Settle(requestID string, lines ...string)
	// Tail returns the last 4 KiB of the request's log; valid once after Settle.
	Tail(requestID string) []byte
	// Platform writes a line of Hearth's own, in order.
	Platform(requestID, line string)
	// Close drains what is left and waits for the reader to end. It does not wait
	// for the pipe's end: where the sandbox is weak a daemon may still hold it.
	Close() error
}

// journal writes the platform's lines of one instance and closes its stream when
// the instance is dead and every invocation that it began is settled.
type journal struct {
	stream  LogStream
	version *faas.Version

	mu     sync.Mutex
	open   map[string]struct{} // begun and not settled
	dead   bool                // no more output comes
	closed bool
}

func newJournal(stream LogStream, version *faas.Version) *journal {
	return &journal{stream: stream, version: version, open: make(map[string]struct{}, 1)}
}

// begin writes the START line of an invocation.
func (j *journal) begin(requestID string) {
	if !j.enter(requestID) {
		return
	}
	line := "START RequestId: " + requestID + " Version: " + j.version.ID.Number
	if j.json() {
		line = j.record("platform.start", map[string]any{"requestId": requestID, "version": j.version.ID.Number})
	}
	if !j.json() || j.shows(levelInfo) {
		j.stream.Begin(requestID, line)
		return
	}
	j.stream.Begin(requestID, "")
}

// enter notes the invocation; false where it is noted, or all is over.
func (j *journal) enter(requestID string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, begun := j.open[requestID]; begun || j.closed {
		return false
	}
	j.open[requestID] = struct{}{}
	return true
}

// failed writes what the platform found about an invocation's runtime.
func (j *journal) failed(requestID string, out faas.Outcome) {
	var doc struct {
		Message string `json:"errorMessage"`
	}
	// The document is our own and parses; without a message the type says enough.
	_ = json.Unmarshal(out.Payload, &doc)
	j.platform(requestID, strings.TrimSpace(doc.Message+" "+out.ErrorType))
}

// initFailed writes what Lambda writes of an init that failed: INIT_REPORT, or
// platform.initReport. The status is error or timeout.
func (j *journal) initFailed(took time.Duration, status, errorType string) {
	if j.json() {
		record := map[string]any{"initializationType": "on-demand", "phase": "init", "status": status,
			"metrics": map[string]any{"durationMs": float64(took) / float64(time.Millisecond)}}
		if errorType != "" {
			record["errorType"] = errorType
		}
		j.write("", j.record("platform.initReport", record))
		return
	}
	line := appendMillis([]byte("INIT_REPORT Init Duration: "), took)
	line = append(append(append(line, "Phase: init\tStatus: "...), status...), '\t')
	if errorType != "" {
		line = append(append(append(line, "Error Type: "...), oneLine(errorType)...), '\t')
	}
	j.write("", string(line))
}

// platform writes a line of Hearth's own about an invocation, or about none.
func (j *journal) platform(requestID, text string) {
	if !j.json() {
		j.write(requestID, text)
		return
	}
	line, err := json.Marshal(struct {
		Time      string `json:"timestamp"`
		Level     string `json:"level"`
		RequestID string `json:"requestId,omitempty"`
		Message   string `json:"message"`
	}{stamp(), "ERROR", requestID, text})
	if err != nil { // strings always marshal
		return
	}
	j.write(requestID, string(line))
}

func extensionRecord(x runtimeapi.ExtensionState) map[string]any {
	record := map[string]any{"name": x.Name, "state": x.State, "events": append([]string{}, x.Events...)}
	if x.ErrorType != "" {
		record["errorType"] = x.ErrorType
	}
	return record
}

// extension writes how an extension is when init is over.
func (j *journal) extension(x runtimeapi.ExtensionState) {
	if j.json() {
		if j.shows(levelInfo) {
			j.write("", j.record("platform.extension", extensionRecord(x)))
		}
		return
	}
	line := "EXTENSION\tName: " + x.Name + "\tState: " + x.State + "\tEvents: [" + strings.Join(x.Events, ", ") + "]"
	if x.ErrorType != "" {
		line += "\tError Type: " + x.ErrorType
	}
	j.write("", line)
}

func (j *journal) write(requestID, line string) {
	j.mu.Lock()
	closed := j.closed
	j.mu.Unlock()
	if !closed {
		j.stream.Platform(requestID, line)
	}
}

// settle writes the last lines of an invocation and returns the tail of its log.
// An invocation whose runtime never got it gets its START line here.
func (j *journal) settle(report *faas.Report, wantTail bool) []byte {
	j.begin(report.RequestID)
	j.mu.Lock()
	closed := j.closed
	j.mu.Unlock()
	if closed {
		return nil
	}
	j.stream.Settle(report.RequestID, j.lastLines(report)...)
	var tail []byte
	if wantTail {
		tail = j.stream.Tail(report.RequestID)
	}
	j.leave(report.RequestID)
	return tail
}

func (j *journal) leave(requestID string) {
	j.mu.Lock()
	delete(j.open, requestID)
	last := j.endsLocked()
	j.mu.Unlock()
	if last {
		j.stream.Close() // what it could not write, the log store has reported itself
	}
}

// end says that the instance is dead. The stream is closed now, or when the
// last invocation that it held is settled.
func (j *journal) end() {
	j.mu.Lock()
	j.dead = true
	last := j.endsLocked()
	j.mu.Unlock()
	if last {
		j.stream.Close() // as in leave
	}
}

func (j *journal) endsLocked() bool {
	if !j.dead || j.closed || len(j.open) > 0 {
		return false
	}
	j.closed = true
	return true
}

// lastLines are END and REPORT, and before them what ended the invocation early.
func (j *journal) lastLines(r *faas.Report) []string {
	if j.json() {
		return j.jsonLines(r)
	}
	lines := make([]string, 0, 3)
	if r.Status == "timeout" {
		lines = append(lines, fmt.Sprintf("%s %s %s", stamp(),
			r.RequestID, timeoutReason(j.version.Config.Timeout())))
	}
	return append(lines, "END RequestId: "+r.RequestID, textReport(r))
}

// textReport is Lambda's REPORT line, and what more there is to tell: why the call
// was cold and the parts of its start, what it waited and what ended it took.
// Package logs reads it again.
func textReport(r *faas.Report) string {
	b := make([]byte, 0, 256)
	b = append(append(b, "REPORT RequestId: "...), r.RequestID...)
	b = appendMillis(append(b, "\tDuration: "...), r.Duration)
	b = strconv.AppendInt(append(b, "Billed Duration: "...), billedMillis(r.Billed), 10)
	b = strconv.AppendInt(append(b, " ms\tMemory Size: "...), int64(r.MemoryMB), 10)
	b = strconv.AppendInt(append(b, " MB\tMax Memory Used: "...), megabytes(r.MaxMemory), 10)
	b = append(b, " MB\t"...)
	t := r.Timeline
	if r.Start == faas.StartCold {
		b = appendMillis(append(b, "Init Duration: "...), r.Init)
		b = appendMillis(append(b, "Queue: "...), t.Queue)
		b = appendMillis(append(b, "Sandbox: "...), t.Sandbox)
		b = appendMillis(append(b, "Runtime: "...), t.Runtime)
		b = appendMillis(append(b, "Code: "...), t.Code)
		b = append(append(append(b, "Cold: "...), r.Cold...), '\t')
		if t.Way != "" {
			b = append(append(append(b, "Way: "...), wayText(t)...), '\t')
		}
	} else {
		if t.Queue >= notable {
			b = appendMillis(append(b, "Queue: "...), t.Queue)
		}
		if t.Thaw > 0 { // however short: it says that the instance was frozen
			b = appendMillis(append(b, "Thaw: "...), max(t.Thaw, notable))
		}
	}
	if t.Settle >= notable {
		b = appendMillis(append(b, "Settle: "...), t.Settle)
	}
	if r.Status != "success" {
		b = append(append(append(b, "Status: "...), reportStatus(r.Status)...), '\t')
		if r.ErrorType != "" && r.Status != "timeout" {
			b = append(append(append(b, "Error Type: "...), oneLine(r.ErrorType)...), '\t')
		}
	}
	return string(b)
}

// wayText is how an instance was started, with the reason of a direct start behind it.
func wayText(t faas.Timeline) string {
	return strings.TrimSpace(string(t.Way) + " " + oneLine(t.WayReason))
}

// notable is the shortest part of a warm call that its REPORT line tells.
const notable = 10 * time.Microsecond

// reportStatus is what Lambda calls it: exits and OOM are errors there.
func reportStatus(status string) string {
	if status == "timeout" {
		return status
	}
	return "error"
}

// oneLine keeps what a function chose from making lines of the platform's look.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, s)
}

// appendMillis appends a duration with two decimals, and a tab.
func appendMillis(b []byte, d time.Duration) []byte {
	b = strconv.AppendFloat(b, float64(d)/float64(time.Millisecond), 'f', 2, 64)
	return append(b, " ms\t"...)
}

func billedMillis(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

func megabytes(bytes int64) int64 { return (bytes + 1<<20 - 1) >> 20 }

// Levels of the system log in JSON format, least important first.
const (
	levelDebug = iota
	levelInfo
	levelWarn
)

func (j *journal) json() bool { return j.version.Config.Logging.Format == "JSON" }

func (j *journal) shows(level int) bool {
	switch j.version.Config.Logging.SystemLevel {
	case "DEBUG":
		return level >= levelDebug
	case "WARN":
		return level >= levelWarn
	}
	return level >= levelInfo
}

// jsonLines are platform.runtimeDone and platform.report, as far as their levels are
// shown: those of a failure are warnings.
func (j *journal) jsonLines(r *faas.Report) (lines []string) {
	done, report := levelDebug, levelInfo
	if r.Status != faas.StatusSuccess {
		done, report = levelWarn, levelWarn
	}
	if j.shows(done) {
		lines = append(lines, j.jsonDone(r))
	}
	if j.shows(report) {
		lines = append(lines, j.jsonReport(r))
	}
	return lines
}

func (j *journal) jsonDone(r *faas.Report) string {
	record := map[string]any{"requestId": r.RequestID, "status": "success", "metrics": map[string]any{
		"durationMs": float64(r.Duration) / float64(time.Millisecond), "producedBytes": r.ResponseBytes}}
	if r.Status != faas.StatusSuccess {
		record["status"] = doneStatus(r.Status)
		record["errorType"] = r.ErrorType
	}
	return j.record("platform.runtimeDone", record)
}

// doneStatus is how the runtime itself ended an invocation: one that did not answer
// is a failure, one that answered with an error is an error.
func doneStatus(status string) string {
	switch status {
	case faas.StatusTimeout, faas.StatusError:
		return status
	}
	return "failure"
}

func (j *journal) jsonReport(r *faas.Report) string {
	metrics := map[string]any{
		"durationMs":       float64(r.Duration) / float64(time.Millisecond),
		"billedDurationMs": billedMillis(r.Billed),
		"memorySizeMB":     r.MemoryMB,
		"maxMemoryUsedMB":  megabytes(r.MaxMemory),
	}
	if r.Start == faas.StartCold {
		metrics["initDurationMs"] = float64(r.Init) / float64(time.Millisecond)
	}
	record := map[string]any{"requestId": r.RequestID, "metrics": metrics, "status": "success", "timeline": timelineMillis(r)}
	if r.Cold != "" {
		record["cold"] = r.Cold
	}
	if r.Timeline.Way != "" {
		record["way"] = wayText(r.Timeline)
	}
	if r.Status != "success" {
		record["status"] = reportStatus(r.Status)
		record["errorType"] = r.ErrorType
	}
	return j.record("platform.report", record)
}

// timelineMillis is the parts of an invocation that happened.
func timelineMillis(r *faas.Report) map[string]float64 {
	t, parts := r.Timeline, map[string]float64{}
	if t.Thaw > 0 {
		t.Thaw = max(t.Thaw, notable)
	}
	for name, part := range map[string]time.Duration{"queueMs": t.Queue, "thawMs": t.Thaw, "sandboxMs": t.Sandbox, "runtimeMs": t.Runtime,
		"codeMs": t.Code, "settleMs": t.Settle} {
		if part >= notable {
			parts[name] = float64(part) / float64(time.Millisecond)
		}
	}
	return parts
}

func (j *journal) record(kind string, record map[string]any) string {
	line, err := json.Marshal(struct {
		Time   string         `json:"time"`
		Type   string         `json:"type"`
		Record map[string]any `json:"record"`
	}{stamp(), kind, record})
	if err != nil { // strings and numbers always marshal
		return kind
	}
	return string(line)
}

// stamp is the time now, as the platform's lines have it.
func stamp() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }
