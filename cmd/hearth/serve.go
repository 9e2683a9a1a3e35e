package main

import (
	"context"

	"github.com/spf13/cobra"
)

func serveCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:   "serve",
		Short: "Run the production server",
		Long: `Runs the server until SIGTERM, which refuses new calls, waits for those in
flight (--drain) and stops; a second signal stops at once. When it can take
requests it prints one line: hearth: ready on http://ADDR`,
		Example: "  hearth serve --auth off --data /var/lib/hearth\n  hearth serve --config /etc/hearth.toml",
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
		return usageError("this version of Hearth does not verify signatures yet: say --auth off, which listens on loopback only")
	}
	return usageError("--auth must be on or off, not %q", v["auth"])
}
