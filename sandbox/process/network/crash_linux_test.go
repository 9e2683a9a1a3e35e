package network

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"hearth/sandbox"
)

// crashEnv makes the test binary the server that is killed: it opens a pool under
// this id, puts a process into a namespace, says "ready" and waits.
const crashEnv = "HEARTH_NETWORK_CRASH"

func TestMain(m *testing.M) {
	if id := os.Getenv(crashEnv); id != "" {
		if err := crash(id); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
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
	_ = child.Wait() // killed
	orphan, err := os.FindProcess(sleeper)
	w.check(err)
	defer orphan.Kill()

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
