package native

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"hearth/async"
	"hearth/faas"
)

// findEvent returns the record of an asynchronous invocation; nil where it is none
// that is known.
func (a *API) findEvent(r *http.Request, requestID string) (*faas.EventRecord, error) {
	if a.Events == nil {
		return nil, nil
	}
	record, err := a.Events.Get(r.Context(), a.eventScope(r), requestID)
	switch {
	case faas.IsCode(err, faas.CodeNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &record, nil
}

// reportOf is what the history says of the last attempt, where nothing else does.
func reportOf(e *faas.EventRecord) faas.Report {
	report := faas.Report{RequestID: e.RequestID, Version: faas.VersionID{Function: e.Function}, Qualifier: e.Qualifier, Began: e.Accepted}
	if n := len(e.Attempts); n > 0 {
		last := e.Attempts[n-1]
		report.Version.Number, report.Instance, report.Began = last.Version, last.Instance, last.Began
		report.Status, report.ErrorType = last.Status, last.ErrorType
	}
	return report
}

// whyEvent says what became of an event, and why its last attempt was as it was.
func (a *API) whyEvent(e *faas.EventRecord, last *faas.Report) string {
	var queue *async.Queue
	if e.Status == faas.EventQueued {
		scope := e.Function.Scope
		for _, q := range a.Events.Queues(scope) {
			if q.Function == e.Function {
				queue = &q
			}
		}
	}
	words := eventWords(e, queue, a.Now())
	if last.Start == "" && last.Refusal == nil {
		return words // no attempt ended that is known
	}
	if len(e.Attempts) > 1 {
		return words + " The last attempt that ended: " + why(last)
	}
	return words + " " + why(last)
}

// eventWords says what became of an event. Queue is the backlog that it waits in,
// where it does.
func eventWords(e *faas.EventRecord, queue *async.Queue, now time.Time) string {
	words := []string{statusWords(e, now)}
	if queue != nil && queue.Held != nil {
		words = append(words, "What waits before it cannot start: "+refused(queue.Held, e.Function))
	}
	if e.Origin != nil {
		words = append(words, originWords(e.Origin))
	}
	for _, d := range e.Deliveries {
		words = append(words, deliveryWords(&d, now))
	}
	if e.Dropped {
		words = append(words, "Nobody was told: neither a dead-letter target nor an on-failure destination was set.")
	}
	if e.Redriven != "" {
		words = append(words, "It was sent again as "+e.Redriven+".")
	}
	return strings.Join(words, " ")
}

func statusWords(e *faas.EventRecord, now time.Time) string {
	n := len(e.Attempts)
	last := faas.Attempt{Number: 1}
	if n > 0 {
		last = e.Attempts[n-1]
	}
	switch e.Status {
	case faas.EventQueued:
		return fmt.Sprintf("It has waited in the queue of %s for %s; no attempt began yet.", e.Function.Name, between(e.Accepted, now))
	case faas.EventRunning:
		if n == 0 {
			return "Its first attempt waits for an instance."
		}
		return fmt.Sprintf("Attempt %d has run for %s.", last.Number, between(last.Began, now))
	case faas.EventRetrying:
		return fmt.Sprintf("%s The next attempt is due in %s.", attemptWords(&last), between(now, e.Next))
	case faas.EventDone:
		return fmt.Sprintf("It was done in attempt %d, %s after it was accepted.", last.Number, between(e.Accepted, e.Ended))
	case faas.EventAborted:
		return fmt.Sprintf("It was terminated by its user, %s after it was accepted.", between(e.Accepted, e.Ended))
	case faas.EventExpired:
		if n == 0 {
			return fmt.Sprintf("It was given up after %s, older than it may become; no attempt had begun.", between(e.Accepted, e.Ended))
		}
		return fmt.Sprintf("It was given up after %s, older than it may become. %s", between(e.Accepted, e.Ended), attemptWords(&last))
	}
	return failedWords(e, &last)
}

func failedWords(e *faas.EventRecord, last *faas.Attempt) string {
	switch e.Reason {
	case faas.DropRetries:
		return fmt.Sprintf("It failed: %s No more attempts are allowed.", attemptWords(last))
	case faas.DropFunction:
		return "It was given up: its function does not exist any more."
	case faas.DropQualifier:
		return fmt.Sprintf("It was given up: the version or alias %s does not exist any more.", e.Qualifier)
	case faas.DropRequest:
		return "It was given up: no version of the function can serve it. " + attemptWords(last)
	case faas.DropLoop:
		return "It was given up: it is the outcome of an outcome of an outcome, in a chain of destinations that is too long."
	case faas.DropDamaged:
		return "It was given up: what is stored of it is damaged."
	}
	return "It failed (" + string(e.Reason) + ")."
}

// attemptWords says what an attempt came to.
func attemptWords(a *faas.Attempt) string {
	text := fmt.Sprintf("Attempt %d ended with %s", a.Number, a.Status)
	if a.Status == "" {
		text = fmt.Sprintf("Attempt %d has not ended", a.Number)
	}
	if a.ErrorType != "" {
		text += " (" + a.ErrorType + ")"
	}
	if a.ErrorMessage != "" {
		return text + ": " + strings.TrimSuffix(a.ErrorMessage, ".") + "."
	}
	return text + "."
}

func originWords(o *faas.Origin) string {
	switch o.Kind {
	case faas.OriginRedrive:
		return "It is the dead letter " + o.RequestID + ", sent again."
	case faas.OriginReplay:
		return "It is a replay of " + o.RequestID + "."
	case faas.OriginDestination:
		return "It is the outcome of " + o.RequestID + ", whose destination its function is."
	}
	return "It comes from " + o.RequestID + "."
}

func deliveryWords(d *faas.Delivery, now time.Time) string {
	what := fmt.Sprintf("its %s destination %s", d.Kind, d.Destination)
	if d.Kind == faas.DeliverDeadLetter {
		what = fmt.Sprintf("its dead-letter target %s", d.Destination)
	}
	switch {
	case !d.Delivered.IsZero() && d.RequestID != "":
		return fmt.Sprintf("The outcome went to %s, as event %s.", what, d.RequestID)
	case !d.Delivered.IsZero():
		return fmt.Sprintf("The outcome went to %s.", what)
	case d.Next.IsZero() && d.Attempts > 0:
		return fmt.Sprintf("The outcome did not reach %s, and is not sent again: %s", what, sentence(d.Error))
	case d.Attempts > 0:
		return fmt.Sprintf("The outcome has not reached %s yet; it is sent again in %s: %s", what, between(now, d.Next), sentence(d.Error))
	}
	return fmt.Sprintf("The outcome is on its way to %s.", what)
}

// between is a length of time for people; 0 where it would be negative.
func between(from, to time.Time) time.Duration {
	d := max(0, to.Sub(from))
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond)
	case d < 10*time.Second:
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(time.Second)
}
