package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hearth/api/native"
)

func listCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:     "list",
		Short:   "List the functions",
		Example: "  hearth list\n  hearth list --output json | jq -r '.[].name'",
	}, true, names(0, "no arguments"), func(cmd *cobra.Command, _ []string, v values) error {
		functions := []native.Function{}
		for marker := ""; ; {
			var page native.FunctionPage
			if err := newClient(v).do(cmd.Context(), http.MethodGet, "functions", url.Values{"marker": {marker}}, nil, &page); err != nil {
				return err
			}
			functions = append(functions, page.Functions...)
			if marker = page.Next; marker == "" {
				break
			}
		}
		return t.show(v, functions, func() { printFunctions(t, functions) })
	})
}

func printFunctions(t *terminal, functions []native.Function) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tRUNTIME\tMEMORY\tTIMEOUT\tSTATE\tCODE\tMODIFIED")
	for _, f := range functions {
		c := f.Version.Config
		fmt.Fprintf(w, "%s\t%s\t%d MB\t%d s\t%s\t%s\t%s\n", f.Name, c.Runtime, c.MemoryMB, c.TimeoutSeconds,
			f.Version.State, size(f.Version.Code.Size), f.Version.LastModified.Local().Format(time.DateTime))
	}
	w.Flush()
}

func describeCommand(t *terminal) *cobra.Command {
	var qualifier string
	cmd := command(&cobra.Command{
		Use:               "describe NAME",
		ValidArgsFunction: completeFunctions,
		Short:             "Show everything about a function: settings, versions, instances, its last calls",
		Example:           "  hearth describe thumbnail\n  hearth describe thumbnail --qualifier live",
	}, true, names(1, "one function's NAME"), func(cmd *cobra.Command, args []string, v values) error {
		var d native.Description
		q := url.Values{}
		if qualifier != "" {
			q.Set("qualifier", qualifier)
		}
		if err := newClient(v).do(cmd.Context(), http.MethodGet, "functions/"+url.PathEscape(args[0]), q, nil, &d); err != nil {
			return err
		}
		return t.show(v, d, func() { printDescription(t, &d) })
	})
	cmd.Flags().StringVar(&qualifier, "qualifier", "", "a version or an alias (default $LATEST)")
	return cmd
}

func printDescription(t *terminal, d *native.Description) {
	v, c := d.Version, d.Version.Config
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	row := func(name string, value any) {
		if s := fmt.Sprint(value); s != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, s)
		}
	}
	row("name", d.Name)
	row("arn", d.ARN)
	row("version", v.ID.Number)
	row("description", c.Description)
	row("state", strings.TrimSpace(string(v.State)+" "+v.StateReason))
	row("last update", strings.TrimSpace(string(v.Update)+" "+v.UpdateReason))
	row("modified", v.LastModified.Local().Format(time.DateTime))
	row("runtime", c.Runtime)
	row("handler", c.Handler)
	row("memory", fmt.Sprintf("%d MB", c.MemoryMB))
	row("timeout", c.Timeout())
	row("/tmp", fmt.Sprintf("%d MB", c.EphemeralMB))
	row("egress", c.Egress)
	row("isolation", c.Isolation)
	row("calls per instance", c.InstanceConcurrency)
	// Names only: values are often secrets, and terminals are looked at by others.
	row("environment", strings.Join(slices.Sorted(maps.Keys(c.Environment)), " "))
	for i, l := range c.Layers {
		row(fmt.Sprintf("layer %d", i+1), l.ARN+"  "+size(l.Code.Size))
	}
	for _, key := range slices.Sorted(maps.Keys(d.Tags)) {
		row("tag "+key, d.Tags[key])
	}
	row("code", size(v.Code.Size)+"  sha256 "+v.Code.SHA256)
	row("versions", strings.Join(d.Versions, " "))
	for _, a := range d.Aliases {
		target := a.Version
		for other, weight := range a.Weights {
			target += fmt.Sprintf("  and %.0f %% to %s", weight*100, other)
		}
		row("alias "+a.Name, target)
	}
	if q := d.Quota; q != nil {
		if q.Reserved != nil {
			row("reserved", reservedText(q))
		} else if q.Maximum != nil {
			row("maximum", maximumText(q))
		}
		if len(q.Provisioned) > 0 {
			row("provisioned", provisionedText(q.Provisioned)+" ready")
		}
	}
	if c.DeadLetter != "" {
		row("dead letters", "to "+destinationText(c.DeadLetter))
	}
	for _, a := range d.Async {
		row("events of "+a.Qualifier, asyncText(&a.Config))
	}
	i := d.Instances
	row("instances", fmt.Sprintf("%d busy, %d idle, %d starting", i.Busy, i.Idle, i.Starting))
	w.Flush()
	if len(d.Recent) == 0 {
		return
	}
	fmt.Fprintln(t.out, "\nlast calls")
	w = tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	for _, r := range d.Recent[:min(len(d.Recent), 10)] {
		fmt.Fprintf(w, "  %s\t%s\t%s %s\t%.2f ms\t%s\n", r.Began.Local().Format(time.TimeOnly), r.RequestID,
			r.Start, r.Cold, milliseconds(r.Duration), strings.TrimSpace(r.Status+" "+r.ErrorType))
	}
	w.Flush()
}

func deleteCommand(t *terminal) *cobra.Command {
	var qualifier string
	cmd := command(&cobra.Command{
		Use:               "delete NAME",
		ValidArgsFunction: completeFunctions,
		Short:             "Delete a function, or one version of it",
		Long:              "Deletes a function with its versions and aliases. Calls in flight end first; what it\nwrote can be read until the retention of logs ends.",
		Example:           "  hearth delete thumbnail\n  hearth delete thumbnail --qualifier 3",
	}, true, names(1, "one function's NAME"), func(cmd *cobra.Command, args []string, v values) error {
		q := url.Values{}
		if qualifier != "" {
			q.Set("qualifier", qualifier)
		}
		err := newClient(v).do(cmd.Context(), http.MethodDelete, "functions/"+url.PathEscape(args[0]), q, nil, nil)
		if err != nil {
			return err
		}
		return t.show(v, map[string]string{"deleted": args[0], "qualifier": qualifier}, func() {
			fmt.Fprintf(t.out, "deleted %s\n", strings.TrimSuffix(args[0]+":"+qualifier, ":"))
		})
	})
	cmd.Flags().StringVar(&qualifier, "qualifier", "", "delete only this version")
	return cmd
}
