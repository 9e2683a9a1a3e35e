//go:build linux && amd64

package process

import (
	"context"
	"fmt"
	"os"
	"testing"

	"hearth/sandbox"
	"hearth/sandbox/sandboxtest"
)

// refilled is a driver whose stock is full again when Create returns: the suite
// counts descriptors and sockets.
type refilled struct{ *Driver }

func (d refilled) Create(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	sb, err := d.Driver.Create(ctx, spec)
	if err != nil {
		return sb, err
	}
	return sb, poll(patience, func() (bool, error) { return d.full(), nil })
}

// full reports whether every spare that is wanted is there, and nothing is
// being cleaned.
func (d *Driver) full() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, wanted := d.stock.wantedLocked()
	return !wanted && d.cleaning == 0 || d.stock.depth == 0
}

func contract(t *testing.T, l layout, spares int) {
	open := func(t *testing.T) sandbox.Driver {
		d, err := newOn(l, Options{StateDir: t.TempDir(), DataID: fmt.Sprintf("c%d-%d", os.Getpid(), seq.Add(1)), Spares: spares, DeathLimit: patience})
		if err != nil {
			t.Fatal(err)
		}
		return refilled{d}
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
	contract(t, l, 1)
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
	contract(t, l, 0)
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
