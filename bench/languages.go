package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"hearth/api/native"
	"hearth/bench/load"
	"hearth/code"
)

// event is what every function is called with, and want what it returns.
var (
	event = []byte(`{"name":"Ada","items":[3,1,4,1,5,9,2,6,5,3,5,8,9,7,9,3],"note":"a small event, as an API would send it"}`)
	want  = answer{Greeting: "hello, Ada", Count: 16, Sum: 80}
)

type answer struct {
	Greeting string `json:"greeting"`
	Count    int    `json:"count"`
	Sum      int    `json:"sum"`
}

// checkAnswer compares what an answer says, however it is spaced.
func checkAnswer(body []byte) error {
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

// function is a deployment package and how it is run.
type function struct {
	runtime, handler string
	zip              []byte
}

// language is one runtime with its function and its bare server.
type language struct {
	name     string // of its rows
	function function
	version  string   // of the interpreter or compiler
	bare     []string // the command of the bare server
}

// prepare builds the functions and bare servers below source, the directory of
// this package, into work. The interpreters are those that Hearth's catalogue has.
func prepare(ctx context.Context, s *server, source, work string) ([]language, error) {
	source, err := filepath.Abs(source)
	if err != nil {
		return nil, err
	}
	list, err := s.runtimes(ctx)
	if err != nil {
		return nil, err
	}
	node, err := managed(list, "nodejs", "index.handler", source, "node", "server.mjs")
	if err != nil {
		return nil, err
	}
	python, err := managed(list, "python", "app.handler", source, "python", "server.py")
	if err != nil {
		return nil, err
	}
	compiled, err := provided(ctx, source, work)
	return []language{node, python, compiled}, err
}

// managed is a language that Hearth has a runtime for.
func managed(list []native.Runtime, family, handler, source, dir, script string) (l language, err error) {
	for _, r := range list {
		if !r.Installed || !strings.HasPrefix(r.Name, family) || r.Path == "" {
			continue
		}
		zip, err := code.Pack(filepath.Join(source, "functions", dir))
		return language{
			name: dir, version: r.Name + " " + r.Version,
			function: function{runtime: r.Name, handler: handler, zip: zip},
			bare:     []string{r.Path, filepath.Join(source, "peers", dir, script)},
		}, err
	}
	return l, fmt.Errorf("this machine has no %s runtime: see 'hearth runtimes'", family)
}

// provided is Go: a static bootstrap on aws-lambda-go.
func provided(ctx context.Context, source, work string) (l language, err error) {
	bootstrap, bare := filepath.Join(work, "function", "bootstrap"), filepath.Join(work, "server")
	for target, dir := range map[string]string{bootstrap: "functions/go", bare: "peers/go"} {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", target, ".")
		build.Dir = filepath.Join(source, dir)
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
		if out, err := build.CombinedOutput(); err != nil {
			return l, fmt.Errorf("build %s: %w\n%s", dir, err, out)
		}
	}
	version, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return l, fmt.Errorf("go env: %w", err)
	}
	zip, err := code.Pack(filepath.Dir(bootstrap))
	return language{
		name: "go", version: "provided.al2023 " + strings.TrimSpace(string(version)),
		function: function{runtime: "provided.al2023", handler: "bootstrap", zip: zip},
		bare:     []string{bare},
	}, err
}

// startBare runs the bare server of a language.
func (l *language) startBare(ctx context.Context) (*child, load.Target, error) {
	c, err := spawn(ctx, l.bare[0], l.bare[1:]...)
	if err != nil {
		return nil, load.Target{}, err
	}
	address := net.JoinHostPort("127.0.0.1", c.first)
	return c, load.Target{Address: address, Request: load.Post(address, "/", event), Check: checkAnswer}, nil
}
