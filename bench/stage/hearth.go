package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"hearth/bench/load"
)

const (
	readyPrefix = "hearth: ready on "
	// controlTimeout bounds a request to the control plane.
	controlTimeout = 2 * time.Minute
	maxAnswer      = 64 << 20
)

// Hearth is a server under test, on a data directory of its own.
type Hearth struct {
	Child *Child
	URL   string
	// Ready is how long its start took: from the fork to the line that says so.
	Ready   time.Duration
	region  string // of requests; "" is the server's own
	binary  string
	args    []string
	data    string
	http    *http.Client
	stopped bool
}

// Hearth starts the binary as production does, except that it verifies nobody and
// has room for every instance that is asked of it. More settings, and others
// instead of these, are given as "--name", "value".
func (s *Stage) Hearth(ctx context.Context, settings ...string) (*Hearth, error) {
	return s.HearthFrom(ctx, s.Binary, settings...)
}

// HearthFrom is Hearth with another binary.
func (s *Stage) HearthFrom(ctx context.Context, binary string, settings ...string) (*Hearth, error) {
	data, err := os.MkdirTemp(s.Dir, "data-")
	if err != nil {
		return nil, err
	}
	h := &Hearth{binary: binary, data: data, http: httpClient(), stopped: true, args: append([]string{"serve",
		"--auth", "off", "--listen", "127.0.0.1:0", "--data", data, "--isolation", s.Isolation,
		"--max-instances", "2000", "--keep-alive", "1h", "--log-level", "warn"}, settings...)}
	s.onClose(h.Stop)
	if err := h.Start(ctx); err != nil {
		return nil, err
	}
	return h, h.unlimit(ctx)
}

// At is a server that something else started and stops.
func At(url string) *Hearth { return &Hearth{URL: url, http: httpClient(), stopped: true} }

func httpClient() *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	return &http.Client{Timeout: controlTimeout, Transport: transport}
}

// Start starts the server on the data that it has.
func (h *Hearth) Start(ctx context.Context) (err error) {
	if h.Child, err = Spawn(ctx, Command{Path: h.binary, Args: h.args}); err != nil {
		return err
	}
	h.Ready, h.stopped = time.Since(h.Child.Began), false
	url, ok := strings.CutPrefix(h.Child.Line, readyPrefix)
	if !ok {
		return errors.Join(fmt.Errorf("the server said %q instead of its address", h.Child.Line), h.Stop())
	}
	h.URL = url
	return nil
}

// Stop ends the server in order, if it runs.
func (h *Hearth) Stop() error { return h.end((*Child).Stop) }

// Kill ends the server with SIGKILL, if it runs.
func (h *Hearth) Kill() error { return h.end((*Child).Kill) }

func (h *Hearth) end(how func(*Child) error) error {
	if h.stopped {
		return nil
	}
	h.stopped = true
	h.http.CloseIdleConnections()
	return how(h.Child)
}

// Address is host:port.
func (h *Hearth) Address() string { return strings.TrimPrefix(h.URL, "http://") }

// In is the same server as it runs now, asked for the functions of another region:
// those have quotas of their own, as if they were another account's. The server has
// to serve it, by the setting regions.
func (h *Hearth) In(region string) *Hearth {
	other := *h
	other.region, other.stopped = region, true // it is h's to stop
	return &other
}

// Target is the Lambda API's Invoke of a function, waiting for the answer.
func (h *Hearth) Target(function string) load.Target {
	return load.Target{
		Address: h.Address(),
		Request: load.Post(h.Address(), InvokePath(function), Event),
		Check:   CheckAnswer,
	}
}

// InvokePath is the path of Invoke in the Lambda API.
func InvokePath(function string) string { return "/2015-03-31/functions/" + function + "/invocations" }

// Deploy creates a function and waits until it takes calls.
func (h *Hearth) Deploy(ctx context.Context, name string, f Function, memoryMB int) error {
	return h.Control(ctx, http.MethodPut, "functions/"+name, &deployRequest{
		Runtime: f.Runtime, Handler: f.Handler, MemoryMB: memoryMB, TimeoutSeconds: 30, InitTimeoutSeconds: f.InitSeconds,
		Egress: "none", Environment: f.Environment, Zip: f.Zip}, nil)
}

// Remove deletes a function.
func (h *Hearth) Remove(ctx context.Context, name string) error {
	return h.Control(ctx, http.MethodDelete, "functions/"+name, nil, nil)
}

// Describe returns all that the server tells of a function.
func (h *Hearth) Describe(ctx context.Context, name string) (*Description, error) {
	d := new(Description)
	return d, h.Control(ctx, http.MethodGet, "functions/"+name, nil, d)
}

// Rest waits until all instances of a function are idle, and describes it.
func (h *Hearth) Rest(ctx context.Context, name string) (d *Description, err error) {
	err = Until(ctx, "the instances of "+name+" idle", func() (bool, error) {
		d, err = h.Describe(ctx, name)
		return err == nil && d.Instances.Starting == 0 && d.Instances.Busy == 0, err
	})
	return d, err
}

// Cells returns the stock of stem cells; none where this Hearth has none.
func (h *Hearth) Cells(ctx context.Context) ([]Cells, error) {
	var top struct {
		Cells []Cells `json:"cells"`
	}
	return top.Cells, h.Control(ctx, http.MethodGet, "top", nil, &top)
}

// Counts returns how many cold starts and how many invocations there were in the
// last minute, of all functions.
func (h *Hearth) Counts(ctx context.Context) (cold, calls int, err error) {
	var top struct {
		Functions []struct {
			Minute struct {
				Invocations int `json:"invocations"`
				Cold        int `json:"cold"`
			} `json:"minute"`
		} `json:"functions"`
	}
	err = h.Control(ctx, http.MethodGet, "top", nil, &top)
	for _, f := range top.Functions {
		cold, calls = cold+f.Minute.Cold, calls+f.Minute.Invocations
	}
	return cold, calls, err
}

// Stocked waits until all stem cells that are wanted stand by.
func (h *Hearth) Stocked(ctx context.Context) error {
	return Until(ctx, "all stem cells that are wanted", func() (bool, error) {
		cells, err := h.Cells(ctx)
		for _, c := range cells {
			if !c.Full() {
				return false, err
			}
		}
		return true, err
	})
}

// unlimit raises the limits of the account, so that none is measured.
func (h *Hearth) unlimit(ctx context.Context) error {
	return h.Control(ctx, http.MethodPatch, "quotas", &limitsRequest{MemoryMB: 40_000_000, Executions: 20_000}, nil)
}

// Control sends one request to the native API. in and out may be nil.
func (h *Hearth) Control(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, h.URL+"/hearth/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if h.region != "" {
		query := request.URL.Query()
		query.Set("region", h.region)
		request.URL.RawQuery = query.Encode()
	}
	response, err := h.http.Do(request)
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

// Binary is what a binary of Hearth says of itself.
type Binary struct {
	Version  string
	Runtimes []Runtime
	settings string // the help of serve
}

// Inspect asks a binary for its version, its settings and the runtimes that it
// finds on this machine.
func Inspect(ctx context.Context, path, dir string) (b Binary, err error) {
	list, err := output(ctx, path, "runtimes", "--output", "json", "--data", filepath.Join(dir, "inspected"))
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(list, &b.Runtimes); err != nil {
		return b, fmt.Errorf("%s runtimes: %w", path, err)
	}
	help, err := output(ctx, path, "serve", "--help")
	if err != nil {
		return b, err
	}
	b.settings = string(help)
	version, err := output(ctx, path, "--version")
	b.Version = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(string(version)), "hearth version "))
	return b, err
}

// Has says whether the server has a setting, such as "cells".
func (b Binary) Has(setting string) bool { return strings.Contains(b.settings, "--"+setting+" ") }

func output(ctx context.Context, path string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, path, args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("%s %s: %w", path, strings.Join(args, " "), err)
	}
	return out, nil
}
