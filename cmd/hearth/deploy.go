package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hearth/api/native"
	"hearth/code"
)

const deployHelp = `Uploads the function at PATH (a directory, a file or a zip) and waits until it
takes calls. A function of that name is updated: what it runs goes on, and the
next call gets the new code.

A directory may describe its function in a hearth.toml:

  name    = "thumbnail"
  runtime = "nodejs22.x"
  handler = "index.handler"
  memory  = 512              # MB
  timeout = 10               # seconds
  egress  = "none"           # or "internet", the default
  layers  = ["tools:3", "./shared"]  # below /opt; a path is published where it changed

Flags override the file. Without a file, index.js or index.mjs, lambda_function.py,
app.py or main.py, and bootstrap say what the runtime is.`

// deployFlags are what the command line may say over the manifest.
type deployFlags struct {
	name, runtime, handler, egress, isolation string
	deadLetter                                string
	memory, timeout, ephemeral, concurrency   int
	environment                               []string
	layers                                    []string
	publish                                   bool
}

func deployCommand(t *terminal) *cobra.Command {
	var f deployFlags
	cmd := command(&cobra.Command{
		Use:   "deploy PATH",
		Short: "Upload a function, or update it",
		Long:  deployHelp,
		Example: `  hearth deploy ./thumbnail
  hearth deploy ./report.py --name report --memory 512 --env STAGE=test
  hearth deploy build/function.zip --name api --runtime provided.al2023 --publish`,
	}, true, names(1, "one PATH"), func(cmd *cobra.Command, args []string, v values) error {
		m, err := readManifest(args[0])
		if err != nil {
			return err
		}
		if err := checkNumbers(cmd.Flags(), "memory", "timeout", "ephemeral", "instance-concurrency"); err != nil {
			return err
		}
		if err := f.override(m); err != nil {
			return err
		}
		if cmd.Flags().Changed("dead-letter") {
			m.DeadLetter = &f.deadLetter
		}
		if cmd.Flags().Changed("layer") {
			if err := absolutePaths(f.layers); err != nil {
				return err
			}
			m.Layers = &f.layers
		}
		deployed, err := deployManifest(cmd.Context(), t, newClient(v), m, f.publish)
		if err != nil {
			return err
		}
		return t.show(v, deployed, func() { printDeployed(t, deployed) })
	})
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "the function's name (default: the manifest's, or the directory's)")
	flags.StringVar(&f.runtime, "runtime", "", "such as nodejs22.x, python3.11, provided.al2023, http")
	flags.StringVar(&f.handler, "handler", "", "such as index.handler")
	flags.StringVar(&f.egress, "egress", "", "what the function's network reaches: internet or none")
	flags.StringVar(&f.isolation, "isolation", "", "process or none")
	flags.StringVar(&f.deadLetter, "dead-letter", "", "gets the events of asynchronous invocations that failed: a function, a URL, or '' for none")
	flags.IntVar(&f.memory, "memory", 0, "MB")
	flags.IntVar(&f.timeout, "timeout", 0, "seconds")
	flags.IntVar(&f.ephemeral, "ephemeral", 0, "MB of /tmp")
	flags.IntVar(&f.concurrency, "instance-concurrency", 0, "calls that one instance may hold at once")
	flags.StringArrayVar(&f.environment, "env", nil, "NAME=VALUE, repeatable")
	flags.StringArrayVar(&f.layers, "layer", nil, "a layer: name, name:version, ARN or path; repeatable, later ones over earlier ones")
	flags.BoolVar(&f.publish, "publish", false, "publish a version as well")
	return cmd
}

func (f *deployFlags) override(m *manifest) error {
	over(&m.Name, f.name)
	over(&m.Runtime, f.runtime)
	over(&m.Handler, f.handler)
	over(&m.Egress, f.egress)
	over(&m.Isolation, f.isolation)
	over(&m.Memory, f.memory)
	over(&m.Timeout, f.timeout)
	over(&m.Ephemeral, f.ephemeral)
	over(&m.InstanceConcurrency, f.concurrency)
	for _, pair := range f.environment {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return usageError("--env takes NAME=VALUE, not %q", pair)
		}
		if m.Environment == nil {
			m.Environment = map[string]string{}
		}
		m.Environment[name] = value
	}
	return nil
}

// checkNumbers refuses a number below 1 in those flags that were said: zero is
// how a setting is left as it is, and would pass for success.
func checkNumbers(flags *pflag.FlagSet, names ...string) error {
	for _, name := range names {
		if n, err := flags.GetInt(name); err != nil || flags.Changed(name) && n < 1 {
			return usageError("--%s must be a number from 1, not %d", name, n)
		}
	}
	return nil
}

func over[T comparable](to *T, from T) {
	var zero T
	if from != zero {
		*to = from
	}
}

// deployManifest packs and uploads one function and waits until it is active.
func deployManifest(ctx context.Context, t *terminal, c *client, m *manifest, publish bool) (*native.Deployed, error) {
	var catalogue []native.Runtime
	if err := c.do(ctx, http.MethodGet, "runtimes", nil, nil, &catalogue); err != nil {
		return nil, err
	}
	if err := m.settle(catalogue); err != nil && !(m.mayKeep() && c.deployed(ctx, m.Name)) {
		return nil, err
	}
	t.progress("packing %s", m.codePath())
	zip, err := code.Pack(m.codePath())
	if err != nil {
		return nil, err
	}
	if m.Layers != nil {
		layers, err := c.publishLocal(ctx, t, m.dir, *m.Layers)
		if err != nil {
			return nil, err
		}
		m.Layers = &layers
	}
	t.progress("uploading %s (%s)", m.Name, strings.TrimSuffix(size(int64(len(zip)))+", "+m.Runtime, ", "))
	req := m.request(zip)
	req.Publish = publish
	return c.deploy(ctx, m.Name, req)
}

func printDeployed(t *terminal, d *native.Deployed) {
	verb := "updated"
	if d.Created {
		verb = "created"
	}
	c := d.Version.Config
	fmt.Fprintf(t.out, "%s %s  %s  %d MB  %d s  %s of code\n", verb, d.Name, c.Runtime, c.MemoryMB, c.TimeoutSeconds, size(d.Version.Code.Size))
	if d.Published != "" {
		fmt.Fprintf(t.out, "published version %s\n", d.Published)
	}
	fmt.Fprintf(t.out, "%s\n", d.ARN)
}

// progress tells a person at a terminal what goes on; it is on standard error,
// so that standard output stays fit for scripts.
func (t *terminal) progress(format string, args ...any) {
	fmt.Fprintf(t.err, "· "+format+"\n", args...)
}

// show prints a value as JSON where that was asked for, else calls text.
func (t *terminal) show(v values, value any, text func()) error {
	if v["output"] != "json" {
		text()
		return nil
	}
	out := json.NewEncoder(t.out)
	out.SetIndent("", "  ")
	return out.Encode(value)
}

// size prints a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1000/1000)
}
