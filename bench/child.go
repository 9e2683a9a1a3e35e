package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// readyTimeout bounds a start, stopTimeout a stop after SIGTERM.
	readyTimeout = 60 * time.Second
	stopTimeout  = 60 * time.Second
	// tailSize is how much of a child's error output is kept.
	tailSize = 16 << 10
)

// child is a server process of the benchmark. It ends with the benchmark, however
// that ends.
type child struct {
	cmd    *exec.Cmd
	began  time.Time // right before the fork
	first  string    // the first line that it printed
	errors tail
	exited chan struct{} // closed when it was waited for
	err    error         // of the wait; valid once exited is closed
}

// spawn starts a process and waits for the first line of its output.
func spawn(ctx context.Context, path string, args ...string) (*child, error) {
	c := &child{cmd: exec.Command(path, args...), exited: make(chan struct{})}
	c.cmd.Stderr = &c.errors
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started, line := make(chan error, 1), make(chan string, 1)
	go c.live(out, started, line)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	select {
	case c.first = <-line:
		return c, nil
	case <-c.exited:
		return nil, fmt.Errorf("%s ended before it was ready: %w\n%s", path, c.err, c.errors.String())
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("%s is not ready: %w\n%s", path, context.Cause(ctx), c.errors.String()), c.kill())
	}
}

// live runs the process from one thread that lives as long: the kernel's signal
// about the death of a parent comes at the end of the thread that forked.
func (c *child) live(out io.Reader, started chan<- error, line chan<- string) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dieWithParent(c.cmd)
	c.began = time.Now()
	err := c.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	in := bufio.NewScanner(out)
	if in.Scan() {
		line <- in.Text()
	}
	_, _ = io.Copy(io.Discard, out) // ends with the process; what it says there is nothing that is needed
	c.err = c.cmd.Wait()
	close(c.exited)
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop ends the process with SIGTERM and waits for it.
func (c *child) stop() error {
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
		return errors.Join(fmt.Errorf("%s did not end within %v of SIGTERM\n%s", c.cmd.Path, stopTimeout, c.errors.String()), c.kill())
	}
}

// kill ends the process with SIGKILL and waits for it.
func (c *child) kill() error {
	err := c.cmd.Process.Kill()
	<-c.exited
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
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
