package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"hearth/api/native"
	"hearth/bench/load"
	"hearth/faas"
)

const (
	readyPrefix = "hearth: ready on "
	// controlTimeout bounds a request to the control plane.
	controlTimeout = 2 * time.Minute
	maxAnswer      = 1 << 20
)

// server is the Hearth under test, on a data directory of its own.
type server struct {
	child *child
	data  string
	url   string
	http  *http.Client
}

// startServer runs the binary as production does, except that it verifies nobody
// and has room for every instance that the plan asks for.
func startServer(ctx context.Context, binary, isolation string) (*server, error) {
	data, err := os.MkdirTemp("", "hearth-bench-")
	if err != nil {
		return nil, err
	}
	c, err := spawn(ctx, binary, "serve", "--auth", "off", "--listen", "127.0.0.1:0", "--data", data,
		"--isolation", isolation, "--max-instances", "1000", "--keep-alive", "1h", "--log-level", "warn")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(data))
	}
	s := &server{child: c, data: data, http: httpClient()}
	url, ok := strings.CutPrefix(c.first, readyPrefix)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the server said %q instead of its address", c.first), s.stop())
	}
	s.url = url
	return s, nil
}

func httpClient() *http.Client { return &http.Client{Timeout: controlTimeout} }

// stop ends the server and removes its data.
func (s *server) stop() error {
	return errors.Join(s.child.stop(), os.RemoveAll(s.data))
}

func (s *server) address() string { return strings.TrimPrefix(s.url, "http://") }

// warmTarget is the Lambda API's Invoke of a function.
func (s *server) warmTarget(function string) load.Target {
	return load.Target{
		Address: s.address(),
		Request: load.Post(s.address(), "/2015-03-31/functions/"+function+"/invocations", event),
		Check:   checkAnswer,
	}
}

// deploy creates a function and waits until it takes calls.
func (s *server) deploy(ctx context.Context, name string, f function) error {
	memory, timeout, egress := memoryMB, 30, faas.EgressNone
	return s.control(ctx, http.MethodPut, "functions/"+name, &native.DeployRequest{
		Runtime: &f.runtime, Handler: &f.handler, MemoryMB: &memory, TimeoutSeconds: &timeout, Egress: &egress, Zip: f.zip,
	}, nil)
}

func (s *server) remove(ctx context.Context, name string) error {
	return s.control(ctx, http.MethodDelete, "functions/"+name, nil, nil)
}

func (s *server) describe(ctx context.Context, name string) (*native.Description, error) {
	d := new(native.Description)
	return d, s.control(ctx, http.MethodGet, "functions/"+name, nil, d)
}

func (s *server) status(ctx context.Context) (*native.Status, error) {
	st := new(native.Status)
	return st, s.control(ctx, http.MethodGet, "status", nil, st)
}

func (s *server) runtimes(ctx context.Context) (list []native.Runtime, err error) {
	return list, s.control(ctx, http.MethodGet, "runtimes", nil, &list)
}

// control sends one request to the native API.
func (s *server) control(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, s.url+"/hearth/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := s.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %.500s", method, path, response.Status, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
