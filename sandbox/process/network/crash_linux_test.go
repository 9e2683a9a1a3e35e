package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// crashEnv makes the test binary the server that is killed: it opens a pool under
// this id, puts a process into a namespace, says "ready" and waits.
const crashEnv = "HEARTH_NETWORK_CRASH"

// hostEnv says that the process runs in the tests' own host.
const hostEnv = "HEARTH_NETWORK_HOST"

// TestMain runs everything in a network namespace that stands for the host, so
// that no test meets the machine's own network or another server on it.
func TestMain(m *testing.M) {
	if os.Getenv(hostEnv) == "" {
		os.Exit(inOwnHost())
	}
	if err := loopbackUp(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if id := os.Getenv(crashEnv); id != "" {
		if err := crash(id); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func inOwnHost() int {
	again := exec.Command(os.Args[0], os.Args[1:]...)
	again.Env = append(os.Environ(), hostEnv+"=1")
	again.Stdin, again.Stdout, again.Stderr = os.Stdin, os.Stdout, os.Stderr
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	err := again.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1)
	case err != nil:
		fmt.Println("these tests need root and network namespaces:", err)
		return 1
	}
	return 0
}

func crash(id string) error {
	p, err := New(Options{DataID: id, Spares: 2})
	if err != nil {
		return err
	}
	if p.noEgress != nil {
		return p.noEgress
	}
	var out *Netns
	for range 3 {
		if out, err = p.Acquire(context.Background(), sandbox.EgressInternet); err != nil {
			return err
		}
	}
	// A function's process that outlives the server.
	sleeper := exec.Command("/bin/sleep", "1000")
	if err := inNamespace(p.home, out.FD(), sleeper.Start); err != nil {
		return err
	}
	fmt.Println("ready", sleeper.Process.Pid)
	select {}
}

// After kill -9 New removes what was left, a namespace in which a process still
// runs included.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	before := look(t)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashEnv+"="+t.Name())
	stdout, err := child.StdoutPipe()
	w.check(err)
	w.check(child.Start())
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	var sleeper int
	if _, err := fmt.Sscanf(line, "ready %d", &sleeper); err != nil {
		t.Fatalf("the child said %q", line)
	}
	w.check(child.Process.Kill())
	_ = child.Wait()                                        // killed
	defer func() { _ = unix.Kill(sleeper, unix.SIGKILL) }() // a test that failed before it was read

	left := look(t)
	if left.links == 0 || left.tables == 0 {
		t.Fatalf("nothing was left by the killed server (%+v): the test tests nothing", left)
	}
	p := w.pool(func(o *Options) { o.Spares = 1 })
	n := acquire(t, p, sandbox.EgressInternet)
	if body, err := n.get(t, "server.example"); err != nil || !strings.HasPrefix(body, worldSide) {
		t.Errorf("after a restart: %q, %v", body, err)
	}
	n.Release()
	w.check(p.Close())
	before.none(t)
}
