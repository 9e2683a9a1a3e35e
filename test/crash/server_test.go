package crash

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"hearth/faas"
	"hearth/test/e2e"
)

// bounded is how long anything may take that is waited for.
const bounded = 3 * time.Minute

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	e2e.CleanUp()
	os.Exit(code)
}

// build makes the binary with traps, once for all tests.
var build = sync.OnceValues(func() (path string, err error) {
	dir, err := os.MkdirTemp("", "hearth-crash-")
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "hearth")
	cmd := exec.Command("go", "build", "-tags", "crashtest", "-o", path, "hearth/cmd/hearth")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return path, fmt.Errorf("build the binary: %w\n%s", err, out)
	}
	return path, nil
})

// arguments are those of every server: functions write to this file system, so they
// are not isolated.
var arguments = []string{"--isolation", "none", "--max-instances", "6", "--log-level", "warn"}

// server is one life of the binary. Unlike e2e's it may end at any moment.
type server struct {
	cmd    *exec.Cmd
	url    chan string
	exited chan struct{}
	log    bytes.Buffer // valid after exited
}

// start begins a life that ends at a point, for the n-th time; "" lets it live. wrong
// is by how much its clock is wrong, of trap_crash.go.
func start(t *testing.T, binary, data, trap, wrong string) *server {
	t.Helper()
	s := &server{url: make(chan string, 1), exited: make(chan struct{})}
	s.cmd = exec.Command(binary, append([]string{"up", "--listen", "127.0.0.1:0", "--data", data}, arguments...)...)
	s.cmd.Env = append(os.Environ(), "HEARTH_CRASH_AT="+trap, "HEARTH_CLOCK="+wrong)
	s.cmd.Stderr = &s.log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if url, ok := strings.CutPrefix(lines.Text(), "hearth: ready on "); ok {
				s.url <- url
			}
		}
		_, _ = io.Copy(io.Discard, stdout)
		_ = s.cmd.Wait() // killed, as often as not
		close(s.exited)
	}()
	return s
}

// ready waits for the address; "" where the life ended before.
func (s *server) ready(t *testing.T) string {
	t.Helper()
	select {
	case url := <-s.url:
		return url
	case <-s.exited:
		return ""
	case <-time.After(bounded):
		s.kill()
		t.Fatalf("the server was neither ready nor dead after %v\n%s", bounded, &s.log)
	}
	return ""
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may have ended already
	<-s.exited
}

// stop ends a life as an operator does.
func (s *server) stop(t *testing.T) {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(bounded):
		s.kill()
		t.Fatalf("the server did not stop\n%s", &s.log)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the server exited with %d\n%s", code, &s.log)
	}
}

// handlers is one package with all functions: each run adds a line to the file that
// its event names. The parent of a function is the server that ran it.
const handlers = `
import os

def note(path, *words):
    line = " ".join(str(w) for w in words) + "\n"
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, line.encode())
    os.close(fd)

def ok(event, context):
    note(event["file"], "ran", context.aws_request_id, context.attempt, os.getppid())
    return event["n"]

def bad(event, context):
    note(event["file"], "ran", context.aws_request_id, context.attempt, os.getppid())
    raise ValueError("as told")

def poison(event, context):
    note(event["file"], "ran", context.aws_request_id, context.attempt, os.getppid())
    os._exit(3)

def sink(event, context):
    request = event["requestContext"]
    note(event["requestPayload"]["file"], "told", request["requestId"], request["condition"], os.getppid())
`

// deploy makes the functions in a new data directory: those that succeed tell a
// function, those that fail, or take their instance with them, tell an endpoint.
func deploy(t *testing.T, binary, data, endpoint string) {
	t.Helper()
	s := e2e.OpenBinary(t, binary, io.Discard, data, arguments...)
	defer s.Stop(t)
	var code bytes.Buffer
	w := zip.NewWriter(&code)
	f, err := w.Create("index.py")
	if err == nil {
		_, err = io.WriteString(f, handlers)
	}
	if err = firstOf(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	client := lambda.New(lambda.Options{BaseEndpoint: &s.URL, Region: faas.DefaultRegion,
		Credentials: credentials.NewStaticCredentialsProvider("crash", "crash", "")})
	ctx, cancel := context.WithTimeout(t.Context(), bounded)
	defer cancel()
	for _, name := range []string{"ok", "bad", "poison", "sink"} {
		_, err := client.CreateFunction(ctx, &lambda.CreateFunctionInput{FunctionName: &name, Runtime: types.Runtime(s.Newest(t, "python")),
			Handler: aws.String("index." + name), Role: aws.String("arn:aws:iam::000000000000:role/crash"), Timeout: aws.Int32(30),
			Code: &types.FunctionCode{ZipFile: code.Bytes()}})
		if err != nil {
			t.Fatal(err)
		}
		wait := lambda.NewFunctionActiveV2Waiter(client, func(o *lambda.FunctionActiveV2WaiterOptions) { o.MinDelay = 20 * time.Millisecond })
		if err := wait.Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, bounded); err != nil {
			t.Fatal(err)
		}
	}
	for name, config := range map[string]string{
		"ok":     `{"onSuccess":"sink"}`,
		"bad":    `{"retries":0,"onFailure":"` + endpoint + `"}`,
		"poison": `{"retries":0,"onFailure":"` + endpoint + `"}`,
	} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.URL+"/hearth/v1/functions/"+name+"/async/$LATEST", strings.NewReader(config))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(res.Body)
		if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("configure %s: %d %s %v", name, res.StatusCode, answer, err)
		}
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
