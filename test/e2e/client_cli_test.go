package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// cliClient is the aws command of Debian's package awscli.
type cliClient struct {
	path, endpoint, dir string
	environment         []string
}

// debianCLI is where the package puts it; an aws elsewhere in PATH may be another.
const debianCLI = "/usr/bin/aws"

func newCLIClient(t *testing.T, s *Server) client {
	path := debianCLI
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath("aws"); err != nil {
			t.Fatalf("the aws command is missing; apt-get install awscli: %v", err)
		}
	}
	return &cliClient{path: path, endpoint: s.URL, dir: t.TempDir(), environment: clientEnvironment(s)}
}

// run calls 'aws lambda ARGS' and decodes its JSON into out, where not nil.
func (c *cliClient) run(ctx context.Context, out any, args ...string) error {
	args = append([]string{"lambda", "--endpoint-url", c.endpoint, "--output", "json"}, args...)
	cmd := exec.CommandContext(ctx, c.path, args...)
	// Debian's command runs on Debian's Python; the test's PATH may have another first.
	cmd.Env = append(append(os.Environ(), "PATH=/usr/bin:/bin"), c.environment...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("aws %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(stdout.Bytes(), out); err != nil {
		return fmt.Errorf("aws %s: %w in %q", strings.Join(args, " "), err, stdout.String())
	}
	return nil
}

// file writes content to a file and returns its name.
func (c *cliClient) file(name string, content []byte) (string, error) {
	path := filepath.Join(c.dir, name)
	return path, os.WriteFile(path, content, 0o600)
}

func (c *cliClient) create(ctx context.Context, f function) (string, error) {
	zip, err := c.file("code.zip", f.zip)
	if err != nil {
		return "", err
	}
	var out struct{ State string }
	err = c.run(ctx, &out, "create-function", "--function-name", f.name, "--runtime", f.runtime, "--handler", f.handler,
		"--role", testRole, "--timeout", "20", "--memory-size", "512", "--zip-file", "fileb://"+zip)
	return out.State, err
}

func (c *cliClient) waitActive(ctx context.Context, name string) error {
	return c.run(ctx, nil, "wait", "function-active-v2", "--function-name", name)
}

func (c *cliClient) waitUpdated(ctx context.Context, name string) error {
	return c.run(ctx, nil, "wait", "function-updated-v2", "--function-name", name)
}

func (c *cliClient) invoke(ctx context.Context, name, qualifier, payload string) (answer, error) {
	event, err := c.file("event.json", []byte(payload))
	if err != nil {
		return answer{}, err
	}
	result := filepath.Join(c.dir, "result.json")
	args := []string{"invoke", "--function-name", name, "--payload", "fileb://" + event, "--log-type", "Tail"}
	if qualifier != "" {
		args = append(args, "--qualifier", qualifier)
	}
	var out struct{ FunctionError, LogResult, ExecutedVersion string }
	if err := c.run(ctx, &out, append(args, result)...); err != nil {
		return answer{}, err
	}
	body, err := os.ReadFile(result)
	if err != nil {
		return answer{}, err
	}
	log, err := base64.StdEncoding.DecodeString(out.LogResult)
	return answer{payload: string(body), functionError: out.FunctionError, version: out.ExecutedVersion, log: string(log)}, err
}

func (c *cliClient) updateCode(ctx context.Context, name string, zip []byte) error {
	path, err := c.file("code.zip", zip)
	if err != nil {
		return err
	}
	return c.run(ctx, nil, "update-function-code", "--function-name", name, "--zip-file", "fileb://"+path)
}

func (c *cliClient) setEnvironment(ctx context.Context, name string, variables map[string]string) error {
	text, err := json.Marshal(map[string]any{"Variables": variables})
	if err != nil {
		return err
	}
	return c.run(ctx, nil, "update-function-configuration", "--function-name", name, "--environment", string(text))
}

func (c *cliClient) publish(ctx context.Context, name string) (string, error) {
	var out struct{ Version string }
	err := c.run(ctx, &out, "publish-version", "--function-name", name)
	return out.Version, err
}

func (c *cliClient) createAlias(ctx context.Context, name, alias, version string, weights map[string]float64) error {
	routing, err := json.Marshal(map[string]any{"AdditionalVersionWeights": weights})
	if err != nil {
		return err
	}
	return c.run(ctx, nil, "create-alias", "--function-name", name, "--name", alias, "--function-version", version, "--routing-config", string(routing))
}

func (c *cliClient) updateAlias(ctx context.Context, name, alias string, weights map[string]float64) error {
	routing, err := json.Marshal(map[string]any{"AdditionalVersionWeights": weights})
	if err != nil {
		return err
	}
	return c.run(ctx, nil, "update-alias", "--function-name", name, "--name", alias, "--routing-config", string(routing))
}

func (c *cliClient) list(ctx context.Context) ([]string, error) {
	var out struct {
		Functions []struct{ FunctionName string }
	}
	err := c.run(ctx, &out, "list-functions")
	var names []string
	for _, f := range out.Functions {
		names = append(names, f.FunctionName)
	}
	return names, err
}

func (c *cliClient) remove(ctx context.Context, name string) error {
	return c.run(ctx, nil, "delete-function", "--function-name", name)
}

var cliError = regexp.MustCompile(`An error occurred \((\w+)\) when calling`)

func (c *cliClient) errorCode(err error) string {
	if match := cliError.FindStringSubmatch(fmt.Sprint(err)); match != nil {
		return match[1]
	}
	return ""
}
