// Command cmd scores the keep-alive policies: make sim.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"time"

	"hearth/test/keepalive/report"
)

func main() {
	out := flag.String("out", "docs/keep-alive", "directory for README.md and fronts.svg")
	quick := flag.Bool("quick", false, "try the protocol itself; the numbers mean little")
	budget := flag.Duration("budget", 24*time.Hour, "stop after about so long; the next run goes on")
	flag.Parse()
	if err := run(*out, *quick, *budget); err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

func run(out string, quick bool, budget time.Duration) error {
	protocol := report.Test
	if quick {
		protocol = report.Quick
	}
	r, err := report.Load(out)
	if errors.Is(err, fs.ErrNotExist) {
		r, err = report.New(protocol)
	}
	if err != nil {
		return err
	}
	more := r.Run(budget, os.Stderr)
	if more != nil && more != report.ErrMore {
		return more
	}
	return errors.Join(r.Write(out), more)
}
