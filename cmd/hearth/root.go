package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hearth/api/native"
)

// version is set by the linker: -X main.version=…
var version = ""

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}

const rootHelp = `Hearth runs functions on your own machine: one binary, Lambda's semantics, no
Docker, Kubernetes, database or broker.

  hearth up ./examples/hello       develop: serves, deploys, reloads on save
  hearth serve --data DIR          the production server
  hearth deploy ./thumbnail        uploads a function to a running server
  hearth invoke thumbnail -p '{}'  runs it

The AWS CLI and SDKs work against a running server: --endpoint-url http://127.0.0.1:9000`

func newRoot(t *terminal) *cobra.Command {
	root := &cobra.Command{
		Use:           "hearth",
		Short:         "Functions as a service on your own machine",
		Long:          rootHelp,
		Version:       buildVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError("%s; see '%s --help'", flagError(err), cmd.CommandPath())
	})
	root.AddCommand(
		upCommand(t), serveCommand(t),
		deployCommand(t), invokeCommand(t), logsCommand(t),
		listCommand(t), describeCommand(t), deleteCommand(t), layersCommand(t),
		versionsCommand(t), aliasCommand(t), urlCommand(t), quotaCommand(t),
		eventsCommand(t), queuesCommand(t), topCommand(t), explainCommand(t),
		runtimesCommand(t), keysCommand(t), doctorCommand(t),
	)
	return root
}

// flagError words an error of the command line's parser, without the name of the
// Go function that read a number.
func flagError(err error) string {
	var value *pflag.InvalidValueError
	if !errors.As(err, &value) {
		return err.Error()
	}
	flag := value.GetFlag()
	takes, ok := map[string]string{
		"int": "a whole number", "float64": "a number", "bool": "true or false", "duration": "a time such as 30s or 5m",
	}[flag.Value.Type()]
	if !ok {
		return err.Error()
	}
	return fmt.Sprintf("%q is no value of --%s: it takes %s", value.GetValue(), flag.Name, takes)
}

// command fills in what all verbs share: settings, argument errors as usage
// errors, and the resolved values handed to run.
func command(cmd *cobra.Command, remote bool, args cobra.PositionalArgs, run func(cmd *cobra.Command, args []string, v values) error) *cobra.Command {
	addSettings(cmd, remote)
	if cmd.Flags().Lookup("output") != nil {
		completeFlag(cmd, "output", cobra.FixedCompletions([]cobra.Completion{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	}
	cmd.Args = func(c *cobra.Command, a []string) error {
		if err := args(c, a); err != nil {
			return usageError("%w; see '%s --help'", err, c.CommandPath())
		}
		return nil
	}
	cmd.RunE = func(c *cobra.Command, a []string) error {
		v, err := resolve(c.Flags(), os.Getenv)
		if err != nil {
			return err
		}
		if out, ok := v["output"]; ok && out != "text" && out != "json" {
			return usageError("--output must be text or json, not %q", out)
		}
		return failure(run(c, a, v))
	}
	return cmd
}

// completeFlag has the shell offer values of a flag, which the command must have.
func completeFlag(cmd *cobra.Command, name string, offer cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(name, offer); err != nil {
		panic(err) // a misspelt name of ours
	}
}

// completeFunctions offers the names of the server's functions to the shell.
func completeFunctions(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var page native.FunctionPage
	if !completion(cmd, "functions", url.Values{"max": {"1000"}}, &page) {
		return nil, cobra.ShellCompDirectiveError
	}
	var found []cobra.Completion
	for _, f := range page.Functions {
		if strings.HasPrefix(f.Name, prefix) {
			found = append(found, f.Name)
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completion asks the server for what a completion offers, and reports whether it
// answered.
func completion(cmd *cobra.Command, path string, query url.Values, out any) bool {
	v, err := resolve(cmd.Flags(), os.Getenv)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	return newClient(v).do(ctx, http.MethodGet, path, query, nil, out) == nil
}

// completionTimeout bounds what a press of the tab key waits for.
const completionTimeout = time.Second

func names(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == n && !slices.Contains(args, "") {
			return nil
		}
		return fmt.Errorf("this command takes %s", what)
	}
}
