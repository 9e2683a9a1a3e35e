package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"hearth/api/native"
	"hearth/faas"
	"hearth/registry"
)

// copy writes a stream to standard output, with a line end where it has none.
func (t *terminal) copy(from io.Reader) error {
	raw, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(t.out, strings.TrimSuffix(string(raw), "\n"))
	return err
}

// printEvents prints a table of events; named says of which function each is.
func printEvents(t *terminal, page *native.EventPage, named bool, namespace string) {
	if len(page.Events) == 0 {
		fmt.Fprintln(t.out, "no events")
		return
	}
	now := time.Now()
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	head := "REQUEST ID\tACCEPTED\tATTEMPTS\tSTATUS"
	if named {
		head = "FUNCTION\t" + head
	}
	fmt.Fprintln(w, head)
	for _, e := range page.Events {
		if named {
			fmt.Fprintf(w, "%s\t", qualifiedName(e.Function.Namespace, e.Function.Name, namespace))
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", e.RequestID, e.Accepted.Local().Format(time.DateTime), len(e.Attempts), statusText(&e, now))
	}
	w.Flush()
	if page.Next != "" {
		t.progress("there are more: --max, or --until a time")
	}
}

// statusText is a status, with when it goes on or why it ended so.
func statusText(e *faas.EventRecord, now time.Time) string {
	switch {
	case e.Status == faas.EventRetrying && !e.Next.IsZero():
		return fmt.Sprintf("%s in %s", e.Status, max(0, e.Next.Sub(now)).Round(time.Second))
	case e.Reason != "":
		return fmt.Sprintf("%s (%s)", e.Status, e.Reason)
	}
	return string(e.Status)
}

func printEvent(t *terminal, e *faas.EventRecord, namespace string, now time.Time) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	row("request id", "%s", e.RequestID)
	row("function", "%s", strings.TrimSuffix(qualifiedName(e.Function.Namespace, e.Function.Name, namespace)+":"+e.Qualifier, ":"))
	row("status", "%s", statusText(e, now))
	row("accepted", "%s", instantText(e.Accepted))
	if !e.Next.IsZero() {
		row("next attempt", "%s", instantText(e.Next))
	}
	if !e.Ended.IsZero() {
		row("ended", "%s", instantText(e.Ended))
	}
	row("payload", "%s", size(int64(e.PayloadBytes)))
	if e.Origin != nil {
		row("came from", "%s of %s", e.Origin.Kind, e.Origin.RequestID)
	}
	for _, a := range e.Attempts {
		row(fmt.Sprintf("attempt %d", a.Number), "%s", attemptText(&a))
	}
	for _, d := range e.Deliveries {
		row(string(d.Kind), "%s", deliveryText(&d))
	}
	if e.Dropped {
		row("dropped", "nobody was told: no dead-letter target and no on-failure destination was set")
	}
	if e.Redriven != "" {
		row("sent again", "as %s", e.Redriven)
	}
	if len(e.Attempts) > 0 {
		row("log", "hearth logs %s --request-id %s", e.Function.Name, e.RequestID)
	}
	w.Flush()
}

// instantText is a time with its milliseconds, in this machine's time zone.
func instantText(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }

func attemptText(a *faas.Attempt) string {
	text := fmt.Sprintf("%s  %s  ", instantText(a.Began), a.Version)
	if a.Ended.IsZero() {
		return text + "running"
	}
	return text + fmt.Sprintf("%s  %s", a.Ended.Sub(a.Began).Round(100*time.Microsecond), attemptOutcome(a))
}

// attemptOutcome is what an attempt came to, with the error that it ended with.
func attemptOutcome(a *faas.Attempt) string {
	text := a.Status
	if a.ErrorType != "" {
		text += " (" + a.ErrorType + ")"
	}
	if a.ErrorMessage != "" {
		text += ": " + a.ErrorMessage
	}
	return text
}

func deliveryText(d *faas.Delivery) string {
	switch {
	case !d.Delivered.IsZero() && d.RequestID != "":
		return fmt.Sprintf("%s  delivered %s as event %s", d.Destination, instantText(d.Delivered), d.RequestID)
	case !d.Delivered.IsZero():
		return fmt.Sprintf("%s  delivered %s", d.Destination, instantText(d.Delivered))
	case d.Attempts == 0:
		return fmt.Sprintf("%s  on its way", d.Destination)
	case d.Next.IsZero():
		return fmt.Sprintf("%s  given up after %d attempts: %s", d.Destination, d.Attempts, d.Error)
	}
	return fmt.Sprintf("%s  failed %d times, next at %s: %s", d.Destination, d.Attempts, instantText(d.Next), d.Error)
}

func printRedriven(t *terminal, page *native.RedrivePage) {
	if len(page.Redriven) == 0 {
		fmt.Fprintln(t.out, "no dead letters")
		return
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DEAD LETTER\tSENT AS")
	for _, r := range page.Redriven {
		as := r.RequestID
		if r.Error != nil {
			as = "not sent: " + printable(r.Error.Message)
		}
		fmt.Fprintf(w, "%s\t%s\n", r.From, as)
	}
	w.Flush()
}

func printQueues(t *terminal, all []native.Queue, namespace string) {
	if len(all) == 0 {
		fmt.Fprintln(t.out, "no queues: nothing waits and nothing runs")
		return
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FUNCTION\tWAIT\tDELAYED\tRUN\tBYTES\tAGE\tTO REPORT\tHELD BY")
	for _, q := range all {
		held := "-"
		if q.Held != nil {
			held = fmt.Sprintf("%s %d of %d", q.Held.Limit, q.Held.Use, q.Held.Value)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\t%d\t%s\n", qualifiedName(q.Namespace, q.Name, namespace),
			q.Waiting, q.Delayed, q.Running, size(q.Bytes), ageText(q.Age), q.Deliveries, held)
	}
	w.Flush()
}

// ageText is the age of what waits longest; - where nothing does.
func ageText(age time.Duration) string {
	switch {
	case age == 0:
		return "-"
	case age < time.Second:
		return age.Round(time.Millisecond).String()
	}
	return age.Round(time.Second).String()
}

func printAsync(t *terminal, all []registry.EventConfig) {
	if len(all) == 0 {
		fmt.Fprintf(t.out, "nothing is set: %d retries, events up to %s old, no destinations\n",
			faas.MaxRetryAttempts, faas.AsyncConfig{}.MaxAge())
		return
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "QUALIFIER\tRETRIES\tMAX AGE\tTIMEOUT\tON SUCCESS\tON FAILURE\tDEAD LETTER")
	for _, c := range all {
		fmt.Fprintf(w, "%s\t%s\n", c.Qualifier, strings.Join(asyncCells(&c.Config), "\t"))
	}
	w.Flush()
}

func asyncCells(c *faas.AsyncConfig) []string {
	timeout := "function's"
	if c.TimeoutSeconds > 0 {
		timeout = (time.Duration(c.TimeoutSeconds) * time.Second).String()
	}
	cells := []string{fmt.Sprint(c.MaxRetries()), c.MaxAge().String(), timeout}
	for _, d := range []faas.Destination{c.OnSuccess, c.OnFailure, c.DeadLetter} {
		cells = append(cells, destinationText(d))
	}
	return cells
}

// destinationText is a function by its name, and a URL as it is.
func destinationText(d faas.Destination) string {
	if d == "" {
		return "-"
	}
	if ref, ok := d.Function(); ok {
		return strings.TrimSuffix(qualifiedName(ref.ID.Namespace, ref.ID.Name, faas.DefaultNamespace)+":"+ref.Qualifier, ":")
	}
	return printable(string(d))
}

// asyncText is what is set for asynchronous invocations, in one line.
func asyncText(c *faas.AsyncConfig) string {
	text := fmt.Sprintf("%d retries, up to %s old", c.MaxRetries(), c.MaxAge())
	for _, d := range []struct {
		what string
		to   faas.Destination
	}{{"on success", c.OnSuccess}, {"on failure", c.OnFailure}, {"dead letters", c.DeadLetter}} {
		if d.to != "" {
			text += fmt.Sprintf(", %s to %s", d.what, destinationText(d.to))
		}
	}
	return text
}
