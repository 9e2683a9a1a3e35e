package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hearth/api/native"
	"hearth/runtimes"
)

func runtimesCommand(t *terminal) *cobra.Command {
	cmd := command(&cobra.Command{
		Use:   "runtimes",
		Short: "List, add and remove runtimes",
		Long: `Lists the runtimes that functions may name, and whether this machine has them.
Interpreters of the host are used where their version fits; others are installed
below the data directory.`,
		Example: "  hearth runtimes\n  hearth runtimes add nodejs22.x\n  hearth runtimes remove nodejs22.x",
	}, false, names(0, "no arguments, or 'add NAME' or 'remove NAME'"), func(_ *cobra.Command, _ []string, v values) error {
		catalogue, err := openCatalogue(v)
		if err != nil {
			return err
		}
		list := catalogueList{catalogue}.List()
		return t.show(v, list, func() { printRuntimes(t, list) })
	})
	cmd.AddCommand(
		runtimeChange(t, "add", "Install a runtime below the data directory", "added", func(cmd *cobra.Command, c *runtimes.Catalogue, name string) error {
			return c.Add(cmd.Context(), name, t.err)
		}),
		runtimeChange(t, "remove", "Remove a runtime that 'add' installed", "removed", func(_ *cobra.Command, c *runtimes.Catalogue, name string) error {
			return c.Remove(name)
		}))
	return cmd
}

func runtimeChange(t *terminal, verb, short, done string, change func(*cobra.Command, *runtimes.Catalogue, string) error) *cobra.Command {
	// The settings of the sub-command are those of its parent.
	cmd := &cobra.Command{Use: "runtimes NAME", Short: short, Example: "  hearth runtimes " + verb + " nodejs22.x"}
	command(cmd, false, names(1, "one runtime's NAME, such as nodejs22.x"), func(cmd *cobra.Command, args []string, v values) error {
		catalogue, err := openCatalogue(v)
		if err != nil {
			return err
		}
		if err := change(cmd, catalogue, args[0]); err != nil {
			return err
		}
		return t.show(v, map[string]string{done: args[0]}, func() { fmt.Fprintf(t.out, "%s %s\n", done, args[0]) })
	})
	cmd.Use = verb + " NAME"
	return cmd
}

func openCatalogue(v values) (*runtimes.Catalogue, error) {
	dir, err := dataDir(v, "up")
	if err != nil {
		return nil, err
	}
	return newCatalogue(dir), nil
}

func printRuntimes(t *terminal, list []native.Runtime) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVERSION\tWHERE")
	for _, r := range list {
		where := r.Path
		if !r.Installed {
			where = "not installed: " + r.Get
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Name, r.Version, where)
	}
	w.Flush()
}
