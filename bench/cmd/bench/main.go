// Command bench measures Hearth beside the same handlers as plain HTTP servers and
// writes RESULTS.md. make bench runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"hearth/bench"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	hearth := flag.String("hearth", "bin/hearth", "the binary to measure")
	source := flag.String("source", "bench", "directory of the functions and the peers")
	out := flag.String("out", "bench", "directory that gets RESULTS.md, latency.svg and raw/")
	isolation := flag.String("isolation", "process", "isolation of the functions: process or none")
	quick := flag.Bool("quick", false, "try the harness in under a minute; the numbers mean little")
	rounds := flag.Int("rounds", 0, "number of rounds; 0 is the plan's own")
	flag.Parse()

	plan := bench.Full()
	if *quick {
		plan = bench.Quick()
	}
	if *rounds > 0 {
		plan.Rounds = *rounds
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	_, err := bench.Run(ctx, bench.Options{
		Hearth: *hearth, Source: *source, Out: *out, Isolation: *isolation, Plan: plan, Progress: os.Stdout,
	})
	return err
}
