//go:build linux && amd64

package process_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"hearth/sandbox"
	"hearth/sandbox/process"
	"hearth/sandbox/sandboxtest"
)

var drivers atomic.Int64

func TestContract(t *testing.T) {
	open := func(t *testing.T) sandbox.Driver {
		d, err := process.New(process.Options{
			StateDir: t.TempDir(),
			DataID:   fmt.Sprintf("c%d-%d", os.Getpid(), drivers.Add(1)),
		})
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

// command runs the suite's programs with its own shell, but for Fork: bash waits
// 15 s when a fork is refused and then ends. Here a subshell ends, at once.
func command(p sandboxtest.Program) sandbox.Command {
	cmd := sandboxtest.Shell(p)
	if p == sandboxtest.Fork {
		cmd.Args = []string{"/bin/sh", "-c", `(while sleep 100000 & do :; done) 2>/dev/null; echo refused; exec sleep 100000`}
	}
	return cmd
}
