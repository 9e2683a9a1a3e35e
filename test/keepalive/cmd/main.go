// Command cmd scores the keep-alive policies: make sim.
package main

import (
	"flag"
	"fmt"
	"os"

	"hearth/test/keepalive/report"
)

func main() {
	out := flag.String("out", "docs/keep-alive", "directory for README.md and fronts.svg")
	quick := flag.Bool("quick", false, "try the protocol itself; the numbers mean little")
	part := flag.String("part", "", "curve, loads or caps; all of them unless told otherwise")
	flag.Parse()
	parts := []report.Part{report.Curve, report.Loads, report.Caps}
	if *part != "" {
		parts = []report.Part{report.Part(*part)}
	}
	for _, p := range parts {
		if err := run(p, *out, *quick); err != nil {
			fmt.Fprintln(os.Stderr, "sim:", err)
			os.Exit(1)
		}
	}
}

func run(part report.Part, out string, quick bool) error {
	protocol := report.Test
	if quick {
		protocol = report.Quick
	}
	var r *report.Report
	var err error
	if part == report.Curve {
		r, err = report.New(protocol)
	} else {
		r, err = report.Load(out)
	}
	if err != nil {
		return err
	}
	if err := r.Run(part, os.Stderr); err != nil {
		return err
	}
	return r.Write(out)
}
