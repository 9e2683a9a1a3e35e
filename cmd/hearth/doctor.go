package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hearth/api/native"
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
groups, the network of functions, and the runtimes. Where a server runs, it is
asked what of the stored asynchronous invocations it found damaged. Changes
nothing. Exit code 1 says that something is missing or damaged.`,
		Example: "  sudo hearth doctor\n  hearth doctor --output json",
	}, false, names(0, "no arguments"), func(cmd *cobra.Command, _ []string, v values) error {
		dir, err := dataDir(v, "up")
		if err != nil {
			return err
		}
		findings := append(hostFindings(dir), runtimeFindings(dir)...)
		findings = append(findings, serverFindings(cmd.Context(), newClient(v))...)
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

// serverFindings tells what the server says is damaged; nothing where none answers.
func serverFindings(ctx context.Context, c *client) []finding {
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	var told native.Losses
	if err := c.do(ctx, http.MethodGet, "losses", nil, nil, &told); err != nil {
		return nil // no server, or none that can be asked
	}
	if len(told.Losses) == 0 {
		return []finding{{Area: areaServer, Name: "stored events", OK: true, Detail: "nothing was found damaged at " + c.base}}
	}
	var out []finding
	for _, l := range told.Losses {
		f := finding{Area: areaServer, Name: "stored events", Detail: l.At.Local().Format(time.DateTime) + ": " + l.What,
			Fix: "compare with the callers' records, or restore the data directory from a backup"}
		if l.Events > 0 {
			f.Detail += fmt.Sprintf("; events lost: %d", l.Events)
		}
		if len(l.RequestIDs) > 0 {
			f.Detail += ", of them " + strings.Join(l.RequestIDs, " ")
		}
		out = append(out, f)
	}
	return out
}

// areaServer is what a server says of its own data.
const areaServer = "server"

// serverPatience is how long doctor waits for a server that may not be there.
const serverPatience = 2 * time.Second

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
			if f.Area == areaServer {
				mark = "DAMAGED"
			}
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
	fmt.Fprintf(t.out, "\n%d of %d are missing or damaged.\n", bad, len(findings))
}
