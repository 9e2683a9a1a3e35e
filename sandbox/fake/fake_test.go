package fake_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hearth/sandbox"
	"hearth/sandbox/fake"
	"hearth/sandbox/sandboxtest"
)

func TestContract(t *testing.T) {
	sandboxtest.Run(t, func(*testing.T) sandbox.Driver {
		return fake.New(fake.Options{Programs: programs})
	}, sandboxtest.Features{
		Command: func(p sandboxtest.Program) sandbox.Command {
			return sandbox.Command{Args: []string{"/" + string(p)}, Env: []string{"GREETING=hello"}, Dir: "/"}
		},
		Network: true,
		Memory:  true,
	})
}

// programs are the suite's, as functions. Where the real one has children, the
// fake has none: what the suite checks is that nothing holds the output.
var programs = map[string]fake.Program{
	"/print": func(p *fake.Process) int {
		fmt.Fprintf(p.Output, "out\nerr\n")
		return 0
	},
	"/exit7": func(*fake.Process) int { return 7 },
	"/environment": func(p *fake.Process) int {
		fmt.Fprintln(p.Output, env(p, "GREETING"), p.Command.Dir)
		return 0
	},
	"/echo": func(p *fake.Process) int {
		_, _ = io.Copy(p.Socket, p.Socket)
		return 0
	},
	"/sleep": sleep,
	"/tree":  sleep,
	"/stubborn": func(p *fake.Process) int {
		p.Signals()
		return sleep(p)
	},
	"/flood": func(p *fake.Process) int {
		_, _ = p.Output.Write(bytes.Repeat([]byte{0}, 1<<20))
		return 0
	},
	"/dial": func(p *fake.Process) int {
		conn, err := p.Dial("tcp", "127.0.0.1:"+env(p, "PORT"))
		if err != nil {
			fmt.Fprintln(p.Output, err)
			return 1
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "ping\n")
		_, _ = io.Copy(p.Output, conn)
		return 0
	},
	"/eat": func(p *fake.Process) int {
		p.OutOfMemory()
		return 0
	},
}

func sleep(p *fake.Process) int {
	fmt.Fprintln(p.Output, "ready")
	<-p.Context().Done()
	return 0
}

func env(p *fake.Process, name string) string {
	i := slices.IndexFunc(p.Command.Env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	if i < 0 {
		return ""
	}
	return p.Command.Env[i][len(name)+1:]
}

// What the contract does not ask of every driver: a program that handles a
// signal, one that panics, and a machine without room.
func TestScripts(t *testing.T) {
	d := fake.New(fake.Options{
		Program: func(p *fake.Process) int {
			if p.Command.Args[0] == "/panic" {
				panic("at the program")
			}
			signals := p.Signals()
			fmt.Fprintln(p.Output, "ready")
			select {
			case sig := <-signals:
				return int(sig)
			case <-p.Context().Done():
				return 1
			}
		},
		OnCreate: func(s sandbox.Spec) error {
			if s.ID == "refused" {
				return sandbox.ErrNoCapacity
			}
			return nil
		},
	})
	defer d.Close()
	if _, err := d.Create(t.Context(), sandbox.Spec{ID: "refused"}); err != sandbox.ErrNoCapacity {
		t.Errorf("Create: %v, want ErrNoCapacity", err)
	}

	crash := run(t, d, "crash", "/panic")
	if e, want := wait(t, crash), (sandbox.Exit{Code: -1, Signal: syscall.SIGABRT}); e != want {
		t.Errorf("Exit of a panic = %+v, want %+v", e, want)
	}
	polite := run(t, d, "polite", "/handler")
	if line, err := bufio.NewReader(polite.Output()).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("output %q, %v", line, err)
	}
	if err := polite.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if e, want := wait(t, polite), (sandbox.Exit{Code: int(syscall.SIGTERM)}); e != want {
		t.Errorf("Exit of a handled signal = %+v, want %+v", e, want)
	}
	if n := len(d.Sandboxes()); n != 2 {
		t.Errorf("%d sandboxes, want the two that are not destroyed", n)
	}
}

func run(t *testing.T, d *fake.Driver, id, program string) sandbox.Sandbox {
	t.Helper()
	box, err := d.Create(t.Context(), sandbox.Spec{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Start(t.Context(), sandbox.Command{Args: []string{program}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Output().Close() })
	return box
}

func wait(t *testing.T, box sandbox.Sandbox) sandbox.Exit {
	t.Helper()
	select {
	case <-box.Done():
	case <-time.After(time.Minute):
		t.Fatal("the program did not end")
	}
	return box.Exit()
}
