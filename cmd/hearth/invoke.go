package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hearth/faas"
)

// invokeFlags are what may be said beside the function's name.
type invokeFlags struct {
	payload, qualifier, key     string
	tail, timeline, event, wait bool
}

func invokeCommand(t *terminal) *cobra.Command {
	var f invokeFlags
	cmd := command(&cobra.Command{
		Use:               "invoke NAME",
		ValidArgsFunction: completeFunctions,
		Short:             "Run a function and print what it returned, or have it run later",
		Long: `Runs a function and prints its result on standard output. Exit code 3 says that
the function returned an error; its document is the output then.

With --async the event is accepted, durably, and runs as soon as there is room; the
output is its request id, for 'hearth events show'. Of events with the same
--idempotency-key, within two minutes, only the first is accepted; the others print its
request id. --wait waits for the outcome: exit code 3 says that the function failed in
its last attempt, 1 that the event was terminated or given up.`,
		Example: `  hearth invoke hello -p '{"name":"Ada"}'
  hearth invoke digest -p @access.json --timeline
  generate | hearth invoke thumbnail -p - --qualifier live > result.json
  hearth invoke report --async --idempotency-key 2026-01-02 --wait`,
	}, true, names(1, "one function's NAME"), func(cmd *cobra.Command, args []string, v values) error {
		if err := f.check(cmd); err != nil {
			return err
		}
		event, err := readPayload(f.payload, t.in)
		if err != nil {
			return err
		}
		if f.event {
			return f.send(cmd.Context(), t, v, args[0], event)
		}
		return f.call(cmd.Context(), t, v, args[0], event)
	})
	flags := cmd.Flags()
	flags.StringVarP(&f.payload, "payload", "p", "", "the event: JSON, @FILE, or - for standard input (default {})")
	flags.StringVar(&f.qualifier, "qualifier", "", "a version or an alias")
	flags.BoolVar(&f.tail, "log-tail", false, "print the end of the invocation's log on standard error")
	flags.BoolVar(&f.timeline, "timeline", false, "print where the time went on standard error")
	flags.BoolVar(&f.event, "async", false, "accept the event and return: it runs when there is room, and again where it fails")
	flags.StringVar(&f.key, "idempotency-key", "", "with --async: a name of the event, of which a second one is dropped")
	flags.BoolVar(&f.wait, "wait", false, "with --async: wait for the outcome")
	return cmd
}

// check refuses flags of the one way of running with those of the other.
func (f *invokeFlags) check(cmd *cobra.Command) error {
	of := map[string]bool{"log-tail": false, "timeline": false, "idempotency-key": true, "wait": true}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if cmd.Flags().Changed(name) && of[name] != f.event {
			if f.event {
				return usageError("--%s is for invocations whose answer is waited for, not --async; see 'hearth events show'", name)
			}
			return usageError("--%s is for events: say --async as well", name)
		}
	}
	return nil
}

// call runs a function and prints its answer.
func (f *invokeFlags) call(ctx context.Context, t *terminal, v values, name string, event []byte) error {
	result, err := newClient(v).invoke(ctx, name, f.qualifier, event)
	if err != nil {
		return err
	}
	err = t.show(v, result, func() {
		if f.tail {
			fmt.Fprint(t.err, result.LogTail)
		}
		if f.timeline {
			printTimeline(t.err, &result.Report)
		}
		fmt.Fprintln(t.out, string(result.Payload))
	})
	if err == nil && result.FunctionError != "" {
		return &exitError{code: exitFunctionError}
	}
	return err
}

func readPayload(payload string, stdin io.Reader) ([]byte, error) {
	switch {
	case payload == "-":
		return io.ReadAll(stdin)
	case strings.HasPrefix(payload, "@"):
		raw, err := os.ReadFile(payload[1:])
		if err != nil {
			return nil, usageError("--payload: %w", err)
		}
		return raw, nil
	}
	return []byte(payload), nil
}

// printTimeline prints where the time of one invocation went, a part a line.
func printTimeline(w io.Writer, r *faas.Report) {
	start := string(r.Start)
	if r.Cold != "" {
		start += " (" + string(r.Cold) + ")"
	}
	switch way := r.Timeline.Way; {
	case way == faas.WayDirect:
		start += "  started directly (" + printable(r.Timeline.WayReason) + ")"
	case way != "":
		start += "  cell pool " + map[faas.StartWay]string{faas.WayCell: "hit", faas.WayEmpty: "empty"}[way]
	}
	fmt.Fprintf(w, "%s  %s  billed %d ms  %d of %d MB\n", r.RequestID, start,
		r.Billed.Milliseconds(), (r.MaxMemory+1<<20-1)>>20, r.MemoryMB)
	parts := []struct {
		name string
		d    time.Duration
	}{
		{"queue", r.Timeline.Queue}, {"thaw", r.Timeline.Thaw}, {"sandbox", r.Timeline.Sandbox}, {"runtime", r.Timeline.Runtime},
		{"code", r.Timeline.Code}, {"init", r.Timeline.Init}, {"handler", r.Timeline.Handler}, {"settle", r.Timeline.Settle},
	}
	var total time.Duration
	longest := time.Duration(1)
	for _, p := range parts {
		total += p.d
		longest = max(longest, p.d)
	}
	for _, p := range parts {
		if p.d == 0 {
			continue
		}
		bar := strings.Repeat("█", int(40*p.d/longest))
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %-8s %9.3f ms  %s", p.name, milliseconds(p.d), bar), " "))
	}
	fmt.Fprintf(w, "  %-8s %9.3f ms\n", "total", milliseconds(total))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
