package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// jsClient is @aws-sdk/client-lambda, in a Node process that testdata/js/client.mjs
// makes a server of lines.
type jsClient struct {
	mu  sync.Mutex
	in  io.Writer
	out *bufio.Reader
}

// jsDir is a copy of testdata/js with its dependencies installed, made once.
var jsDir = sync.OnceValues(func() (string, error) {
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "js")
	if err := os.CopyFS(dir, os.DirFS("testdata/js")); err != nil {
		return "", err
	}
	cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return dir, nil
})

func newJSClient(t *testing.T, s *Server) client {
	dir, err := jsDir()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "client.mjs")
	cmd.Dir = dir
	c := &jsClient{}
	c.start(t, cmd, s)
	return c
}

// start runs the process that has the client, and ends it with the test.
func (c *jsClient) start(t *testing.T, cmd *exec.Cmd, s *Server) {
	cmd.Env = append(append(os.Environ(), clientEnvironment(s)...), "HEARTH_ENDPOINT="+s.URL)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s is missing; make test installs it: %v", cmd.Path, err)
	}
	t.Cleanup(func() {
		_ = in.Close() // ends its loop
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", cmd.Args, err)
		}
	})
	c.in, c.out = in, bufio.NewReader(out)
}

// jsError is an error as the SDK throws it.
type jsError struct{ Name, Message string }

func (e *jsError) Error() string { return e.Name + ": " + e.Message }

type jsRequest struct {
	Call  string         `json:"call,omitempty"`
	Wait  string         `json:"wait,omitempty"`
	Input map[string]any `json:"input"`
}

// do sends one request and decodes its output into out, where not nil.
func (c *jsClient) do(ctx context.Context, request jsRequest, out any) error {
	var reply struct {
		Output json.RawMessage
		Error  *jsError
	}
	if err := c.exchange(ctx, request, &reply); err != nil {
		return err
	}
	if reply.Error != nil {
		return reply.Error
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(reply.Output, out)
}

// exchange sends one request and decodes the line that answers it.
func (c *jsClient) exchange(ctx context.Context, request jsRequest, reply any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return err
	}
	if line, err = c.out.ReadBytes('\n'); err != nil {
		return err
	}
	return json.Unmarshal(line, reply)
}

func (c *jsClient) call(ctx context.Context, method string, input map[string]any, out any) error {
	return c.do(ctx, jsRequest{Call: method, Input: input}, out)
}

func (c *jsClient) create(ctx context.Context, f function) (string, error) {
	var out struct{ State string }
	err := c.call(ctx, "createFunction", map[string]any{
		"FunctionName": f.name, "Runtime": f.runtime, "Handler": f.handler, "Role": testRole, "Timeout": 20, "MemorySize": 512,
		"Code": map[string]any{"ZipFile": f.zip},
	}, &out)
	return out.State, err
}

func (c *jsClient) waitActive(ctx context.Context, name string) error {
	return c.do(ctx, jsRequest{Wait: "Active", Input: map[string]any{"FunctionName": name}}, nil)
}

func (c *jsClient) waitUpdated(ctx context.Context, name string) error {
	return c.do(ctx, jsRequest{Wait: "Updated", Input: map[string]any{"FunctionName": name}}, nil)
}

func (c *jsClient) invoke(ctx context.Context, name, qualifier, payload string) (answer, error) {
	input := map[string]any{"FunctionName": name, "Payload": []byte(payload), "LogType": "Tail"}
	if qualifier != "" {
		input["Qualifier"] = qualifier
	}
	var out struct {
		Payload                                   []byte
		FunctionError, LogResult, ExecutedVersion string
	}
	if err := c.call(ctx, "invoke", input, &out); err != nil {
		return answer{}, err
	}
	log, err := base64.StdEncoding.DecodeString(out.LogResult)
	return answer{payload: string(out.Payload), functionError: out.FunctionError, version: out.ExecutedVersion, log: string(log)}, err
}

func (c *jsClient) updateCode(ctx context.Context, name string, zip []byte) error {
	return c.call(ctx, "updateFunctionCode", map[string]any{"FunctionName": name, "ZipFile": zip}, nil)
}

func (c *jsClient) setEnvironment(ctx context.Context, name string, variables map[string]string) error {
	return c.call(ctx, "updateFunctionConfiguration", map[string]any{
		"FunctionName": name, "Environment": map[string]any{"Variables": variables}}, nil)
}

func (c *jsClient) publish(ctx context.Context, name string) (string, error) {
	var out struct{ Version string }
	err := c.call(ctx, "publishVersion", map[string]any{"FunctionName": name}, &out)
	return out.Version, err
}

func (c *jsClient) createAlias(ctx context.Context, name, alias, version string, weights map[string]float64) error {
	return c.call(ctx, "createAlias", map[string]any{"FunctionName": name, "Name": alias, "FunctionVersion": version,
		"RoutingConfig": map[string]any{"AdditionalVersionWeights": weights}}, nil)
}

func (c *jsClient) updateAlias(ctx context.Context, name, alias string, weights map[string]float64) error {
	return c.call(ctx, "updateAlias", map[string]any{"FunctionName": name, "Name": alias,
		"RoutingConfig": map[string]any{"AdditionalVersionWeights": weights}}, nil)
}

func (c *jsClient) list(ctx context.Context) ([]string, error) {
	var out struct {
		Functions []struct{ FunctionName string }
	}
	err := c.call(ctx, "listFunctions", map[string]any{}, &out)
	var names []string
	for _, f := range out.Functions {
		names = append(names, f.FunctionName)
	}
	return names, err
}

func (c *jsClient) remove(ctx context.Context, name string) error {
	return c.call(ctx, "deleteFunction", map[string]any{"FunctionName": name}, nil)
}

func (c *jsClient) errorCode(err error) string {
	var thrown *jsError
	if errors.As(err, &thrown) {
		return thrown.Name
	}
	return ""
}
