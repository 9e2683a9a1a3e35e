package runtimes

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"hearth/faas"
	"hearth/pool"
	"hearth/runtimeapi"
	"hearth/sandbox"
)

const (
	// lastWords bounds how long what a dead runtime had sent is read. Only a process
	// that it left behind with its connection makes that last; on a busy machine less
	// could lose an answer.
	lastWords = 2 * time.Second
	// endWait bounds the wait for the end of a process that closed its connection
	// or crashes, which tells why. Only one that lives on makes that last: a server
	// may, so its callers wait for less.
	endWait       = 2 * time.Second
	serverEndWait = 500 * time.Millisecond
)

// process is a started runtime in its sandbox. It implements pool.Runtime.
type process struct {
	box     sandbox.Sandbox
	dir     CodeDir
	layers  CodeDir // nil for none
	session conversation
	// extensions are nil where the instance cannot have any.
	extensions *extensions
	journal    *journal
	log        *slog.Logger
	milliCPU   int
	execed     time.Time     // when the process was exec'ed, or got its function; zero before
	began      time.Time     // when the start did
	acquired   time.Time     // when its package was there
	mounting   time.Duration // of a cell: what bringing the package in took
	booted     bool          // before it was this function's
	way        faas.StartWay
	wayReason  string
	initOver   func() // to be called when init is over, however; idempotent
	unready    string // what to tell of a runtime that was not ready in time; "" = nothing

	workers sync.WaitGroup // the watcher, and the server of a Runtime API
	once    sync.Once      // guards the one kill
	hurry   sync.Once
	now     chan struct{} // closed by the first Kill without grace
	killed  chan struct{} // closed when nothing of the sandbox runs
	killErr error         // set before killed is closed

	mu     sync.Mutex
	inited time.Time // when Init ended well
}

var _ pool.Runtime = (*process)(nil)

// watch ends the session soon after the process has ended: whoever waits for an
// answer hears of it, after what the process had sent before was read.
func (p *process) watch() {
	p.workers.Go(func() {
		select {
		case <-p.box.Done():
			p.session.Finish(lastWords)
		case <-p.killed:
		}
		p.closeSession()
	})
}

func (p *process) closeSession() {
	if err := p.session.Close(); err != nil {
		p.log.Debug("closing a runtime's session", "sandbox", p.box.ID(), "err", err)
	}
}

// Init implements pool.Runtime.
func (p *process) Init(ctx context.Context) error {
	defer p.initOver()
	err := p.initialize(ctx)
	if p.extensions != nil {
		p.extensions.initialized(p, err)
	}
	return err
}

func (p *process) initialize(ctx context.Context) error {
	err := p.session.Init(ctx)
	if p.extensions != nil {
		p.tellInit("initRuntimeDone", err)
		if err == nil {
			err = p.extensions.hub.AwaitReady(ctx)
		}
	}
	var reported *runtimeapi.InitError
	var extension *runtimeapi.ExtensionError
	switch {
	case errors.As(err, &extension):
		failure := failedExtension("", extension)
		p.journal.failed("", failure.Outcome)
		return failure
	case err == nil:
		p.mu.Lock()
		p.inited = time.Now()
		p.mu.Unlock()
		return nil
	case errors.As(err, &reported):
		p.journal.initFailed(time.Since(p.execed), faas.StatusError, reported.Type)
		return initFailure(reported)
	case errors.Is(err, runtimeapi.ErrGone):
		failure := p.end("")
		p.journal.failed("", failure.Outcome)
		p.journal.initFailed(time.Since(p.execed), faas.StatusError, failure.Outcome.ErrorType)
		return failure
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		p.journal.initFailed(time.Since(p.execed), faas.StatusTimeout, "")
	}
	if p.unready != "" && ctx.Err() != nil {
		p.journal.platform("", p.unready)
	}
	return err
}

// Slots implements pool.Runtime.
func (p *process) Slots() (int, <-chan struct{}) { return p.session.Slots() }

// Ready implements pool.Runtime.
func (p *process) Ready() error { return harmless(p.box.SetCPU(p.milliCPU)) }

// harmless drops the error of a sandbox that is gone: whoever holds the runtime
// hears of its end from Done.
func harmless(err error) error {
	if errors.Is(err, sandbox.ErrDestroyed) {
		return nil
	}
	return err
}

// Invoke implements pool.Runtime. Every Invoke is followed by one Settle.
func (p *process) Invoke(ctx context.Context, event *faas.Event) (faas.Outcome, error) {
	p.journal.begin(event.RequestID)
	if p.extensions == nil {
		return p.invoke(ctx, event)
	}
	began := time.Now()
	p.tellStart(event, p.journal.version.ID.Number)
	p.extensions.hub.Begin(event)
	out, err := p.invoke(ctx, event)
	p.tellDone(event, began, out, err)
	return out, err
}

func (p *process) invoke(ctx context.Context, event *faas.Event) (faas.Outcome, error) {
	out, err := p.session.Invoke(ctx, event)
	if errors.Is(err, runtimeapi.ErrGone) {
		failure := p.end(event.RequestID)
		p.journal.failed(event.RequestID, failure.Outcome)
		return faas.Outcome{}, failure
	}
	var unread *runtimeapi.AnswerError
	if errors.As(err, &unread) {
		if !p.awaitEnd() {
			return unread.Outcome, nil
		}
		failure := exitFailure(p.box.Exit(), event.RequestID)
		p.journal.failed(event.RequestID, failure.Outcome)
		return faas.Outcome{}, failure
	}
	var crash *runtimeapi.CrashError
	if errors.As(err, &crash) {
		p.awaitEnd() // what it still prints is the invocation's
		return faas.Outcome{}, &pool.Failure{Kind: pool.FailedExit, Outcome: crash.Outcome}
	}
	return out, err
}

// end says why the session is gone.
func (p *process) end(requestID string) *pool.Failure {
	if failure := p.extensionFailure(requestID); failure != nil {
		return failure
	}
	if p.session.Broken() { // and now it ends because its connection is closed
		return brokenFailure(requestID, "Runtime sent an invalid message")
	}
	if p.awaitEnd() {
		return exitFailure(p.box.Exit(), requestID)
	}
	return brokenFailure(requestID, "Runtime closed its connection")
}

// awaitEnd waits a moment for a process that is about to end, and reports
// whether it has.
func (p *process) awaitEnd() bool {
	limit := endWait
	if _, server := p.session.(*runtimeapi.HTTP); server {
		limit = serverEndWait
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.box.Done():
		return true
	case <-timer.C:
		return false
	}
}

// Settle implements pool.Runtime.
func (p *process) Settle(report *faas.Report, wantTail bool) []byte {
	tail := p.journal.settle(report, wantTail)
	p.tellReport(report)
	return tail
}

// Freeze implements pool.Runtime.
func (p *process) Freeze() error {
	if p.extensions != nil && p.extensions.telemetry != nil {
		p.extensions.telemetry.Pause()
	}
	err := p.box.Freeze()
	if errors.Is(err, sandbox.ErrUnsupported) {
		return pool.ErrCannotFreeze
	}
	return harmless(err)
}

// Thaw implements pool.Runtime.
func (p *process) Thaw() error {
	err := harmless(p.box.Thaw())
	if p.extensions != nil && p.extensions.telemetry != nil {
		p.extensions.telemetry.Resume()
	}
	return err
}

// MaxMemory implements pool.Runtime.
func (p *process) MaxMemory() int64 {
	peak, err := p.box.MemoryPeak()
	if err != nil && !errors.Is(err, sandbox.ErrDestroyed) {
		p.log.Warn("the memory use of a sandbox is not known", "sandbox", p.box.ID(), "err", err)
	}
	return peak
}

// Parts implements pool.Runtime.
func (p *process) Parts() faas.Timeline {
	t := faas.Timeline{Code: p.acquired.Sub(p.began) + p.mounting, Way: p.way, WayReason: p.wayReason}
	if p.execed.IsZero() {
		return t
	}
	t.Sandbox = p.execed.Sub(p.acquired) - p.mounting
	first := p.session.FirstByte()
	if p.booted { // its first byte was long ago
		first = p.execed
	}
	if first.IsZero() {
		return t
	}
	// The first byte of a fast runtime may be seen before this side noted the exec.
	if first.Before(p.execed) {
		first = p.execed
	}
	t.Runtime = first.Sub(p.execed)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.inited.IsZero() {
		t.Init = max(0, p.inited.Sub(first))
	}
	return t
}

// Done implements pool.Runtime.
func (p *process) Done() <-chan struct{} { return p.box.Done() }

// Kill implements pool.Runtime. A Kill without grace cuts the grace of one that
// is under way short.
func (p *process) Kill(cause string, grace time.Duration) error {
	if grace <= 0 {
		p.hurry.Do(func() { close(p.now) })
	}
	p.once.Do(func() { p.kill(cause, grace) })
	return p.killErr
}

func (p *process) kill(cause string, grace time.Duration) {
	p.initOver()
	if p.extensions != nil {
		p.extensions.hub.Ending()
	}
	if grace > 0 {
		p.shutDown(grace)
	} else if p.extensions != nil && len(p.extensions.children) > 0 {
		p.cutDown(cause)
	}
	p.killErr = p.box.Destroy(cause)
	if p.extensions != nil {
		p.extensions.close()
	}
	close(p.killed)
	if p.session != nil {
		p.closeSession()
	}
	p.workers.Wait()
	if p.extensions != nil {
		p.extensions.closeLogs()
	}
	if p.journal != nil {
		p.journal.end()
	}
	p.releaseCode()
}

func (p *process) releaseCode() {
	p.dir.Release()
	if p.layers != nil {
		p.layers.Release()
	}
}

// shutDown tells the runtime to end and waits until it has, then the extensions, all
// of it at most for grace.
func (p *process) shutDown(grace time.Duration) {
	deadline := time.Now().Add(grace)
	// Where the signal does not arrive, the sandbox is destroyed a little later.
	if err := p.Thaw(); err != nil && !errors.Is(err, sandbox.ErrUnsupported) {
		p.log.Debug("thaw before shutdown", "sandbox", p.box.ID(), "err", err)
	}
	if err := p.box.Signal(syscall.SIGTERM); err != nil {
		p.log.Debug("shutdown signal", "sandbox", p.box.ID(), "err", err)
		return
	}
	external := p.extensions != nil && len(p.extensions.children) > 0
	if external {
		grace = min(grace, runtimeShare)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.box.Done():
	case <-p.now:
	case <-timer.C:
	}
	if external {
		p.shutDownExtensions("spindown", deadline, p.now)
	}
}

// killSignal ends a runtime at once.
const killSignal = syscall.SIGKILL

// cutDown kills the runtime and lets the extensions end, of which some have to send
// what they know of the invocation that failed.
func (p *process) cutDown(cause string) {
	reason := "failure"
	if cause == string(pool.CauseTimeout) {
		reason = "timeout"
	}
	if err := p.Thaw(); err != nil && !errors.Is(err, sandbox.ErrUnsupported) {
		p.log.Debug("thaw before the end", "sandbox", p.box.ID(), "err", err)
	}
	if err := p.box.Signal(killSignal); err != nil {
		p.log.Debug("kill a runtime", "sandbox", p.box.ID(), "err", err)
	}
	p.shutDownExtensions(reason, time.Now().Add(extensionGrace), nil)
}
