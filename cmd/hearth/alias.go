package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hearth/api/native"
	"hearth/faas"
)

func aliasCommand(t *terminal) *cobra.Command {
	cmd := command(&cobra.Command{
		Use:               "alias NAME",
		ValidArgsFunction: completeFunctions,
		Short:             "List, move and delete aliases: names that point at versions",
		Long: `Lists the aliases of a function. An alias is a name that points at a version; calls
that name it go there, and a part of them to a second version where a weight says so.`,
		Example: `  hearth alias thumbnail
  hearth alias set thumbnail live 4
  hearth alias set thumbnail live 4 --weight 5=10%
  hearth alias delete thumbnail live`,
	}, true, names(1, "one function's NAME, or 'set' or 'delete'"), func(cmd *cobra.Command, args []string, v values) error {
		var aliases []faas.Alias
		if err := newClient(v).set(cmd, http.MethodGet, functionPath(args[0], "aliases"), nil, &aliases); err != nil {
			return err
		}
		return t.show(v, aliases, func() { printAliases(t, aliases) })
	})
	cmd.AddCommand(setAliasCommand(t), deleteAliasCommand(t))
	return cmd
}

func printAliases(t *terminal, aliases []faas.Alias) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ALIAS\tVERSION\tDESCRIPTION")
	for _, a := range aliases {
		fmt.Fprintf(w, "%s\t%s\t%s\n", a.Name, aliasTarget(a), a.Description)
	}
	w.Flush()
}

// aliasTarget says where calls of an alias go.
func aliasTarget(a faas.Alias) string {
	target := a.Version
	for _, other := range slices.Sorted(maps.Keys(a.Weights)) {
		target += fmt.Sprintf(", %s of the calls to %s", percent(a.Weights[other]), other)
	}
	return target
}

func percent(weight float64) string {
	return strconv.FormatFloat(weight*100, 'f', -1, 32) + " %"
}

func setAliasCommand(t *terminal) *cobra.Command {
	var description, weight string
	cmd := command(&cobra.Command{
		Use:               "set NAME ALIAS VERSION",
		ValidArgsFunction: completeFunctions,
		Short:             "Point an alias at a version; it is made where there is none",
		Long: `Points an alias at a version, and makes it where there is none. The weight of a
second version that it had ends, where none is said.`,
		Example: `  hearth alias set thumbnail live 4
  hearth alias set thumbnail live 4 --weight 5=10%`,
	}, true, names(3, "one function's NAME, an ALIAS and the number of a version"), func(cmd *cobra.Command, args []string, v values) error {
		weights, err := parseWeight(weight)
		if err != nil {
			return usageError("%w", err)
		}
		request := native.AliasRequest{Version: &args[2], Weights: &weights}
		if cmd.Flags().Changed("description") {
			request.Description = &description
		}
		var alias faas.Alias
		if err := newClient(v).set(cmd, http.MethodPut, functionPath(args[0], "aliases/"+url.PathEscape(args[1])), request, &alias); err != nil {
			return err
		}
		return t.show(v, alias, func() { fmt.Fprintf(t.out, "%s:%s  to version %s\n", args[0], alias.Name, aliasTarget(alias)) })
	})
	cmd.Flags().StringVar(&description, "description", "", "what it is for")
	cmd.Flags().StringVar(&weight, "weight", "", "a second version and its part of the calls: VERSION=10% or VERSION=0.1")
	return cmd
}

// parseWeight reads VERSION=PART, where a part is a number from 0 to 1 or a
// percentage; "" is no weight.
func parseWeight(text string) (map[string]float64, error) {
	if text == "" {
		return map[string]float64{}, nil
	}
	version, part, _ := strings.Cut(text, "=")
	number, percentage := strings.CutSuffix(part, "%")
	weight, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percentage {
		weight /= 100
	}
	if err != nil || version == "" || weight < 0 || weight > 1 {
		return nil, fmt.Errorf("--weight must be a version and its part of the calls, such as 5=10%% or 5=0.1, not %q", text)
	}
	return map[string]float64{version: weight}, nil
}

func deleteAliasCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:               "delete NAME ALIAS",
		ValidArgsFunction: completeFunctions,
		Short:             "Delete an alias, with what was set for it",
		Long: `Deletes an alias, with its URL, its policy, its provisioned concurrency and the
settings of its asynchronous invocations. The version that it points at stays.`,
		Example: "  hearth alias delete thumbnail live",
	}, true, names(2, "one function's NAME and an ALIAS"), func(cmd *cobra.Command, args []string, v values) error {
		if err := newClient(v).set(cmd, http.MethodDelete, functionPath(args[0], "aliases/"+url.PathEscape(args[1])), nil, nil); err != nil {
			return err
		}
		return t.show(v, map[string]string{"deleted": args[0] + ":" + args[1]}, func() {
			fmt.Fprintf(t.out, "deleted alias %s of %s\n", args[1], args[0])
		})
	})
}
