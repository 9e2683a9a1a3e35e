package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hearth/faas"
)

func invokeCommand(t *terminal) *cobra.Command {
	var payload, qualifier string
	var tail, timeline bool
	cmd := command(&cobra.Command{
		Use:               "invoke NAME",
		ValidArgsFunction: completeFunctions,
		Short:             "Run a function and print what it returned",
		Long: `Runs a function and prints its result on standard output. Exit code 3 says that
the function returned an error; its document is the output then.`,
		Example: `  hearth invoke hello -p '{"name":"Ada"}'
  hearth invoke digest -p @access.json --timeline
  generate | hearth invoke thumbnail -p - --qualifier live > result.json`,
	}, true, names(1, "one function's NAME"), func(cmd *cobra.Command, args []string, v values) error {
		event, err := readPayload(payload, t.in)
		if err != nil {
			return err
		}
		result, err := newClient(v).invoke(cmd.Context(), args[0], qualifier, event)
		if err != nil {
			return err
		}
		err = t.show(v, result, func() {
			if tail {
				fmt.Fprint(t.err, result.LogTail)
			}
			if timeline {
				printTimeline(t.err, &result.Report)
			}
			fmt.Fprintln(t.out, string(result.Payload))
		})
		if err == nil && result.FunctionError != "" {
			return &exitError{code: exitFunctionError}
		}
		return err
	})
	flags := cmd.Flags()
	flags.StringVarP(&payload, "payload", "p", "", "the event: JSON, @FILE, or - for standard input (default {})")
	flags.StringVar(&qualifier, "qualifier", "", "a version or an alias")
	flags.BoolVar(&tail, "log-tail", false, "print the end of the invocation's log on standard error")
	flags.BoolVar(&timeline, "timeline", false, "print where the time went on standard error")
	return cmd
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
