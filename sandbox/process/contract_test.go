//go:build linux && amd64

package process

import (
	"fmt"
	"os"
	"testing"

	"hearth/sandbox"
	"hearth/sandbox/sandboxtest"
)

func contract(t *testing.T, l layout) {
	open := func(t *testing.T) sandbox.Driver {
		d, err := newOn(l, Options{StateDir: t.TempDir(), DataID: fmt.Sprintf("c%d-%d", os.Getpid(), seq.Add(1))})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	sandboxtest.Run(t, open, sandboxtest.Features{
		Daemons: true, Outlives: true, Memory: true, Pids: true, Tmp: true,
		Freeze: true, Network: true, Mounts: true, Command: command,
	})
}

func TestContract(t *testing.T) {
	l, err := detectLayout()
	if err != nil {
		t.Fatal(err)
	}
	contract(t, l)
}

// The same on a host without version 2, as far as this one has version 1.
func TestContractVersion1(t *testing.T) {
	l, err := detectLayout()
	if err != nil {
		t.Fatal(err)
	}
	l.v2, l.ctl2 = "", nil
	if err := l.check(); err != nil {
		t.Logf("this host has no version 1: %v", err)
		return
	}
	contract(t, l)
}

// command runs the suite's programs with its own shell, but for Fork: bash waits
// 15 s when a fork is refused and then ends. Here a subshell ends, at once.
func command(p sandboxtest.Program) sandbox.Command {
	cmd := sandboxtest.Shell(p)
	if p == sandboxtest.Fork {
		cmd.Args = []string{"/bin/sh", "-c", `(while sleep 100000 & do :; done) 2>/dev/null; echo refused; exec sleep 100000`}
	}
	return cmd
}
