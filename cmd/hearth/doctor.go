package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// finding is one line of what this machine can and cannot do.
type finding struct {
	Area   string `json:"area"`
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	Fix    string `json:"fix,omitempty"` // what to do, where not OK
}

func doctorCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:   "doctor",
		Short: "Tell what this machine can isolate and run, and how to mend what it cannot",
		Long: `Checks what Hearth needs of this machine: the kernel's namespaces and control
groups, the network of functions, and the runtimes. Changes nothing. Exit code 1
says that something is missing.`,
		Example: "  sudo hearth doctor\n  hearth doctor --output json",
	}, false, names(0, "no arguments"), func(cmd *cobra.Command, _ []string, v values) error {
		dir, err := dataDir(v, "up")
		if err != nil {
			return err
		}
		findings := append(hostFindings(dir), runtimeFindings(dir)...)
		bad := 0
		for _, f := range findings {
			if !f.OK {
				bad++
			}
		}
		err = t.show(v, findings, func() { printFindings(t, findings, bad) })
		if err == nil && bad > 0 {
			return &exitError{code: exitFailure}
		}
		return err
	})
}

// runtimeFindings tells which languages have at least one runtime.
func runtimeFindings(dir string) []finding {
	have := map[string]string{}
	missing := map[string]string{}
	for _, r := range (catalogueList{newCatalogue(dir)}).List() {
		language := family(r.Name)
		if r.Installed {
			have[language] += " " + r.Name
		} else if missing[language] == "" {
			missing[language] = r.Get
		}
	}
	var out []finding
	for _, language := range []string{"nodejs", "python", "provided"} {
		f := finding{Area: "runtimes", Name: language, OK: have[language] != "", Detail: have[language]}
		if !f.OK {
			f.Detail, f.Fix = "no version is installed", missing[language]
		}
		out = append(out, f)
	}
	return out
}

// family is a runtime's name without its version.
func family(runtime string) string {
	for i, r := range runtime {
		if r >= '0' && r <= '9' || r == '.' {
			return runtime[:i]
		}
	}
	return runtime
}

func printFindings(t *terminal, findings []finding, bad int) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		mark := "ok"
		if !f.OK {
			mark = "MISSING"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", mark, f.Area, f.Name, f.Detail)
		if f.Fix != "" {
			fmt.Fprintf(w, "\t\t\t→ %s\n", f.Fix)
		}
	}
	w.Flush()
	if bad == 0 {
		fmt.Fprintln(t.out, "\nThis machine can do all that Hearth does.")
		return
	}
	fmt.Fprintf(t.out, "\n%d of %d are missing.\n", bad, len(findings))
}
