package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hearth/api/native"
	"hearth/faas"
)

const eventsHelp = `Lists asynchronous invocations, the newest first: those of one function, or of all.
They are remembered for three days.

  queued    accepted and durable; no attempt began yet
  running   an attempt has an instance, or is about to get one
  retrying  an attempt failed; the next is due
  done      the function succeeded
  failed    given up: too many attempts failed, or nothing can run it
  aborted   terminated by its user
  expired   older than it may become`

func eventsCommand(t *terminal) *cobra.Command {
	var f eventFilter
	cmd := command(&cobra.Command{
		Use:               "events [NAME]",
		ValidArgsFunction: completeFunctions,
		Short:             "List, follow up, end and repeat asynchronous invocations",
		Long:              eventsHelp,
		Example: `  hearth invoke thumbnail --async -p @photo.json
  hearth events thumbnail --status failed,expired --since 1h
  hearth events show 753b6992-b3e3-44b4-b2d4-f1ead4e6f5a4
  hearth events redrive thumbnail --qualifier 7
  hearth events configure thumbnail --retries 0 --on-failure rescue`,
	}, true, atMostOne("one function's NAME"), func(cmd *cobra.Command, args []string, v values) error {
		path := "events"
		if len(args) > 0 {
			path = functionPath(args[0], "events")
		}
		page, err := f.fetch(cmd, newClient(v), path)
		if err != nil {
			return err
		}
		return t.show(v, page, func() { printEvents(t, page, len(args) == 0, v["namespace"]) })
	})
	f.flags(cmd)
	cmd.AddCommand(showEventCommand(t), payloadCommand(t), terminateCommand(t), redriveCommand(t), replayCommand(t), configureCommand(t))
	return cmd
}

// atMostOne accepts no argument or one.
func atMostOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 1 || slices.Contains(args, "") {
			return errors.New("this command takes no arguments or " + what)
		}
		return nil
	}
}

// eventFilter is what of a function's events is wanted.
type eventFilter struct {
	status, since, until, qualifier, reason string
	max                                     int
}

const (
	usualEvents = 50
	eventPage   = 1000 // the most that one request returns
)

func (f *eventFilter) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.status, "status", "", "only these, comma-separated, such as failed,expired")
	completeFlag(cmd, "status", cobra.FixedCompletions(statusCompletions(), cobra.ShellCompDirectiveNoFileComp))
	flags.StringVar(&f.since, "since", "", "accepted since: an age (10m) or a time (2026-01-02T15:04:05Z)")
	flags.StringVar(&f.until, "until", "", "accepted before, likewise")
	flags.StringVar(&f.qualifier, "qualifier", "", "only those that named this version or alias")
	flags.StringVar(&f.reason, "reason", "", "only those that ended so, such as retries-exhausted")
	flags.IntVar(&f.max, "max", usualEvents, "how many at most")
}

func statusCompletions() []cobra.Completion {
	var all []cobra.Completion
	for _, s := range faas.EventStatuses() {
		all = append(all, string(s))
	}
	return all
}

// fetch asks for pages until there are enough events.
func (f *eventFilter) fetch(cmd *cobra.Command, c *client, path string) (*native.EventPage, error) {
	if err := checkNumbers(cmd.Flags(), "max"); err != nil {
		return nil, err
	}
	q := url.Values{}
	for name, value := range map[string]string{"status": f.status, "since": f.since, "until": f.until, "qualifier": f.qualifier, "reason": f.reason} {
		if value != "" {
			q.Set(name, value)
		}
	}
	all := &native.EventPage{Events: []faas.EventRecord{}}
	for {
		q.Set("max", strconv.Itoa(min(f.max-len(all.Events), eventPage)))
		var page native.EventPage
		if err := c.do(cmd.Context(), http.MethodGet, path, q, nil, &page); err != nil {
			return nil, err
		}
		all.Events, all.Next = append(all.Events, page.Events...), page.Next
		if page.Next == "" || len(all.Events) >= f.max {
			return all, nil
		}
		q.Set("marker", page.Next)
	}
}

func eventPath(requestID, rest string) string {
	return strings.TrimSuffix("events/"+url.PathEscape(requestID)+"/"+rest, "/")
}

func showEventCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:               "show REQUEST_ID",
		ValidArgsFunction: completeEvents,
		Short:             "Show one event: its attempts, their errors and logs, where its outcome went",
		Example:           "  hearth events show 753b6992-b3e3-44b4-b2d4-f1ead4e6f5a4",
	}, true, names(1, "one REQUEST_ID"), func(cmd *cobra.Command, args []string, v values) error {
		var e faas.EventRecord
		if err := newClient(v).do(cmd.Context(), http.MethodGet, eventPath(args[0], ""), nil, nil, &e); err != nil {
			return err
		}
		return t.show(v, e, func() { printEvent(t, &e, v["namespace"], time.Now()) })
	})
}

func payloadCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:               "payload REQUEST_ID",
		ValidArgsFunction: completeEvents,
		Short:             "Print what an event was sent with",
		Example: `  hearth events payload 753b6992-b3e3-44b4-b2d4-f1ead4e6f5a4 > event.json
  hearth events redrive 753b6992-b3e3-44b4-b2d4-f1ead4e6f5a4 -p @event.json`,
	}, true, names(1, "one REQUEST_ID"), func(cmd *cobra.Command, args []string, v values) error {
		response, err := newClient(v).send(cmd.Context(), http.MethodGet, eventPath(args[0], "payload"), nil, nil)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		return t.copy(response.Body)
	})
}

func terminateCommand(t *terminal) *cobra.Command {
	var grace time.Duration
	cmd := command(&cobra.Command{
		Use:               "terminate REQUEST_ID",
		ValidArgsFunction: completeEvents,
		Short:             "End an event: take it out of its queue, or stop what runs it",
		Long: `Ends an event. One that waits is taken out of its queue. One that runs has its
instance killed, or with --grace its runtime sent SIGTERM and so long to end by itself,
10 s where no time is said and at most 15 min.
It is not tried again, and no destination is told. Returns when that is recorded.`,
		Example: "  hearth events terminate 753b6992-b3e3-44b4-b2d4-f1ead4e6f5a4 --grace=30s",
	}, true, names(1, "one REQUEST_ID"), func(cmd *cobra.Command, args []string, v values) error {
		var e faas.EventRecord
		request := native.TerminateRequest{GraceSeconds: int((grace + time.Second - 1) / time.Second)}
		if err := newClient(v).set(cmd, http.MethodPost, eventPath(args[0], "terminate"), request, &e); err != nil {
			return err
		}
		return t.show(v, e, func() { fmt.Fprintf(t.out, "%s %s\n", e.Status, e.RequestID) })
	})
	cmd.Flags().DurationVar(&grace, "grace", 0, "send SIGTERM first, and kill what is left after so long")
	cmd.Flags().Lookup("grace").NoOptDefVal = "10s"
	return cmd
}

// completeEvents offers the newest request ids, with what they are.
func completeEvents(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var page native.EventPage
	if !completion(cmd, "events", url.Values{"max": {"100"}}, &page) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []cobra.Completion
	for _, e := range page.Events {
		if strings.HasPrefix(e.RequestID, prefix) && !slices.Contains(args, e.RequestID) {
			found = append(found, cobra.CompletionWithDesc(e.RequestID, e.Function.Name+" "+string(e.Status)))
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

func queuesCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:   "queues",
		Short: "Show the backlogs of asynchronous invocations: how many wait, how long, and for what",
		Long: `Shows each function with asynchronous invocations that wait, run or are to be reported
to a destination. Of those that WAIT, DELAYED ones wait for the time of their next
attempt and the others for room; AGE is that of the oldest. HELD BY is the limit that
refused the next one.`,
		Example: "  hearth queues\n  hearth queues --output json | jq '.[] | select(.waiting > 1000)'",
	}, true, names(0, "no arguments"), func(cmd *cobra.Command, _ []string, v values) error {
		var all []native.Queue
		if err := newClient(v).do(cmd.Context(), http.MethodGet, "queues", nil, nil, &all); err != nil {
			return err
		}
		return t.show(v, all, func() { printQueues(t, all, v["namespace"]) })
	})
}
