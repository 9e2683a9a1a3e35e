package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hearth/api/native"
	"hearth/faas"
)

const provisionHelp = `Keeps instances of a version or an alias started and initialised before anyone calls.
A number counts instances, a size such as 1280MB their memory, which must be a
multiple of the version's. Calls beyond them run on other instances, as far as the
quotas of the function go. $LATEST cannot have any: publish a version.

With --schedule the number changes at certain times: NAME=CRON=N, with 5 fields of
cron, 6 (seconds first) or 7 (year last). What comes later overrides, so the end of a
window is a schedule of its own. With --track it follows the calls in flight, so that
TARGET of the instances are busy, within --min and --max. Both need no number.`

// provisionWait bounds --wait: the longest init of a provisioned instance, and the
// time for others before it.
const provisionWait = 20 * time.Minute

// provisionPoll is how often --wait looks.
const provisionPoll = 250 * time.Millisecond

// provisionFlags are what may be said beside a number.
type provisionFlags struct {
	schedules []string
	timeZone  string
	track     float64
	min, max  int
	wait      bool
}

func provisionCommand(t *terminal) *cobra.Command {
	var f provisionFlags
	cmd := command(&cobra.Command{
		Use:               "provision NAME QUALIFIER [N|SIZE]",
		ValidArgsFunction: completeQualifiers,
		Short:             "Keep instances of a version or an alias ready",
		Long:              provisionHelp,
		Example: `  hearth quota provision thumbnail live 5 --wait
  hearth quota provision report 3 1280MB
  hearth quota provision shop live 2 --time-zone Europe/Berlin \
      --schedule 'open=0 8 * * 1-5=20' --schedule 'close=0 18 * * 1-5=2'
  hearth quota provision shop live --track 0.7 --min 2 --max 50`,
	}, true, provisionArgs, func(cmd *cobra.Command, args []string, v values) error {
		request, err := f.request(cmd, args[2:])
		if err != nil {
			return err
		}
		c, path := newClient(v), provisionedPath(args[0], args[1])
		var p native.Provisioned
		if err := c.set(cmd, http.MethodPut, path, request, &p); err != nil {
			return err
		}
		if f.wait {
			if err := awaitProvisioned(cmd.Context(), t, c, path, &p); err != nil {
				return err
			}
		}
		return t.show(v, p, func() { printProvisioned(t, []native.Provisioned{p}) })
	})
	flags := cmd.Flags()
	flags.StringArrayVar(&f.schedules, "schedule", nil, "NAME=CRON=N: as many instances from that time on; repeatable")
	flags.StringVar(&f.timeZone, "time-zone", "", "of the schedules, such as Europe/Berlin (default UTC)")
	completeFlag(cmd, "time-zone", cobra.NoFileCompletions)
	flags.Float64Var(&f.track, "track", 0, "follow the calls in flight: the part of the instances to keep busy, above 0 and below 1")
	flags.IntVar(&f.min, "min", 1, "the fewest instances with --track")
	flags.IntVar(&f.max, "max", 0, "the most instances with --track")
	flags.BoolVar(&f.wait, "wait", false, "wait until the instances are ready")
	return cmd
}

func provisionArgs(_ *cobra.Command, args []string) error {
	if len(args) < 2 || len(args) > 3 || slices.Contains(args, "") {
		return errors.New("this command takes one function's NAME, a version or alias as QUALIFIER, and a number of instances or a size such as 1280MB")
	}
	return nil
}

func provisionedPath(name, qualifier string) string {
	return functionPath(name, "provisioned/"+url.PathEscape(qualifier))
}

// request is what the command line says; amount has the number, if one was said.
func (f *provisionFlags) request(cmd *cobra.Command, amount []string) (*native.ProvisionedRequest, error) {
	out, flags := &native.ProvisionedRequest{}, cmd.Flags()
	if len(amount) > 0 {
		a, err := parseAmount(amount[0], faas.UnitInstances)
		if err != nil {
			return nil, usageError("%w", err)
		}
		out.Amount = &a
	}
	for _, text := range f.schedules {
		s, err := parseSchedule(text)
		if err != nil {
			return nil, usageError("--schedule: %w", err)
		}
		s.TimeZone = f.timeZone
		out.Schedules = append(out.Schedules, s)
	}
	switch {
	case flags.Changed("track"):
		if !flags.Changed("max") {
			return nil, usageError("--track needs --max: the most instances that it may come to want")
		}
		out.Tracking = &faas.Tracking{Target: f.track, Min: f.min, Max: f.max}
	case flags.Changed("min") || flags.Changed("max"):
		return nil, usageError("--min and --max bound what --track does: say --track as well")
	case f.timeZone != "" && len(f.schedules) == 0:
		return nil, usageError("--time-zone is that of schedules: say --schedule as well")
	case len(f.schedules) == 0 && out.Amount != nil && out.Amount.Value == 0:
		return nil, usageError("0 instances need no setting: 'hearth quota unprovision' keeps none ready")
	case out.Amount == nil && len(f.schedules) == 0:
		return nil, usageError("say how many instances: a number, a size such as 1280MB, --schedule or --track")
	}
	return out, nil
}

// parseSchedule reads NAME=CRON=N. What a cron expression may be is the server's
// to say.
func parseSchedule(text string) (faas.Schedule, error) {
	name, rest, named := strings.Cut(text, "=")
	end := strings.LastIndex(rest, "=")
	if !named || name == "" || end < 1 {
		return faas.Schedule{}, fmt.Errorf("%q is not NAME=CRON=N, such as 'open=0 8 * * 1-5=20'", text)
	}
	n, ok := wholeNumber(rest[end+1:])
	if !ok {
		return faas.Schedule{}, fmt.Errorf("%q in %q is not a number of instances", rest[end+1:], text)
	}
	return faas.Schedule{Name: name, Cron: rest[:end], Instances: n}, nil
}

// awaitProvisioned looks until the instances are ready, or cannot be; p is then as
// it was last seen.
func awaitProvisioned(ctx context.Context, t *terminal, c *client, path string, p *native.Provisioned) error {
	bounded, cancel := context.WithTimeout(ctx, provisionWait)
	defer cancel()
	tick := time.NewTicker(provisionPoll)
	defer tick.Stop()
	shown, said := -1, false
	for {
		s := p.Status
		if s.Available != shown {
			t.progress("%d of %d instances ready", s.Available, s.Requested)
			shown = s.Available
		}
		if s.State == faas.ProvisionedInProgress && s.Reason != "" && !said {
			t.progress("%s", s.Reason)
			said = true
		}
		switch {
		case s.State == faas.ProvisionedFailed:
			return fmt.Errorf("the instances of %s:%s cannot be made ready: %s", p.Function, p.Qualifier, s.Reason)
		case s.State == faas.ProvisionedReady && ruled(p):
			return nil
		}
		select {
		case <-tick.C:
		case <-bounded.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("interrupted; 'hearth quota provisioned %s' shows how it goes on", p.Function)
			}
			return fmt.Errorf("not ready after %s: %d of %d instances; 'hearth quota provisioned %s' shows how it goes on",
				provisionWait, s.Available, s.Requested, p.Function)
		}
		var now native.Provisioned
		if err := c.do(bounded, http.MethodGet, path, nil, nil, &now); err != nil {
			return err
		}
		*p = now
	}
}

// ruled reports whether the status is already that of the setting: without rules
// that change it, just as many instances are wanted as are set.
func ruled(p *native.Provisioned) bool {
	return p.Tracking != nil || len(p.Schedules) > 0 || p.Status.Requested == p.Instances
}

func unprovisionCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:               "unprovision NAME QUALIFIER",
		ValidArgsFunction: completeQualifiers,
		Short:             "Keep no instances of a version or an alias ready",
		Long:              "Ends the provisioned concurrency of a version or an alias. Invocations in flight end first.",
		Example:           "  hearth quota unprovision thumbnail live",
	}, true, names(2, "one function's NAME and a version or alias as QUALIFIER"), func(cmd *cobra.Command, args []string, v values) error {
		if err := newClient(v).set(cmd, http.MethodDelete, provisionedPath(args[0], args[1]), nil, nil); err != nil {
			return err
		}
		return t.show(v, map[string]string{"unprovisioned": args[0], "qualifier": args[1]}, func() {
			fmt.Fprintf(t.out, "no instances of %s:%s are kept ready\n", args[0], args[1])
		})
	})
}

func provisionedCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:               "provisioned [NAME]",
		ValidArgsFunction: completeFunctions,
		Short:             "Show which instances are kept ready, and how far they are",
		Example:           "  hearth quota provisioned\n  hearth quota provisioned thumbnail --output json",
	}, true, func(_ *cobra.Command, args []string) error {
		if len(args) > 1 || slices.Contains(args, "") {
			return errors.New("this command takes no arguments or one function's NAME")
		}
		return nil
	}, func(cmd *cobra.Command, args []string, v values) error {
		path := "provisioned"
		if len(args) > 0 {
			path = functionPath(args[0], path)
		}
		var all []native.Provisioned
		if err := newClient(v).set(cmd, http.MethodGet, path, nil, &all); err != nil {
			return err
		}
		return t.show(v, all, func() { printProvisioned(t, all) })
	})
}

// completeQualifiers offers the names of functions, and then the published versions
// and aliases of the one that was named.
func completeQualifiers(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return completeFunctions(cmd, args, prefix)
	}
	var d native.Description
	if len(args) > 1 || !completion(cmd, "functions/"+url.PathEscape(args[0]), nil, &d) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []cobra.Completion
	for _, alias := range d.Aliases {
		found = append(found, alias.Name)
	}
	found = append(found, slices.DeleteFunc(d.Versions, func(number string) bool { return number == faas.Latest })...)
	return slices.DeleteFunc(found, func(q string) bool { return !strings.HasPrefix(q, prefix) }), cobra.ShellCompDirectiveNoFileComp
}
