package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"hearth/bench/load"
	"hearth/code"
)

// Event is what every function is called with, and want what it returns.
var (
	Event = []byte(`{"name":"Ada","items":[3,1,4,1,5,9,2,6,5,3,5,8,9,7,9,3],"note":"a small event, as an API would send it"}`)
	want  = answer{Greeting: "hello, Ada", Count: 16, Sum: 80}
)

// Payload says how large the event and the answer are.
func Payload() string { return fmt.Sprintf("%d B in, %d B out", len(Event), len(knownAnswers[0])) }

type answer struct {
	Greeting string `json:"greeting"`
	Count    int    `json:"count"`
	Sum      int    `json:"sum"`
}

// CheckAnswer compares what an answer says, however it is spaced.
func CheckAnswer(body []byte) error {
	for _, known := range knownAnswers {
		if bytes.Equal(body, known) {
			return nil
		}
	}
	var got answer
	if err := json.Unmarshal(body, &got); err != nil || got != want {
		return fmt.Errorf("the answer is %.200s", body)
	}
	return nil
}

// knownAnswers are the two ways in which JSON is usually spaced: comparing bytes
// costs the client nothing that would be measured.
var knownAnswers = [][]byte{
	[]byte(`{"greeting":"hello, Ada","count":16,"sum":80}`),
	[]byte(`{"greeting": "hello, Ada", "count": 16, "sum": 80}`),
}

// Function is a deployment package and how it is run.
type Function struct {
	Runtime, Handler string
	Zip              []byte
	InitSeconds      int // limit of init; 0 is the default
	Environment      map[string]string
}

// Language is one runtime with the measured function and its bare server.
type Language struct {
	Name     string // of its rows: node, python, go
	Function Function
	Version  string   // of the interpreter or compiler
	Bare     []string // the command of the bare server
}

// Languages builds the functions and bare servers below source, the directory of
// package bench, into work. The interpreters are those of Hearth's catalogue.
func Languages(ctx context.Context, list []Runtime, source, work string) ([]*Language, error) {
	node, err := managed(list, "nodejs", "index.handler", source, "node", "server.mjs")
	if err != nil {
		return nil, err
	}
	python, err := managed(list, "python", "app.handler", source, "python", "server.py")
	if err != nil {
		return nil, err
	}
	compiled, err := provided(ctx, source, work)
	return []*Language{node, python, compiled}, err
}

// managed is a language that Hearth has a runtime for.
func managed(list []Runtime, family, handler, source, dir, script string) (*Language, error) {
	for _, r := range list {
		if !r.Installed || !strings.HasPrefix(r.Name, family) || r.Path == "" {
			continue
		}
		zip, err := code.Pack(filepath.Join(source, "functions", dir))
		return &Language{
			Name: dir, Version: r.Name + " " + r.Version,
			Function: Function{Runtime: r.Name, Handler: handler, Zip: zip},
			Bare:     []string{r.Path, filepath.Join(source, "peers", dir, script)},
		}, err
	}
	return nil, fmt.Errorf("this machine has no %s runtime: see 'hearth runtimes'", family)
}

// provided is Go: a static bootstrap on aws-lambda-go.
func provided(ctx context.Context, source, work string) (*Language, error) {
	bootstrap, bare := filepath.Join(work, "function", "bootstrap"), filepath.Join(work, "server")
	if err := errors.Join(build(ctx, filepath.Join(source, "functions/go"), bootstrap), build(ctx, filepath.Join(source, "peers/go"), bare)); err != nil {
		return nil, err
	}
	version, err := output(ctx, "go", "env", "GOVERSION")
	if err != nil {
		return nil, err
	}
	zip, err := code.Pack(filepath.Dir(bootstrap))
	return &Language{
		Name: "go", Version: "provided.al2023 " + strings.TrimSpace(string(version)),
		Function: Function{Runtime: "provided.al2023", Handler: "bootstrap", Zip: zip},
		Bare:     []string{bare},
	}, err
}

// build compiles the main package in dir, a module of its own.
func build(ctx context.Context, dir, target string) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", target, ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", dir, err, out)
	}
	return nil
}

// Bare is a bare server that runs.
type Bare struct {
	Child  *Child
	Target load.Target
}

// Bare starts the bare server of a language, in a control group or in none.
func (s *Stage) Bare(ctx context.Context, l *Language, group *Group) (*Bare, error) {
	c, err := Spawn(ctx, Command{Path: l.Bare[0], Args: l.Bare[1:], Group: group})
	if err != nil {
		return nil, err
	}
	s.onClose(c.Kill) // it has nothing to finish
	return &Bare{c, portTarget(c.Line)}, nil
}

// portTarget is the bare server that said its port.
func portTarget(port string) load.Target {
	address := net.JoinHostPort("127.0.0.1", port)
	return load.Target{Address: address, Request: load.Post(address, "/", Event), Check: CheckAnswer}
}
