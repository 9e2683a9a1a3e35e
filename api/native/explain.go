package native

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"hearth/faas"
	"hearth/logs"
)

// Explanation says what became of one invocation, and why.
type Explanation struct {
	faas.Report
	// Source is where the report was found: memory, or log, whose times have two
	// digits behind the millisecond.
	Source string `json:"source"`
	// Why says in sentences what refused the invocation, or why it was cold, and
	// what ended it early.
	Why string `json:"why"`
	// Event is the record of an asynchronous invocation; the report is then that of
	// its last attempt that is known, and empty before the first ended.
	Event *faas.EventRecord `json:"event,omitempty"`
}

// The sources of an Explanation.
const (
	SourceMemory = "memory"
	SourceLog    = "log"
	// SourceHistory: no attempt of the event has ended that is known; there is only
	// what the history of asynchronous invocations says.
	SourceHistory = "history"
)

// maxRequestID bounds what is looked for as a request id, in bytes.
const maxRequestID = 128

func (a *API) explain(w http.ResponseWriter, r *http.Request) error {
	requestID := r.PathValue("requestId")
	if len(requestID) > maxRequestID {
		return faas.Errorf(faas.CodeInvalid, "requestId", "a request id has at most %d characters", maxRequestID)
	}
	event, err := a.findEvent(r, requestID)
	if err != nil {
		return err
	}
	account := a.scope(r).Account
	report, ok := a.Invocations.Find(requestID)
	source := SourceMemory
	if !ok || report.Version.Function.Account != account {
		of := faas.FunctionID{Scope: faas.Scope{Account: account}, Name: r.URL.Query().Get("function")}
		report, err = a.fromLog(r.Context(), of, requestID)
		source = SourceLog
	}
	if err != nil && event != nil {
		report, source, err = reportOf(event), SourceHistory, nil
	}
	if err != nil {
		return err
	}
	words := why(&report)
	if event != nil {
		words = a.whyEvent(event, &report)
	}
	writeJSON(w, http.StatusOK, Explanation{Report: report, Source: source, Why: words, Event: event})
	return nil
}

// fromLog reads the report of an invocation that is no longer in memory from the
// log of its function.
func (a *API) fromLog(ctx context.Context, of faas.FunctionID, requestID string) (faas.Report, error) {
	// The platform's lines are the last ones of an invocation.
	lines, err := a.Logs.Find(ctx, logs.Query{Function: of, RequestID: requestID, Tail: 10})
	if err != nil {
		return faas.Report{}, err
	}
	for _, line := range slices.Backward(lines) {
		if report, ok := logs.ParseReport(line); ok {
			return report, nil
		}
	}
	if len(lines) > 0 {
		return faas.Report{}, faas.Errorf(faas.CodeNotFound, "requestId",
			"The invocation %s has log lines and no REPORT line: it runs still, or its log leaves such lines out (systemLevel WARN). See 'hearth logs %s --request-id %s'.",
			requestID, lines[0].Function.Name, requestID)
	}
	return faas.Report{}, faas.Errorf(faas.CodeNotFound, "requestId",
		"No invocation %.*s is known. Check the id, and that this server ran it. Those that ran can be found as long as their log lines are kept (--log-retention), those that were refused among the last 1,024.",
		maxRequestID, requestID)
}

// why words what a report says.
func why(r *faas.Report) string {
	var s []string
	switch {
	case r.Refusal != nil:
		s = append(s, refused(r.Refusal, r.Version.Function))
	case r.Status == faas.StatusRefused && r.ErrorType == string(faas.CodeShuttingDown):
		s = append(s, "The server was stopping and took no new calls.")
	case r.Status == faas.StatusRefused:
		s = append(s, "It was refused ("+r.ErrorType+").")
	case r.Status == faas.StatusCanceled:
		s = append(s, "Its caller left before an instance was there.")
	case r.Instance == "" && r.Start == "":
		s = append(s, "Hearth failed to run it; the server's log has the reason under its request id.")
	case r.Instance == "":
		s = append(s, "No instance ran it: the instances of its version fail to start, and starts are paused for a moment. It was answered with the error of the last one.")
	case r.Start == faas.StartCold:
		s = append(s, coldWords(r.Cold))
		if way := wayWords(r.Timeline.Way, r.Timeline.WayReason); way != "" {
			s = append(s, way)
		}
	case r.Timeline.Queue >= time.Millisecond:
		s = append(s, fmt.Sprintf("It was warm: an instance became free after %s.", r.Timeline.Queue.Round(10*time.Microsecond)))
	case r.Timeline.Thaw > 0:
		s = append(s, fmt.Sprintf("It was warm: a frozen instance was thawed for it, which took %s.", r.Timeline.Thaw.Round(10*time.Microsecond)))
	default:
		s = append(s, "It was warm: an instance was there.")
	}
	switch r.Status {
	case faas.StatusTimeout:
		s = append(s, "Its time was up, so its instance was taken out of service.")
	case faas.StatusOOM:
		s = append(s, fmt.Sprintf("Its instance ran out of its %d MB of memory and was stopped.", r.MemoryMB))
	case faas.StatusExit:
		s = append(s, "Its runtime ended before it answered.")
	case faas.StatusError:
		switch {
		case r.Instance == "" || r.ErrorType == "":
		case r.Start == faas.StartCold && r.Duration == 0:
			s = append(s, "Its init, the code outside the handler, failed with "+r.ErrorType+", so the handler did not run.")
		default:
			s = append(s, "The function failed with "+r.ErrorType+".")
		}
	}
	return strings.Join(s, " ")
}

func refused(r *faas.Refusal, id faas.FunctionID) string {
	if r.Value == 0 && r.Use == 0 && r.Limit == faas.LimitMachine {
		return strings.TrimSpace("The limit " + string(r.Limit) + " refused it. " + sentence(r.Raise))
	}
	if r.Limit == faas.LimitOff {
		return strings.TrimSpace("The limit " + string(r.Limit) + " refused it: the function's reserved concurrency was 0. " + sentence(r.Raise))
	}
	of := " of " + r.Subject
	switch {
	case r.Limit == faas.LimitMachine:
		of = "" // there is one
	case r.Subject == id.String():
		of = " of " + id.Name
	}
	return strings.TrimSpace(fmt.Sprintf("The limit %s%s refused it: %d of %d %s were in use. %s",
		r.Limit, of, r.Use, r.Value, r.Unit, sentence(r.Raise)))
}

// sentence is a text with a capital and a full stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(text)
	text = string(unicode.ToUpper(first)) + text[size:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

func coldWords(reason faas.ColdReason) string {
	switch reason {
	case faas.ColdFirst:
		return "It was cold: it was the first invocation of its version."
	case faas.ColdScaleOut:
		return "It was cold: every instance was busy, so one more was started."
	case faas.ColdIdle:
		return "It was cold: the instances before had been idle for longer than they are kept."
	case faas.ColdRoom:
		return "It was cold: the instances before had been stopped to make room for others."
	case faas.ColdDeploy:
		return "It was cold: its version had changed."
	case faas.ColdRecycle:
		return "It was cold: the instance before had ended by a timeout, an exit, lack of memory or a failed init, or could not be thawed."
	case faas.ColdRestart:
		return "It was cold: Hearth had been restarted."
	case "":
		return "It was cold."
	}
	return "It was cold (" + string(reason) + ")."
}

// wayWords says how the instance was started.
func wayWords(way faas.StartWay, reason string) string {
	switch way {
	case faas.WayCell:
		return "A stem cell became its instance."
	case faas.WayEmpty:
		return "No stem cell stood by, so its instance was started directly."
	case faas.WayDirect:
		return "Its instance was started directly, as no stem cell could become it (" + reason + ")."
	}
	return ""
}
