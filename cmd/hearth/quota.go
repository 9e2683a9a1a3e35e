package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hearth/api/native"
	"hearth/faas"
)

const quotaHelp = `Shows the limits of the account in one region and what is in use of them, and the
functions that use something or have a quota of their own.

The limits that refuse an invocation, in the order in which the first is named:

  switched-off        reserved concurrency 0                  hearth quota reserve
  reserved            the function's reserved concurrency     hearth quota reserve
  function-maximum    instances of one function, where        hearth quota maximum
                      nothing is reserved for it
  account-executions  invocations in flight                   hearth quota account
  account-memory      memory of running instances             hearth quota account
  expansion           starts of instances in any 60 s         hearth quota account
  machine             what this machine can hold              hearth serve --max-instances`

func quotaCommand(t *terminal) *cobra.Command {
	cmd := command(&cobra.Command{
		Use:   "quota",
		Short: "Show and change how much may run at once",
		Long:  quotaHelp,
		Example: `  hearth quota
  hearth quota account --memory 256000 --executions 2000
  hearth quota reserve thumbnail 50
  hearth quota provision thumbnail live 5 --wait`,
	}, true, names(0, "no arguments, or 'account', 'reserve', 'unreserve', 'maximum', 'provision', 'unprovision', 'provisioned'"),
		func(cmd *cobra.Command, _ []string, v values) error {
			return showQuotas(cmd, t, v, http.MethodGet, nil)
		})
	cmd.AddCommand(accountCommand(t), reserveCommand(t), unreserveCommand(t), maximumCommand(t),
		provisionCommand(t), unprovisionCommand(t), provisionedCommand(t))
	return cmd
}

// showQuotas prints the account's quotas as they are after the request.
func showQuotas(cmd *cobra.Command, t *terminal, v values, method string, change any) error {
	var quotas native.AccountQuotas
	if err := newClient(v).set(cmd, method, "quotas", change, &quotas); err != nil {
		return err
	}
	return t.show(v, quotas, func() { printQuotas(t, &quotas, v["namespace"]) })
}

// set sends a request with a JSON body, none where change is nil, and decodes the
// answer into out, where that is not nil.
func (c *client) set(cmd *cobra.Command, method, path string, change, out any) error {
	if change == nil {
		return c.do(cmd.Context(), method, path, nil, nil, out)
	}
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	return c.do(cmd.Context(), method, path, nil, bytes.NewReader(body), out)
}

func functionPath(name, rest string) string { return "functions/" + url.PathEscape(name) + "/" + rest }

func accountCommand(t *terminal) *cobra.Command {
	var memory, executions, maximum, expansion string
	cmd := command(&cobra.Command{
		Use:   "account",
		Short: "Change the limits of the account",
		Long: `Changes the limits of the account in one region; what is not said stays. Limits
below what is reserved, and below 12800 MB and 100 executions beside that, are
refused. Where more is in use than a new limit, nothing is stopped and nothing new
is admitted until it is below.`,
		Example: `  hearth quota account --memory 256000 --executions 2000
  hearth quota account --function-maximum off --expansion 1000`,
	}, true, names(0, "no arguments: its flags say what to change"), func(cmd *cobra.Command, _ []string, v values) error {
		var change native.LimitsRequest
		for _, limit := range []struct {
			flag, text string
			unit       faas.Unit
			off        bool
			to         **int
		}{
			{"memory", memory, faas.UnitMemoryMB, false, &change.MemoryMB},
			{"executions", executions, faas.UnitExecutions, false, &change.Executions},
			{"function-maximum", maximum, faas.UnitInstances, true, &change.FunctionMaximum},
			{"expansion", expansion, faas.UnitStarts, true, &change.Expansion},
		} {
			if !cmd.Flags().Changed(limit.flag) {
				continue
			}
			n, err := parseLimit(limit.text, limit.unit, limit.off)
			if err != nil {
				return usageError("--%s: %w", limit.flag, err)
			}
			*limit.to = &n
		}
		if change == (native.LimitsRequest{}) {
			return usageError("say what to change: --memory, --executions, --function-maximum or --expansion; 'hearth quota' shows what is set")
		}
		return showQuotas(cmd, t, v, http.MethodPatch, change)
	})
	flags := cmd.Flags()
	flags.StringVar(&memory, "memory", "", "MB of the instances that are busy, starting or provisioned")
	flags.StringVar(&executions, "executions", "", "invocations in flight")
	flags.StringVar(&maximum, "function-maximum", "", "instances of one function without a reservation: a number or off")
	flags.StringVar(&expansion, "expansion", "", "starts of instances in any 60 s: a number or off")
	return cmd
}

func reserveCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:               "reserve NAME N|SIZE",
		ValidArgsFunction: completeFunctions,
		Short:             "Reserve concurrency for a function, or switch it off",
		Long: `Reserves a part of the account for all versions of a function together: nobody else
can take it, and the function cannot take more. A number counts invocations in
flight, a size such as 1280MB the memory of running instances. 0 switches the
function off. Where others still use what was reserved, the guarantee grows as
their invocations end.`,
		Example: `  hearth quota reserve thumbnail 50
  hearth quota reserve report 1280MB
  hearth quota reserve broken 0`,
	}, true, names(2, "one function's NAME and how much: a number of executions, or a size such as 1280MB"),
		func(cmd *cobra.Command, args []string, v values) error {
			amount, err := parseAmount(args[1], faas.UnitExecutions)
			if err != nil {
				return usageError("%w", err)
			}
			var quota native.FunctionQuotas
			if err := newClient(v).set(cmd, http.MethodPut, functionPath(args[0], "quota/reserved"), amount, &quota); err != nil {
				return err
			}
			return t.show(v, quota, func() { printReserved(t, &quota, amount) })
		})
}

func printReserved(t *terminal, q *native.FunctionQuotas, amount faas.Amount) {
	if amount.Value == 0 {
		fmt.Fprintf(t.out, "switched %s off: every invocation is refused until something else is reserved, or 'hearth quota unreserve %s'\n", q.Name, q.Name)
		return
	}
	fmt.Fprintf(t.out, "reserved %s for %s\n", amount, q.Name)
	if g := q.Use.Guaranteed; g != nil && g.Unit == amount.Unit && g.Value < amount.Value {
		fmt.Fprintf(t.out, "%s are guaranteed now, the rest as soon as invocations of others end\n", g)
	}
}

func unreserveCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:               "unreserve NAME",
		ValidArgsFunction: completeFunctions,
		Short:             "End the reservation of a function",
		Long:              "Ends the reservation of a function, which then shares the account with the others.",
		Example:           "  hearth quota unreserve thumbnail",
	}, true, names(1, "one function's NAME"), func(cmd *cobra.Command, args []string, v values) error {
		if err := newClient(v).set(cmd, http.MethodDelete, functionPath(args[0], "quota/reserved"), nil, nil); err != nil {
			return err
		}
		return t.show(v, map[string]string{"unreserved": args[0]}, func() {
			fmt.Fprintf(t.out, "nothing is reserved for %s: it shares the account with the others\n", args[0])
		})
	})
}

func maximumCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:               "maximum NAME N|off|default",
		ValidArgsFunction: completeMaximum,
		Short:             "Bound the instances of a function without a reservation",
		Long: `Sets how many instances a function may have, all its versions together, where
nothing is reserved for it; a reservation is a bound itself. 'off' is no bound but
the account's limits, 'default' the account's 'function-maximum'.`,
		Example: `  hearth quota maximum thumbnail 1000
  hearth quota maximum thumbnail default`,
	}, true, names(2, "one function's NAME and a number of instances, 'off' or 'default'"), func(cmd *cobra.Command, args []string, v values) error {
		name, c := args[0], newClient(v)
		if args[1] == "default" {
			if err := c.set(cmd, http.MethodDelete, functionPath(name, "quota/maximum"), nil, nil); err != nil {
				return err
			}
			return t.show(v, map[string]any{"name": name, "maximum": nil}, func() {
				fmt.Fprintf(t.out, "the account's function-maximum bounds the instances of %s\n", name)
			})
		}
		n, err := parseLimit(args[1], faas.UnitInstances, true)
		if err != nil {
			return usageError("%w, or 'default' for the account's", err)
		}
		var quota native.FunctionQuotas
		change := map[string]int{"value": n}
		if err := c.set(cmd, http.MethodPut, functionPath(name, "quota/maximum"), change, &quota); err != nil {
			return err
		}
		return t.show(v, quota, func() {
			fmt.Fprintf(t.out, "maximum of %s: %s\n", name, limitText(n, faas.UnitInstances))
			if quota.Reserved != nil {
				fmt.Fprintf(t.out, "its reservation of %s bounds it instead, as long as there is one\n", quota.Reserved)
			}
		})
	})
}

// completeMaximum offers the names of functions, and then the words in place of a number.
func completeMaximum(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return completeFunctions(cmd, args, prefix)
	}
	return []cobra.Completion{"default", "off"}, cobra.ShellCompDirectiveNoFileComp
}

// parseAmount reads a number, which counts in unit, or a size in MB such as 1280MB.
func parseAmount(text string, unit faas.Unit) (faas.Amount, error) {
	digits, isSize := strings.CutSuffix(strings.ToUpper(text), string(faas.UnitMemoryMB))
	n, ok := wholeNumber(digits)
	if !ok {
		return faas.Amount{}, fmt.Errorf("%q is neither a number of %s nor a size such as 1280MB", text, unit)
	}
	if isSize {
		unit = faas.UnitMemoryMB
	}
	return faas.Amount{Unit: unit, Value: n}, nil
}

// parseLimit reads a number from 1, with or without its unit where that is MB, or
// "off", which is 0, where there may be no limit.
func parseLimit(text string, unit faas.Unit, off bool) (int, error) {
	if off && text == "off" {
		return 0, nil
	}
	amount, err := parseAmount(text, unit)
	if err == nil && amount.Unit == unit && amount.Value > 0 {
		return amount.Value, nil
	}
	if off {
		return 0, fmt.Errorf("%q is neither a number of %s from 1 nor 'off'", text, unit)
	}
	return 0, fmt.Errorf("%q is not a number of %s from 1", text, unit)
}

// wholeNumber reads decimal digits and nothing else: no sign, no spaces.
func wholeNumber(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err == nil
}
