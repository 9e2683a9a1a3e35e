package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is the command as well: scripts run it without a build step.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"hearth": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
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
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("PATH", env.Getenv("PATH")+":/usr/sbin:/sbin")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server": startServer,
		},
	})
}

// startServer runs "hearth ARGS…" until the script ends, and sets HEARTH_SERVER
// to where it is ready. It is stopped by SIGTERM and must exit with 0.
func startServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: server up|serve ARGS…")
	}
	path, err := exec.LookPath("hearth")
	ts.Check(err)
	cmd := exec.Command(path, append(args, "--listen", "127.0.0.1:0", "--data", ts.Getenv("WORK")+"/data")...)
	cmd.Dir = ts.Getenv("WORK")
	cmd.Stderr = os.Stderr
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("WORK"), "TESTSCRIPT_COMMAND=" + os.Getenv("TESTSCRIPT_COMMAND")}
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	lines := bufio.NewScanner(stdout)
	drained := make(chan struct{})
	ts.Defer(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-drained
		if err := cmd.Wait(); err != nil {
			ts.Fatalf("the server did not stop as it should: %v", err)
		}
	})
	for lines.Scan() {
		url, ready := strings.CutPrefix(lines.Text(), "hearth: ready on ")
		if ready {
			ts.Setenv("HEARTH_SERVER", url)
			go func() {
				defer close(drained)
				for lines.Scan() {
				}
			}()
			return
		}
	}
	close(drained)
	ts.Fatalf("the server ended before it was ready: %v", lines.Err())
}
