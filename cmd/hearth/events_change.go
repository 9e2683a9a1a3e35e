package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"hearth/api/native"
	"hearth/faas"
	"hearth/registry"
)

// targetFlags say what events are sent to, and with what, when they are sent again.
type targetFlags struct{ function, qualifier, payload string }

func (f *targetFlags) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.function, "to", "", "another function (default: the one that it was sent to)")
	completeFlag(cmd, "to", func(cmd *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completeFunctions(cmd, nil, prefix)
	})
	flags.StringVar(&f.qualifier, "qualifier", "", "a version or an alias (default: the one that it named)")
	flags.StringVarP(&f.payload, "payload", "p", "", "another event: JSON, @FILE, or - for standard input (default: its own)")
}

func (f *targetFlags) target(t *terminal, cmd *cobra.Command) (native.Target, error) {
	out := native.Target{ToFunction: f.function, ToQualifier: f.qualifier}
	if !cmd.Flags().Changed("payload") {
		return out, nil
	}
	payload, err := readPayload(f.payload, t.in)
	if err != nil {
		return out, err
	}
	if !json.Valid(payload) {
		return out, usageError("--payload is no JSON")
	}
	out.Payload = payload
	return out, nil
}

var requestIDPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// redriveArgs accepts request ids, or one function's name.
func redriveArgs(_ *cobra.Command, args []string) error {
	named := func(arg string) bool { return !requestIDPattern.MatchString(arg) }
	if len(args) == 0 || slices.Contains(args, "") || len(args) > 1 && slices.ContainsFunc(args, named) {
		return errors.New("this command takes one function's NAME, or the REQUEST_IDs of events")
	}
	return nil
}

func redriveCommand(t *terminal) *cobra.Command {
	var to targetFlags
	var since, until, reason string
	cmd := command(&cobra.Command{
		Use:               "redrive NAME|REQUEST_ID...",
		ValidArgsFunction: completeEvents,
		Short:             "Send dead letters again, as new events",
		Long: `Sends events again that failed, expired or were terminated: those that are named, or
with a function's NAME all of it that were not sent again before, the oldest first and
at most 10,000. Each becomes a new event with a request id of its own. They go to the
function and qualifier that they were sent to, unless --to or --qualifier says another;
one that is named alone may get another payload.`,
		Example: `  hearth events redrive thumbnail --since 1h --qualifier 7
  hearth events redrive 753b6992-b3e3-44b4-b2d4-f1ead4e6f5a4 -p @mended.json`,
	}, true, redriveArgs, func(cmd *cobra.Command, args []string, v values) error {
		target, err := to.target(t, cmd)
		if err != nil {
			return err
		}
		request := native.RedriveRequest{Target: target, Since: since, Until: until, Reason: faas.DropReason(reason)}
		if requestIDPattern.MatchString(args[0]) {
			request.RequestIDs = args
		} else {
			request.Function = args[0]
		}
		var page native.RedrivePage
		if err := newClient(v).set(cmd, http.MethodPost, "redrive", request, &page); err != nil {
			return err
		}
		if err := t.show(v, page, func() { printRedriven(t, &page) }); err != nil || page.Failed == 0 {
			return err
		}
		return fmt.Errorf("%d of %d were not sent", page.Failed, len(page.Redriven))
	})
	to.flags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&since, "since", "", "of NAME's only those accepted since: an age (10m) or a time (2026-01-02T15:04:05Z)")
	flags.StringVar(&until, "until", "", "of NAME's only those accepted before, likewise")
	flags.StringVar(&reason, "reason", "", "of NAME's only those that ended so, such as retries-exhausted")
	return cmd
}

func replayCommand(t *terminal) *cobra.Command {
	var to targetFlags
	cmd := command(&cobra.Command{
		Use:               "replay REQUEST_ID",
		ValidArgsFunction: completeEvents,
		Short:             "Send an event once more, whatever became of it",
		Example:           "  hearth events replay 753b6992-b3e3-44b4-b2d4-f1ead4e6f5a4 --qualifier 8",
	}, true, names(1, "one REQUEST_ID"), func(cmd *cobra.Command, args []string, v values) error {
		target, err := to.target(t, cmd)
		if err != nil {
			return err
		}
		var accepted native.Accepted
		if err := newClient(v).set(cmd, http.MethodPost, eventPath(args[0], "replay"), target, &accepted); err != nil {
			return err
		}
		return t.show(v, accepted, func() { fmt.Fprintln(t.out, accepted.RequestID) })
	})
	to.flags(cmd)
	return cmd
}

const configureHelp = `Sets how the asynchronous invocations of a function are tried, and where their outcomes
go. What is not said stays; without flags it shows what is set. It holds for those that
name the qualifier: of an alias, whatever version it points at.

A destination is a function (NAME, NAME:QUALIFIER or ARN) or an http or https URL; ''
is none. It gets a record of the invocation, with the event and the function's answer.
--dead-letter gets the event alone of one that failed.`

// asyncFlags are what may be set of asynchronous invocations.
type asyncFlags struct {
	qualifier                        string
	retries                          int
	maxAge, timeout                  time.Duration
	onSuccess, onFailure, deadLetter string
	reset                            bool
}

func configureCommand(t *terminal) *cobra.Command {
	var f asyncFlags
	cmd := command(&cobra.Command{
		Use:               "configure NAME",
		ValidArgsFunction: completeFunctions,
		Short:             "Set retries, maximum age, destinations and the dead-letter target",
		Long:              configureHelp,
		Example: `  hearth events configure thumbnail
  hearth events configure thumbnail --retries 1 --max-age 1h --dead-letter rescue
  hearth events configure thumbnail --qualifier live --on-success https://example.com/done
  hearth events configure thumbnail --on-failure ''
  hearth events configure thumbnail --reset`,
	}, true, names(1, "one function's NAME"), func(cmd *cobra.Command, args []string, v values) error {
		return f.run(cmd, t, v, args[0])
	})
	flags := cmd.Flags()
	flags.StringVar(&f.qualifier, "qualifier", faas.Latest, "the version or alias that the invocations name")
	flags.IntVar(&f.retries, "retries", faas.MaxRetryAttempts, "attempts after one that failed, 0 to 2")
	flags.DurationVar(&f.maxAge, "max-age", faas.MaxEventAgeSeconds*time.Second, "how old an event may become, 1m to 6h")
	flags.DurationVar(&f.timeout, "attempt-timeout", 0, "bound of one attempt in place of the function's timeout, to 24h")
	flags.StringVar(&f.onSuccess, "on-success", "", "destination of invocations that succeeded")
	flags.StringVar(&f.onFailure, "on-failure", "", "destination of invocations that failed")
	flags.StringVar(&f.deadLetter, "dead-letter", "", "gets the events of invocations that failed")
	flags.BoolVar(&f.reset, "reset", false, "remove what is set: the defaults hold")
	return cmd
}

func (f *asyncFlags) run(cmd *cobra.Command, t *terminal, v values, name string) error {
	c, path := newClient(v), functionPath(name, "async/"+url.PathEscape(f.qualifier))
	request, err := f.request(cmd)
	if err != nil {
		return err
	}
	switch {
	case f.reset && request != (native.AsyncRequest{}):
		return usageError("--reset removes all: say nothing else with it")
	case f.reset:
		if err := c.set(cmd, http.MethodDelete, path, nil, nil); err != nil {
			return err
		}
		return t.show(v, map[string]string{"reset": name, "qualifier": f.qualifier}, func() {
			fmt.Fprintf(t.out, "the defaults hold for asynchronous invocations of %s:%s\n", name, f.qualifier)
		})
	case request == (native.AsyncRequest{}):
		var all []registry.EventConfig
		if err := c.set(cmd, http.MethodGet, functionPath(name, "async"), nil, &all); err != nil {
			return err
		}
		return t.show(v, all, func() { printAsync(t, all) })
	}
	var config registry.EventConfig
	if err := c.set(cmd, http.MethodPatch, path, request, &config); err != nil {
		return err
	}
	return t.show(v, config, func() { printAsync(t, []registry.EventConfig{config}) })
}

// request is what the command line says.
func (f *asyncFlags) request(cmd *cobra.Command) (native.AsyncRequest, error) {
	var out native.AsyncRequest
	changed := cmd.Flags().Changed
	if changed("retries") {
		out.Retries = &f.retries
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
		to    **int
	}{{"max-age", f.maxAge, &out.MaxAgeSeconds}, {"attempt-timeout", f.timeout, &out.TimeoutSeconds}} {
		if !changed(d.flag) {
			continue
		}
		seconds := int(d.value / time.Second)
		if d.value%time.Second != 0 || seconds < 1 {
			return out, usageError("--%s takes whole seconds from 1s, not %s", d.flag, d.value)
		}
		*d.to = &seconds
	}
	for _, d := range []struct {
		flag, value string
		to          **faas.Destination
	}{{"on-success", f.onSuccess, &out.OnSuccess}, {"on-failure", f.onFailure, &out.OnFailure}, {"dead-letter", f.deadLetter, &out.DeadLetter}} {
		if changed(d.flag) {
			destination := faas.Destination(d.value)
			*d.to = &destination
		}
	}
	return out, nil
}
