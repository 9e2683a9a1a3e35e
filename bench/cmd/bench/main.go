// Command bench measures Hearth beside the same handlers as plain HTTP servers and
// beside other platforms, and writes RESULTS.md. make bench runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"hearth/bench"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	var o bench.Options
	flag.StringVar(&o.Hearth, "hearth", "bin/hearth", "the binary to measure")
	flag.StringVar(&o.Against, "against", "", "another binary, measured beside it: a build from before a change, say")
	flag.StringVar(&o.Source, "source", "bench", "directory of the functions and the peers")
	flag.StringVar(&o.Out, "out", "bench", "directory that gets RESULTS.md, plots/ and raw/")
	flag.StringVar(&o.Isolation, "isolation", "process", "isolation of the functions: process or none")
	flag.DurationVar(&o.Budget, "budget", 20*time.Minute, "no row is begun later than this; 0 is no bound")
	names := flag.String("rows", "", "rows to measure, comma-separated (default: all): "+strings.Join(bench.Names(), ", "))
	languages := flag.String("languages", "", "languages to measure, comma-separated (default: all): node, python, go")
	short := flag.Bool("short", false, "try the harness; the numbers mean little")
	rounds := flag.Int("rounds", 0, "number of rounds; 0 is the plan's own")
	cell := flag.Duration("cell", 0, "how long one side of one case is under load in a round; 0 is the plan's own")
	render := flag.Bool("render", false, "measure nothing: write RESULTS.md and plots/ anew from raw/")
	flag.Parse()

	if *render {
		return bench.Render(o.Out)
	}
	o.Plan = bench.Full()
	if *short {
		o.Plan = bench.Short()
	}
	if *rounds > 0 {
		o.Plan.Rounds = *rounds
	}
	if *cell > 0 {
		o.Plan.Cell = *cell
	}
	o.Rows, o.Languages, o.Progress = split(*names), split(*languages), os.Stdout
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return bench.Run(ctx, o)
}

// split cuts a list at its commas; none is nil.
func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
