package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// readyTimeout bounds a start: an engine that recovers, a first clean-up.
	readyTimeout = 60 * time.Second
	// stopTimeout bounds a stop after SIGTERM, draining included.
	stopTimeout = 60 * time.Second
	readyPrefix = "hearth: ready on "
)

// Server is a running binary with a data directory of its own.
type Server struct {
	URL  string // http://127.0.0.1:PORT
	Data string // the data directory
	// KeyID and Secret are an administrator's of a server that verifies, and
	// anything of one that does not.
	KeyID, Secret string

	binary  string
	cmd     *exec.Cmd
	log     *tail
	exited  chan struct{} // closed when the process has been waited for
	exitErr error         // valid once exited is closed
}

// Binary returns the path of the binary under test: $HEARTH_BIN, or one that is
// built once for this process and removed by CleanUp.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("HEARTH_BIN"); path != "" {
		return path
	}
	path, err := built()
	if err != nil {
		t.Fatalf("build the binary: %v", err)
	}
	return path
}

// buildDir holds the built binary.
var buildDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "hearth-e2e-") })

var built = sync.OnceValues(func() (string, error) {
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "hearth")
	cmd := exec.Command("go", "build", "-o", path, "hearth/cmd/hearth")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// CleanUp removes what Binary built. TestMain calls it last.
func CleanUp() {
	if dir, err := buildDir(); err == nil {
		_ = os.RemoveAll(dir)
	}
}

// Start runs 'hearth up' on a free port with a new data directory, waits until it
// is ready, and stops it when the test ends: with SIGTERM, which it has to obey,
// and then nothing of it may be left on the machine. More arguments go to 'up'.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := Open(t, t.TempDir(), args...)
	t.Cleanup(func() { s.Stop(t) })
	return s
}

// Open is Start with a data directory that may be in use already; the caller stops
// the server, or kills it.
func Open(t testing.TB, data string, args ...string) *Server {
	t.Helper()
	return OpenBinary(t, Binary(t), io.Discard, data, args...)
}

// OpenBinary is Open with another build of the binary. All that it writes to
// standard error goes to log too, whereas Log keeps the end only; its writes come
// from one goroutine and end before Stop or Kill returns.
func OpenBinary(t testing.TB, binary string, log io.Writer, data string, args ...string) *Server {
	t.Helper()
	return open(t, binary, log, data, append([]string{"up"}, args...))
}

// Serve is Start for 'hearth serve', which verifies signatures.
func Serve(t testing.TB, args ...string) *Server {
	t.Helper()
	s := open(t, Binary(t), io.Discard, t.TempDir(), append([]string{"serve"}, args...))
	t.Cleanup(func() { s.Stop(t) })
	text, err := os.ReadFile(s.credentials())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), " = "); name {
		case "aws_access_key_id":
			s.KeyID = value
		case "aws_secret_access_key":
			s.Secret = value
		}
	}
	return s
}

// credentials is the file with the first key of a server that verifies.
func (s *Server) credentials() string { return filepath.Join(s.Data, "admin-credentials") }

// open runs a verb of the binary that serves.
func open(t testing.TB, binary string, log io.Writer, data string, args []string) *Server {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the process sandbox needs root")
	}
	s := &Server{Data: data, KeyID: "e2e", Secret: "e2e", binary: binary, log: &tail{}, exited: make(chan struct{})}
	s.cmd = exec.Command(binary, append(args, "--listen", "127.0.0.1:0", "--data", data)...)
	s.cmd.Stderr = io.MultiWriter(s.log, log)
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go s.read(stdout, ready)
	select {
	case s.URL = <-ready:
		return s
	case <-s.exited:
		t.Fatalf("the server ended before it was ready: %v\n%s", s.exitErr, s.log)
	case <-time.After(readyTimeout):
		s.Kill()
		t.Fatalf("the server was not ready after %v\n%s", readyTimeout, s.log)
	}
	return nil
}

// read passes on the ready line and keeps the rest, until the process has ended.
func (s *Server) read(stdout io.Reader, ready chan<- string) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), readyPrefix); ok {
			ready <- url
		}
		fmt.Fprintln(s.log, lines.Text())
	}
	_, _ = io.Copy(io.Discard, stdout) // a line too long for the scanner must not block the server
	s.exitErr = s.cmd.Wait()
	close(s.exited)
}

// PID is the process id of the server.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Log returns the end of what the server has written.
func (s *Server) Log() string { return s.log.String() }

// Stop ends the server with SIGTERM and checks that it exits with success and
// leaves nothing behind. A server that was stopped already is left alone.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	select {
	case <-s.exited:
		return
	default:
	}
	processes := s.Processes()
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended meanwhile
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		s.Kill()
		t.Fatalf("the server did not stop within %v of SIGTERM\n%s", stopTimeout, s.log)
	}
	if s.exitErr != nil {
		t.Errorf("the server stopped with %v\n%s", s.exitErr, s.log)
	}
	for _, left := range s.leftovers(processes) {
		t.Errorf("left behind: %s", left)
	}
	if t.Failed() {
		t.Logf("the server's log:\n%s", s.log)
	}
}

// Kill ends the server with SIGKILL and waits for its end.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended already
	<-s.exited
}

// Run runs another command of the binary against this server's data directory or
// address and returns what it prints.
func (s *Server) Run(ctx context.Context, t testing.TB, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(ctx, s.binary, args...)
	var stderr tail
	cmd.Stderr = &stderr
	cmd.Env = append(os.Environ(), "HEARTH_SERVER="+s.URL, "HEARTH_DATA="+s.Data, "HEARTH_ACCESS_KEY_ID="+s.KeyID, "HEARTH_SECRET_ACCESS_KEY="+s.Secret)
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("hearth %s: %w\n%s%s", strings.Join(args, " "), err, out, &stderr)
	}
	return out, err
}

// tail keeps the last tailSize bytes that were written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 64 << 10

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	if over := len(w.text) - tailSize; over > 0 {
		w.text = append(w.text[:0], w.text[over:]...)
	}
	return len(p), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}
