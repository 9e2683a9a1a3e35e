package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"hearth/faas"
	"hearth/pool"
	"hearth/runtimeapi"
	"hearth/runtimes/cell"
	"hearth/sandbox"
)

// CodeDirs is what the launcher needs of package code.
type CodeDirs interface {
	// Acquire returns the package unpacked on this machine; it stays until released.
	Acquire(ctx context.Context, code faas.Code) (CodeDir, error)
	// AcquireMerged returns the content of several packages, later ones over earlier
	// ones, as one directory.
	AcquireMerged(ctx context.Context, codes []faas.Code) (CodeDir, error)
	// Derive has make fill a directory that stands beside the package under a name
	// as long as the package is unpacked. Nothing is left where make fails.
	Derive(ctx context.Context, dir CodeDir, name string, make func(ctx context.Context, content, out string) error) error
}

// CodeDir is an unpacked package in use.
type CodeDir interface {
	Path() string
	// Derived returns the directory that Derive made under a name, if it did.
	Derived(name string) (path string, ok bool)
	Release() // exactly once
}

// Options configures a Launcher.
type Options struct {
	Drivers          map[faas.Isolation]sandbox.Driver
	DefaultIsolation faas.Isolation // of versions that choose none
	Code             CodeDirs
	Logs             LogStore
	Catalogue        *Catalogue
	// Dir is where the bootstraps are written; instances must be able to read it
	// where the driver does not mount.
	Dir string
	// Cells bounds the stem cells; the zero policy has none.
	Cells CellOptions
	// Compile has packages compiled ahead of their starts; see Launcher.Compile.
	Compile bool
	Logger  *slog.Logger // nil = discard
}

// Launcher starts runtimes in sandboxes. It implements pool.Starter and is safe
// for concurrent use.
type Launcher struct {
	drivers    map[faas.Isolation]sandbox.Driver
	isolation  faas.Isolation
	code       CodeDirs
	logs       LogStore
	catalogue  *Catalogue
	bootstraps bootstraps
	compiler   *compiler // nil where nothing is compiled ahead
	log        *slog.Logger
	cells      *cells       // nil where they are off
	starting   atomic.Int64 // starts whose init has not ended
}

var _ pool.Starter = (*Launcher)(nil)

// NewLauncher writes the bootstraps and returns a Launcher.
func NewLauncher(opts Options) (*Launcher, error) {
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("runtimes: %w", err)
	}
	written, err := writeBootstraps(dir)
	if err != nil {
		return nil, fmt.Errorf("runtimes: write the bootstraps: %w", err)
	}
	l := &Launcher{
		drivers: opts.Drivers, isolation: opts.DefaultIsolation, code: opts.Code, logs: opts.Logs,
		catalogue: opts.Catalogue, bootstraps: written, log: opts.Logger,
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if opts.Cells.Policy != (cell.Policy{}) {
		l.cells = l.openCells(opts.Cells)
	}
	if opts.Compile {
		l.compiler = newCompiler(l)
	}
	return l, nil
}

// Close ends the launcher's own work and waits for it. Runtimes that were started
// are not its.
func (l *Launcher) Close() error {
	if l.compiler != nil {
		l.compiler.close()
	}
	if l.cells != nil {
		l.cells.Close()
	}
	return nil
}

// runtimeAPIAddress is where the Runtime API is inside a sandbox.
const runtimeAPIAddress = "127.0.0.1:9001"

// plan is what Start knows before it makes anything.
type plan struct {
	version     *faas.Version
	instance    string
	known       known
	interpreter interpreter
	isolation   faas.Isolation
	driver      sandbox.Driver
	provisioned bool   // for provisioned concurrency
	compiled    string // the host's directory of what was compiled of the package; "" for none
	layers      string // the host's directory of what the layers make together; "" for none
	entrypoint  string // the executable of a custom runtime, inside
}

func (l *Launcher) plan(version *faas.Version, instance string) (plan, error) {
	k, err := lookup(version.Config.Runtime)
	if err != nil {
		return plan{}, err
	}
	found, err := l.catalogue.find(k)
	if err != nil {
		return plan{}, err
	}
	isolation := version.Config.Isolation
	if isolation == "" {
		isolation = l.isolation
	}
	driver, ok := l.drivers[isolation]
	if !ok {
		return plan{}, faas.Errorf(faas.CodeUnsupported, "isolation", "isolation %q is not available on this server", isolation)
	}
	return plan{version: version, instance: instance, known: k, interpreter: found, isolation: isolation, driver: driver}, nil
}

// Start implements pool.Starter. A package without a usable bootstrap starts as
// a runtime whose Init fails, as a function's mistakes do.
func (l *Launcher) Start(ctx context.Context, version *faas.Version, instance string) (pool.Runtime, error) {
	p, err := l.plan(version, instance)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	dir, err := l.code.Acquire(ctx, version.Code)
	if err != nil {
		return nil, err
	}
	layers, err := l.acquireLayers(ctx, version)
	if err != nil {
		dir.Release()
		return nil, err
	}
	acquired := time.Now()
	r := &process{dir: dir, layers: layers, began: began, acquired: acquired, log: l.log, milliCPU: faas.MilliCPU(version.Config.MemoryMB),
		killed: make(chan struct{}), now: make(chan struct{})}
	if layers != nil {
		p.layers = layers.Path()
	}
	var reason string
	if p.entrypoint, reason = findEntrypoint(p, dir.Path()); reason != "" {
		defer r.releaseCode()
		return l.stillborn(p, reason)
	}
	p.compiled = l.compiled(p, dir)
	p.provisioned = pool.Provisioned(ctx)
	l.starting.Add(1)
	r.initOver = sync.OnceFunc(func() { l.starting.Add(-1) })
	var started bool
	if r.way, r.wayReason, started = l.cells.claim(ctx, p, r); started {
		return r, nil
	}
	if r.box, err = p.driver.Create(ctx, l.spec(p, dir.Path())); err != nil {
		r.initOver()
		r.releaseCode()
		return nil, startError(err)
	}
	if err := l.launch(ctx, p, r, nil, nil); err != nil {
		return l.abandon(p, r, err)
	}
	return r, nil
}

func (l *Launcher) spec(p plan, codeDir string) sandbox.Spec {
	config := p.version.Config
	spec := sandbox.Spec{
		ID: p.instance, MemoryMB: config.MemoryMB, TmpMB: config.EphemeralMB,
		MilliCPU: faas.MilliCPU(config.MemoryMB), Egress: sandbox.Egress(config.Egress),
		Mounts: []sandbox.Mount{{Source: codeDir, Target: taskDir}},
	}
	if !p.known.custom() {
		spec.Mounts = append(spec.Mounts, l.runtimeMounts(p.known, p.interpreter)...)
	}
	spec.Mounts = append(spec.Mounts, p.extraMounts()...)
	return spec
}

// extraMounts are those of a version that not every version has.
func (p plan) extraMounts() []sandbox.Mount {
	var mounts []sandbox.Mount
	if p.compiled != "" {
		mounts = append(mounts, sandbox.Mount{Source: p.compiled, Target: compiledDir})
	}
	if p.layers != "" {
		mounts = append(mounts, sandbox.Mount{Source: p.layers, Target: layersDir})
	}
	return mounts
}

// runtimeMounts are what a managed runtime needs to boot.
func (l *Launcher) runtimeMounts(k known, found interpreter) []sandbox.Mount {
	_, mounts := found.place()
	return append([]sandbox.Mount{{Source: l.bootstraps.folder(k.language), Target: runtimeDir}}, mounts...)
}

// settingOf is what the environment of an instance in the sandbox is made from.
func (l *Launcher) settingOf(p plan, box sandbox.Sandbox) setting {
	stream := time.Now().UTC().Format("2006/01/02/") + "[" + p.version.ID.Number + "]" + p.instance
	s := setting{version: p.version, known: p.known, logStream: stream, compiled: p.compiled != "", layered: p.layers != "",
		provisioned: p.provisioned, path: func(target string) string { return sandbox.Path(box, target) }}
	if _, shared := box.(sandbox.PathMapper); !shared {
		s.cpus = (faas.MilliCPU(p.version.Config.MemoryMB) + 999) / 1000
	}
	return s
}

// launch starts the runtime's process and the conversation with it. r.box and
// r.dir are r's already; what is added to r is cleaned by r.Kill. A prepared
// sandbox may have a listener for the Runtime API, and lack the mounts of the package.
func (l *Launcher) launch(ctx context.Context, p plan, r *process, prepared net.Listener, mounts []sandbox.Mount) error {
	s := l.settingOf(p, r.box)
	command := sandbox.Command{Dir: s.path(taskDir), Mounts: mounts}
	var err error
	if s.api, err = l.newExtensions(ctx, p, r); err != nil {
		return err
	}
	serve := func() {}
	switch p.known.language {
	case languageProvided:
		server, listener, err := l.openRuntimeAPI(ctx, r, prepared, runtimeapi.ServerOptions{
			Concurrency: p.known.concurrency(p.version.Config), Extensions: r.extensions.hub, Logger: l.log,
		})
		if err != nil {
			return err
		}
		r.session, s.api = server, listener.Addr().String()
		serve = func() { l.serve(p, r, server, listener) }
		command.Args = []string{s.path(p.entrypoint)}
	case languageHTTP:
		if s.port, err = callServer(ctx, p, r); err != nil {
			return err
		}
		command.Args = []string{s.path(p.entrypoint)}
	default:
		inside, _ := p.interpreter.place()
		command.Args = arguments(p.known.language, s.path(inside), s.path(runtimeDir+"/"+l.bootstraps.entry(p.known.language, p.interpreter)), p.version.Config.MemoryMB)
		if wrapper := p.wrapper(); wrapper != "" {
			command.Args = append([]string{s.path(wrapper)}, command.Args...)
			s.wrapped = true
		}
		command.Socket = true
	}
	env := s.environment()
	command.Env = pairs(env)
	if p.layers != "" { // of which extensions may come, that speak to it before the runtime is started
		serve()
		serve = func() {}
	}
	if err := l.startExtensions(ctx, p, r, env); err != nil {
		return err
	}
	if err := r.box.Start(ctx, command); err != nil {
		return err
	}
	r.execed = time.Now()
	serve() // the runtime takes a while until it asks
	if command.Socket {
		r.session = runtimeapi.NewFrames(r.box.Socket(), runtimeapi.FramesOptions{Go: s.document(env)})
	}
	l.connect(p, r)
	return nil
}

// connect reads the log of a runtime that has its function and sees its end.
func (l *Launcher) connect(p plan, r *process) {
	stream := l.logs.Stream(l.source(p), r.box.Output())
	if r.extensions != nil {
		stream = tapped(stream, r.extensions.telemetry, "function")
	}
	r.journal = newJournal(stream, p.version)
	r.watch()
	r.watchExtensions()
}

// openRuntimeAPI opens the Runtime API inside the sandbox, or another server of the
// instance, unless a listener is there already. Nobody is served before serve.
func (l *Launcher) openRuntimeAPI(ctx context.Context, r *process, listener net.Listener, o runtimeapi.ServerOptions) (*runtimeapi.Server, net.Listener, error) {
	address := runtimeAPIAddress
	if _, shared := r.box.(sandbox.PathMapper); shared {
		address = "127.0.0.1:0" // the host's own loopback: others may have the port
	}
	if listener == nil {
		var err error
		if listener, err = r.box.Listen(ctx, "tcp", address); err != nil {
			return nil, nil, err
		}
	}
	return runtimeapi.NewServer(o), listener, nil
}

// serve serves what openRuntimeAPI opened, until the instance ends.
func (l *Launcher) serve(p plan, r *process, server *runtimeapi.Server, listener net.Listener) {
	r.workers.Go(func() {
		if err := server.Serve(listener); err != nil {
			l.log.Debug("the Runtime API ended", "instance", p.instance, "err", err)
		}
	})
}

// callServer prepares the conversation with an HTTP server, and returns the port
// at which it is to listen.
func callServer(ctx context.Context, p plan, r *process) (int, error) {
	port, _ := p.version.Config.Port() // a configuration with another was refused
	if _, shared := r.box.(sandbox.PathMapper); shared {
		var err error
		if port, err = freePort(ctx, r.box); err != nil {
			return 0, err
		}
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	r.session = runtimeapi.NewHTTP(runtimeapi.HTTPOptions{
		Dial:        func(ctx context.Context) (net.Conn, error) { return r.box.Dial(ctx, "tcp", address) },
		Concurrency: p.known.concurrency(p.version.Config),
	})
	r.unready = fmt.Sprintf("Nothing accepts connections at %s. The server must listen there or on all addresses of IPv4, "+
		"at the port in the environment variable PORT.", address)
	return port, nil
}

// freePort finds a port for a server on the host's own loopback, which it shares
// with all others: the user's own choice may be taken, by another instance too.
func freePort(ctx context.Context, box sandbox.Sandbox) (int, error) {
	listener, err := box.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	to, err := netip.ParseAddrPort(listener.Addr().String())
	return int(to.Port()), err
}

func (l *Launcher) source(p plan) LogSource {
	return LogSource{Function: p.version.ID.Function, Version: p.version.ID.Number, Instance: p.instance,
		Group: p.version.Config.Logging.Group}
}

// abandon cleans up after a launch that failed. A bootstrap or a wrapper that the
// kernel refuses is the function's mistake, not the platform's.
func (l *Launcher) abandon(p plan, r *process, cause error) (pool.Runtime, error) {
	killErr := r.Kill("start failed", 0)
	var extension *runtimeapi.ExtensionError
	if errors.As(cause, &extension) && killErr == nil {
		return l.born(p, func(requestID string) *pool.Failure { return failedExtension(requestID, extension) })
	}
	if own := or(p.entrypoint, p.wrapper()); own != "" && r.execed.IsZero() && killErr == nil && refusedExec(cause) {
		return l.stillborn(p, "fork/exec "+own+": "+execReason(cause))
	}
	return nil, errors.Join(startError(cause), killErr)
}

// stillborn is a runtime that ended before it began; its log works all the same.
func (l *Launcher) stillborn(p plan, reason string) (pool.Runtime, error) {
	return l.born(p, func(requestID string) *pool.Failure { return entrypointFailure(requestID, reason) })
}

func (l *Launcher) born(p plan, failure func(requestID string) *pool.Failure) (pool.Runtime, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, startError(err)
	}
	write.Close() // nothing will be written
	return &stillborn{journal: newJournal(l.logs.Stream(l.source(p), read), p.version), failure: failure, done: closedChannel()}, nil
}

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// startError gives a driver's error the code that its caller acts on.
func startError(err error) error {
	switch {
	case errors.Is(err, sandbox.ErrNoCapacity):
		return faas.Errorf(faas.CodeNoCapacity, "machine", "%w", err)
	case errors.Is(err, sandbox.ErrClosed):
		return faas.Errorf(faas.CodeShuttingDown, "", "%w", err)
	}
	return err
}

// conversation is a session as the launcher uses it.
type conversation interface {
	runtimeapi.Session
	io.Closer
	// FirstByte is when the runtime first spoke; zero before.
	FirstByte() time.Time
	// Finish reads what an ended runtime left, for at most so long.
	Finish(within time.Duration)
	// Broken reports that the runtime broke the protocol.
	Broken() bool
}

var (
	_ conversation = (*runtimeapi.Frames)(nil)
	_ conversation = (*runtimeapi.Server)(nil)
	_ conversation = (*runtimeapi.HTTP)(nil)
)
