//go:build linux

package main

import (
	"log/slog"
	"os"

	"hearth/sandbox/process"
	"hearth/sandbox/process/network"
)

// hostFindings asks the drivers what they find on this host.
func hostFindings(string) []finding {
	var out []finding
	root := finding{Area: "host", Name: "root", OK: os.Geteuid() == 0, Detail: "namespaces and control groups need it"}
	if !root.OK {
		root.Fix = "run as root, or use --isolation none for development"
	}
	out = append(out, root)
	quiet := slog.New(slog.DiscardHandler)
	for _, f := range process.Probe(process.Options{Logger: quiet}) {
		out = append(out, finding{"sandbox", f.Name, f.OK, f.Detail, f.Fix})
	}
	for _, f := range network.Probe(network.Options{DataID: "doctor", Logger: quiet}) {
		out = append(out, finding{"network", f.Name, f.OK, f.Detail, f.Fix})
	}
	return out
}
