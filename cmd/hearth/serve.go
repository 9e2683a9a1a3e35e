package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"hearth/faas"
)

func serveCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:   "serve",
		Short: "Run the production server",
		Long: `Runs the server until SIGTERM, which refuses new calls, waits for those in
flight (--drain) and stops; a second signal stops at once. When it can take
requests it prints one line: hearth: ready on http://ADDR

Every request has to be signed with a key (AWS Signature Version 4), as the AWS
CLI, the SDKs and this command do. The first start makes the first key, and says
which file it is in; 'hearth keys' makes the others.`,
		Example: `  hearth serve --data /var/lib/hearth --listen 0.0.0.0:9000
  hearth serve --config /etc/hearth.toml
  hearth serve --auth off       loopback only, for a machine with one user`,
	}, false, names(0, "no arguments"), func(cmd *cobra.Command, _ []string, v values) error {
		if err := checkAuth(v); err != nil {
			return err
		}
		if v["regions"] == "" {
			v["regions"] = v["region"]
		}
		dir, err := dataDir(v, "serve")
		if err != nil {
			return err
		}
		return runServer(cmd.Context(), t, v, dir, func(ctx context.Context, _ *server) error {
			<-ctx.Done()
			return nil
		})
	})
}

// checkIdentity refuses settings by which no function could be named or run.
func checkIdentity(v values) error {
	if !faas.ValidAccount(v["account"]) {
		return usageError("--account must be 12 digits, not %q", v["account"])
	}
	for _, region := range append(list(v["regions"]), v["region"]) {
		if !faas.ValidRegion(region) {
			return usageError("%q is no region: one is named such as us-east-1", region)
		}
	}
	if served := list(v["regions"]); len(served) > 0 && !slices.Contains(served, v["region"]) {
		return usageError("--region %s is not one of --regions %s", v["region"], v["regions"])
	}
	if v.number("max-instances") < 1 {
		return usageError("--max-instances must be a number from 1")
	}
	return nil
}

// checkAuth refuses to serve anyone but this machine without verification.
func checkAuth(v values) error {
	switch v["auth"] {
	case "off":
		if !isLoopback(v["listen"]) {
			return usageError("--auth off accepts any caller, so it listens on loopback only; %s is not. "+
				"Put a proxy that authenticates in front, on this machine", v["listen"])
		}
		return nil
	case "on":
		return nil
	}
	return usageError("--auth must be on or off, not %q", v["auth"])
}
