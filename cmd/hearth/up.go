package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"hearth/api/native"
	"hearth/faas"
	"hearth/logs"
)

func upCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:   "up [PATH…]",
		Short: "Run the developer server: deploys what is at PATH, reloads on save, shows logs",
		Long: `Runs a server on loopback that accepts any credentials, deploys the functions at
the paths given (see 'hearth deploy --help'), deploys them again when a file
changes, and shows what they write.`,
		Example: `  hearth up ./examples/hello
  hearth up thumbnail report --listen 127.0.0.1:0 --data /tmp/dev
  aws lambda invoke --endpoint-url http://127.0.0.1:9000 --function-name hello out.json`,
	}, false, func(*cobra.Command, []string) error { return nil }, func(cmd *cobra.Command, args []string, v values) error {
		if !isLoopback(v["listen"]) {
			return usageError("up accepts any credentials, so it listens on loopback only; %s is not: use 'hearth serve'", v["listen"])
		}
		manifests := make([]*manifest, len(args))
		for i, path := range args {
			m, err := readManifest(path)
			if err != nil {
				return err
			}
			manifests[i] = m
		}
		if v["destination-networks"] == "" {
			v = v.with("destination-networks", "127.0.0.0/8,::1/128")
		}
		dir, err := dataDir(v, "up")
		if err != nil {
			return err
		}
		return runServer(cmd.Context(), t, v, dir, func(ctx context.Context, s *server) error {
			return develop(ctx, t, s, v, args)
		})
	})
}

// develop deploys the functions at paths, watches them, and shows their logs
// until ctx ends. A deployment that fails is told and does not end the server.
func develop(ctx context.Context, t *terminal, s *server, v values, paths []string) error {
	v = v.with("server", s.url(), "region", v["region"], "namespace", faas.DefaultNamespace)
	own := newClient(v)
	own.key, own.keyErr = nil, nil // whatever key is around: it is this account's
	d := &developer{
		t: t, client: own, logs: s.logs, show: &lineWriter{t: t}, followed: map[string]bool{},
		scope: faas.Scope{Account: v["account"], Region: v["region"], Namespace: faas.DefaultNamespace},
	}
	defer d.following.Wait()
	if len(paths) == 0 {
		<-ctx.Done()
		return nil
	}
	// Watching begins first: what is saved during the first deployments counts.
	files, err := newTreeWatcher(paths)
	if err != nil {
		return err
	}
	defer files.close()
	for _, path := range paths {
		d.deploy(ctx, path)
	}
	return files.watch(ctx, func(path string) { d.deploy(ctx, path) })
}

// developer deploys the functions of one developer server; it is used by one
// goroutine.
type developer struct {
	t      *terminal
	client *client
	logs   *logs.Store
	scope  faas.Scope
	show   *lineWriter

	followed  map[string]bool // by name: whose logs are shown
	following sync.WaitGroup
}

// deploy deploys one function and tells how it went. From the first success its
// logs are shown, also where a changed manifest gave it another name.
func (d *developer) deploy(ctx context.Context, path string) {
	began := time.Now()
	m, err := readManifest(path)
	var deployed *native.Deployed
	if err == nil {
		deployed, err = deployManifest(ctx, d.t, d.client, m, false)
	}
	switch {
	case ctx.Err() != nil: // stopping; nobody asks about this one any more
	case err != nil:
		fmt.Fprintf(d.t.err, "✗ %s: %s\n", path, words(err))
	default:
		fmt.Fprintf(d.t.err, "✓ %s  %s\n", m.Name, deployed.Version.Config.Runtime)
		d.follow(ctx, m.Name, began)
	}
}

func (d *developer) follow(ctx context.Context, name string, since time.Time) {
	if d.followed[name] {
		return
	}
	d.followed[name] = true
	id := faas.FunctionID{Scope: d.scope, Name: name}
	d.following.Go(func() {
		_ = d.logs.Follow(ctx, logs.Query{Function: id, Since: since}, d.show.line) // ends with ctx
	})
}

// lineWriter prints log lines of several functions, one at a time.
type lineWriter struct {
	mu sync.Mutex
	t  *terminal
}

func (w *lineWriter) line(line logs.Line) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(w.t.out, "%s ", line.Function.Name)
	printLine(w.t.out, line)
	return nil
}

// with returns a copy of the values with these names and values set.
func (v values) with(pairs ...string) values {
	out := values{}
	for name, value := range v {
		out[name] = value
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}
