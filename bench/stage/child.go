package stage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// readyTimeout bounds a start, stopTimeout a stop after SIGTERM.
	readyTimeout = 60 * time.Second
	stopTimeout  = 20 * time.Second
	// tailSize is how much of a child's error output is kept.
	tailSize = 16 << 10
)

// Command is how a child is started.
type Command struct {
	Path string
	Args []string
	Env  []string // added to what every side of the benchmark has
	Dir  string
	// Ready says whether a line of its output means that it serves; nil is the
	// first line.
	Ready func(line string) bool
	Group *Group // control group that it is started in; nil is the benchmark's own
}

// environ drops what would tune a runtime on some machines and not on others.
// NODE_EXTRA_CA_CERTS, for one, makes each start of Node twice as long.
func environ(all []string) []string {
	return slices.DeleteFunc(all, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		for _, prefix := range []string{"NODE_", "UV_", "PYTHON", "GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GODEBUG"} {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
		return false
	})
}

// Child is a server process of the benchmark. It ends with the benchmark, however
// that ends.
type Child struct {
	Began  time.Time // right before the fork
	Line   string    // the line that said that it was ready
	cmd    *exec.Cmd
	errors tail
	exited chan struct{} // closed when it was waited for
	err    error         // of the wait; valid once exited is closed
}

// Spawn starts a process and waits for the line that says that it is ready.
func Spawn(ctx context.Context, command Command) (*Child, error) {
	c := &Child{cmd: exec.Command(command.Path, command.Args...), exited: make(chan struct{})}
	c.cmd.Stderr, c.cmd.Env, c.cmd.Dir = &c.errors, append(environ(os.Environ()), command.Env...), command.Dir
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started, line := make(chan error, 1), make(chan string, 1)
	go c.live(command, out, started, line)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", command.Path, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, errors.New("it was given a minute"))
	defer cancel()
	select {
	case c.Line = <-line:
		return c, nil
	case <-c.exited:
		return nil, fmt.Errorf("%s ended before it was ready: %w\n%s", command.Path, c.err, c.errors.String())
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("%s is not ready: %w\n%s", command.Path, context.Cause(ctx), c.errors.String()), c.Kill())
	}
}

// live runs the process from one thread that lives as long: the kernel's signal
// about the death of a parent comes at the end of the thread that forked. A thread
// that entered the child's control group is not unlocked, and so ends here.
func (c *Child) live(command Command, out io.Reader, started chan<- error, line chan<- string) {
	runtime.LockOSThread()
	dieWithParent(c.cmd)
	release := func() {}
	if command.Group == nil {
		defer runtime.UnlockOSThread()
	} else {
		var err error
		if release, err = command.Group.join(c.cmd); err != nil {
			started <- err
			return
		}
	}
	c.Began = time.Now()
	err := c.cmd.Start()
	release()
	started <- err
	if err != nil {
		return
	}
	for in := bufio.NewScanner(out); in.Scan(); {
		if command.Ready == nil || command.Ready(in.Text()) {
			line <- in.Text()
			break
		}
	}
	_, _ = io.Copy(io.Discard, out) // ends with the process; what it says there is nothing that is needed
	c.err = c.cmd.Wait()
	close(c.exited)
}

// PID is the process's id.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Stop ends the process with SIGTERM and waits for it, at most stopTimeout.
func (c *Child) Stop() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-c.exited:
		if c.err != nil {
			return fmt.Errorf("%s: %w\n%s", c.cmd.Path, c.err, c.errors.String())
		}
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("%s did not end within %v of SIGTERM\n%s", c.cmd.Path, stopTimeout, c.errors.String()), c.Kill())
	}
}

// killTimeout bounds the wait for a killed process and its output, which what it
// started may still hold.
const killTimeout = 10 * time.Second

// Kill ends the process with SIGKILL and waits for it.
func (c *Child) Kill() error {
	_ = c.cmd.Process.Kill() // it may have ended
	timer := time.NewTimer(killTimeout)
	defer timer.Stop()
	select {
	case <-c.exited:
		return nil
	case <-timer.C:
		return fmt.Errorf("%s was killed, but something that it started holds its output", c.cmd.Path)
	}
}

// KillAll ends the process and those that it started and that are still in its
// process group, and waits for it.
func (c *Child) KillAll() error {
	killGroup(c.PID())
	return c.Kill()
}

// tail keeps the end of what was written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailSize; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
