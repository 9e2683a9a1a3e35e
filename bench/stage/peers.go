package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"hearth/bench/load"
)

// Peer is another platform that runs and serves the Node handler.
type Peer struct {
	Child *Child
	// Target calls the function of a name; platforms that have one function only
	// serve it under any.
	Target func(function string) load.Target
}

// installed is the node_modules of a peer, which make bench installs from the
// peer's package-lock.json.
func (s *Stage) installed(peer string) (string, error) {
	dir, err := filepath.Abs(filepath.Join(s.Source, "peers", peer, "node_modules"))
	if err == nil && !exists(dir) {
		err = fmt.Errorf("it is not installed: run 'npm ci --ignore-scripts' in bench/peers/%s", peer)
	}
	return dir, err
}

// Version reads the version of an installed package of a peer.
func (s *Stage) Version(peer, pkg string) string {
	raw, err := os.ReadFile(filepath.Join(s.Source, "peers", peer, "node_modules", filepath.FromSlash(pkg), "package.json"))
	var about struct {
		Version string `json:"version"`
	}
	if err != nil || json.Unmarshal(raw, &about) != nil {
		return unknown
	}
	return about.Version
}

// gather makes a directory of copies of files below Source, and of a link to
// node_modules.
func (s *Stage) gather(modules string, files map[string]string) (string, error) {
	dir, err := os.MkdirTemp(s.Dir, "peer-")
	if err != nil {
		return "", err
	}
	for name, from := range files {
		raw, err := os.ReadFile(filepath.Join(s.Source, filepath.FromSlash(from)))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			return "", err
		}
	}
	return dir, os.Symlink(modules, filepath.Join(dir, "node_modules"))
}

// Launcher starts a peer, as often as one likes; what it prepared is kept.
type Launcher func(context.Context) (*Peer, error)

// launch starts a child of a peer and takes it down with the stage.
func (s *Stage) launch(ctx context.Context, c Command, target func(line string) (func(string) load.Target, error)) (*Peer, error) {
	child, err := Spawn(ctx, c)
	if err != nil {
		return nil, err
	}
	s.onClose(child.KillAll)
	p := &Peer{Child: child}
	p.Target, err = target(child.Line)
	return p, err
}

// single is the target of a platform with one function at an address.
func single(address string) (func(string) load.Target, error) {
	return func(string) load.Target {
		return load.Target{Address: address, Request: load.Post(address, "/", Event), Check: CheckAnswer}
	}, nil
}

// Workerd is Cloudflare's isolate runtime.
func (s *Stage) Workerd() (Launcher, error) {
	modules, err := s.installed("workerd")
	if err != nil {
		return nil, err
	}
	dir, err := s.gather(modules, map[string]string{"index.mjs": "functions/node/index.mjs",
		"worker.mjs": "peers/workerd/worker.mjs", "config.capnp": "peers/workerd/config.capnp"})
	if err != nil {
		return nil, err
	}
	binaries, _ := filepath.Glob(filepath.Join(modules, "@cloudflare", "workerd-*", "bin", "workerd")) // the pattern is well formed
	binary := filepath.Join(modules, "workerd", "bin", "workerd")                                      // starts the platform's, a process later
	if len(binaries) > 0 {
		binary = binaries[0]
	}
	return func(ctx context.Context) (*Peer, error) {
		return s.launch(ctx, Command{Path: binary, Args: []string{"serve", filepath.Join(dir, "config.capnp"), "--control-fd=1"}, Dir: dir},
			func(line string) (func(string) load.Target, error) {
				var listening struct{ Port int }
				if err := json.Unmarshal([]byte(line), &listening); err != nil || listening.Port == 0 {
					return nil, fmt.Errorf("workerd said %q instead of its port", line)
				}
				return single(net.JoinHostPort("127.0.0.1", strconv.Itoa(listening.Port)))
			})
	}, nil
}

// FunctionsFramework is Google's, which runs inside a Cloud Run instance.
func (s *Stage) FunctionsFramework(node string) (Launcher, error) {
	modules, err := s.installed("functions-framework")
	if err != nil {
		return nil, err
	}
	dir, err := s.gather(modules, map[string]string{"handler.mjs": "functions/node/index.mjs", "index.mjs": "peers/functions-framework/index.mjs"})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"type":"module","main":"index.mjs"}`), 0o644); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (*Peer, error) {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		main := filepath.Join(dir, "node_modules", "@google-cloud", "functions-framework", "build", "src", "main.js")
		return s.launch(ctx, Command{Path: node, Args: []string{main, "--target=handler", "--port=" + port}, Dir: dir,
			Ready: func(line string) bool { return strings.HasPrefix(line, "URL: ") }},
			func(string) (func(string) load.Target, error) { return single(net.JoinHostPort("127.0.0.1", port)) })
	}, nil
}

// ServerlessOffline is the emulator of Lambda's API from npm, with functions of
// the given names.
func (s *Stage) ServerlessOffline(node string, functions []string) (Launcher, error) {
	modules, err := s.installed("serverless-offline")
	if err != nil {
		return nil, err
	}
	dir, err := s.gather(modules, map[string]string{"index.mjs": "functions/node/index.mjs", "serverless.yml": "peers/serverless-offline/serverless.yml"})
	if err != nil {
		return nil, err
	}
	config, err := os.OpenFile(filepath.Join(dir, "serverless.yml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	for _, f := range functions {
		_, err = fmt.Fprintf(config, "  %s:\n    handler: index.handler\n", f)
	}
	if err := errors.Join(err, config.Close()); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (*Peer, error) {
		http, err1 := freePort()
		lambda, err2 := freePort()
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		address := net.JoinHostPort("127.0.0.1", lambda)
		// It says that it is ready on standard error.
		script := `exec "$0" "$@" 2>&1`
		return s.launch(ctx, Command{Path: "/bin/sh", Dir: dir,
			Args: []string{"-c", script, node, filepath.Join(dir, "node_modules", "serverless", "bin", "serverless.js"),
				"offline", "start", "--host", "127.0.0.1", "--httpPort", http, "--lambdaPort", lambda, "--noTimeout"},
			Env: []string{"AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x", "SLS_TELEMETRY_DISABLED=1",
				"SLS_NOTIFICATIONS_MODE=off", "SLS_INTERACTIVE_SETUP_ENABLE=0", "CI=1", "HOME=" + dir},
			Ready: func(line string) bool { return strings.Contains(line, "listening on http://"+address) }},
			func(string) (func(string) load.Target, error) {
				return func(function string) load.Target {
					return load.Target{Address: address, Request: load.Post(address, InvokePath("bench-dev-"+function), Event), Check: CheckAnswer}
				}, nil
			})
	}, nil
}

// freePort finds a port of 127.0.0.1 that nobody listens on now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
