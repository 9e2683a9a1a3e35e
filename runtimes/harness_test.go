package runtimes

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hearth/faas"
	"hearth/pool"
	"hearth/runtimes/cell"
	"hearth/sandbox"
	"hearth/sandbox/none"
)

// patience bounds everything in these tests that is expected to happen.
const patience = time.Minute

// directories is a CodeDirs whose packages are folders of the test.
type directories struct {
	dir  string
	held atomic.Int64
}

func (d *directories) Acquire(_ context.Context, code faas.Code) (CodeDir, error) {
	d.held.Add(1)
	return &directory{path: filepath.Join(d.dir, code.SHA256), owner: d}, nil
}

// AcquireMerged is the real thing's, without the sharing.
func (d *directories) AcquireMerged(_ context.Context, codes []faas.Code) (CodeDir, error) {
	path := filepath.Join(d.dir, "layers")
	for _, code := range codes {
		path += "-" + code.SHA256
	}
	if _, err := os.Stat(path); err == nil {
		d.held.Add(1)
		return &directory{path: path, owner: d}, nil
	}
	for _, code := range codes {
		from := filepath.Join(d.dir, code.SHA256)
		err := filepath.WalkDir(from, func(name string, entry os.DirEntry, err error) error {
			to := filepath.Join(path, strings.TrimPrefix(name, from))
			if err != nil || entry.IsDir() {
				return errors.Join(err, os.MkdirAll(to, 0o755))
			}
			_ = os.Remove(to)
			return os.Link(name, to)
		})
		if err != nil {
			return nil, err
		}
	}
	d.held.Add(1)
	return &directory{path: path, owner: d}, nil
}

func (d *directories) Derive(ctx context.Context, dir CodeDir, name string, make func(context.Context, string, string) error) error {
	out := dir.Path() + ".derived-" + name
	err := os.Mkdir(out, 0o755)
	if err == nil {
		err = make(ctx, dir.Path(), out)
	}
	if err != nil {
		err = errors.Join(err, os.RemoveAll(out))
	}
	return err
}

type directory struct {
	path  string
	owner *directories
}

func (d *directory) Path() string { return d.path }
func (d *directory) Derived(name string) (string, bool) {
	path := d.path + ".derived-" + name
	_, err := os.Stat(path)
	return path, err == nil
}
func (d *directory) Release() { d.owner.held.Add(-1) }

// memoryLogs is a LogStore in memory. A stream's barrier waits until the pipe is
// empty, like the real one's.
type memoryLogs struct {
	mu      sync.Mutex
	streams []*memoryStream
	closed  int
}

func (m *memoryLogs) Stream(_ LogSource, pipe *os.File) LogStream {
	s := &memoryStream{pipe: pipe, owner: m, done: make(chan struct{})}
	go s.read()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.streams = append(m.streams, s)
	return s
}

type memoryStream struct {
	pipe  *os.File
	owner *memoryLogs
	done  chan struct{}
	mu    sync.Mutex
	text  bytes.Buffer
	from  int
}

// read copies the pipe until its end.
func (s *memoryStream) read() {
	defer close(s.done)
	conn, err := s.pipe.SyscallConn()
	if err != nil {
		return
	}
	for ended := false; !ended && err == nil; {
		err = conn.Read(func(fd uintptr) bool {
			var empty bool
			empty, ended = s.take(int(fd))
			return !empty
		})
	}
}

// take reads what the pipe holds and stores it, in one step for everyone else.
func (s *memoryStream) take(fd int) (empty, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	buf := make([]byte, 64<<10)
	for {
		n, err := syscall.Read(fd, buf)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return true, false
		case n <= 0:
			return false, true
		default:
			s.text.Write(buf[:n])
		}
	}
}

func (s *memoryStream) line(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if line != "" {
		s.text.WriteString(line + "\n")
	}
}

func (s *memoryStream) Begin(_ string, line string) {
	s.mu.Lock()
	s.from = s.text.Len()
	s.mu.Unlock()
	s.line(line)
}

// Settle reads the pipe until it is empty, like the real store: what the runtime
// wrote before its answer is the invocation's.
func (s *memoryStream) Settle(_ string, lines ...string) {
	s.drain()
	for _, line := range lines {
		s.line(line)
	}
}

// drain reads the pipe until it is empty.
func (s *memoryStream) drain() {
	if conn, err := s.pipe.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { s.take(int(fd)) }) // closed: nothing to read
	}
}

func (s *memoryStream) Tail(string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.text.Bytes()[s.from:])
}

func (s *memoryStream) Platform(_, line string) { s.line(line) }

func (s *memoryStream) Close() error {
	s.drain()
	// A daemon that escaped from driver none may hold the pipe: no waiting for it.
	if err := s.pipe.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	<-s.done
	s.owner.mu.Lock()
	s.owner.closed++
	s.owner.mu.Unlock()
	return s.pipe.Close()
}

func (s *memoryStream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// bench is a Launcher with everything around it.
type bench struct {
	t        testing.TB
	code     *directories
	logs     *memoryLogs // nil where the logs are elsewhere
	launcher *Launcher
	cells    bool // every start that can be of a stem cell is
	next     int
}

// sharedCatalogue probes the host's interpreters once for all tests.
var sharedCatalogue = sync.OnceValue(func() *Catalogue {
	return NewCatalogue(CatalogueOptions{SearchPath: os.Getenv("PATH")})
})

// hostNode is the Node.js runtime that this machine has. Node.js 24 is not asked
// for: it has no callbacks, which are half of the rows.
func hostNode(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"nodejs20.x", "nodejs22.x", "nodejs18.x"} {
		if sharedCatalogue().Check(name) == nil {
			return name
		}
	}
	t.Fatal("these tests need Node.js 18, 20 or 22: apt-get install nodejs")
	return ""
}

// drivers are the isolations that the tests run on: none, and the real one where
// this system has it.
func drivers(t testing.TB) map[string]func() sandbox.Driver {
	all := map[string]func() sandbox.Driver{
		"none": func() sandbox.Driver { return none.New(none.Options{Dir: t.TempDir()}) },
	}
	isolated(t, all)
	return all
}

// benches are the ways to start: directly on each driver, and of stem cells.
func benches(t testing.TB) map[string]func(testing.TB) *bench {
	all := map[string]func(testing.TB) *bench{}
	for name, open := range drivers(t) {
		all[name] = func(t testing.TB) *bench { return newBench(t, open()) }
		if name == "process" {
			all["cell"] = func(t testing.TB) *bench { return newCellBench(t, open()) }
		}
	}
	return all
}

// newCellBench has a stem cell of every class that a start wants one of.
func newCellBench(t testing.TB, driver sandbox.Driver) *bench {
	t.Helper()
	b := newBenchOf(t, driver, Options{DefaultIsolation: faas.IsolationProcess, Cells: CellOptions{Policy: cell.Policy{Floor: 1, Most: 1, Total: 2}}})
	b.cells = true
	b.launcher.FillCells(allRoom{})
	return b
}

type allRoom struct{}

func (allRoom) TakeSpare() bool { return true }
func (allRoom) GiveSpare()      {}

// park waits until a cell is parked that could become the version's instance. False
// where none can.
func (b *bench) park(v *faas.Version) bool {
	b.t.Helper()
	p, err := b.launcher.plan(v, "x")
	if err != nil {
		return false
	}
	class, reason := b.launcher.cells.classOf(p)
	if reason != "" {
		return false
	}
	b.launcher.Deployed(v.ID.Function, []faas.Config{v.Config})
	for timeout := time.After(patience); b.parked(class) == 0; {
		select {
		case <-time.After(time.Millisecond):
		case <-timeout:
			b.t.Fatalf("no stem cell of %+v: %+v", class, b.launcher.CellStats())
		}
	}
	return true
}

func (b *bench) parked(class cell.Class) int {
	for _, s := range b.launcher.CellStats() {
		if s.Class == class {
			return s.Parked
		}
	}
	return 0
}

func newBench(t testing.TB, driver sandbox.Driver) *bench {
	t.Helper()
	return newBenchOf(t, driver, Options{DefaultIsolation: faas.IsolationNone})
}

func newBenchOf(t testing.TB, driver sandbox.Driver, opts Options) *bench {
	t.Helper()
	memory := &memoryLogs{}
	opts.Logs = memory
	b := newBenchWith(t, driver, opts)
	b.logs = memory
	t.Cleanup(func() {
		if memory.closed != len(memory.streams) {
			t.Errorf("%d of %d log streams were closed", memory.closed, len(memory.streams))
		}
	})
	return b
}

func newBenchWithLogs(t testing.TB, driver sandbox.Driver, store LogStore) *bench {
	t.Helper()
	return newBenchWith(t, driver, Options{DefaultIsolation: faas.IsolationNone, Logs: store})
}

func newBenchWith(t testing.TB, driver sandbox.Driver, opts Options) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{t: t, code: &directories{dir: dir}}
	opts.Drivers = map[faas.Isolation]sandbox.Driver{opts.DefaultIsolation: driver}
	opts.Code, opts.Catalogue, opts.Dir = b.code, sharedCatalogue(), filepath.Join(dir, "hearth")
	opts.Compile = true
	launcher, err := NewLauncher(opts)
	if err != nil {
		t.Fatal(err)
	}
	b.launcher = launcher
	t.Cleanup(func() {
		if err := launcher.Close(); err != nil {
			t.Error("close the launcher:", err)
		}
		if err := driver.Close(); err != nil {
			t.Error("close the driver:", err)
		}
		if n := b.code.held.Load(); n != 0 {
			t.Errorf("%d code directories were not released", n)
		}
	})
	return b
}

// version writes a package and returns a version that runs it.
func (b *bench) version(runtime, handler string, files map[string]string) *faas.Version {
	b.t.Helper()
	b.next++
	name := fmt.Sprintf("code%d", b.next)
	for file, content := range files {
		path := filepath.Join(b.code.dir, name, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(content, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			b.t.Fatal(err)
		}
	}
	return &faas.Version{
		ID: faas.VersionID{Function: faas.FunctionID{
			Scope: faas.Scope{Account: "000000000000", Region: "eu-central-1", Namespace: "default"}, Name: "fn"}, Number: faas.Latest},
		Config: faas.Config{Runtime: runtime, Handler: handler, MemoryMB: 256, TimeoutSeconds: 3, InitTimeoutSeconds: 10,
			EphemeralMB: 512, InstanceConcurrency: 1, Egress: faas.EgressNone,
			Logging: faas.Logging{Format: "Text", Group: "/aws/lambda/fn"}},
		Code: faas.Code{SHA256: name},
	}
}

// instance is a started runtime and its log.
type instance struct {
	pool.Runtime
	b       *bench
	log     *memoryStream
	events  int
	timeout time.Duration // of its invocations; 0 = patience
}

func (b *bench) start(v *faas.Version) *instance {
	b.t.Helper()
	b.next++
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cells := b.cells && b.park(v)
	r, err := b.launcher.Start(ctx, v, fmt.Sprintf("test-%d-%d", os.Getpid(), b.next))
	if err != nil {
		b.t.Fatal("start:", err)
	}
	if _, never := r.(*stillborn); cells && !never {
		if t := r.Parts(); t.Way != faas.WayCell {
			b.t.Errorf("started %q (%s), want of a cell", t.Way, t.WayReason)
		}
	}
	i := &instance{Runtime: r, b: b}
	if b.logs != nil {
		i.log = b.logs.streams[len(b.logs.streams)-1]
	}
	b.t.Cleanup(func() { i.kill() })
	return i
}

func (i *instance) kill() {
	i.b.t.Helper()
	if err := i.Kill("test ended", 0); err != nil {
		i.b.t.Error("kill:", err)
	}
}

// init waits for the runtime to be ready and returns what Init said.
func (i *instance) init() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return i.Init(ctx)
}

// ready fails the test where init does.
func (i *instance) ready() *instance {
	i.b.t.Helper()
	if err := i.init(); err != nil {
		i.b.t.Fatalf("init: %v\n%v", err, i.log)
	}
	if err := i.Ready(); err != nil {
		i.b.t.Fatal("ready:", err)
	}
	return i
}

// invoke delivers an event and settles it; it returns the log's tail too.
func (i *instance) invoke(payload string) (faas.Outcome, string, error) {
	event := i.event(payload)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := i.Invoke(ctx, event)
	tail := i.Settle(&faas.Report{RequestID: event.RequestID, Start: faas.StartWarm, Status: "success", MemoryMB: 256}, true)
	return out, string(tail), err
}

// event is the next event of the instance.
func (i *instance) event(payload string) *faas.Event {
	i.events++
	return &faas.Event{RequestID: fmt.Sprintf("request-%d", i.events), Payload: []byte(payload),
		Deadline: time.Now().Add(cmp.Or(i.timeout, patience)), InvokedARN: "arn:aws:lambda:eu-central-1:000000000000:function:fn",
		TraceID: "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0", ClientContext: []byte(`{"custom":{"k":"v"},"client":{"app_title":"t"}}`)}
}
