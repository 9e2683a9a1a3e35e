package main

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is the command as well: scripts run it without a build step.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"hearth": func() {
			keepMonitorAwake(os.Args[1:])
			os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

// TestScripts runs the command line as its users do; each script in testdata
// reads like a page of a manual.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Values[backgroundKey{}] = new(background)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("PATH", env.Getenv("PATH")+":/usr/sbin:/sbin")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server": startServer,
		},
	})
}

// background is the server of a script: what it says, line by line.
type background struct {
	said    chan string
	printed chan string // on standard output
	wait    func() error
	stop    func() error // a signal and a wait
}

type backgroundKey struct{}

// patience is how long a script waits for a line of its server.
const patience = time.Minute

// startServer runs "hearth ARGS…" until the script ends, or until "server stop"
// or "server kill", or it was told to and "server ended" waits for that, and sets HEARTH_SERVER to where it is ready. When stopped by
// SIGTERM it must exit with 0. "server says PATTERN" waits for a line
// on its standard error, "server prints PATTERN" for one on its standard output.
func startServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: server up|serve ARGS… | stop | kill | ended | says PATTERN | prints PATTERN")
	}
	holder := ts.Value(backgroundKey{}).(*background)
	switch args[0] {
	case "stop":
		ts.Check(holder.stop())
	case "ended":
		ts.Check(holder.wait())
	case "kill":
		ts.Check(syscall.Kill(serverPid(ts), syscall.SIGKILL))
		_ = holder.stop() // its exit status is the signal's
	case "says":
		await(ts, holder.said, args[1])
	case "prints":
		await(ts, holder.printed, args[1])
	default:
		runBackground(ts, holder, args)
	}
}

// await takes lines until one matches.
func await(ts *testscript.TestScript, lines <-chan string, pattern string) {
	wanted := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		select {
		case line, open := <-lines:
			if !open {
				ts.Fatalf("the server ended and did not say %q", pattern)
			}
			if wanted.MatchString(line) {
				return
			}
		case <-deadline:
			ts.Fatalf("the server did not say %q", pattern)
		}
	}
}

func serverPid(ts *testscript.TestScript) int {
	pid, err := strconv.Atoi(ts.Getenv("SERVER_PID"))
	ts.Check(err)
	return pid
}

func runBackground(ts *testscript.TestScript, holder *background, args []string) {
	path, err := exec.LookPath("hearth")
	ts.Check(err)
	cmd := exec.Command(path, append(args, "--listen", "127.0.0.1:0", "--data", ts.Getenv("WORK")+"/data")...)
	cmd.Dir = ts.Getenv("WORK")
	cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("WORK"), "HEARTH_SERVER=", "HEARTH_CONFIG=")
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	holder.said, holder.printed = make(chan string, 10_000), make(chan string, 10_000)
	var readers sync.WaitGroup
	holder.wait = sync.OnceValue(func() error {
		readers.Wait()
		return cmd.Wait()
	})
	holder.stop = func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM) // none after wait
		return holder.wait()
	}
	ts.Defer(func() { _ = holder.stop() })
	readers.Go(func() {
		defer close(holder.said)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			holder.said <- lines.Text()
		}
	})
	ready := make(chan string, 1)
	readers.Go(func() {
		defer close(ready)
		defer close(holder.printed)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if url, ok := strings.CutPrefix(lines.Text(), "hearth: ready on "); ok {
				ready <- url
			}
			holder.printed <- lines.Text()
		}
	})
	url, ok := <-ready
	if !ok {
		for line := range holder.said {
			ts.Logf("server: %s", line)
		}
		ts.Fatalf("the server ended before it was ready")
	}
	ts.Setenv("HEARTH_SERVER", url)
	ts.Setenv("SERVER_PID", strconv.Itoa(cmd.Process.Pid))
}
