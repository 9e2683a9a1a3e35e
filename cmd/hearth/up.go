package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"

	"hearth/faas"
	"hearth/logs"
)

// quiet is how long a directory must be left alone before what changed in it is
// deployed: editors and build tools write in bursts.
const quiet = 150 * time.Millisecond

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
	c := newClient(v)
	show := &lineWriter{t: t}
	var following sync.WaitGroup
	defer following.Wait()
	for _, path := range paths {
		name := deployPath(ctx, t, c, path)
		if name == "" {
			continue
		}
		id := faas.FunctionID{Scope: faas.Scope{Account: v["account"], Region: v["region"], Namespace: faas.DefaultNamespace}, Name: name}
		following.Go(func() {
			_ = s.logs.Follow(ctx, logs.Query{Function: id, Since: time.Now()}, show.line) // ends with ctx
		})
	}
	if len(paths) == 0 {
		<-ctx.Done()
		return nil
	}
	return watch(ctx, paths, func(path string) { deployPath(ctx, t, c, path) })
}

// deployPath deploys one function and tells how it went; "" where it failed.
func deployPath(ctx context.Context, t *terminal, c *client, path string) string {
	m, err := readManifest(path)
	if err == nil {
		_, err = deployManifest(ctx, t, c, m, false)
	}
	if err != nil {
		fmt.Fprintf(t.err, "✗ %s: %s\n", path, words(err))
		return ""
	}
	fmt.Fprintf(t.err, "✓ %s  %s\n", m.Name, m.Runtime)
	return m.Name
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

// watch calls changed for each path below which something was written, once a
// burst of writes is over, until ctx ends.
func watch(ctx context.Context, paths []string, changed func(path string)) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("files cannot be watched: %w", err)
	}
	defer watcher.Close()
	for _, path := range paths {
		if err := watchTree(watcher, path); err != nil {
			return err
		}
	}
	due := map[string]bool{}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-watcher.Events:
			if event.Has(fsnotify.Create) {
				_ = watchTree(watcher, event.Name) // a new directory; gone again is no matter
			}
			if path := owner(paths, event.Name); path != "" && !event.Has(fsnotify.Chmod) {
				due[path] = true
				timer.Reset(quiet)
			}
		case <-timer.C:
			for path := range due {
				changed(path)
			}
			clear(due)
		}
	}
}

// watchTree watches a directory and those below it. Dependencies are not
// watched: there are thousands, and an install touches the function's own files.
func watchTree(watcher *fsnotify.Watcher, root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if path == root && !d.IsDir() {
			// Editors replace a file: its directory is what sees that.
			return watcher.Add(filepath.Dir(path))
		}
		if !d.IsDir() {
			return nil
		}
		if name := d.Name(); path != root && (name == "node_modules" || strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		return watcher.Add(path)
	})
}

// owner returns the path that a changed file belongs to.
func owner(paths []string, file string) string {
	for _, path := range paths {
		if rel, err := filepath.Rel(path, file); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return path
		}
	}
	return ""
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
